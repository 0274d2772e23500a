//! The native path: batches that are in memory already, as a source of ours hands them over, into a destination. What is
//! measured is everything behind the source: gathering, merging, books, commit, and closing.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use destination_duckdb::{DuckDb, DuckDbConfig};
use destination_postgres::{Postgres, PostgresConfig};
use postgres_cluster::Cluster;
use replication::{
    clock::SystemClock,
    destination::Destination,
    event::{self, Event},
    run::{RunContext, RunOptions, replicate},
    sequence::SequenceClock,
    singer_source::SingerSource,
    source::{CheckStep, ExtractContext, ExtractOutcome, Source, SourceError},
};
use tokio::{fs::File, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use crate::{
    beside, by_myself,
    messages::Messages,
    results::{Results, who},
};

/// The schema that it fills.
const SCHEMA: &str = "native";

/// Into PostgreSQL.
pub(crate) fn into_postgres(cluster: &Cluster, messages: &Messages, results: &mut Results) {
    for (step, file) in &messages.files {
        let config = PostgresConfig::parse(&cluster.url(), SCHEMA).unwrap();
        let config = config.with_password(cluster.password().to_owned().into());
        let events = Events::of(file);
        let done = beside(cluster, || {
            by_myself(|| events.load(Arc::new(Postgres::new(config).unwrap()))).cost
        });
        results.add(who::NATIVE_POSTGRES, step, done);
    }
}

/// Into DuckDB.
pub(crate) fn into_duckdb(messages: &Messages, folder: &Path, results: &mut Results) {
    for (step, file) in &messages.files {
        let config = DuckDbConfig::new(folder.join("native.duckdb"), SCHEMA);
        let events = Events::of(file);
        let done = by_myself(|| events.load(Arc::new(DuckDb::new(config).unwrap())));
        results.add(who::NATIVE_DUCKDB, step, done);
    }
}

/// What a source sent, to be sent again.
struct Events(Vec<Event>);

impl Events {
    /// Reads messages into memory.
    fn of(file: &Path) -> Self {
        let events = Runtime::new().unwrap().block_on(async {
            let (sender, mut receiver) = event::channel(usize::MAX);
            let context = ExtractContext {
                state: Default::default(),
                singer_state: None,
                start_date: None,
                sequence: Arc::new(SequenceClock::new(0)),
                events: sender,
                stop: CancellationToken::new(),
                progress: Arc::default(),
                clock: Arc::new(SystemClock),
            };
            let source = SingerSource::new(File::open(file).await.unwrap(), "account");
            let read = tokio::spawn(Box::new(source).extract(context));
            let mut events = Vec::new();
            while let Some(event) = receiver.receive().await {
                events.push(event);
            }
            read.await.unwrap().unwrap();
            events
        });
        Self(events)
    }

    fn load(self, destination: Arc<dyn Destination>) {
        let options = RunOptions::new("bench");
        let run = replicate(Box::new(self), destination, options, RunContext::default());
        Runtime::new().unwrap().block_on(run).map_err(|failure| failure.error).unwrap();
    }
}

#[async_trait]
impl Source for Events {
    fn fingerprint(&self) -> String {
        "account".to_owned()
    }

    async fn check(&self) -> Vec<CheckStep> {
        Vec::new()
    }

    async fn extract(
        self: Box<Self>,
        context: ExtractContext,
    ) -> Result<ExtractOutcome, SourceError> {
        for event in self.0 {
            context.events.send(event).await?;
        }
        Ok(ExtractOutcome::default())
    }
}

//! Reading a stream's table back. A blocking thread reads, at most a few batches ahead of whoever asks for them.

use std::sync::Arc;

use arrow::{array::RecordBatch, compute::cast, error::ArrowError};
use async_trait::async_trait;
use replication::{
    destination::DestinationError, scan::RowScan, source::Span, stream::StreamSchema,
};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::{
    session::{Session, defect},
    sql,
};

/// How many batches, of about two thousand rows, wait to be asked for.
const AHEAD: usize = 4;

/// Rows that a blocking thread reads.
#[derive(Debug)]
pub(crate) struct Scan {
    batches: Receiver<Result<Option<RecordBatch>, DestinationError>>,
    table: String,
}

impl Scan {
    /// Starts reading in a session, which ends with the last row, or when nobody asks any more.
    pub(crate) fn start(session: Session, schema: Arc<StreamSchema>, span: Option<Span>) -> Self {
        let (sender, batches) = channel(AHEAD);
        let table = schema.table().to_owned();
        drop(tokio::task::spawn_blocking(move || {
            let end = read(&session, &schema, span, &sender).map(|()| None);
            // Nobody listens any more: then nobody needs to know.
            sender.blocking_send(end).unwrap_or_default();
        }));
        Self { batches, table }
    }
}

#[async_trait]
impl RowScan for Scan {
    async fn next(&mut self) -> Result<Option<RecordBatch>, DestinationError> {
        // Without its last word the thread has come to grief: what came is not all.
        let broken = || Err(defect(format!("Reading the table `{}` broke off", self.table)));
        self.batches.recv().await.unwrap_or_else(broken)
    }
}

fn read(
    session: &Session,
    schema: &StreamSchema,
    span: Option<Span>,
    sender: &Sender<Result<Option<RecordBatch>, DestinationError>>,
) -> Result<(), DestinationError> {
    let doing = format!("read the table `{}`", schema.table());
    if !session.has_table(schema.table())? {
        return Ok(());
    }
    let query = sql::scan(&session.place, schema, span);
    let failed = |error| session.failed(&doing, error);
    let mut statement = session.connection.prepare(&query).map_err(failed)?;
    for batch in statement.stream_arrow([]).map_err(failed)? {
        let batch = typed(schema, &batch).map_err(|error| {
            defect(format!("The rows of `{}` have other types than they should", schema.table()))
                .caused_by(error)
        })?;
        if sender.blocking_send(Ok(Some(batch))).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Rows in the types of the schema: lists of DuckDB's own name their items otherwise.
fn typed(schema: &StreamSchema, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let wanted = schema.arrow();
    let columns = batch.columns().iter().zip(wanted.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast(column, field.data_type())
        }
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(&wanted), columns)
}

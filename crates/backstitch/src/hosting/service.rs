//! A process of the service: its store opened, its workers at work, its scheduler ticking, until a signal ends it.

use std::{fs, os::unix::fs::DirBuilderExt, path::Path, sync::Arc, time::Duration};

use chrono::{TimeDelta, Utc};
use destination_postgres::PostgresConfig;
use replication::claim::Holder;
use service::{
    Scheduler, SchedulerLimits, Store, StoreError,
    api::{ApiState, router, serve},
    host::Host,
    store::MigrationDue,
    worker::{Clock, LocalWorkers, WorkerOptions},
};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    declare, execute::Executor, guard::Guard, host::ServiceHost, housekeeping::keep_house,
    keys::KeyRing, listen::Listening, run_log::RunLogs,
};
use crate::{
    config::{Declaration, Integration, Secret, ServiceSettings, StoreAddress},
    exit::ExitStatus,
    failure::Failure,
    interrupt::{Interrupts, Signal},
};

/// The longest that the scheduler sleeps.
const LONGEST_SLEEP: TimeDelta = TimeDelta::seconds(5);
/// How long what remains after the runs may take.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// What a process does for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// All of it.
    Serve,
    /// Runs only.
    Work,
}

/// A process of the service.
pub(crate) struct Service {
    settings: ServiceSettings,
    store: Arc<Store>,
    host: Arc<ServiceHost>,
    logs: Arc<RunLogs>,
}

impl Service {
    /// Finds the keys and opens the store, which is made if it isn't there.
    ///
    /// # Errors
    /// When the data folder, the key file or the store can't be used.
    pub(crate) async fn open(
        settings: ServiceSettings,
        logs: Arc<RunLogs>,
    ) -> Result<Self, Failure> {
        make_folder(&settings.data_folder)?;
        let keys = KeyRing::find(settings.key_file.as_deref(), &settings.data_folder)?;
        let store = Arc::new(open_store(&settings.store).await?);
        let guard = Guard::new(&settings.allow_hosts);
        let folder = std::path::absolute(&settings.data_folder)
            .unwrap_or_else(|_| settings.data_folder.clone());
        let host = Arc::new(ServiceHost::new(&folder, keys, guard));
        Ok(Self { settings, store, host, logs })
    }

    /// Applies what the file declares. `confirmed` are the integrations whose changed start date is confirmed.
    ///
    /// # Errors
    /// When the store can't be used.
    pub(crate) async fn declare(
        &self,
        integrations: &[(Integration, Declaration)],
        confirmed: &[String],
    ) -> Result<(), Failure> {
        declare::apply(&self.store, &self.host, integrations, confirmed, Utc::now()).await?;
        self.reseal().await.map_err(|error| store_failure(&error))
    }

    /// Seals with the current key what an older one sealed.
    async fn reseal(&self) -> Result<(), StoreError> {
        let Some(current) = self.host.key_id() else { return Ok(()) };
        for integration in self.store.integrations().await? {
            for sealed in self.store.secrets(&integration.id).await? {
                if sealed.key_id == current {
                    continue;
                }
                let opened = self.host.open(&integration.id, &sealed);
                let resealed = opened
                    .and_then(|secret| self.host.seal(&integration.id, &sealed.name, &secret));
                match resealed {
                    Ok(resealed) => {
                        self.store.put_secret(&integration.id, &resealed, Utc::now()).await?;
                    }
                    Err(error) => {
                        tracing::error!(remedy = error.remedy, "`{}`: {error}", integration.name);
                    }
                }
            }
        }
        Ok(())
    }

    /// Works until a signal ends it; runs that are alive then are stopped where nothing is lost, and go on elsewhere.
    ///
    /// # Errors
    /// When signals can't be handled, or nobody may listen where it should.
    pub(crate) async fn run(self, role: Role) -> Result<Signal, Failure> {
        let Self { settings, store, host, logs } = self;
        let stop = CancellationToken::new();
        let interrupts = Interrupts::listen(stop.clone())?;
        let mirrors = TaskTracker::new();
        let executor = Executor {
            store: Arc::clone(&store),
            host: Arc::clone(&host),
            logs: Arc::clone(&logs),
            log_limits: settings.retention.logs,
            loads: settings.retention.loads,
            mirrors: mirrors.clone(),
        };
        let clock: Clock = Arc::new(Utc::now);
        let options = WorkerOptions {
            name: worker_name(),
            concurrency: settings.concurrency,
            lease: settings.lease,
        };
        let name = options.name.clone();
        let workers = LocalWorkers::new(Arc::clone(&store), executor, clock, options);
        let limits = SchedulerLimits {
            run_time: settings.run_time_limit,
            longest_sleep: LONGEST_SLEEP.min(settings.lease / 2),
            ..SchedulerLimits::default()
        };
        let scheduler = Scheduler::new(&store, &workers, limits).telling_the_dead(is_dead);
        let listening = match role {
            Role::Serve => Some(Listening::new(&settings).await?),
            Role::Work => None,
        };
        let place = listening.as_ref().map(|listening| format!(" at {}", listening.url()));
        tracing::info!(
            "Ready{}: `{}` works on up to {} runs at once; the control store is {}",
            place.unwrap_or_default(),
            short_name(&name),
            settings.concurrency,
            store.place()
        );
        if host.key_id().is_none() {
            tracing::info!(
                "There is no key, so secrets can come from the environment and from files only"
            );
        }
        let api = async {
            let Some(Listening { listener, options, api, .. }) = listening else { return };
            tell_how_to_sign_in(&store).await;
            let router = router(ApiState {
                store: Arc::clone(&store),
                host: Arc::clone(&host) as _,
                clock: Arc::new(Utc::now),
                wake: scheduler.waker(),
                stop: stop.clone(),
                options: api,
            });
            if !serve(listener, router, options, stop.clone()).await {
                tracing::warn!("Some requests did not end in time");
            }
        };
        let house = async {
            match role {
                Role::Serve => keep_house(&store, &settings, &stop).await,
                Role::Work => {}
            }
        };
        let runs = async {
            scheduler.run(Utc::now, &stop).await;
            tracing::info!("Stopping: no run is begun any more");
            if !workers.drain(settings.drain).await {
                tracing::warn!(
                    "Some runs did not stop in time; they go on when their leases have lapsed"
                );
            }
        };
        tokio::join!(runs, house, api);
        mirrors.close();
        if tokio::time::timeout(LAST_WORDS, mirrors.wait()).await.is_err() {
            tracing::warn!(
                "Some loads are not written into the control store yet; the next run does that"
            );
        }
        logs.drain(LAST_WORDS).await;
        tracing::info!("Stopped");
        Ok(interrupts.received().unwrap_or(Signal::Terminate))
    }
}

/// Tells how the first user is made, while there is none.
async fn tell_how_to_sign_in(store: &Store) {
    if store.users().await.is_ok_and(|users| users.is_empty()) {
        tracing::info!(
            "There is no user yet: make the first with `backstitch user new NAME`, with the same `--config` or `--store`"
        );
    }
}

/// The folder of what the service keeps, for nobody else.
fn make_folder(folder: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| {
        Failure::configuration(format!("The data folder `{}` can't be made", folder.display()))
            .caused_by(&error)
            .with_hint("Name another one with `data_dir` in `[service]`")
    })
}

/// Opens the control store.
///
/// # Errors
/// When it can't be opened.
pub(crate) async fn open_store(address: &StoreAddress) -> Result<Store, Failure> {
    let now = Utc::now();
    let store = match address {
        StoreAddress::File(path) => {
            if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                make_folder(folder)?;
            }
            Store::sqlite(path, now).await
        }
        StoreAddress::Postgres(url, password) => {
            let (config, tls) = client(url, password.as_ref())?;
            Box::pin(Store::postgres(config, tls, now)).await
        }
    };
    store.map_err(|error| store_failure(&error))
}

/// Opens the control store to look at it only. Its tables may be older than this program's.
///
/// # Errors
/// When it can't be opened.
pub(crate) async fn look_at_store(
    address: &StoreAddress,
) -> Result<(Store, Option<MigrationDue>), Failure> {
    let found = match address {
        StoreAddress::File(path) => Store::look_at_sqlite(path).await,
        StoreAddress::Postgres(url, password) => {
            let (config, tls) = client(url, password.as_ref())?;
            Box::pin(Store::look_at_postgres(config, tls)).await
        }
    };
    found.map_err(|error| store_failure(&error))
}

/// How a control store in PostgreSQL is connected to.
fn client(
    url: &str,
    password: Option<&Secret>,
) -> Result<(tokio_postgres::Config, Option<MakeRustlsConnect>), Failure> {
    let failed = |error| Failure::from(&error);
    let config = PostgresConfig::parse(url, "backstitch").map_err(failed)?;
    let config = match password {
        Some(password) => config.with_password(password.read("The control store's password")?),
        None => config.password_from_environment().map_err(failed)?,
    };
    config.client().map_err(failed)
}

/// A failure of the control store.
pub(super) fn store_failure(error: &StoreError) -> Failure {
    let exit = match error {
        StoreError::Unavailable { .. } | StoreError::Refused { .. } => ExitStatus::Destination,
        _ => ExitStatus::Configuration,
    };
    Failure::new(exit, error.to_string()).caused_by(error).with_hint(error.remedy())
}

/// The name of this process's workers, for people and for telling it from others; and what tells on its machine whether it
/// still lives.
fn worker_name() -> String {
    let Holder { host, pid, incarnation, .. } = Holder::current("");
    format!("{host}/{pid}/{}/{incarnation}", hex::encode(rand::random::<[u8; 3]>()))
}

/// The part of a worker's name that is for people.
pub(crate) fn short_name(worker: &str) -> &str {
    worker.match_indices('/').nth(2).and_then(|(end, _)| worker.get(..end)).unwrap_or(worker)
}

/// Whether a worker is known to be dead: its process ran on this machine and doesn't any more.
fn is_dead(worker: &str) -> bool {
    let mut parts = worker.splitn(4, '/');
    let (Some(host), Some(pid), Some(_), Some(incarnation)) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(pid) = pid.parse() else { return false };
    let (host, incarnation) = (host.to_owned(), incarnation.to_owned());
    Holder { host, pid, incarnation, run_id: String::new() }.is_dead()
}

//! `backstitch serve` and `backstitch work`: the service, and further workers for it.

use std::{path::Path, sync::Arc};

use crate::{
    command_line::{ServeArguments, ServiceArguments, WorkArguments},
    config::{self, Configuration, LogForm, StoreAddress},
    exit::ExitStatus,
    failure::Failure,
    hosting::{Role, RunLogLayer, RunLogs, Service},
    pipeline, telemetry,
};

/// Runs `serve`.
///
/// # Errors
/// When the service can't start.
pub(crate) fn execute(arguments: &ServeArguments) -> Result<ExitStatus, Failure> {
    let mut configuration = configured(&arguments.service)?;
    if let Some(listen) = arguments.listen {
        configuration.service.listen = listen;
    }
    host(configuration, Role::Serve, &arguments.reset_start_date)
}

/// Runs `work`.
///
/// # Errors
/// When the worker can't start, or the store is a file of this machine's.
pub(crate) fn work(arguments: &WorkArguments) -> Result<ExitStatus, Failure> {
    let configuration = configured(&arguments.service)?;
    if let StoreAddress::File(path) = &configuration.service.store {
        let message = format!(
            "The control store `{}` is a file, which `backstitch serve` works on alone",
            path.display()
        );
        return Err(Failure::configuration(message).with_hint(
            "Use a PostgreSQL database for several machines, or raise `concurrency` in `[service]`",
        ));
    }
    host(configuration, Role::Work, &[])
}

/// The file's configuration, with the store that the command line names.
///
/// # Errors
/// When either is wrong.
pub(super) fn configured_by(
    config: Option<&Path>,
    store: Option<&str>,
) -> Result<Configuration, Failure> {
    let mut configuration = match config {
        Some(path) => config::load_all(path)?,
        None if Path::new(config::FILE).exists() => config::load_all(Path::new(config::FILE))?,
        None => config::without_file(Path::new("")),
    };
    if let Some(store) = store {
        configuration.service.store = StoreAddress::from_argument(store)?;
    }
    Ok(configuration)
}

/// The configuration, with what the command line says on top.
///
/// # Errors
/// When either is wrong.
fn configured(arguments: &ServiceArguments) -> Result<Configuration, Failure> {
    let (config, store) = (arguments.config.as_deref(), arguments.store.as_deref());
    let mut configuration = configured_by(config, store)?;
    if arguments.log_json {
        configuration.service.log_form = LogForm::Json;
    }
    Ok(configuration)
}

fn host(
    configuration: Configuration,
    role: Role,
    confirmed: &[String],
) -> Result<ExitStatus, Failure> {
    let Configuration { integrations, service: settings } = configuration;
    let logs = Arc::new(RunLogs::default());
    let layer = RunLogLayer::new(Arc::clone(&logs));
    telemetry::start_service(settings.log_form, layer, settings.log_level)?;
    let signal = pipeline::block_on(async {
        let service = Service::open(settings, logs).await?;
        if role == Role::Serve {
            service.declare(&integrations, confirmed).await?;
        }
        service.run(role).await
    })?;
    Ok(ExitStatus::Interrupted(signal))
}

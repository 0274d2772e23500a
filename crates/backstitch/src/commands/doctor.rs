//! `backstitch doctor`: looks at an installation of the service, and says what is wrong with it and how to mend it.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::{statfs, statvfs};
use serde_json::{Value, json};
use service::{
    Store, StoreError,
    run::RunState,
    store::{MigrationDue, SealedSecret},
};
use tokio::time::timeout;

use super::serve::configured_by;
use crate::{
    command_line::DoctorArguments,
    config::{Configuration, DestinationAddress, Integration, ServiceSettings, StoreAddress},
    connect, display,
    exit::ExitStatus,
    failure::Failure,
    hosting::{KEY_FILE_VARIABLE, KeyRing, look_at_store, short_name},
    pipeline, telemetry,
};

/// Less free space than this is too little to go on for long, in bytes.
const LITTLE_SPACE: u64 = 1 << 30;
/// How long a destination may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);
/// By how much two clocks may differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(5);
/// How long a run may wait for a worker.
const WAIT: TimeDelta = TimeDelta::minutes(5);
/// Kinds of file systems of other machines, whose locks are not always locks: NFS, SMB and others in user space.
const REMOTE: [u64; 5] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x6573_5546];

/// One thing that was looked at.
#[derive(Debug)]
struct Finding {
    what: String,
    verdict: Verdict,
    message: String,
    remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    /// It works, and may not for long, or not as well as it should.
    Doubtful,
    /// It doesn't work; with this exit code.
    Bad(ExitStatus),
}

impl Finding {
    fn good(what: impl Into<String>, message: impl Into<String>) -> Self {
        let (what, message) = (what.into(), message.into());
        Self { what, verdict: Verdict::Good, message, remedy: String::new() }
    }

    fn doubtful(
        what: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        let (what, message, remedy) = (what.into(), message.into(), remedy.into());
        Self { what, verdict: Verdict::Doubtful, message, remedy }
    }

    fn bad(what: impl Into<String>, failure: &Failure) -> Self {
        Self {
            what: what.into(),
            verdict: Verdict::Bad(failure.exit()),
            message: failure.sentence(),
            remedy: failure.remedy().to_owned(),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When nothing can be looked at. What is wrong is part of what is shown, and decides the exit status.
pub(crate) fn execute(arguments: &DoctorArguments) -> Result<ExitStatus, Failure> {
    telemetry::start(None)?;
    let found = match configured_by(arguments.config.as_deref(), arguments.store.as_deref()) {
        Ok(configuration) => pipeline::block_on(async { Ok(examine(&configuration).await) })?,
        Err(failure) => vec![Finding::bad("Configuration", &failure)],
    };
    if arguments.json {
        display::print_json(&to_json(&found))?;
    } else {
        display::print(&to_text(&found))?;
    }
    let bad = found.iter().find_map(|finding| match finding.verdict {
        Verdict::Bad(exit) => Some(exit),
        Verdict::Good | Verdict::Doubtful => None,
    });
    Ok(bad.unwrap_or(ExitStatus::Done))
}

async fn examine(configuration: &Configuration) -> Vec<Finding> {
    let Configuration { integrations, service: settings } = configuration;
    let mut found = vec![Finding::good(
        "Configuration",
        format!("It declares {} integrations", integrations.len()),
    )];
    found.extend(data_folder(settings));
    let keys = KeyRing::find(settings.key_file.as_deref(), &settings.data_folder);
    match &keys {
        Ok(Some(keys)) => {
            found.push(Finding::good("Key", format!("Secrets are sealed with {}", keys.current_id())));
        }
        Ok(None) => found.push(Finding::doubtful(
            "Key",
            "There is no key, so the service can't store secrets; those in the environment and in files work",
            format!("Make one with `backstitch key new FILE`, and name it in `{KEY_FILE_VARIABLE}`"),
        )),
        Err(failure) => found.push(Finding::bad("Key", failure)),
    }
    found.extend(control_store(settings, keys.ok().flatten().as_ref()).await);
    for (integration, _) in integrations {
        found.extend(one_integration(integration).await);
    }
    found
}

/// Whether the data folder can be written, is for nobody else, and has room.
fn data_folder(settings: &ServiceSettings) -> Vec<Finding> {
    let what = "Data folder";
    let folder = &settings.data_folder;
    if !folder.exists() {
        let message =
            format!("`{}` is not there yet; `backstitch serve` makes it", folder.display());
        return vec![Finding::good(what, message)];
    }
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let written = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    if let Err(error) = written {
        let message = format!("`{}` can't be written", folder.display());
        let failure = Failure::configuration(message).caused_by(&error);
        let hint = "Run the service as the owner of the folder, or name another one with `data_dir` in `[service]`";
        return vec![Finding::bad(what, &failure.with_hint(hint))];
    }
    let mut found = vec![Finding::good(what, format!("`{}` can be written", folder.display()))];
    if let Ok(metadata) = fs::metadata(folder)
        && metadata.mode() & 0o077 != 0
    {
        found.push(Finding::doubtful(
            what,
            format!("Others on this machine may look into `{}`", folder.display()),
            format!("Forbid that with `chmod 700 {}`", folder.display()),
        ));
    }
    found.extend(space(what, folder));
    found
}

fn space(what: &str, folder: &Path) -> Option<Finding> {
    let free = statvfs(folder).ok().map(|space| space.f_bavail.saturating_mul(space.f_frsize))?;
    (free < LITTLE_SPACE).then(|| {
        Finding::doubtful(
            what,
            format!("Only {} MiB are free at `{}`", free >> 20, folder.display()),
            "Make room, or keep less: `[service.retention]`",
        )
    })
}

async fn control_store(settings: &ServiceSettings, keys: Option<&KeyRing>) -> Vec<Finding> {
    let what = "Control store";
    if let StoreAddress::File(path) = &settings.store
        && !path.exists()
    {
        let message = format!("`{}` is not there yet; `backstitch serve` makes it", path.display());
        return vec![Finding::good(what, message)];
    }
    let (store, due) = match timeout(DEADLINE, look_at_store(&settings.store)).await {
        Ok(Ok(found)) => found,
        Ok(Err(failure)) => return vec![Finding::bad(what, &failure)],
        Err(_) => {
            let failure = Failure::new(ExitStatus::Destination, "It does not answer");
            return vec![Finding::bad(
                what,
                &failure.with_hint("See that its server runs and can be reached"),
            )];
        }
    };
    if let Some(MigrationDue { found, known }) = due {
        let message = format!(
            "It is {}, with tables of version {found}; this program works on version {known}",
            store.place()
        );
        let remedy =
            "Make a copy of it; then start `backstitch serve`, which brings the tables up to date";
        return vec![Finding::doubtful(what, message, remedy)];
    }
    let mut found = vec![Finding::good(what, format!("It is {}, and up to date", store.place()))];
    match in_the_store(&store, keys, Utc::now()).await {
        Ok(more) => found.extend(more),
        Err(error) => {
            let failure = Failure::new(ExitStatus::Destination, error.to_string());
            found.push(Finding::bad(what, &failure.with_hint(error.remedy())));
        }
    }
    found
}

/// Secrets that can't be opened, schedules that can't be read, claims that nobody keeps, and a clock that was set back.
async fn in_the_store(
    store: &Store,
    keys: Option<&KeyRing>,
    now: DateTime<Utc>,
) -> Result<Vec<Finding>, StoreError> {
    let mut found = Vec::new();
    let mut latest: Option<DateTime<Utc>> = None;
    for integration in store.integrations().await? {
        let what = format!("`{}`", integration.name);
        latest = latest.max(Some(integration.updated_at));
        if let Some(fault) = &integration.schedule_fault {
            found.push(Finding::doubtful(&what, fault, "Set its schedule anew"));
        }
        for sealed in store.secrets(&integration.id).await? {
            found.extend(sealed_secret(&what, &integration.id, &sealed, keys));
        }
        let Some(run) = store.last_run(&integration.id).await? else { continue };
        latest = latest.max(Some(run.begun_at));
        let worker = run.worker.as_deref().map_or("nobody", short_name);
        match run.state {
            RunState::Running if run.lease_expires_at.is_some_and(|end| end < now) => {
                found.push(Finding::doubtful(
                    &what,
                    format!("Its run `{}` is claimed by {worker}, who is not heard of any more", run.id),
                    "Start `backstitch serve`: it takes the run over, and nothing is lost",
                ));
            }
            RunState::Due if now - run.begun_at > WAIT => found.push(Finding::doubtful(
                &what,
                format!("Its run `{}` waits for a worker since {}", run.id, display::instant(Some(run.begun_at))),
                "Start `backstitch serve` or `backstitch work`, or raise `concurrency` in `[service]`",
            )),
            _ => {}
        }
    }
    match latest {
        Some(latest) if latest > now + CLOCKS => found.push(Finding::doubtful(
            "Clock",
            format!(
                "The control store knows of {}, which is yet to come",
                display::instant(Some(latest))
            ),
            "Set this machine's clock, and keep it by NTP",
        )),
        _ => found.push(Finding::good("Clock", format!("It is {}", display::instant(Some(now))))),
    }
    Ok(found)
}

fn sealed_secret(
    what: &str,
    integration_id: &str,
    sealed: &SealedSecret,
    keys: Option<&KeyRing>,
) -> Option<Finding> {
    let name = &sealed.name;
    let Some(keys) = keys else {
        let failure =
            Failure::configuration(format!("Its secret `{name}` is sealed, and there is no key"));
        let hint = format!("Name the key file in `{KEY_FILE_VARIABLE}`");
        return Some(Finding::bad(what, &failure.with_hint(hint)));
    };
    let error = keys.open(integration_id, sealed).err()?;
    Some(Finding::bad(what, &Failure::configuration(error.message).with_hint(error.remedy)))
}

/// Whether an integration's secrets are there, and its destination answers.
async fn one_integration(integration: &Integration) -> Vec<Finding> {
    let what = format!("`{}`", integration.name);
    let warnings = integration.warnings.iter();
    let mut found: Vec<Finding> =
        warnings.map(|warning| Finding::doubtful(&what, warning, "")).collect();
    if let Err(failure) = connect::source(integration) {
        found.push(Finding::bad(&what, &failure));
    }
    if let DestinationAddress::DuckDb(path) = &integration.destination {
        found.extend(file(&what, path));
    }
    let target = integration.target().and_then(|target| connect::destination(&target));
    let destination = match target {
        Ok(destination) => destination,
        Err(failure) => {
            found.push(Finding::bad(&what, &failure));
            return found;
        }
    };
    let Ok(steps) = timeout(DEADLINE, destination.check()).await else {
        let failure = Failure::new(ExitStatus::Destination, "Its destination does not answer");
        found.push(Finding::bad(&what, &failure.with_hint("See that it runs and can be reached")));
        return found;
    };
    let failed = steps.iter().find_map(|step| Some((step, step.result.as_ref().err()?)));
    found.push(match failed {
        None => Finding::good(&what, format!("{} answers", destination.describe())),
        Some((step, failure)) => {
            let message = format!("{}: {}", step.name, failure.message);
            let failure = Failure::new(ExitStatus::Destination, message).with_hint(&failure.remedy);
            Finding::bad(&what, &failure)
        }
    });
    found
}

/// Whether a DuckDB file is where its lock holds, and has room.
fn file(what: &str, path: &Path) -> Vec<Finding> {
    let folder = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let folder = if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder };
    let kind = statfs(&folder).ok().and_then(|found| u64::try_from(found.f_type).ok());
    let remote = kind.filter(|kind| REMOTE.contains(&(kind & 0xffff_ffff))).map(|_| {
        Finding::doubtful(
            what,
            format!(
                "`{}` is on a file system of another machine, where locks may not hold",
                path.display()
            ),
            "Keep DuckDB files on a disk of this machine",
        )
    });
    remote.into_iter().chain(space(what, &folder)).collect()
}

fn to_text(found: &[Finding]) -> String {
    let mut text = String::new();
    for finding in found {
        let mark = match finding.verdict {
            Verdict::Good => '✓',
            Verdict::Doubtful => '!',
            Verdict::Bad(_) => '✗',
        };
        text.push_str(&format!("{mark} {}: {}\n", finding.what, finding.message));
        if !finding.remedy.is_empty() {
            text.push_str(&format!("  hint: {}\n", finding.remedy));
        }
    }
    let count =
        |is_so: fn(Verdict) -> bool| found.iter().filter(|finding| is_so(finding.verdict)).count();
    let bad = count(|verdict| matches!(verdict, Verdict::Bad(_)));
    let doubtful = count(|verdict| verdict == Verdict::Doubtful);
    text.push_str(&match (bad, doubtful) {
        (0, 0) => "All is well\n".to_owned(),
        _ => format!("{bad} wrong, {doubtful} doubtful\n"),
    });
    text
}

fn to_json(found: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        let (verdict, exit) = match finding.verdict {
            Verdict::Good => ("good", None),
            Verdict::Doubtful => ("doubtful", None),
            Verdict::Bad(exit) => ("bad", Some(exit.number())),
        };
        json!({
            "what": finding.what,
            "verdict": verdict,
            "exit_code": exit,
            "message": finding.message,
            "hint": Some(&finding.remedy).filter(|remedy| !remedy.is_empty()),
        })
    };
    json!({ "findings": found.iter().map(one).collect::<Vec<_>>() })
}

//! Integrations as somebody wants them to be: what of it is checked here, and what the program around the service says.

use chrono::{DateTime, Months, NaiveTime, Utc};
use secrecy::SecretString;

use super::{
    Api,
    problem::{Fault, Kind, Problem},
    schema::{did_you_mean, nearest},
};
use crate::{
    host::{Draft, Inspected, Secrets},
    integration::{Integration, Origin},
    store::SealedSecret,
};

/// The longest name, in characters.
const LONGEST_NAME: usize = 200;

/// A name that people can read: no control characters, no directions that turn the text around, not only space.
pub(super) fn name(text: &str) -> Result<&str, Problem> {
    let turns = |letter: char| matches!(letter, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let fault = if text.trim().is_empty() {
        "`name` is empty".to_owned()
    } else if text.trim() != text {
        "`name` begins or ends with a space".to_owned()
    } else if text.chars().count() > LONGEST_NAME {
        format!("`name` has more than {LONGEST_NAME} characters")
    } else if text.chars().any(|letter| letter.is_control() || turns(letter)) {
        "`name` has characters that can't be seen".to_owned()
    } else {
        return Ok(text);
    };
    let remedy = "Choose a name like `Stitch Bronto`";
    Err(Problem::invalid(vec![Fault::new("/name", fault, remedy)]))
}

/// The start date that is wanted, or a year back, at midnight.
pub(super) fn start_date(
    wanted: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Problem> {
    let year_ago = now.checked_sub_months(Months::new(12)).unwrap_or(now);
    let Some(date) = wanted else {
        return Ok(year_ago.with_time(NaiveTime::MIN).single().unwrap_or(year_ago));
    };
    if date > now || date < DateTime::UNIX_EPOCH {
        let remedy = "Give the date from which to read, such as `2025-11-24T00:00:00Z`";
        let fault = Fault::new("/start_date", "`start_date` must lie between 1970 and now", remedy);
        return Err(Problem::invalid(vec![fault]));
    }
    Ok(date)
}

/// Has a draft looked at.
pub(super) fn inspect(api: &Api, draft: &Draft<'_>) -> Result<Inspected, Problem> {
    api.host
        .inspect(draft)
        .map_err(|errors| Problem::invalid(errors.into_iter().map(Fault::from).collect()))
}

/// A draft of an integration that is stored, with other settings and secrets.
pub(super) fn draft<'d>(
    integration: &'d Integration,
    settings: &'d serde_json::Map<String, serde_json::Value>,
    secrets: &'d Secrets,
) -> Draft<'d> {
    Draft {
        name: &integration.name,
        schema_name: Some(&integration.schema_name),
        origin: integration.origin,
        settings,
        secrets,
    }
}

/// Refuses secrets that nothing asks for. Those that are missing are told by who looks at the draft: some are not needed.
pub(super) fn match_secrets(inspected: &Inspected, given: &Secrets) -> Result<(), Problem> {
    let places = &inspected.secret_places;
    let needless = given.keys().filter(|name| !places.contains_key(*name)).map(|name| {
        let detail = format!("The settings ask for no secret `{name}`");
        let nearest = nearest(name, places.keys().map(String::as_str));
        Fault::new(secret_pointer(name), detail, did_you_mean(nearest))
    });
    let faults: Vec<Fault> = needless.collect();
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

fn secret_pointer(name: &str) -> String {
    format!("/secrets/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// What an edit is to become, with all secrets that it will have.
pub(super) struct Revised {
    pub(super) inspected: Inspected,
    /// All secrets, for a check.
    pub(super) secrets: Secrets,
}

/// Has other settings and secrets of an integration looked at. A secret that is stored goes with them only where it is
/// sent to the same place as before: else whoever changes an address would be sent the secret of another.
pub(super) async fn revise(
    api: &Api,
    old: &Integration,
    settings: &serde_json::Map<String, serde_json::Value>,
    given: &Secrets,
) -> Result<Revised, Problem> {
    // One that is given anew may be one that can't be opened any more.
    let stored = open_but(api, &old.id, given).await?;
    let mut secrets = stored;
    secrets.extend(given.iter().map(|(name, secret)| (name.clone(), secret.clone())));
    // Settings that can't be read any more say nothing of where their secrets were sent.
    let before = api.host.inspect(&draft(old, &old.settings, &secrets)).ok();
    let places = before.map(|before| before.secret_places).unwrap_or_default();
    let inspected = inspect(api, &draft(old, settings, &secrets))?;
    let moved = |name: &String, place: &String| {
        !given.contains_key(name) && places.get(name).is_none_or(|before| before != place)
    };
    let faults: Vec<Fault> = inspected
        .secret_places
        .iter()
        .filter(|(name, place)| secrets.contains_key(*name) && moved(name, place))
        .map(|(name, place)| {
            let detail = format!("The secret `{name}` would be sent to another place: {place}");
            Fault::new(secret_pointer(name), detail, "Give it anew in `secrets`")
        })
        .collect();
    if !faults.is_empty() {
        return Err(Problem::invalid(faults));
    }
    secrets
        .retain(|name, _| given.contains_key(name) || inspected.secret_places.contains_key(name));
    match_secrets(&inspected, &secrets)?;
    Ok(Revised { inspected, secrets })
}

/// Opens the secrets of an integration.
pub(super) async fn open(api: &Api, integration_id: &str) -> Result<Secrets, Problem> {
    open_but(api, integration_id, &Secrets::new()).await
}

/// Opens the secrets of an integration, but for those that are given otherwise.
async fn open_but(api: &Api, integration_id: &str, given: &Secrets) -> Result<Secrets, Problem> {
    let mut secrets = Secrets::new();
    for sealed in api.store.secrets(integration_id).await? {
        if given.contains_key(&sealed.name) {
            continue;
        }
        let secret: SecretString = api
            .host
            .open(integration_id, &sealed)
            .map_err(|error| Problem::invalid(vec![error.into()]))?;
        secrets.insert(sealed.name, secret);
    }
    Ok(secrets)
}

/// Seals secrets of an integration.
pub(super) fn seal(
    api: &Api,
    integration_id: &str,
    secrets: &Secrets,
) -> Result<Vec<SealedSecret>, Problem> {
    let seal = |(name, secret): (&String, &SecretString)| {
        let sealed = api.host.seal(integration_id, name, secret);
        sealed.map_err(|error| Problem::invalid(vec![error.into()]))
    };
    secrets.iter().map(seal).collect()
}

/// An integration that may be changed here: there, and not declared in a file.
pub(super) async fn changeable(api: &Api, id: &str) -> Result<Integration, Problem> {
    let integration = existing(api, id).await?;
    if integration.origin == Origin::File {
        let detail = format!("`{}` is declared in a file on the host", integration.name);
        return Err(Problem::new(Kind::ReadOnly, detail));
    }
    Ok(integration)
}

/// An integration that may be deleted here: one that no file declares any more is nobody else's.
pub(super) async fn deletable(api: &Api, id: &str) -> Result<Integration, Problem> {
    let integration = existing(api, id).await?;
    if integration.undeclared_at.is_some() { Ok(integration) } else { changeable(api, id).await }
}

/// An integration that is not deleted.
pub(super) async fn existing(api: &Api, id: &str) -> Result<Integration, Problem> {
    let integration = api.store.integration(id).await?;
    if integration.deleted_at.is_some() {
        let detail = format!("The integration `{}` is deleted", integration.name);
        return Err(Problem::new(Kind::NotFound, detail).remedy("Make a new one"));
    }
    Ok(integration)
}

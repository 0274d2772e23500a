//! What the configuration file declares, brought into the control store: as often as the service starts, with the same
//! outcome.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use service::{
    Store, StoreError,
    host::{Host, Secrets},
    integration::{Integration as StoredIntegration, IntegrationEdit, NewIntegration, Origin},
};

use super::host::ServiceHost;
use crate::{
    config::{Declaration, Integration},
    failure::Failure,
    hosting::service::store_failure,
};

/// An integration that a file declares.
struct Declared {
    new: NewIntegration,
    secrets: Secrets,
    /// The start date that the file has, where it is another than the stored one.
    other_start_date: Option<DateTime<Utc>>,
}

/// Applies a file's integrations. Those that can't be are told of, and keep no other from being applied. `confirmed` are
/// the names of those whose changed start date is confirmed.
///
/// # Errors
/// When the store can't be used.
pub(super) async fn apply(
    store: &Arc<Store>,
    host: &ServiceHost,
    integrations: &[(Integration, Declaration)],
    confirmed: &[String],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let known = store.integrations().await.map_err(|error| store_failure(&error))?;
    let seals = host.key_id().is_some();
    let (mut declared, mut kept) = (Vec::new(), Vec::new());
    for (integration, declaration) in integrations {
        for warning in &integration.warnings {
            tracing::warn!("`{}`: {warning}", integration.name);
        }
        match declaration.stored(integration, seals) {
            Ok((settings, secrets)) => {
                let old = known.iter().find(|old| old.name == integration.name);
                declared.push(declare(integration, settings, secrets, old, now));
            }
            Err(error) => {
                tracing::error!(
                    remedy = error.remedy,
                    "`{}` stays as it was, if it was there: {error}",
                    integration.name
                );
                kept.push(integration.name.as_str());
            }
        }
    }
    let news: Vec<NewIntegration> = declared.iter().map(|declared| declared.new.clone()).collect();
    let refused = store.declare_integrations(&news, &kept, now).await;
    for (name, error) in refused.map_err(|error| store_failure(&error))? {
        tracing::error!(remedy = error.remedy(), "`{name}` can't be taken from the file: {error}");
    }
    let stored = store.integrations().await.map_err(|error| store_failure(&error))?;
    for Declared { new, secrets, other_start_date } in &declared {
        let Some(stored) =
            stored.iter().find(|stored| stored.name == new.name && stored.origin == Origin::File)
        else {
            continue;
        };
        keep_secrets(store, host, stored, secrets, now)
            .await
            .map_err(|error| store_failure(&error))?;
        if let Some(start_date) = other_start_date {
            reset(store, host, stored, *start_date, confirmed, now).await?;
        }
    }
    for name in confirmed {
        if !news.iter().any(|new| new.name == *name) {
            tracing::warn!("There is no `{name}` whose start date could be reset");
        }
    }
    Ok(())
}

fn declare(
    integration: &Integration,
    settings: serde_json::Map<String, serde_json::Value>,
    secrets: Secrets,
    old: Option<&StoredIntegration>,
    now: DateTime<Utc>,
) -> Declared {
    let wanted = integration.source.start_date();
    // The default is of the day on which the integration was made, and stays.
    let kept = old.map(|old| old.start_date);
    let new = NewIntegration {
        name: integration.name.clone(),
        schema_name: integration.schema.to_string(),
        origin: Origin::File,
        settings,
        schedule: integration.schedule.clone(),
        start_date: kept.or(wanted).unwrap_or_else(|| tap_bronto::default_start_date(now)),
    };
    let other_start_date = wanted.filter(|wanted| kept.is_some_and(|kept| kept != *wanted));
    Declared { new, secrets, other_start_date }
}

/// Stores the secrets that stood in the file, sealed, where they are new.
async fn keep_secrets(
    store: &Store,
    host: &ServiceHost,
    stored: &StoredIntegration,
    secrets: &Secrets,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    use secrecy::ExposeSecret;
    let mut sealed = store.secrets(&stored.id).await?;
    // One that the file no longer has came from it.
    if sealed.iter().any(|sealed| !secrets.contains_key(&sealed.name)) {
        store.forget_secrets(&stored.id).await?;
        sealed.clear();
    }
    for (name, secret) in secrets {
        let known = sealed.iter().find(|sealed| sealed.name == *name);
        let is_known = known
            .and_then(|sealed| host.open(&stored.id, sealed).ok())
            .is_some_and(|known| known.expose_secret() == secret.expose_secret());
        if is_known {
            continue;
        }
        match host.seal(&stored.id, name, secret) {
            Ok(sealed) => store.put_secret(&stored.id, &sealed, now).await?,
            Err(error) => tracing::error!(
                remedy = error.remedy,
                "`{}`: its `{name}` stands in the file and can't be stored: {error}",
                stored.name
            ),
        }
    }
    Ok(())
}

/// Another start date reads all tables again, so it is taken only when somebody says so.
async fn reset(
    store: &Store,
    host: &ServiceHost,
    stored: &StoredIntegration,
    start_date: DateTime<Utc>,
    confirmed: &[String],
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let name = &stored.name;
    let consequences = host.reset_consequences(stored, start_date).await.join(" ");
    if !confirmed.contains(name) {
        tracing::warn!(
            "The start date of `{name}` is another in the file, and is not taken yet. {consequences} Start once with \
             `backstitch serve --reset-start-date \"{name}\"` to confirm that, or put {} back",
            stored.start_date.to_rfc3339()
        );
        return Ok(());
    }
    let edit = IntegrationEdit { start_date: Some(start_date), ..IntegrationEdit::default() };
    store
        .edit_integration(&stored.id, stored.version, &edit, now)
        .await
        .map_err(|error| store_failure(&error))?;
    tracing::warn!("The start date of `{name}` is changed. {consequences}");
    Ok(())
}

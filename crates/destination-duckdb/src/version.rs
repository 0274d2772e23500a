//! Versions of full tables: counted, and activated.

use chrono::{DateTime, Utc};
use replication::{
    destination::{ActivationOutcome, DestinationError, VersionCounts},
    stream::StreamSchema,
};

use crate::{
    session::Session,
    sql::{self, waiting_table},
    table::growth,
};

/// How many rows wait, and how many are live.
pub(crate) fn counts(
    session: &Session,
    schema: &StreamSchema,
    since: Option<DateTime<Utc>>,
) -> Result<VersionCounts, DestinationError> {
    let count = |table: &str| if session.has_table(table)? { session.count(table) } else { Ok(0) };
    let live = schema.table();
    let live = match since.and_then(|since| sql::before(schema, since)) {
        Some(before) if session.has_table(live)? => {
            let query = sql::count_others(&session.place, live, &before);
            let [live] = session.counts(&query, &format!("count the rows of `{live}`"))?;
            live
        }
        _ => count(live)?,
    };
    Ok(VersionCounts { waiting: count(&waiting_table(schema.table()))?, live })
}

/// Replaces the live rows by those that wait.
pub(crate) fn activate(
    session: &Session,
    schema: &StreamSchema,
    since: Option<DateTime<Utc>>,
) -> Result<ActivationOutcome, DestinationError> {
    let place = &session.place;
    let (live, waiting) = (schema.table(), waiting_table(schema.table()));
    let doing = format!("activate the new version of `{live}`");
    let before = session.count(live)?;
    let mut outcome = ActivationOutcome::default();
    if schema.is_keyed() {
        let stays = since.and_then(|since| sql::before(schema, since));
        let compare = sql::compare_versions(place, &waiting, live, schema, stays.as_deref());
        [outcome.inserted, outcome.updated, outcome.unchanged, outcome.deleted] =
            session.counts(&compare, &doing)?;
        let delete = match &stays {
            Some(before) => sql::delete_replaced(place, &waiting, live, schema, before),
            None => sql::delete_all(place, live),
        };
        session.run(&delete, &doing)?;
        session.run(&sql::copy_version(place, &waiting, live, schema), &doing)?;
    } else {
        outcome.deleted = session.execute(&sql::delete_all(place, live), [], &doing)?;
        outcome.inserted =
            session.execute(&sql::copy_version(place, &waiting, live, schema), [], &doing)?;
    }
    outcome.growth = growth(before, session.count(live)?)?;
    session.run(&sql::drop_table(place, &waiting), &doing)?;
    Ok(outcome)
}

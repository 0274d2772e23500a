//! Versions of full tables: counted, and activated.

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
) -> Result<VersionCounts, DestinationError> {
    let count = |table: &str| if session.has_table(table)? { session.count(table) } else { Ok(0) };
    Ok(VersionCounts {
        waiting: count(&waiting_table(schema.table()))?,
        live: count(schema.table())?,
    })
}

/// Replaces the live rows by those that wait.
pub(crate) fn activate(
    session: &Session,
    schema: &StreamSchema,
) -> Result<ActivationOutcome, DestinationError> {
    let place = &session.place;
    let (live, waiting) = (schema.table(), waiting_table(schema.table()));
    let doing = format!("activate the new version of `{live}`");
    let before = session.count(live)?;
    let mut outcome = ActivationOutcome::default();
    if schema.is_keyed() {
        let compare = sql::compare_versions(place, &waiting, live, schema);
        [outcome.inserted, outcome.updated, outcome.unchanged, outcome.deleted] =
            session.counts(&compare, &doing)?;
        session.run(&sql::delete_all(place, live), &doing)?;
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

//! The books: figures from independent counts that must agree before a unit is committed.
//!
//! - source: `read = emitted + out_of_window + repeated`
//! - channel: `emitted = received`
//! - loader: `received = winners + superseded + rejected`
//! - destination: `winners = inserted + updated + unchanged + superseded`, by the database's own row counts
//! - rejects: every one of them is in `_sdc_rejected`, counted apart from the insert; of those that are replayed every one
//!   is marked, or one again
//! - table: `growth = inserted - deleted`, counted apart from the figures above

use crate::{
    destination::{ActivationOutcome, ChildOutcome, MergeOutcome, RetractionOutcome},
    ledger::LoadCounts,
    unit::TableLoad,
};

/// Figures that don't agree. Nothing of the unit was committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("The books of `{table}` don't balance: {left_name} is {left}, but {right_name} is {right}")]
pub struct BooksError {
    /// The table.
    pub table: String,
    /// What one side is.
    pub left_name: &'static str,
    /// Its figure.
    pub left: i128,
    /// What the other side is.
    pub right_name: &'static str,
    /// Its figure.
    pub right: i128,
}

fn agree(
    table: &str,
    (left_name, left): (&'static str, i128),
    (right_name, right): (&'static str, i128),
) -> Result<(), BooksError> {
    if left == right {
        return Ok(());
    }
    Err(BooksError { table: table.to_owned(), left_name, left, right_name, right })
}

/// Checks the source's account against what was received, and that against what the loader made of it.
pub(crate) fn check_load(load: &TableLoad) -> Result<(), BooksError> {
    let table = load.schema.table();
    let reading = &load.reading;
    agree(
        table,
        ("read", reading.read.into()),
        (
            "received + out of window + repeated",
            i128::from(load.received)
                + i128::from(reading.out_of_window)
                + i128::from(reading.repeated),
        ),
    )?;
    let rows = load.row_count() as i128;
    agree(
        table,
        ("received", load.received.into()),
        (
            "winners + superseded + rejected",
            rows + i128::from(load.superseded) + load.rejects.len() as i128,
        ),
    )
}

/// Checks what a merge did.
pub(crate) fn check_merge(load: &TableLoad, outcome: &MergeOutcome) -> Result<(), BooksError> {
    let table = load.schema.table();
    let merged = [outcome.inserted, outcome.updated, outcome.unchanged, outcome.superseded];
    agree(
        table,
        ("winners", load.row_count() as i128),
        ("inserted + updated + unchanged + superseded", merged.into_iter().map(i128::from).sum()),
    )?;
    agree(
        table,
        ("growth of the table", outcome.growth.into()),
        ("inserted", outcome.inserted.into()),
    )?;
    check_children(&outcome.children)
}

/// Checks that the rejects of a load are all there.
pub(crate) fn check_rejects(table: &str, rejects: usize, stored: u64) -> Result<(), BooksError> {
    agree(
        table,
        ("different rejects", rejects as i128),
        ("their rows in `_sdc_rejected`", stored.into()),
    )
}

/// Checks that every reject that was replayed is marked, or gone because it is one again.
pub(crate) fn check_replay(
    load: &TableLoad,
    replayed: usize,
    settled: u64,
) -> Result<(), BooksError> {
    agree(
        load.schema.table(),
        ("rejects replayed", replayed as i128),
        ("their rows in `_sdc_rejected` that were marked or replaced", settled.into()),
    )
}

/// Checks that a version's waiting rows are all that was received for it, less what was kept out.
pub(crate) fn check_waiting(
    table: &str,
    waited: &LoadCounts,
    waiting: u64,
) -> Result<(), BooksError> {
    agree(
        table,
        (
            "received - superseded - rejected",
            i128::from(waited.received)
                - i128::from(waited.superseded)
                - i128::from(waited.rejected),
        ),
        ("rows of the new version", waiting.into()),
    )
}

/// Checks what an activation did to a version of `waiting` rows.
pub(crate) fn check_activation(
    table: &str,
    waiting: u64,
    outcome: &ActivationOutcome,
) -> Result<(), BooksError> {
    let activated = [outcome.inserted, outcome.updated, outcome.unchanged];
    agree(
        table,
        ("rows of the new version", waiting.into()),
        ("inserted + updated + unchanged", activated.into_iter().map(i128::from).sum()),
    )?;
    agree(
        table,
        ("growth of the table", outcome.growth.into()),
        ("inserted - deleted", i128::from(outcome.inserted) - i128::from(outcome.deleted)),
    )?;
    check_children(&outcome.children)
}

/// Checks what taking rows back did.
pub(crate) fn check_retraction(table: &str, outcome: &RetractionOutcome) -> Result<(), BooksError> {
    agree(
        table,
        ("growth of the table", outcome.growth.into()),
        ("- deleted", -i128::from(outcome.deleted)),
    )?;
    check_children(&outcome.children)
}

fn check_children(children: &[ChildOutcome]) -> Result<(), BooksError> {
    children.iter().try_for_each(|child| {
        agree(
            &child.table,
            ("growth of the table", child.growth.into()),
            ("inserted - deleted", i128::from(child.inserted) - i128::from(child.deleted)),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_is_off_by_one_is_named() {
        let outcome = ActivationOutcome {
            inserted: 2,
            unchanged: 1,
            deleted: 1,
            growth: 1,
            ..Default::default()
        };
        assert_eq!(check_activation("list", 3, &outcome), Ok(()));
        let error = check_activation("list", 4, &outcome).expect_err("a row is missing");
        assert_eq!(
            error.to_string(),
            "The books of `list` don't balance: rows of the new version is 4, but inserted + updated + unchanged is 3"
        );
        let waited = LoadCounts { received: 5, superseded: 1, rejected: 1, ..Default::default() };
        assert_eq!(check_waiting("list", &waited, 3), Ok(()));
        assert!(check_waiting("list", &waited, 2).is_err(), "a row that waited is gone");
        let outcome = ActivationOutcome { growth: 2, ..outcome };
        assert!(check_activation("list", 3, &outcome).is_err(), "the count of rows contradicts");
    }
}

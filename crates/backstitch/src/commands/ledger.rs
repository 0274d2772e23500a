//! The destination's ledger of loads, read as far back as a command needs it.

use replication::ledger::LoadRecord;

use crate::{command_line::SchemaArguments, connect, failure::Failure, pipeline, telemetry};

/// How many loads are read at first.
const FIRST: usize = 1_000;
/// How many are read at most.
const MOST: usize = 1_000_000;

/// Reads the newest loads, and more and more of them until they are enough: `enough` is told whether they are all that
/// there are, and answers what it made of them.
///
/// # Errors
/// When the destination can't be read.
pub(super) fn read<T>(
    schema: &SchemaArguments,
    mut enough: impl FnMut(&[LoadRecord], bool) -> Option<T>,
) -> Result<T, Failure> {
    let target = connect::target(schema)?;
    telemetry::start(None)?;
    pipeline::block_on(async {
        let destination = connect::existing(&target)?;
        let mut limit = FIRST;
        loop {
            let loads = destination.loads(limit).await.map_err(|error| Failure::from(&error))?;
            if let Some(found) = enough(&loads, loads.len() < limit) {
                return Ok(found);
            }
            if limit >= MOST {
                return Err(Failure::configuration(
                    "The ledger has more loads than can be looked through",
                )
                .with_hint("Ask for less, by `--limit` or `--from`"));
            }
            limit = (limit * 8).min(MOST);
        }
    })
}

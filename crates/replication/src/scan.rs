//! Reading the rows of a stream's table back, a batch at a time.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::destination::DestinationError;

/// Rows on their way out of a destination. Dropped, it stops reading.
#[async_trait]
pub trait RowScan: Send {
    /// The next rows; none when all have come.
    ///
    /// # Errors
    /// When the destination can't be read any further.
    async fn next(&mut self) -> Result<Option<RecordBatch>, DestinationError>;
}

/// A scan of a table that isn't there.
#[derive(Debug, Clone, Copy)]
pub struct NoRows;

#[async_trait]
impl RowScan for NoRows {
    async fn next(&mut self) -> Result<Option<RecordBatch>, DestinationError> {
        Ok(None)
    }
}

/// What the texts of canonical instants are compared with, by code point, to tell those before this second from those in
/// it and after it. It has no `Z`, which comes after the point of a fraction.
#[must_use]
pub fn text_bound(second: DateTime<Utc>) -> String {
    second.format("%Y-%m-%dT%H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_divides_texts_as_its_second_divides_instants() {
        let bound = text_bound(DateTime::from_timestamp(1_767_225_600, 0).unwrap_or_default());
        assert_eq!(bound, "2026-01-01T00:00:00");
        for (text, is_before) in [
            ("2025-12-31T23:59:59.999999Z", true),
            ("2025-12-31T23:59:59Z", true),
            ("2026-01-01T00:00:00Z", false),
            ("2026-01-01T00:00:00.5Z", false),
            ("2026-01-01T00:00:01Z", false),
        ] {
            assert_eq!(*text < *bound, is_before, "{text}");
        }
    }
}

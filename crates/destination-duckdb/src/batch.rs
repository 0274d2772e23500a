//! Arrow batches as tables: `backstitch_batch(7)` in a statement reads the batches that are offered under that number.
//!
//! The `duckdb` crate has such a table function, `arrow(?, ?)`, but keeps every batch that was ever passed to it until
//! the process ends, so that views can refer to it. A long run would keep all its rows. This one keeps a batch only while
//! its [`Offer`] lives. It also tells the planner how many rows to expect, so that joins build their hash table from the
//! batch and not from the stored table.

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arrow::array::RecordBatch;
use duckdb::{
    Connection,
    core::{DataChunkHandle, LogicalTypeHandle, LogicalTypeId},
    vtab::{
        BindInfo, InitInfo, TableFunctionInfo, VTab, record_batch_to_duckdb_data_chunk,
        to_duckdb_logical_type_for_field,
    },
};

/// The table function's name.
pub(crate) const FUNCTION: &str = "backstitch_batch";

static OFFERED: LazyLock<Mutex<HashMap<u64, Batches>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

/// Batches of one schema, which read as one table.
type Batches = Arc<[RecordBatch]>;

fn offered() -> MutexGuard<'static, HashMap<u64, Batches>> {
    OFFERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Batches that statements can read while this lives.
#[derive(Debug)]
pub(crate) struct Offer {
    number: u64,
}

impl Offer {
    /// Offers batches of one schema, of which there must be one.
    pub(crate) fn new(batches: impl Into<Batches>) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        offered().insert(number, batches.into());
        Self { number }
    }

    /// The table expression that reads them.
    pub(crate) fn table(&self) -> String {
        format!("{FUNCTION}({}::ubigint)", self.number)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        offered().remove(&self.number);
    }
}

/// Makes the table function known to a database, for all its connections.
pub(crate) fn register(connection: &Connection) -> duckdb::Result<()> {
    connection.register_table_function::<BatchFunction>(FUNCTION)
}

struct BatchFunction;

/// A scan: what it reads, and how far it is.
struct Scan {
    columns: Vec<usize>,
    /// How many rows a chunk can have.
    longest: usize,
    /// The batch and the row that come next.
    next: Mutex<(usize, usize)>,
}

impl Scan {
    /// The next rows. Each is given once, so calls from several threads would not overlap either.
    fn next_chunk<'a>(&self, batches: &'a Batches) -> Option<(&'a RecordBatch, usize, usize)> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let (position, start) = *next;
            let batch = batches.get(position)?;
            let length = self.longest.min(batch.num_rows() - start);
            if length > 0 {
                next.1 += length;
                return Some((batch, start, length));
            }
            *next = (position + 1, 0);
        }
    }
}

impl VTab for BatchFunction {
    type BindData = Batches;
    type InitData = Scan;

    fn bind(bind: &BindInfo) -> Result<Batches, Box<dyn Error>> {
        let number = bind.get_parameter(0).to_uint64();
        let batches = offered()
            .get(&number)
            .map(Arc::clone)
            .ok_or_else(|| format!("{FUNCTION}: nothing is offered as {number}"))?;
        let first = batches.first().ok_or_else(|| format!("{FUNCTION}: {number} is empty"))?;
        for field in first.schema().fields() {
            bind.add_result_column(field.name(), to_duckdb_logical_type_for_field(field)?);
        }
        let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
        bind.set_cardinality(u64::try_from(rows)?, true);
        Ok(batches)
    }

    fn init(init: &InitInfo) -> Result<Scan, Box<dyn Error>> {
        let columns = init.get_column_indices().into_iter().map(usize::try_from);
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        // The library's own chunk size, which it doesn't tell otherwise.
        let probe = DataChunkHandle::new(&[LogicalTypeHandle::from(LogicalTypeId::Boolean)]);
        let longest = probe.flat_vector(0).capacity();
        Ok(Scan { columns, longest, next: Mutex::new((0, 0)) })
    }

    fn func(
        function: &TableFunctionInfo<Self>,
        output: &mut DataChunkHandle,
    ) -> Result<(), Box<dyn Error>> {
        let scan = function.get_init_data();
        let Some((batch, start, length)) = scan.next_chunk(function.get_bind_data()) else {
            output.set_len(0);
            return Ok(());
        };
        let rows = batch.slice(start, length).project(&scan.columns)?;
        record_batch_to_duckdb_data_chunk(&rows, output)
    }

    /// Only the columns that a statement uses are converted.
    fn supports_pushdown() -> bool {
        true
    }

    fn parameters() -> Option<Vec<LogicalTypeHandle>> {
        Some(vec![LogicalTypeHandle::from(LogicalTypeId::UBigint)])
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{ArrayRef, Int64Array},
        datatypes::{DataType, Field, Schema},
    };

    use super::*;

    /// A column that counts up, beside one that counts down.
    fn numbers(count: i64) -> RecordBatch {
        let field = |name| Field::new(name, DataType::Int64, true);
        let schema = Arc::new(Schema::new(vec![field("up"), field("down")]));
        let up: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let down: ArrayRef = Arc::new(Int64Array::from_iter_values((0..count).rev()));
        RecordBatch::try_new(schema, vec![up, down]).unwrap()
    }

    #[test]
    fn batches_are_read_whole_and_only_while_they_are_offered() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        for count in [0, 1, 2048, 2049, 10_000] {
            let (all, size) = (numbers(count), usize::try_from(count).unwrap());
            let parts = [0, size / 3, size / 3, size]
                .windows(2)
                .map(|ends| all.slice(ends[0], ends[1] - ends[0]))
                .collect::<Vec<_>>();
            let offer = Offer::new(parts);
            let table = offer.table();
            let sum = count * (count - 1) / 2;
            let queries = [
                ("count(*)", count),
                ("coalesce(sum(up), 0)::bigint", sum),
                ("coalesce(sum(down + 2 * up), 0)::bigint", 3 * sum),
                ("count(*) filter (where down = 0)", count.min(1)),
            ];
            let read = |query| {
                let sql = format!("select {query} from {table}");
                connection.query_row(&sql, [], |row| row.get::<_, i64>(0))
            };
            for (query, expected) in queries {
                assert_eq!(read(query).unwrap(), expected, "{query} of {count} rows");
            }
            drop(offer);
            let error = read("count(*)").unwrap_err();
            assert!(error.to_string().contains("nothing is offered"), "{error}");
        }
        assert!(offered().is_empty(), "no batch outlives its offer");
    }
}

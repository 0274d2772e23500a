//! Arrow batches as tables: `backstitch_batch(7)` in a statement reads the batch that is offered under that number.
//!
//! The `duckdb` crate has such a table function, `arrow(?, ?)`, but keeps every batch that was ever passed to it until
//! the process ends, so that views can refer to it. A long run would keep all its rows. This one keeps a batch only while
//! its [`Offer`] lives. It also tells the planner how many rows to expect, so that joins build their hash table from the
//! batch and not from the stored table.

use std::{
    collections::HashMap,
    error::Error,
    sync::{
        LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
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

static OFFERED: LazyLock<Mutex<HashMap<u64, RecordBatch>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(1);

fn offered() -> MutexGuard<'static, HashMap<u64, RecordBatch>> {
    OFFERED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A batch that statements can read while this lives.
#[derive(Debug)]
pub(crate) struct Offer {
    number: u64,
}

impl Offer {
    /// Offers a batch.
    pub(crate) fn new(batch: RecordBatch) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        offered().insert(number, batch);
        Self { number }
    }

    /// The table expression that reads it.
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

/// A scan of a batch: what it reads, and how far it is.
struct Scan {
    columns: Vec<usize>,
    next_row: AtomicUsize,
    rows_per_chunk: usize,
}

impl VTab for BatchFunction {
    type BindData = RecordBatch;
    type InitData = Scan;

    fn bind(bind: &BindInfo) -> Result<RecordBatch, Box<dyn Error>> {
        let number = bind.get_parameter(0).to_uint64();
        let batch = offered()
            .get(&number)
            .cloned()
            .ok_or_else(|| format!("{FUNCTION}: nothing is offered as {number}"))?;
        for field in batch.schema().fields() {
            bind.add_result_column(field.name(), to_duckdb_logical_type_for_field(field)?);
        }
        bind.set_cardinality(u64::try_from(batch.num_rows())?, true);
        Ok(batch)
    }

    fn init(init: &InitInfo) -> Result<Scan, Box<dyn Error>> {
        let columns = init.get_column_indices().into_iter().map(usize::try_from);
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        // The library's own chunk size, which it doesn't tell otherwise.
        let probe = DataChunkHandle::new(&[LogicalTypeHandle::from(LogicalTypeId::Boolean)]);
        let rows_per_chunk = probe.flat_vector(0).capacity();
        Ok(Scan { columns, next_row: AtomicUsize::new(0), rows_per_chunk })
    }

    fn func(
        function: &TableFunctionInfo<Self>,
        output: &mut DataChunkHandle,
    ) -> Result<(), Box<dyn Error>> {
        let batch = function.get_bind_data();
        let scan = function.get_init_data();
        // Each call takes the next rows, so calls from several threads would not overlap either.
        let start =
            scan.next_row.fetch_add(scan.rows_per_chunk, Ordering::Relaxed).min(batch.num_rows());
        let length = scan.rows_per_chunk.min(batch.num_rows() - start);
        if length == 0 {
            output.set_len(0);
            return Ok(());
        }
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
    fn a_batch_is_read_whole_and_only_while_it_is_offered() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        for count in [0, 1, 2048, 2049, 10_000] {
            let offer = Offer::new(numbers(count));
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

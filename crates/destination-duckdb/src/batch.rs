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

/// How far a scan of a batch is.
struct Scan {
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

    fn init(_: &InitInfo) -> Result<Scan, Box<dyn Error>> {
        // The library's own chunk size, which it doesn't tell otherwise.
        let probe = DataChunkHandle::new(&[LogicalTypeHandle::from(LogicalTypeId::Boolean)]);
        let rows_per_chunk = probe.flat_vector(0).capacity();
        Ok(Scan { next_row: AtomicUsize::new(0), rows_per_chunk })
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
        record_batch_to_duckdb_data_chunk(&batch.slice(start, length), output)
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

    fn numbers(count: i64) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true)]));
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        RecordBatch::try_new(schema, vec![column]).unwrap()
    }

    #[test]
    fn a_batch_is_read_whole_and_only_while_it_is_offered() {
        let connection = Connection::open_in_memory().unwrap();
        register(&connection).unwrap();
        for count in [0, 1, 2048, 2049, 10_000] {
            let offer = Offer::new(numbers(count));
            let sql =
                format!("select count(*), coalesce(sum(n), 0)::bigint from {}", offer.table());
            let read = |()| {
                connection
                    .query_row(&sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
            };
            assert_eq!(read(()).unwrap(), (count, count * (count - 1) / 2));
            drop(offer);
            assert!(read(()).unwrap_err().to_string().contains("nothing is offered"));
        }
        assert!(offered().is_empty(), "no batch outlives its offer");
    }
}

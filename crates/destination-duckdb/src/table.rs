//! The tables of streams: made to fit, and merged into.

use std::sync::Arc;

use arrow::{
    array::{AsArray, Int64Array, RecordBatch, types::Int64Type},
    datatypes::{DataType, Field, Schema},
};
use duckdb::types::Value as Parameter;
use replication::{
    destination::{DestinationError, DestinationErrorKind, MergeOutcome, RetractionOutcome},
    placement::{StoredColumn, StoredTable},
    row,
    stream::{Column, StreamSchema},
    system,
    unit::TableLoad,
};
use serde_json::{Map, Value};

use crate::{
    batch::Offer,
    failure::MERGING,
    session::{Session, defect},
    sql::{self, waiting_table},
};

/// The rows of a load, shared with it and not copied.
#[derive(Debug)]
pub(crate) struct Rows {
    schema: Arc<StreamSchema>,
    version: Option<i64>,
    batches: Vec<RecordBatch>,
}

impl Rows {
    /// What a load has to merge.
    pub(crate) fn of(load: &TableLoad) -> Self {
        let batches = load.rows.iter().filter(|batch| batch.num_rows() > 0).cloned().collect();
        Self { schema: Arc::clone(&load.schema), version: load.version, batches }
    }

    /// How many there are.
    fn count(&self) -> u64 {
        self.batches.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// The rows as statements can read them; none if there are none.
    fn offer(&self) -> Option<Offer> {
        (!self.batches.is_empty()).then(|| Offer::new(self.batches.as_slice()))
    }

    /// The same with a column more, which has a value for each row.
    fn offer_with(
        &self,
        name: &str,
        values: &Int64Array,
    ) -> Result<Option<Offer>, DestinationError> {
        let mut start = 0;
        let widened = self.batches.iter().map(|batch| {
            let mut fields = batch.schema().fields().to_vec();
            fields.push(Arc::new(Field::new(name, DataType::Int64, true)));
            let mut columns = batch.columns().to_vec();
            columns.push(Arc::new(values.slice(start, batch.num_rows())));
            start += batch.num_rows();
            RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
        });
        let widened = widened.collect::<Result<Vec<_>, _>>();
        let widened =
            widened.map_err(|error| defect("Rows could not be numbered").caused_by(error))?;
        Ok((!widened.is_empty()).then(|| Offer::new(widened)))
    }

    /// The table that they go to.
    fn table(&self) -> String {
        let table = self.schema.table();
        if self.version.is_some() { waiting_table(table) } else { table.to_owned() }
    }
}

/// Makes the stream's table, and the one in which a version waits, hold every column of the schema.
pub(crate) fn prepare(
    session: &Session,
    schema: &StreamSchema,
    version: Option<i64>,
) -> Result<(), DestinationError> {
    fit(session, schema, schema.table())?;
    if let Some(version) = version {
        let waiting = waiting_table(schema.table());
        fit(session, schema, &waiting)?;
        // A version that this run gave up may have left rows behind.
        let delete = sql::delete_other_versions(&session.place, &waiting);
        session.execute(
            &delete,
            [Parameter::BigInt(version)],
            &format!("clear the table `{waiting}`"),
        )?;
    }
    Ok(())
}

/// Merges the load's rows into its table.
pub(crate) fn merge(session: &Session, rows: &Rows) -> Result<MergeOutcome, DestinationError> {
    let table = rows.table();
    let doing = format!("{MERGING} `{}`", rows.schema.table());
    let before = session.count(&table)?;
    let mut outcome = MergeOutcome::default();
    for batch in &rows.batches {
        check_version(rows, batch)?;
    }
    let may_be_known = before > 0 && rows.schema.is_keyed();
    // A column of that name, the source's or somebody's own, hides the numbers of the rows.
    let by_number = may_be_known
        && session
            .rows(sql::FIND_OWN_ROWID, session.place.named(&table), &doing, |_| Ok(()))?
            .is_empty();
    let spots = if may_be_known { find(session, rows, &table, by_number, &doing)? } else { None };
    match spots {
        Some(spots) => {
            let source = Known { spots, by_number };
            merge_known(session, rows, &table, &source, &doing, &mut outcome)?;
        }
        None => outcome.inserted = append(session, rows, &table, &doing)?,
    }
    outcome.growth = growth(before, session.count(&table)?)?;
    Ok(outcome)
}

/// The stored rows that share a key with a row of the load and differ from it, as JSON objects.
pub(crate) fn rivals(
    session: &Session,
    rows: &Rows,
) -> Result<Vec<Map<String, Value>>, DestinationError> {
    let table = rows.table();
    let doing = format!("compare rows with `{}`", rows.schema.table());
    let Some(offer) = rows.offer() else { return Ok(Vec::new()) };
    let mut whole = (*rows.schema).clone();
    whole.columns.extend(system::row_columns());
    let query = sql::rivals(&session.place, &table, &rows.schema, &offer.table());
    let found = read_batches(session, &query, &doing)?;
    let found =
        found.iter().flat_map(|found| (0..found.num_rows()).map(move |index| (found, index)));
    found
        .map(|(found, index)| {
            serde_json::from_str(&row::render(&whole, found, index)).map_err(|error| {
                defect("A stored row could not be written as JSON").caused_by(error)
            })
        })
        .collect()
}

/// Deletes the rows of a table whose sequence is greater.
pub(crate) fn retract(
    session: &Session,
    table: &str,
    after_sequence: i64,
) -> Result<RetractionOutcome, DestinationError> {
    let before = session.count(table)?;
    let delete = sql::delete_after(&session.place, table);
    let doing = format!("take rows of `{table}` back");
    let deleted = session.execute(&delete, [Parameter::BigInt(after_sequence)], &doing)?;
    let growth = growth(before, session.count(table)?)?;
    Ok(RetractionOutcome { deleted, growth, children: Vec::new() })
}

/// How much a number of rows changed.
pub(crate) fn growth(before: u64, after: u64) -> Result<i64, DestinationError> {
    after
        .checked_signed_diff(before)
        .ok_or_else(|| defect("A table has more rows than can be counted"))
}

/// Appends rows whose keys the table doesn't have.
fn append(
    session: &Session,
    rows: &Rows,
    table: &str,
    doing: &str,
) -> Result<u64, DestinationError> {
    let Some(offer) = rows.offer() else { return Ok(0) };
    let append = sql::append(&session.place, table, &rows.schema, &offer.table());
    session.execute(&append, [], doing)
}

/// Where the table has rows of a load.
struct Known {
    /// Null for those that are new.
    spots: Int64Array,
    /// Whether these are DuckDB's own numbers (`rowid`), which hold within the transaction until a row is written.
    by_number: bool,
}

/// Where the table has each of the rows; null for those that are new. None if all of them are.
///
/// This reads the key columns only, a small part of what a merge reads.
fn find(
    session: &Session,
    rows: &Rows,
    table: &str,
    by_number: bool,
    doing: &str,
) -> Result<Option<Int64Array>, DestinationError> {
    let count = rows.batches.iter().map(RecordBatch::num_rows).sum();
    let places = Int64Array::from_iter_values((0..).take(count));
    let Some(offer) = rows.offer_with(sql::PLACE, &places)? else { return Ok(None) };
    let query = sql::find(&session.place, table, &rows.schema, &offer.table(), by_number);
    let mut spots = vec![None; count];
    let mut are_new = true;
    for found in read_batches(session, &query, doing)? {
        let places = found.column(0).as_primitive::<Int64Type>().iter();
        for (place, spot) in places.zip(found.column(1).as_primitive::<Int64Type>()) {
            let place = place.and_then(|place| usize::try_from(place).ok());
            *place
                .and_then(|place| spots.get_mut(place))
                .ok_or_else(|| defect("A row was found that was not looked for"))? = spot;
            are_new = false;
        }
    }
    Ok((!are_new).then(|| spots.into()))
}

/// Merges rows some of which the table has, and writes down what that did.
fn merge_known(
    session: &Session,
    rows: &Rows,
    table: &str,
    known: &Known,
    doing: &str,
    outcome: &mut MergeOutcome,
) -> Result<(), DestinationError> {
    let (schema, place) = (&rows.schema, &session.place);
    let Some(offer) = rows.offer_with(sql::SPOT, &known.spots)? else { return Ok(()) };
    let source = &offer.table();
    let merge = sql::merge(place, table, schema, source, known.by_number);
    for changed in read_batches(session, &merge, doing)? {
        let is_insert = changed.column(0).as_boolean();
        outcome.inserted += is_insert.true_count() as u64;
        outcome.updated += is_insert.false_count() as u64;
    }
    let written = outcome.inserted + outcome.updated;
    if written == rows.count() {
        return Ok(());
    }
    let [found, suspicious] = session.counts(&sql::recount(place, table, schema, source), doing)?;
    // The rows that changed stand in the table as they came, like those that were there already; what stands there
    // otherwise has won.
    let [alike, different] = if suspicious == 0 {
        [found, 0]
    } else {
        session.counts(&sql::compare(place, table, schema, source), doing)?
    };
    outcome.superseded = different;
    outcome.unchanged = alike.checked_sub(written).ok_or_else(|| {
        defect(format!("Rows merged into `{}` are not all found there afterwards", schema.table()))
    })?;
    Ok(())
}

fn read_batches(
    session: &Session,
    sql: &str,
    doing: &str,
) -> Result<Vec<RecordBatch>, DestinationError> {
    session
        .connection
        .prepare(sql)
        .and_then(|mut statement| Ok(statement.query_arrow([])?.collect()))
        .map_err(|error| session.failed(doing, error))
}

/// Rows that wait are told from older ones by their version, so each must carry it.
fn check_version(rows: &Rows, batch: &RecordBatch) -> Result<(), DestinationError> {
    let Some(version) = rows.version else { return Ok(()) };
    let carried = batch
        .column_by_name(system::TABLE_VERSION)
        .and_then(|column| column.as_primitive_opt::<Int64Type>());
    if carried.is_some_and(|carried| carried.iter().all(|carried| carried == Some(version))) {
        Ok(())
    } else {
        Err(defect(format!(
            "Rows of version {version} of `{}` carry another version",
            rows.schema.table()
        )))
    }
}

/// Creates a table, or adds the columns that it lacks. Names and types were made to fit when the stream was placed.
fn fit(session: &Session, schema: &StreamSchema, table: &str) -> Result<(), DestinationError> {
    let doing = format!("make the table `{table}` fit");
    let system = system::row_columns();
    let wanted = || schema.columns.iter().chain(&system);
    let Some(existing) = stored(session, table)? else {
        session.run(&sql::create_table(&session.place, table, wanted()), &doing)?;
        return session.run(&sql::note_key(&session.place, table, &schema.key), &doing);
    };
    for column in wanted() {
        let same = |stored: &&StoredColumn| stored.name.eq_ignore_ascii_case(&column.name);
        match existing.columns.iter().find(same) {
            Some(stored) => check_type(table, column, stored)?,
            None => session.run(&sql::add_column(&session.place, table, column), &doing)?,
        }
    }
    Ok(())
}

/// A table as the database has it, whatever the case of its name.
pub(crate) fn stored(
    session: &Session,
    table: &str,
) -> Result<Option<StoredTable>, DestinationError> {
    let doing = format!("look at the table `{table}`");
    let read = |row: &duckdb::Row<'_>| {
        let type_name: String = row.get(2)?;
        let column_type = sql::column_type(&type_name);
        let name: String = row.get(0)?;
        Ok((name, StoredColumn { name: row.get(1)?, column_type, type_name }))
    };
    let mut found = session.rows(sql::FIND_COLUMNS, session.place.named(table), &doing, read)?;
    // The catalog's `lower` knows more letters than the comparison of names, which is about ASCII alone.
    found.retain(|(name, _)| name.eq_ignore_ascii_case(table));
    let Some((name, _)) = found.first() else { return Ok(None) };
    let name = name.clone();
    let columns = found.into_iter().map(|(_, column)| column).collect();
    let comments = session.rows(sql::FIND_COMMENT, session.place.named(&name), &doing, |row| {
        row.get::<_, String>(0)
    })?;
    let key = comments.first().and_then(|comment| sql::noted_key(comment));
    Ok(Some(StoredTable { name, columns, key }))
}

fn check_type(table: &str, column: &Column, stored: &StoredColumn) -> Result<(), DestinationError> {
    if stored.column_type.as_ref() == Some(&column.column_type) {
        return Ok(());
    }
    Err(DestinationError::new(
        DestinationErrorKind::Refused,
        format!(
            "Column `{}` of `{table}` is {}, but its values are {}",
            stored.name,
            stored.type_name.to_ascii_lowercase(),
            sql::type_name(&column.column_type)
        ),
        "Somebody changed the table while the run went on; start it again",
    ))
}

//! What PostgreSQL can't hold, found in the Arrow columns before anything is sent, so that it costs only the row that
//! holds it.

use replication::{
    arrow::array::{
        Array, ArrayRef, AsArray, RecordBatch, StringArray, types::TimestampMicrosecondType,
    },
    destination::UnsupportedRow,
    reject::ReasonCode,
    stream::{Column, ColumnType},
    unit::TableLoad,
};

/// 2000-01-01, from which PostgreSQL counts, in microseconds since 1970.
pub(crate) const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// The earliest instant that PostgreSQL holds, the start of 4714-11-24 BC, in microseconds since 1970. The latest lies
/// beyond what 64 bits can say.
const EARLIEST_MICROS: i64 = -210_866_803_200_000_000;
/// The most bytes of one row that PostgreSQL takes: a gigabyte, less some for its own use.
const ROW_BYTES: usize = (1 << 30) - (1 << 20);
/// The most bytes of a key that surely fit an entry of its index: a third of a page of 8 KiB is 2,704 bytes, from which
/// the entry's header and the position in a subtable are taken. Text that can be compressed might fit in greater
/// lengths; whether a row is rejected must not hang on that.
const KEY_BYTES: usize = 2_672;
/// What a part of a key needs at most beside its text, alignment included; also the most that a number needs.
const KEY_PART_BYTES: usize = 8;
const NUMBER_BYTES: usize = 40;

/// The rows of a load that PostgreSQL can't hold.
pub(crate) fn unsupported(load: &TableLoad) -> Vec<UnsupportedRow> {
    let mut found = Vec::new();
    for (batch_index, batch) in load.rows.iter().enumerate() {
        let mut report = |row: usize, code: ReasonCode, reason: String| {
            found.push(UnsupportedRow { batch: batch_index, row, code, reason });
        };
        for (column, array) in load.schema.columns.iter().zip(batch.columns()) {
            find_nul(column, array, &mut report);
            find_early(column, array, &mut report);
        }
        find_long_keys(load, batch, &mut report);
        find_large_rows(batch, &mut report);
    }
    found
}

type Report<'a> = dyn FnMut(usize, ReasonCode, String) + 'a;

fn find_nul(column: &Column, array: &ArrayRef, report: &mut Report<'_>) {
    let mut found = |row: usize| {
        let reason = format!(
            "Column `{}` holds the character U+0000, which PostgreSQL can't store",
            column.name
        );
        report(row, ReasonCode::UnsupportedCharacter, reason);
    };
    if let Some(texts) = array.as_string_opt::<i32>() {
        if holds_nul(texts) {
            (0..texts.len())
                .filter(|row| texts.is_valid(*row) && has_nul(texts.value(*row)))
                .for_each(found);
        }
    } else if let Some(lists) = array.as_list_opt::<i32>()
        && let Some(texts) = lists.values().as_string_opt::<i32>()
        && holds_nul(texts)
    {
        let item_has_nul = |item: usize| texts.is_valid(item) && has_nul(texts.value(item));
        for (row, bounds) in lists.value_offsets().windows(2).enumerate() {
            if lists.is_valid(row) && (bounds[0] as usize..bounds[1] as usize).any(item_has_nul) {
                found(row);
            }
        }
    }
}

/// Whether any of the texts may hold a NUL: one pass over all of them, which nearly always says no.
fn holds_nul(texts: &StringArray) -> bool {
    let offsets = texts.value_offsets();
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else { return false };
    texts.value_data()[*first as usize..*last as usize].contains(&0)
}

fn has_nul(text: &str) -> bool {
    text.as_bytes().contains(&0)
}

fn find_early(column: &Column, array: &ArrayRef, report: &mut Report<'_>) {
    let mut found = |row: usize| {
        let reason = format!(
            "Column `{}` holds an instant before 4713 BC, which PostgreSQL can't store",
            column.name
        );
        report(row, ReasonCode::TimestampRange, reason);
    };
    let is_early = |micros: &Option<i64>| micros.is_some_and(|micros| micros < EARLIEST_MICROS);
    if let Some(instants) = array.as_primitive_opt::<TimestampMicrosecondType>() {
        instants
            .iter()
            .enumerate()
            .filter(|(_, micros)| is_early(micros))
            .for_each(|(row, _)| found(row));
    } else if let Some(lists) = array.as_list_opt::<i32>()
        && let Some(instants) = lists.values().as_primitive_opt::<TimestampMicrosecondType>()
    {
        for (row, bounds) in lists.value_offsets().windows(2).enumerate() {
            let mut items =
                (bounds[0] as usize..bounds[1] as usize).filter(|item| instants.is_valid(*item));
            if lists.is_valid(row) && items.any(|item| instants.value(item) < EARLIEST_MICROS) {
                found(row);
            }
        }
    }
}

fn find_long_keys(load: &TableLoad, batch: &RecordBatch, report: &mut Report<'_>) {
    let positions = load.schema.key.iter().filter_map(|name| load.schema.position(name));
    let (texts, others): (Vec<usize>, Vec<usize>) = positions
        .partition(|position| load.schema.columns[*position].column_type == ColumnType::Text);
    let texts: Vec<&StringArray> = texts
        .iter()
        .filter_map(|position| batch.columns().get(*position)?.as_string_opt())
        .collect();
    let overhead = texts.len() * KEY_PART_BYTES + others.len() * NUMBER_BYTES;
    let longest = |text: &&StringArray| {
        let offsets = text.value_offsets();
        offsets.windows(2).map(|bounds| (bounds[1] - bounds[0]) as usize).max().unwrap_or(0)
    };
    if texts.iter().map(longest).sum::<usize>() + overhead <= KEY_BYTES {
        return;
    }
    for row in 0..batch.num_rows() {
        let length: usize = texts.iter().map(|texts| texts.value_length(row) as usize).sum();
        if length + overhead > KEY_BYTES {
            let key = load.schema.key.join("`, `");
            let reason = format!("The key (`{key}`) is longer than an index of PostgreSQL takes");
            report(row, ReasonCode::TooLarge, reason);
        }
    }
}

fn find_large_rows(batch: &RecordBatch, report: &mut Report<'_>) {
    if batch.get_array_memory_size() <= ROW_BYTES {
        return;
    }
    for row in 0..batch.num_rows() {
        let bytes: usize = batch.columns().iter().map(|array| text_bytes(array, row)).sum();
        if bytes > ROW_BYTES {
            report(row, ReasonCode::TooLarge, "The row is larger than PostgreSQL takes".to_owned());
        }
    }
}

/// How many bytes of text a row has in a column. Everything else is small.
fn text_bytes(array: &ArrayRef, row: usize) -> usize {
    if let Some(texts) = array.as_string_opt::<i32>() {
        return texts.value_length(row) as usize;
    }
    let Some(lists) = array.as_list_opt::<i32>() else { return 0 };
    let Some(texts) = lists.values().as_string_opt::<i32>() else { return 0 };
    let (offsets, items) = (texts.value_offsets(), lists.value_offsets());
    (offsets[items[row + 1] as usize] - offsets[items[row] as usize]) as usize
}

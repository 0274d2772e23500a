//! How a stream lies in PostgreSQL: a table with its scalar columns and the system columns, and one subtable for every
//! array. Names keep their case, as on Stitch's page about PostgreSQL, and have its limits.

use replication::{
    destination::{DestinationError, DestinationErrorKind},
    placement::{Dialect, Nesting, SOURCE_KEY_PREFIX, SplitRule},
    stream::{Column, ColumnType, StreamSchema, WinnerRule},
    system::{self, NEXT_VERSION_PREFIX},
};

pub(crate) use crate::sql_type::SqlType;
use crate::{
    config::IDENTIFIER_BYTES,
    nested::{self, Nested},
};

/// The longest name of a user column in bytes: leaves room for a suffix that tells its type.
const COLUMN_BYTES: usize = 59;
/// The most columns a table can have in PostgreSQL, but for one that the stage adds.
const COLUMN_COUNT: usize = 1_599;

/// How PostgreSQL names and holds columns, by Stitch's page about it.
const DIALECT: Dialect = Dialect {
    product: "PostgreSQL",
    table_bytes: IDENTIFIER_BYTES,
    column_bytes: COLUMN_BYTES,
    identifier_bytes: IDENTIFIER_BYTES,
    column_count: COLUMN_COUNT,
    folds_case: false,
    canonical,
    split: SplitRule::RenamesOriginal,
    nesting: Nesting::Subtables,
};

/// The same with arrays in columns of the tables themselves.
pub(crate) fn dialect(nesting: Nesting) -> Dialect {
    Dialect { nesting, ..DIALECT }
}

/// A column's name: its case kept, without ASCII's special characters, from the first letter or underscore on. What is
/// beyond ASCII is letters to somebody.
fn canonical(name: &str) -> String {
    let is_kept = |letter: &char| {
        !letter.is_ascii() || letter.is_ascii_alphanumeric() || matches!(letter, ' ' | '_')
    };
    let may_lead =
        |letter: char| !letter.is_ascii() || letter.is_ascii_alphabetic() || letter == '_';
    name.chars().filter(is_kept).skip_while(|letter| !may_lead(*letter)).collect()
}

/// The key that rows without one get, so that the items of their arrays know where they belong; its name is Stitch's.
pub(crate) const GENERATED_KEY: &str = "__sdc_primary_key";
/// The position of an item in its array, from 0.
pub(crate) const LEVEL: &str = "_sdc_level_0_id";
/// The item.
pub(crate) const ITEM: &str = "value";

/// A scalar column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scalar {
    /// The column's name in the database.
    pub(crate) name: String,
    /// Its type.
    pub(crate) sql_type: SqlType,
    /// Where its values come from.
    pub(crate) origin: Origin,
    /// Whether it is part of the primary key.
    pub(crate) is_key: bool,
}

/// Where the values of a column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The column of the batch at this position.
    Batch(usize),
    /// Made up for every row.
    Generated,
}

/// An array of a stream, which becomes a subtable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct List {
    /// The column's name in the stage, where it is an array.
    pub(crate) name: String,
    /// The type of its items.
    pub(crate) item: SqlType,
    /// The column of the batch at this position.
    pub(crate) position: usize,
}

/// Which of two rows that share a key stays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Winner {
    /// The one with the greater sequence.
    Sequence,
    /// The one with the later value in this column, then the greater sequence.
    Later {
        /// The column.
        column: String,
        /// Its type.
        sql_type: SqlType,
    },
    /// The one that comes.
    Incoming,
}

/// How a stream lies in PostgreSQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The table.
    pub(crate) table: String,
    /// Its columns but the system columns, key and all.
    pub(crate) scalars: Vec<Scalar>,
    /// Its system columns.
    pub(crate) system: Vec<Scalar>,
    /// Its arrays of plain values.
    pub(crate) lists: Vec<List>,
    /// Its arrays of objects: the columns of the stage that hold them as documents.
    pub(crate) documents: Vec<Scalar>,
    /// The subtables of these.
    pub(crate) nested: Vec<Nested>,
    /// Columns that are fields of objects: the object's name, and the column's.
    pub(crate) of_objects: Vec<(String, String)>,
    /// Who wins.
    pub(crate) winner: Winner,
}

/// The names of the tables that one statement is about: the live ones, or those in which a version waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tables {
    /// The table.
    pub(crate) parent: String,
    /// Its subtables: those of [`Layout::lists`], then those of [`Layout::nested`], then those that the layout lacks
    /// because the stream's arrays were others once, where these are asked for.
    pub(crate) children: Vec<String>,
}

impl Tables {
    /// The names: the table's first, then those of its subtables.
    pub(crate) fn names(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.parent).chain(&self.children)
    }
}

impl Layout {
    /// Lays a stream out.
    ///
    /// # Errors
    /// When a name is too long or taken twice, there are too many columns, or a key is of a type that can't be one.
    pub(crate) fn new(schema: &StreamSchema, nesting: Nesting) -> Result<Self, DestinationError> {
        let table = schema.table();
        let has_subtables = nesting == Nesting::Subtables;
        let has_lists =
            has_subtables && schema.columns.iter().any(|column| is_list(&column.column_type));
        let mut scalars = Vec::new();
        if !schema.is_keyed() && has_lists {
            scalars.push(Scalar {
                name: GENERATED_KEY.to_owned(),
                sql_type: SqlType::Text,
                origin: Origin::Generated,
                is_key: true,
            });
        }
        let (mut lists, mut documents, mut nested) = (Vec::new(), Vec::new(), Vec::new());
        for (position, column) in schema.columns.iter().enumerate() {
            let name = column_name(table, column)?;
            let is_key = schema.key.contains(&column.name);
            let plain = match &column.column_type {
                _ if is_key || has_subtables => SqlType::of(&column.column_type),
                ColumnType::Objects(_) => Some(SqlType::Json),
                ColumnType::List(_) => Some(item_type(table, column)?.array()),
                scalar => SqlType::of(scalar),
            };
            match plain {
                Some(SqlType::Json) if is_key => return Err(impossible_key(table, &column.name)),
                Some(sql_type) => {
                    scalars.push(Scalar {
                        name,
                        sql_type,
                        origin: Origin::Batch(position),
                        is_key,
                    });
                }
                None if is_key => return Err(impossible_key(table, &column.name)),
                None if let ColumnType::Objects(items) = &column.column_type => {
                    let child = child_table(table, &name);
                    let steps = [Vec::new()];
                    nested.extend(nested::subtables(&child, &name, &steps, &items.fields));
                    documents.push(Scalar {
                        name,
                        sql_type: SqlType::Json,
                        origin: Origin::Batch(position),
                        is_key: false,
                    });
                }
                None => lists.push(List { name, item: item_type(table, column)?, position }),
            }
        }
        let of_objects = schema
            .columns
            .iter()
            .filter_map(|column| Some((column.object.clone()?, column.name.clone())))
            .collect();
        let system = system::row_columns().into_iter().zip(schema.columns.len()..).filter_map(
            |(column, position)| {
                Some(Scalar {
                    sql_type: SqlType::of(&column.column_type)?,
                    name: column.name,
                    origin: Origin::Batch(position),
                    is_key: false,
                })
            },
        );
        let mut layout = Self {
            table: table.to_owned(),
            scalars,
            system: system.collect(),
            lists,
            documents,
            nested,
            of_objects,
            winner: Winner::Sequence,
        };
        layout.winner = layout.winner_by(schema);
        layout.validate(schema)?;
        Ok(layout)
    }

    /// The columns of the primary key, in the table's order.
    pub(crate) fn key(&self) -> impl Iterator<Item = &Scalar> {
        self.scalars.iter().filter(|column| column.is_key)
    }

    /// The columns that make two rows of one key differ, arrays aside.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Scalar> {
        self.scalars.iter().filter(|column| !column.is_key)
    }

    /// All columns of the table, the system columns last.
    pub(crate) fn columns(&self) -> impl Iterator<Item = &Scalar> {
        self.scalars.iter().chain(&self.system)
    }

    /// Whether rows have a key, their own or a generated one.
    pub(crate) fn is_keyed(&self) -> bool {
        self.key().next().is_some()
    }

    /// Whether that is a generated one.
    pub(crate) fn has_generated_key(&self) -> bool {
        self.key().any(|column| column.origin == Origin::Generated)
    }

    /// How many subtables it has.
    pub(crate) fn child_count(&self) -> usize {
        self.lists.len() + self.nested.len()
    }

    /// The live tables.
    pub(crate) fn live(&self) -> Tables {
        let lists = self.lists.iter().map(|list| child_table(&self.table, &list.name));
        let nested = self.nested.iter().map(|nested| nested.table.clone());
        Tables { parent: self.table.clone(), children: lists.chain(nested).collect() }
    }

    /// The tables in which a version waits.
    pub(crate) fn waiting(&self) -> Tables {
        let live = self.live();
        Tables {
            parent: waiting_table(&live.parent),
            children: live.children.iter().map(|child| waiting_table(child)).collect(),
        }
    }

    /// The tables that rows of a version go to; the live ones without a version.
    pub(crate) fn tables(&self, version: Option<i64>) -> Tables {
        if version.is_some() { self.waiting() } else { self.live() }
    }

    fn winner_by(&self, schema: &StreamSchema) -> Winner {
        let later = || {
            let position = schema.position(schema.replication_key.as_deref()?)?;
            let column =
                self.scalars.iter().find(|column| column.origin == Origin::Batch(position))?;
            // Documents have no order, and arrays none that means anything.
            (!matches!(column.sql_type, SqlType::Json | SqlType::Array(_)))
                .then(|| Winner::Later { column: column.name.clone(), sql_type: column.sql_type })
        };
        match &schema.winner {
            WinnerRule::Sequence => Winner::Sequence,
            WinnerRule::ReplicationKey => later().unwrap_or(Winner::Sequence),
            WinnerRule::Greatest(_) => Winner::Incoming,
        }
    }

    fn validate(&self, schema: &StreamSchema) -> Result<(), DestinationError> {
        let table = &self.table;
        if table.is_empty() || table.contains('\0') || table.to_lowercase().starts_with("_sdc_") {
            return Err(refused(
                format!(
                    "`{}` can't be the name of a table: the prefix `_sdc_` is reserved",
                    schema.stream
                ),
                "Leave the stream out, or rename it in its source",
            ));
        }
        let mut names: Vec<&str> = self.columns().map(|column| column.name.as_str()).collect();
        names.extend(self.lists.iter().map(|list| list.name.as_str()));
        names.extend(self.documents.iter().map(|document| document.name.as_str()));
        names.sort_unstable();
        if let Some(name) = names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0]) {
            return Err(refused(
                format!(
                    "Field collision on `{name}`: two columns of `{table}` would have this name"
                ),
                "Leave one of the two columns out",
            ));
        }
        if let Some(key) = schema.key.iter().find(|key| schema.position(key).is_none()) {
            return Err(refused(
                format!("The key column `{key}` of `{table}` is not among its columns"),
                "Select the column",
            ));
        }
        if names.len() > COLUMN_COUNT {
            return Err(refused(
                format!("`{table}` has {} columns, too many for PostgreSQL", names.len()),
                format!(
                    "Leave columns out until there are {COLUMN_COUNT}, with the five system columns"
                ),
            ));
        }
        let live = self.live();
        let too_long = live.names().find(|name| name.len() > IDENTIFIER_BYTES);
        if let Some(name) = too_long {
            return Err(refused(
                format!("Table name `{name}` is too long for PostgreSQL"),
                format!("Leave it out: at most {IDENTIFIER_BYTES} bytes are possible"),
            ));
        }
        let source_keys = self.key().map(|column| source_key(&column.name));
        if !self.lists.is_empty()
            && let Some(name) = source_keys.into_iter().find(|name| name.len() > IDENTIFIER_BYTES)
        {
            return Err(refused(
                format!(
                    "Column name `{name}` of the subtables of `{table}` is too long for PostgreSQL"
                ),
                format!("Leave the arrays out: at most {IDENTIFIER_BYTES} bytes are possible"),
            ));
        }
        Ok(())
    }
}

/// The column of a subtable that holds a column of its parent's key.
pub(crate) fn source_key(column: &str) -> String {
    format!("{SOURCE_KEY_PREFIX}{column}")
}

/// The subtable of an array.
pub(crate) fn child_table(table: &str, column: &str) -> String {
    format!("{table}__{column}")
}

/// The table in which a version of `table` waits. Where the prefix makes the name too long, a digest of the whole name
/// stands for its end.
fn waiting_table(table: &str) -> String {
    let name = format!("{NEXT_VERSION_PREFIX}{table}");
    if name.len() <= IDENTIFIER_BYTES {
        return name;
    }
    let digest = format!("_{:08x}", digest(table));
    let end = (0..=IDENTIFIER_BYTES - digest.len())
        .rev()
        .find(|end| name.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{}{digest}", &name[..end])
}

/// A small digest (32-bit FNV-1a) of a name, the same in every version of this program.
pub(crate) fn digest(name: &str) -> u32 {
    name.bytes()
        .fold(0x811c_9dc5, |digest, byte| (digest ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn is_list(column_type: &ColumnType) -> bool {
    matches!(column_type, ColumnType::List(_) | ColumnType::Objects(_))
}

fn item_type(table: &str, column: &Column) -> Result<SqlType, DestinationError> {
    let item = match &column.column_type {
        ColumnType::List(item) => SqlType::of(item),
        scalar => SqlType::of(scalar),
    };
    item.ok_or_else(|| {
        refused(
            format!("Column `{}` of `{table}` holds arrays of arrays", column.name),
            "Leave the column out",
        )
    })
}

/// The name that a column gets: its own, in its own case.
fn column_name(table: &str, column: &Column) -> Result<String, DestinationError> {
    let name = &column.name;
    if name.is_empty() || name.contains('\0') {
        return Err(refused(
            format!("A column of `{table}` has a name that is empty or holds the character U+0000"),
            "Leave the column out",
        ));
    }
    if name.len() > COLUMN_BYTES {
        return Err(refused(
            format!("Column name `{name}` of `{table}` is too long for PostgreSQL"),
            format!("Leave the column out: at most {COLUMN_BYTES} bytes are possible"),
        ));
    }
    Ok(name.clone())
}

fn impossible_key(table: &str, column: &str) -> DestinationError {
    refused(
        format!(
            "Column `{column}` of `{table}` holds documents or arrays, so it can't be part of the key"
        ),
        "Choose another key, or none",
    )
}

fn refused(message: String, remedy: impl Into<String>) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Refused, message, remedy)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed layout should stop the test")]
mod tests {
    use replication::stream::Method;

    use super::*;

    fn stream(table: &str, columns: &[(&str, ColumnType)], key: &[&str]) -> StreamSchema {
        StreamSchema {
            stream: table.into(),
            columns: columns.iter().map(|(name, of)| Column::new(*name, of.clone())).collect(),
            key: key.iter().map(|name| (*name).to_owned()).collect(),
            replication_key: None,
            method: Method::Incremental,
            winner: WinnerRule::Sequence,
        }
    }

    fn list() -> ColumnType {
        ColumnType::List(Box::new(ColumnType::Text))
    }

    fn refusal(schema: &StreamSchema) -> String {
        Layout::new(schema, Nesting::Subtables).unwrap_err().to_string()
    }

    #[test]
    fn arrays_become_subtables() {
        let stream = stream("contact", &[("id", ColumnType::Text), ("listIds", list())], &["id"]);
        let layout = Layout::new(&stream, Nesting::Subtables).unwrap();
        assert_eq!(layout.live().children, ["contact__listIds"]);
        assert_eq!(layout.waiting().children, ["_sdc_next_contact__listIds"]);
        assert_eq!(layout.columns().count(), 6);
        assert_eq!(layout.system[3].origin, Origin::Batch(5));
    }

    #[test]
    fn rows_without_a_key_get_one_for_their_arrays_only() {
        let plain =
            Layout::new(&stream("log", &[("line", ColumnType::Text)], &[]), Nesting::Subtables)
                .unwrap();
        assert!(!plain.is_keyed());
        let nested =
            Layout::new(&stream("log", &[("lines", list())], &[]), Nesting::Subtables).unwrap();
        assert_eq!(
            nested.key().map(|column| column.name.as_str()).collect::<Vec<_>>(),
            [GENERATED_KEY]
        );
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        let text = ColumnType::Text;
        let long = "c".repeat(60);
        assert!(refusal(&stream("t", &[(&long, text.clone())], &[])).contains(&long));
        assert!(
            refusal(&stream(&"t".repeat(64), &[("a", text.clone())], &[])).contains("too long")
        );
        assert!(
            refusal(&stream(&"t".repeat(60), &[("id", text.clone()), ("ab", list())], &["id"]))
                .contains("__ab")
        );
        assert!(
            refusal(&stream("t", &[("a", text.clone()), ("a", text.clone())], &[]))
                .contains("collision on `a`")
        );
        assert!(
            refusal(&stream("t", &[("_sdc_sequence", text.clone())], &[])).contains("collision")
        );
        assert!(refusal(&stream("_SDC_state", &[("a", text.clone())], &[])).contains("reserved"));
        assert!(refusal(&stream("t", &[("id", ColumnType::Json)], &["id"])).contains("`id`"));
        assert!(refusal(&stream("t", &[("a", text.clone())], &["id"])).contains("`id`"));
        let columns: Vec<String> = (0..1_600).map(|number| format!("c{number}")).collect();
        let columns: Vec<(&str, ColumnType)> =
            columns.iter().map(|name| (name.as_str(), text.clone())).collect();
        assert!(refusal(&stream("t", &columns, &[])).contains("1605 columns"));
    }

    #[test]
    fn waiting_tables_of_long_names_stay_apart() {
        let (one, other) = (
            waiting_table(&format!("{}a", "é".repeat(30))),
            waiting_table(&format!("{}b", "é".repeat(30))),
        );
        assert!(one.len() <= IDENTIFIER_BYTES && one != other, "{one} {other}");
        assert_eq!(waiting_table("list"), "_sdc_next_list");
    }
}

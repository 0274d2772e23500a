//! Statements that bring a load's rows into a table.
//!
//! First the rows' keys are looked up, unless the table is empty: a temporary table takes them, and the answer says where
//! in the table each row is that it has. New rows are copied straight into the table. The others go through the stage, a
//! temporary table that holds them as they came, arrays as arrays: they are judged there, those that are alike or lose
//! are counted and leave it, and what is left updates the table. Each row is looked up once.

use replication::system;

use crate::layout::{ITEM, LEVEL, Layout, Scalar, SqlType, Tables, Winner, source_key};

use super::{all_of, comma, identifier, join, nested, own_rows, table};

/// The stage.
pub(crate) const STAGE: &str = "pg_temp._sdc_stage";
/// The stage of keys.
pub(crate) const KEYS: &str = "pg_temp._sdc_keys";
/// The column of the stage that tells where the table has the row; null for a row that is new.
const SPOT: &str = "_sdc_spot";
/// The column of the stage of keys that tells which row of the load has the key.
const PLACE: &str = "_sdc_place";

/// From here on, rows are looked up by key or spot, one by one: the stages are small, the table may be huge. The planner
/// knows nothing of the stages yet. It would rather read the table whole, compare every row of a stage with every other, or
/// make a bitmap for each.
const LOOK_UP: &str = "set local enable_hashjoin = off; set local enable_mergejoin = off; \
                       set local enable_seqscan = off; set local enable_bitmapscan = off";

/// Drops stages, so that the transaction's next load can have them, and lets the planner choose again.
pub(crate) fn drop_stages(stages: &[&str]) -> String {
    format!(
        "drop table {}; set local enable_hashjoin to default; set local enable_mergejoin to default; \
         set local enable_seqscan to default; set local enable_bitmapscan to default",
        comma(stages)
    )
}

/// The statements about one load.
pub(crate) struct Merge<'a> {
    pub(crate) schema: &'a str,
    pub(crate) layout: &'a Layout,
    pub(crate) tables: &'a Tables,
}

impl Merge<'_> {
    /// Creates the stage.
    pub(crate) fn create_stage(&self) -> String {
        let scalars = self.layout.columns().chain(&self.layout.documents);
        let scalars = scalars
            .map(|column| format!("{} {}", identifier(&column.name), column.sql_type.name()));
        let lists = self.layout.lists.iter();
        let lists = lists.map(|list| format!("{} {}[]", identifier(&list.name), list.item.name()));
        let columns = comma([format!("{SPOT} tid")].into_iter().chain(scalars).chain(lists));
        format!("{LOOK_UP}; create temporary table {STAGE} ({columns}) on commit drop")
    }

    /// Fills the stage.
    pub(crate) fn copy_into_stage(&self) -> String {
        let scalars = self.layout.columns().chain(&self.layout.documents);
        let scalars = scalars.map(|column| identifier(&column.name));
        let lists = self.layout.lists.iter().map(|list| identifier(&list.name));
        let columns = comma([SPOT.to_owned()].into_iter().chain(scalars).chain(lists));
        format!("copy {STAGE} ({columns}) from stdin with (format binary)")
    }

    /// Fills the table itself, with rows that it doesn't have.
    pub(crate) fn copy_into_table(&self) -> String {
        let columns = comma(self.layout.columns().map(|column| identifier(&column.name)));
        let target = table(self.schema, &self.tables.parent);
        format!("copy {target} ({columns}) from stdin with (format binary)")
    }

    /// Fills a subtable.
    pub(crate) fn copy_items(&self, child: &str) -> String {
        let columns = comma(child_columns(self.layout));
        format!("copy {} ({columns}) from stdin with (format binary)", table(self.schema, child))
    }

    /// Whether the table has a row, and each of its subtables.
    pub(crate) fn are_filled(&self) -> String {
        let filled = self
            .tables
            .names()
            .map(|name| format!("exists (select from {})", own_rows(self.schema, name)));
        format!("select {}", comma(filled))
    }

    /// Creates the stage of keys.
    pub(crate) fn create_keys(&self) -> String {
        let keys = self.layout.key();
        let keys = keys.map(|key| format!("{} {}", identifier(&key.name), key.sql_type.name()));
        let columns = comma([format!("{PLACE} integer")].into_iter().chain(keys));
        format!("{LOOK_UP}; create temporary table {KEYS} ({columns}) on commit drop")
    }

    /// Fills the stage of keys.
    pub(crate) fn copy_keys(&self) -> String {
        let keys = self.layout.key().map(|key| identifier(&key.name));
        let columns = comma([PLACE.to_owned()].into_iter().chain(keys));
        format!("copy {KEYS} ({columns}) from stdin with (format binary)")
    }

    /// The rows whose keys the table has: their places, and where the table has them.
    pub(crate) fn look_up(&self) -> String {
        format!(
            "select array_agg(k.{PLACE}), array_agg(t.ctid) from {KEYS} k join {target} t on {same_key}",
            target = self.target(),
            same_key = same_key(self.layout, "k", "t"),
        )
    }

    /// Deletes the items of some rows of the load. Parameter: the places of the rows.
    pub(crate) fn delete_items_at(&self, child: &str) -> String {
        format!(
            "delete from {} c using {KEYS} k where k.{PLACE} = any($1) and {}",
            own_rows(self.schema, child),
            child_of(self.layout, "k"),
        )
    }

    /// Judges the staged rows that the table has, takes those that don't differ or lose out of the stage, and updates
    /// the table with the others. Counts those that don't differ, lose, were to be written and were written, and tells for
    /// each array where the table had those that were and whose array changes.
    ///
    /// Somebody else may have changed a row since it was looked up. Then it isn't at its spot any more, and the counts
    /// don't agree. The keys are compared in a way that no index serves, so that rows are found by their spots.
    pub(crate) fn update(&self) -> String {
        let changed = self.layout.values().chain(&self.layout.system);
        let sets = changed.map(|column| {
            let name = identifier(&column.name);
            format!("{name} = s.{name}")
        });
        let (left, right) = self.sides();
        let arrays: Vec<String> = (0..self.layout.lists.len())
            .map(|position| array_differs(self.schema, self.layout, position, left, right))
            .collect();
        let judged = (0..).zip(&arrays).map(|(place, array)| format!(", {array} as array_{place}"));
        let differs = (0..arrays.len()).map(|place| format!(" or j.array_{place}"));
        let differs = format!("(j.others{})", differs.collect::<String>());
        let told = (0..arrays.len()).map(|place| {
            format!(", array_agg(j.spot) filter (where j.same and j.wins and j.array_{place})")
        });
        format!(
            "with judged as materialized (select s.ctid as place, s.{SPOT} as spot, {same_key} as same, \
             {wins} as wins, {others} as others{judged} \
             from {STAGE} s join {target} t on t.ctid = s.{SPOT}), \
             dropped as (delete from {STAGE} s using judged j \
             where s.ctid = j.place and not (j.same and {differs} and j.wins)), \
             updated as (update {target} t set {sets} from judged j join {STAGE} s on s.ctid = j.place \
             where t.ctid = s.{SPOT} and ({same_key}) is true and j.same and {differs} and j.wins returning true) \
             select count(*) filter (where j.same and not {differs}), \
             count(*) filter (where j.same and {differs} and not j.wins), \
             count(*) filter (where j.same and {differs} and j.wins), \
             (select count(*) from updated){told} from judged j",
            same_key = self.same_key("t"),
            others = any_of(other_differences(self.schema, self.layout, left, right)),
            wins = wins(&self.layout.winner, "s"),
            target = self.target(),
            sets = comma(sets),
            judged = judged.collect::<String>(),
            told = told.collect::<String>(),
        )
    }

    /// Deletes the items of the rows that were updated.
    pub(crate) fn delete_items(&self, child: &str) -> String {
        format!(
            "delete from {} c using {STAGE} s where s.{SPOT} is not null and {}",
            own_rows(self.schema, child),
            child_of(self.layout, "s"),
        )
    }

    /// The rows of the table that share a key with a staged row and differ from it, each as one JSON text.
    pub(crate) fn rivals(&self) -> String {
        let scalar = |column: &Scalar| {
            let name = identifier(&column.name);
            format!("{} as {name}", json_value(&format!("t.{name}"), column.sql_type))
        };
        let scalars = self.layout.scalars.iter().map(scalar);
        let system = self.layout.system.iter().map(scalar);
        let lists = self.layout.lists.iter().zip(&self.tables.children).map(|(list, child)| {
            let item = json_value(&format!("c.{}", identifier(ITEM)), list.item);
            format!(
                "(select json_agg({item} order by c.{}) from {} c where {}) as {}",
                identifier(LEVEL),
                own_rows(self.schema, child),
                child_of(self.layout, "t"),
                identifier(&list.name),
            )
        });
        format!(
            "select row_to_json(r)::text from (select {} from {STAGE} s join {} t on {} where {}) r",
            comma(scalars.chain(lists).chain(system)),
            self.target(),
            self.same_key("t"),
            self.differs(),
        )
    }

    fn differs(&self) -> String {
        let (left, right) = self.sides();
        differs(self.schema, self.layout, left, right)
    }

    /// The staged rows and those of the table.
    fn sides(&self) -> (Aliased<'_>, Aliased<'_>) {
        (("s", Side::Staged), ("t", Side::Stored(&self.tables.children)))
    }

    fn same_key(&self, other: &str) -> String {
        same_key(self.layout, "s", other)
    }

    fn target(&self) -> String {
        own_rows(self.schema, &self.tables.parent)
    }
}

/// Where a row's arrays are.
#[derive(Clone, Copy)]
pub(crate) enum Side<'a> {
    /// In the row itself.
    Staged,
    /// In these subtables.
    Stored(&'a [String]),
}

/// Rows under an alias, and where their arrays are.
type Aliased<'a> = (&'a str, Side<'a>);

/// Whether two rows of one key, under these aliases, differ in a column that isn't part of it.
pub(crate) fn differs(
    schema: &str,
    layout: &Layout,
    left: Aliased<'_>,
    right: Aliased<'_>,
) -> String {
    let arrays = (0..layout.lists.len())
        .map(|position| array_differs(schema, layout, position, left, right));
    any_of(other_differences(schema, layout, left, right).into_iter().chain(arrays).collect())
}

/// Whether the arrays of this position differ; one that is empty is like none.
fn array_differs(
    schema: &str,
    layout: &Layout,
    position: usize,
    left: Aliased<'_>,
    right: Aliased<'_>,
) -> String {
    let list = &layout.lists[position];
    let cast = list.item.compared_as();
    let array = |(alias, side): Aliased<'_>| match side {
        Side::Staged => {
            let cast = if cast.is_empty() { String::new() } else { format!("{cast}[]") };
            format!("coalesce({alias}.{}{cast}, '{{}}')", identifier(&list.name))
        }
        // Not by `array_agg`, which would sort what the index has in order.
        Side::Stored(children) => format!(
            "array(select c.{}{cast} from {} c where {} order by c.{})",
            identifier(ITEM),
            own_rows(schema, &children[position]),
            child_of(layout, alias),
            identifier(LEVEL),
        ),
    };
    format!("{} is distinct from {}", array(left), array(right))
}

/// The conditions of which one holds where anything but an array of plain values differs.
fn other_differences(
    schema: &str,
    layout: &Layout,
    left: Aliased<'_>,
    right: Aliased<'_>,
) -> Vec<String> {
    let row = |alias: &str| comma(layout.values().map(|column| comparable(alias, column)));
    let mut conditions = Vec::new();
    if layout.values().next().is_some() {
        conditions.push(format!("row({}) is distinct from row({})", row(left.0), row(right.0)));
    }
    for (position, nested) in layout.nested.iter().enumerate() {
        let items = |(alias, side): Aliased<'_>| match side {
            Side::Staged => nested::staged_items(nested, alias),
            Side::Stored(children) => {
                let child = &children[layout.lists.len() + position];
                nested::stored_items(schema, child, layout, nested, alias)
            }
        };
        conditions.push(format!("{} is distinct from {}", items(left), items(right)));
    }
    for (alias, side) in [left, right] {
        let Side::Stored(children) = side else { continue };
        // Items of arrays that the stream has no more.
        for child in children.iter().skip(layout.child_count()) {
            let child = own_rows(schema, child);
            let of_row = child_of(layout, alias);
            conditions.push(format!("exists (select from {child} c where {of_row})"));
        }
    }
    conditions
}

fn any_of(conditions: Vec<String>) -> String {
    if conditions.is_empty() {
        "false".to_owned()
    } else {
        format!("({})", join(conditions, " or "))
    }
}

/// Whether two rows under these aliases have the same key.
pub(crate) fn same_key(layout: &Layout, left: &str, right: &str) -> String {
    all_of(layout.key().map(|column| {
        let name = identifier(&column.name);
        format!("{left}.{name} = {right}.{name}")
    }))
}

/// The columns of a subtable.
pub(crate) fn child_columns(layout: &Layout) -> Vec<String> {
    let keys = layout.key().map(|column| identifier(&source_key(&column.name)));
    let system = layout.system.iter().map(|column| identifier(&column.name));
    keys.chain([identifier(LEVEL), identifier(ITEM)]).chain(system).collect()
}

/// Whether `c`, a row of a subtable, belongs to the row under this alias.
pub(super) fn child_of(layout: &Layout, parent: &str) -> String {
    all_of(layout.key().map(|column| {
        format!(
            "c.{} = {parent}.{}",
            identifier(&source_key(&column.name)),
            identifier(&column.name)
        )
    }))
}

/// Whether the row under the alias `incoming` wins against the stored row `t`.
fn wins(winner: &Winner, incoming: &str) -> String {
    let sequence = identifier(system::SEQUENCE);
    // A stored row without a sequence was put there by somebody else; it is older than anything of ours.
    let newer = format!("({incoming}.{sequence} > t.{sequence}) is not false");
    match winner {
        Winner::Incoming => "true".to_owned(),
        Winner::Sequence => newer,
        Winner::Later { column, sql_type } => {
            let (ours, theirs) =
                (format!("{incoming}.{}", identifier(column)), format!("t.{}", identifier(column)));
            // By code point, as everywhere else, and not by the rules of the database's language.
            let collation = if *sql_type == SqlType::Text { " collate \"C\"" } else { "" };
            format!(
                "case when {ours} is not distinct from {theirs} then {newer} when {theirs} is null then true \
                 when {ours} is null then false else {ours}{collation} > {theirs}{collation} end"
            )
        }
    }
}

/// A column in a form that can be compared: documents by their text.
fn comparable(alias: &str, column: &Scalar) -> String {
    let cast = column.sql_type.compared_as();
    format!("{alias}.{}{cast}", identifier(&column.name))
}

/// A value in a form that becomes JSON as the core writes it: instants in UTC with `Z` and no trailing zeros.
fn json_value(value: &str, sql_type: SqlType) -> String {
    match sql_type {
        SqlType::Timestamptz => format!(
            "rtrim(rtrim(to_char({value} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z'"
        ),
        SqlType::Array(SqlType::Timestamptz) => {
            let item = json_value("u.item", SqlType::Timestamptz);
            format!(
                "case when {value} is not null then (select coalesce(json_agg({item} order by u.place), '[]') \
                 from unnest({value}) with ordinality u (item, place)) end"
            )
        }
        _ => value.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use replication::{
        placement::Nesting,
        stream::{Column, ColumnType, Method, StreamSchema, WinnerRule},
    };

    use super::*;
    use crate::sql::tests::in_lines;

    fn layout() -> Layout {
        let columns = [
            ("id", ColumnType::Text),
            ("modified", ColumnType::Text),
            ("extra", ColumnType::Json),
            ("listIds", ColumnType::List(Box::new(ColumnType::Text))),
        ];
        Layout::new(
            &StreamSchema {
                stream: "contact".into(),
                columns: columns.map(|(name, of)| Column::new(name, of)).to_vec(),
                key: vec!["id".to_owned()],
                replication_key: Some("modified".to_owned()),
                method: Method::Incremental,
                winner: WinnerRule::ReplicationKey,
            },
            Nesting::Subtables,
        )
        .unwrap()
    }

    #[test]
    fn the_statements_of_a_load_are_these() {
        let layout = layout();
        let tables = layout.live();
        let merge = Merge { schema: "s", layout: &layout, tables: &tables };
        let child = &tables.children[0];
        insta::assert_snapshot!(in_lines(&merge.create_stage()), @r#"
            set local enable_hashjoin = off; set local enable_mergejoin = off; set local
            enable_seqscan = off; set local enable_bitmapscan = off; create temporary
            table pg_temp._sdc_stage (_sdc_spot tid, "id" text, "modified" text, "extra"
            json, "_sdc_extracted_at" timestamp with time zone, "_sdc_received_at"
            timestamp with time zone, "_sdc_batched_at" timestamp with time zone,
            "_sdc_sequence" bigint, "_sdc_table_version" bigint, "listIds" text[]) on
            commit drop
        "#);
        insta::assert_snapshot!(in_lines(&merge.copy_into_stage()), @r#"
            copy pg_temp._sdc_stage (_sdc_spot, "id", "modified", "extra",
            "_sdc_extracted_at", "_sdc_received_at", "_sdc_batched_at", "_sdc_sequence",
            "_sdc_table_version", "listIds") from stdin with (format binary)
        "#);
        insta::assert_snapshot!(in_lines(&merge.create_keys()), @r#"
            set local enable_hashjoin = off; set local enable_mergejoin = off; set local
            enable_seqscan = off; set local enable_bitmapscan = off; create temporary
            table pg_temp._sdc_keys (_sdc_place integer, "id" text) on commit drop
        "#);
        insta::assert_snapshot!(in_lines(&merge.are_filled()), @r#"
            select exists (select from only "s"."contact"), exists (select from only
            "s"."contact__listIds")
        "#);
        insta::assert_snapshot!(in_lines(&merge.look_up()), @r#"
            select array_agg(k._sdc_place), array_agg(t.ctid) from pg_temp._sdc_keys k
            join only "s"."contact" t on k."id" = t."id"
        "#);
        insta::assert_snapshot!(in_lines(&merge.update()), @r#"
            with judged as materialized (select s.ctid as place, s._sdc_spot as spot,
            s."id" = t."id" as same, case when s."modified" is not distinct from
            t."modified" then (s."_sdc_sequence" > t."_sdc_sequence") is not false when
            t."modified" is null then true when s."modified" is null then false else
            s."modified" collate "C" > t."modified" collate "C" end as wins,
            (row(s."modified", s."extra"::text) is distinct from row(t."modified",
            t."extra"::text)) as others, coalesce(s."listIds", '{}') is distinct from
            array(select c."value" from only "s"."contact__listIds" c where
            c."_sdc_source_key_id" = t."id" order by c."_sdc_level_0_id") as array_0
            from pg_temp._sdc_stage s join only "s"."contact" t on t.ctid =
            s._sdc_spot), dropped as (delete from pg_temp._sdc_stage s using judged j
            where s.ctid = j.place and not (j.same and (j.others or j.array_0) and
            j.wins)), updated as (update only "s"."contact" t set "modified" =
            s."modified", "extra" = s."extra", "_sdc_extracted_at" =
            s."_sdc_extracted_at", "_sdc_received_at" = s."_sdc_received_at",
            "_sdc_batched_at" = s."_sdc_batched_at", "_sdc_sequence" =
            s."_sdc_sequence", "_sdc_table_version" = s."_sdc_table_version" from judged
            j join pg_temp._sdc_stage s on s.ctid = j.place where t.ctid = s._sdc_spot
            and (s."id" = t."id") is true and j.same and (j.others or j.array_0) and
            j.wins returning true) select count(*) filter (where j.same and not
            (j.others or j.array_0)), count(*) filter (where j.same and (j.others or
            j.array_0) and not j.wins), count(*) filter (where j.same and (j.others or
            j.array_0) and j.wins), (select count(*) from updated), array_agg(j.spot)
            filter (where j.same and j.wins and j.array_0) from judged j
        "#);
        insta::assert_snapshot!(in_lines(&merge.delete_items_at(child)), @r#"
            delete from only "s"."contact__listIds" c using pg_temp._sdc_keys k where
            k._sdc_place = any($1) and c."_sdc_source_key_id" = k."id"
        "#);
        insta::assert_snapshot!(in_lines(&merge.delete_items(child)), @r#"
            delete from only "s"."contact__listIds" c using pg_temp._sdc_stage s where
            s._sdc_spot is not null and c."_sdc_source_key_id" = s."id"
        "#);
        insta::assert_snapshot!(in_lines(&merge.copy_items(child)), @r#"
            copy "s"."contact__listIds" ("_sdc_source_key_id", "_sdc_level_0_id",
            "value", "_sdc_extracted_at", "_sdc_received_at", "_sdc_batched_at",
            "_sdc_sequence", "_sdc_table_version") from stdin with (format binary)
        "#);
    }
}

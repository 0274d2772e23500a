use replication::stream::Method;

use super::*;

fn schema(key: &[&str], winner: WinnerRule) -> StreamSchema {
    StreamSchema {
        stream: "contact".into(),
        columns: vec![
            Column::new("id", ColumnType::Text),
            Column::new("modified", ColumnType::Timestamp),
            Column::new("li\"st", ColumnType::List(Box::new(ColumnType::Number))),
        ],
        key: key.iter().map(|name| (*name).to_owned()).collect(),
        replication_key: Some("modified".to_owned()),
        method: Method::Incremental,
        winner,
    }
}

fn place() -> Place {
    Place::new("ware", "bronto")
}

#[test]
fn an_identifier_is_one_name_whatever_it_holds() {
    assert_eq!(quoted("createdDate"), "\"createdDate\"");
    assert_eq!(quoted("a\"; drop table b; --"), "\"a\"\"; drop table b; --\"");
    assert_eq!(quoted(""), "\"\"");
}

#[test]
fn tables_hold_every_column_in_its_type() {
    let schema = schema(&["id"], WinnerRule::Sequence);
    let system = system::row_columns();
    let create = create_table(&place(), "contact", schema.columns.iter().chain(&system));
    insta::assert_snapshot!(create, @r#"create table "ware"."bronto"."contact" ("id" varchar, "modified" timestamp with time zone, "li""st" decimal(38,9)[], "_sdc_extracted_at" timestamp with time zone, "_sdc_received_at" timestamp with time zone, "_sdc_batched_at" timestamp with time zone, "_sdc_sequence" bigint, "_sdc_table_version" bigint)"#);
    insta::assert_snapshot!(create_system_table(&place(), &STATE), @r#"create table if not exists "ware"."bronto"."_sdc_state" ("stream" varchar, "state" varchar, "token" bigint, "holder" varchar, "lease_expires_at" timestamp with time zone, "integration_id" varchar, "source_fingerprint" varchar, "start_date" varchar, "updated_at" timestamp with time zone, primary key ("stream"))"#);
}

#[test]
fn merging_compares_sequences() {
    let schema = schema(&["id"], WinnerRule::Sequence);
    insta::assert_snapshot!(merge(&place(), "contact", &schema, "backstitch_batch(7::ubigint)", true), @r#"
    merge into "ware"."bronto"."contact" as stored using backstitch_batch(7::ubigint) as loaded on (loaded._sdc_spot = stored.rowid)
    when matched and (loaded."modified" is distinct from stored."modified" or loaded."li""st" is distinct from stored."li""st") and (loaded."_sdc_sequence" > coalesce(stored."_sdc_sequence", -1)) then update set "id" = loaded."id", "modified" = loaded."modified", "li""st" = loaded."li""st", "_sdc_extracted_at" = loaded."_sdc_extracted_at", "_sdc_received_at" = loaded."_sdc_received_at", "_sdc_batched_at" = loaded."_sdc_batched_at", "_sdc_sequence" = loaded."_sdc_sequence", "_sdc_table_version" = loaded."_sdc_table_version"
    when not matched then insert ("id", "modified", "li""st", "_sdc_extracted_at", "_sdc_received_at", "_sdc_batched_at", "_sdc_sequence", "_sdc_table_version") values (loaded."id", loaded."modified", loaded."li""st", loaded."_sdc_extracted_at", loaded."_sdc_received_at", loaded."_sdc_batched_at", loaded."_sdc_sequence", loaded."_sdc_table_version")
    returning merge_action = 'INSERT'
    "#);
}

#[test]
fn recounting_reads_few_columns() {
    let schema = schema(&["id"], WinnerRule::Sequence);
    insta::assert_snapshot!(recount(&place(), "contact", &schema, "backstitch_batch(7::ubigint)"), @r#"
    select count(*), count(*) filter (where (loaded."_sdc_sequence" > coalesce(stored."_sdc_sequence", -1)) is not true and not (loaded."_sdc_sequence" is not distinct from stored."_sdc_sequence" and loaded."_sdc_batched_at" is not distinct from stored."_sdc_batched_at"))
    from backstitch_batch(7::ubigint) as loaded join "ware"."bronto"."contact" as stored on (loaded."id" = stored."id")
    "#);
}

#[test]
fn merging_compares_replication_keys() {
    insta::assert_snapshot!(wins(&schema(&["id"], WinnerRule::ReplicationKey)), @r#"loaded."modified" > stored."modified" or (loaded."modified" is not null and stored."modified" is null) or (loaded."modified" is not distinct from stored."modified" and loaded."_sdc_sequence" > coalesce(stored."_sdc_sequence", -1))"#);
    let greatest = schema(&["id"], WinnerRule::Greatest(vec!["id".to_owned()]));
    assert_eq!(wins(&greatest), "true");
    let without_key =
        StreamSchema { replication_key: None, ..schema(&["id"], WinnerRule::ReplicationKey) };
    assert_eq!(wins(&without_key), wins(&schema(&["id"], WinnerRule::Sequence)));
}

#[test]
fn keys_of_several_columns_are_compared_one_by_one() {
    let schema = schema(&["id", "modified", "li\"st"], WinnerRule::Sequence);
    insta::assert_snapshot!(compare(&place(), "contact", &schema, "backstitch_batch(7::ubigint)"), @r#"
    select count(*) filter (where not (false)), count(*) filter (where false)
    from backstitch_batch(7::ubigint) as loaded join "ware"."bronto"."contact" as stored on (loaded."id" = stored."id" and loaded."modified" = stored."modified" and loaded."li""st" = stored."li""st")
    "#);
    insta::assert_snapshot!(compare_versions(&place(), "_sdc_next_contact", "contact", &schema, None), @r#"
    select count(*) filter (where stored."_sdc_place" is null),
    count(*) filter (where loaded."_sdc_place" and stored."_sdc_place" and (false)),
    count(*) filter (where loaded."_sdc_place" and stored."_sdc_place" and not (false)),
    count(*) filter (where loaded."_sdc_place" is null and not stored."_sdc_stays")
    from (select *, true as "_sdc_place", false as "_sdc_stays" from "ware"."bronto"."_sdc_next_contact") as loaded full join (select *, true as "_sdc_place", false as "_sdc_stays" from "ware"."bronto"."contact") as stored on (loaded."id" = stored."id" and loaded."modified" = stored."modified" and loaded."li""st" = stored."li""st")
    "#);
}

#[test]
fn queries_for_people_are_wrapped_whole() {
    assert_eq!(as_text(" select 1 ; "), "select cast(columns(*) as varchar) from (\nselect 1 \n)");
}

//! The pages on tables and settings say what the code does.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use replication::stream::{ColumnType, Method};
use tap_bronto::BrontoStream;
use tap_bronto::activity_id::{LOSSLESS_FIELDS, lossless_id, lossless_identity};
use tap_bronto::config::SETTINGS;

#[test]
fn the_page_on_tables_lists_every_column() {
    let mut text = String::new();
    for stream in BrontoStream::ALL {
        let method = match stream.method() {
            Method::FullTable => "full table: replaced by every run".to_owned(),
            Method::Incremental => {
                let key = stream.replication_key().unwrap();
                let is_free = stream.methods().contains(&Method::FullTable);
                let choice = if is_free { ", or full table if you choose that" } else { "" };
                format!("key-based incremental by `{key}`{choice}")
            }
        };
        writeln!(text, "### `{}`\n", stream.name()).unwrap();
        writeln!(text, "Key: `{}`. Method: {method}.\n", stream.key().join("`, `")).unwrap();
        writeln!(text, "| column | type | meaning |\n|---|---|---|").unwrap();
        for column in stream.columns() {
            let meaning = column.documentation;
            writeln!(text, "| `{}` | {} | {meaning} |", column.name, name_of(&column.column_type))
                .unwrap();
        }
        text.push('\n');
    }
    compare("tables.md", "columns", &text);
}

#[test]
fn the_page_on_configuration_lists_every_setting_of_the_tap() {
    let mut text = String::from("| setting | type | default | does |\n|---|---|---|---|\n");
    for setting in SETTINGS {
        let kind = setting.format.unwrap_or(setting.json_type);
        let default = match (setting.is_required, setting.default) {
            (true, _) => "required".to_owned(),
            (false, Some(default)) => format!("`{default}`"),
            (false, None) => "none".to_owned(),
        };
        let (name, does) = (setting.name, setting.documentation);
        writeln!(text, "| `{name}` | {kind} | {default} | {does} |").unwrap();
    }
    compare("configuration.md", "settings of the tap", &text);
}

/// Other programs compute ids by that page, so what it says must never change.
#[test]
fn the_page_on_activity_ids_has_vectors() {
    let click: &[(&str, &str)] = &[
        ("createdDate", "2019-03-04T19:05:09Z"),
        ("activityType", "click"),
        ("contactId", "c1"),
        ("linkUrl", "https://example.com/é"),
    ];
    let anonymous: &[(&str, &str)] = &[click[0], click[1], ("emailAddress", ""), click[3]];
    let mut all = LOSSLESS_FIELDS.map(|name| (name, name));
    all[0].1 = "2019-03-04T19:05:09.5Z";
    let mut text = String::from(
        "| fields that are not absent | id of number 1 | of number 2 |\n|---|---|---|\n",
    );
    for (what, present) in [
        ("none".to_owned(), &[][..]),
        (listed(click), click),
        (listed(anonymous), anonymous),
        ("`createdDate` `2019-03-04T19:05:09.5Z`, all others their own names".to_owned(), &all),
    ] {
        let value = |name| present.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let identity = lossless_identity(&LOSSLESS_FIELDS.map(value));
        let ids = [1, 2].map(|number| hex::encode(lossless_id(&identity, number)));
        writeln!(text, "| {what} | `{}` | `{}` |", ids[0], ids[1]).unwrap();
    }
    compare("activity-ids.md", "vectors", &text);
}

fn listed(fields: &[(&str, &str)]) -> String {
    let shown = |text: &str| if text.is_empty() { "empty".to_owned() } else { format!("`{text}`") };
    let fields = fields.iter().map(|(name, text)| format!("`{name}` {}", shown(text)));
    fields.collect::<Vec<_>>().join(", ")
}

fn name_of(column_type: &ColumnType) -> String {
    match column_type {
        ColumnType::Text => "text".to_owned(),
        ColumnType::Integer => "integer".to_owned(),
        ColumnType::Number => "exact number".to_owned(),
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Timestamp => "timestamp, UTC".to_owned(),
        ColumnType::Json | ColumnType::Objects(_) => "JSON".to_owned(),
        ColumnType::List(item) => format!("list of {}", name_of(item)),
    }
}

/// Compares the generated part of a page, or writes it.
fn compare(page: &str, part: &str, generated: &str) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(page);
    let text = fs::read_to_string(&page).unwrap();
    let begin = format!("<!-- generated: {part} -->\n");
    let end = "<!-- end of generated -->";
    let (head, rest) = text.split_once(&begin).expect("the page has the generated part");
    let (found, tail) = rest.split_once(end).expect("the generated part ends");
    if std::env::var_os("BACKSTITCH_WRITE_DOCS").is_some() {
        fs::write(&page, format!("{head}{begin}{generated}{end}{tail}")).unwrap();
        return;
    }
    assert_eq!(found, generated, "run with BACKSTITCH_WRITE_DOCS=1 to write the page anew");
}

//! The page on the simulated server lists every behaviour as the program knows it.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use bronto_sim::behaviours;

const BEGIN: &str = "<!-- generated: behaviours -->\n";
const END: &str = "<!-- end of generated -->";

#[test]
fn the_page_lists_every_behaviour() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/simulated-bronto.md");
    let text = fs::read_to_string(&page).unwrap();
    let (head, rest) = text.split_once(BEGIN).expect("the page has a generated part");
    let (found, tail) = rest.split_once(END).expect("the generated part ends");
    let mut table = String::from("| behaviour | values | default | decides |\n|---|---|---|---|\n");
    for each in behaviours() {
        let cell = |text: &str| text.replace('|', "\\|");
        let (values, default) = (cell(each.values), cell(each.default));
        writeln!(table, "| `{}` | `{values}` | `{default}` | {} |", each.name, cell(each.meaning))
            .unwrap();
    }
    if std::env::var_os("BACKSTITCH_WRITE_DOCS").is_some() {
        fs::write(&page, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
        return;
    }
    assert_eq!(
        found, table,
        "run the tests once with BACKSTITCH_WRITE_DOCS=1 to write the page anew"
    );
}

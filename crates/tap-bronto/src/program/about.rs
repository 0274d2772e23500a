//! What the tap is and what can be set.

use std::fmt::Write;

use serde_json::{Value, json};
use tap_bronto::config::{SETTINGS, Settings};

use super::arguments::AboutFormat;

const NAME: &str = "tap-bronto";
const DESCRIPTION: &str =
    "Replicates the contacts, activities, lists and unsubscriptions of a Bronto account.";
const CAPABILITIES: [&str; 5] = ["about", "catalog", "discover", "properties", "state"];

/// The description in a format.
pub(crate) fn render(format: AboutFormat) -> String {
    match format {
        AboutFormat::Json => format!("{:#}\n", description()),
        AboutFormat::Markdown => markdown(),
    }
}

fn description() -> Value {
    json!({
        "name": NAME,
        "description": DESCRIPTION,
        "version": env!("CARGO_PKG_VERSION"),
        "capabilities": CAPABILITIES,
        "settings": Settings::json_schema(),
    })
}

fn markdown() -> String {
    let mut text =
        format!("# {NAME} {}\n\n{DESCRIPTION}\n\n## Capabilities\n\n", env!("CARGO_PKG_VERSION"));
    for capability in CAPABILITIES {
        line(&mut text, format_args!("- `{capability}`"));
    }
    text.push_str("\n## Settings\n\n| setting | type | required | default | meaning |\n|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let required = if setting.is_required { "yes" } else { "no" };
        let (kind, default) =
            (setting.format.unwrap_or(setting.json_type), setting.default.unwrap_or(""));
        let row = format_args!(
            "| `{}` | {kind} | {required} | {default} | {} |",
            setting.name, setting.documentation
        );
        line(&mut text, row);
    }
    text.push_str(
        "\nEach can also be given in the environment, as `TAP_BRONTO_` and its name in capitals.\n",
    );
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing into a string never fails");
}

//! What people read on standard output: tables, counts, and text that can't disturb a terminal.

use std::io::{self, Write};

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{
    CellAlignment, ColumnConstraint, ContentArrangement, LineStyle, Table, TableStyle,
};
use serde_json::Value;

use crate::{exit::ExitStatus, failure::Failure};

/// Tables have a line under the titles and nothing else, so that they can be copied.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Prints text on standard output. A reader that went away is no error: it has seen enough.
///
/// # Errors
/// When standard output can't be written for another reason.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    offer(text).map(drop)
}

/// Prints text on standard output, and tells whether anybody reads on.
///
/// # Errors
/// When standard output can't be written for another reason.
pub(crate) fn offer(text: &str) -> Result<bool, Failure> {
    let mut output = io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(ExitStatus::Unexpected, "Standard output can't be written")
            .caused_by(&error)),
    }
}

/// Prints a JSON document, indented, on standard output.
///
/// # Errors
/// As [`print()`].
pub(crate) fn print_json(value: &Value) -> Result<(), Failure> {
    print(&format!("{value:#}\n"))
}

/// The columns of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Column {
    /// Text, left.
    Text(&'static str),
    /// Text, left, which is never broken: what people copy.
    Whole(&'static str),
    /// Figures, right.
    Figure(&'static str),
    /// Figures, right; left out when all of them are zero.
    Rare(&'static str),
}

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Text(title) | Self::Whole(title) | Self::Figure(title) | Self::Rare(title) => {
                title
            }
        }
    }

    fn alignment(self) -> CellAlignment {
        match self {
            Self::Text(_) | Self::Whole(_) => CellAlignment::Left,
            Self::Figure(_) | Self::Rare(_) => CellAlignment::Right,
        }
    }
}

/// Renders rows under their titles, after an empty line; as wide as the terminal at most.
pub(crate) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let is_shown = |position: usize, column: &Column| {
        !matches!(column, Column::Rare(_))
            || rows.iter().any(|row| row.get(position).is_some_and(|cell| cell != "0"))
    };
    let shown: Vec<(usize, Column)> = columns
        .iter()
        .copied()
        .enumerate()
        .filter(|(position, column)| is_shown(*position, column))
        .collect();
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(shown.iter().map(|(_, column)| column.title()));
    for row in rows {
        table.add_row(
            shown.iter().map(|(position, _)| row.get(*position).cloned().unwrap_or_default()),
        );
    }
    for (place, (_, column)) in shown.iter().enumerate() {
        if let Some(styled) = table.column_mut(place) {
            styled.set_cell_alignment(column.alignment());
            if matches!(column, Column::Whole(_)) {
                styled.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
    }
    format!("\n{}\n", table.trim_fmt())
}

/// A count with its thousands apart, `12,345`.
pub(crate) fn count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// An instant to the second, `2026-11-23T13:00:00Z`; empty for none.
pub(crate) fn instant(instant: Option<DateTime<Utc>>) -> String {
    instant.map(|instant| instant.format("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default()
}

/// How long something took, `1:02:03`; empty if that isn't known.
pub(crate) fn duration(duration: Option<TimeDelta>) -> String {
    let Some(seconds) = duration.map(|duration| duration.num_seconds().max(0)) else {
        return String::new();
    };
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// Text from outside in one line of at most `limit` characters, with what would steer a terminal or turn the text around
/// shown instead of obeyed.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    for (position, character) in text.chars().enumerate() {
        if position == limit {
            line.push('…');
            break;
        }
        let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if character.is_control() || turns {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_right_and_rare_zeros_are_left_out() {
        let columns = [
            Column::Text("Table"),
            Column::Figure("Rows"),
            Column::Rare("Rejected"),
            Column::Rare("Deleted"),
        ];
        let rows = [["contact", "12,345", "0", "0"], ["list", "7", "0", "2"]]
            .map(|row| row.map(str::to_owned).to_vec());
        insta::assert_snapshot!(table(&columns, &rows), @r"
         Table       Rows   Deleted
        ────────────────────────────
         contact   12,345         0
         list           7         2
        ");
    }

    #[test]
    fn durations_are_hours_minutes_and_seconds() {
        let shown = |seconds| duration(Some(TimeDelta::seconds(seconds)));
        assert_eq!(
            [0, 59, 3_723, 360_000].map(shown),
            ["0:00:00", "0:00:59", "1:02:03", "100:00:00"]
        );
        assert_eq!((duration(None), shown(-5)), (String::new(), "0:00:00".to_owned()));
    }

    #[test]
    fn control_characters_are_shown_instead_of_obeyed() {
        assert_eq!(one_line("a\u{1b}[31mb\nc", 40), "a\\u{1b}[31mb\\nc");
        assert_eq!(one_line("a\u{202e}b\u{2028}", 40), "a\\u{202e}b\\u{2028}");
        assert_eq!(one_line("Grüße", 3), "Grü…");
    }
}

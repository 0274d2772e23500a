//! What of an account is replicated, and how: `tables`, `columns` and `methods`.

use replication::stream::Method;
use tap_bronto::{BrontoStream, SelectedStream};

use super::document::{ConfigError, Entry, Section, nearest};

/// What a Singer tap replicates is written in its catalog.
pub(super) fn refuse(section: &mut Section<'_>) -> Result<Vec<SelectedStream>, ConfigError> {
    let named = ["tables", "columns", "methods"].into_iter().find_map(|name| section.take(name));
    match named {
        Some(entry) => Err(left_to_catalog(&entry)),
        None => Ok(Vec::new()),
    }
}

pub(super) fn left_to_catalog(entry: &Entry<'_>) -> ConfigError {
    entry.error(
        format!("`{}` has no effect on a Singer tap", entry.name()),
        "Select streams and fields in the tap's catalog, and name that with `catalog` in `source`",
    )
}

/// Reads them.
pub(super) fn read(section: &mut Section<'_>) -> Result<Vec<SelectedStream>, ConfigError> {
    let tables = match section.take("tables") {
        Some(entry) => {
            entry.texts()?.iter().map(|name| table(&entry, name)).collect::<Result<_, _>>()?
        }
        None => BrontoStream::ALL.to_vec(),
    };
    let mut selection: Vec<SelectedStream> = tables.into_iter().map(SelectedStream::all).collect();
    if let Some(entry) = section.take("columns") {
        for entry in entry.section()?.take_rest() {
            let place = selected(&mut selection, &entry, "columns")?;
            let names = entry.texts()?;
            *place = SelectedStream::with_columns(place.stream(), names.iter().map(String::as_str))
                .map_err(|error| entry.error(error.to_string(), ""))?;
        }
    }
    if let Some(entry) = section.take("methods") {
        for entry in entry.section()?.take_rest() {
            let place = selected(&mut selection, &entry, "methods")?;
            *place = place
                .clone()
                .with_method(method(&entry)?)
                .map_err(|unfit| entry.error(unfit.to_string(), unfit.remedy()))?;
        }
    }
    if selection.is_empty() {
        return Err(
            section.error("`tables` names no table", "Leave it out to replicate all of them")
        );
    }
    Ok(selection)
}

/// The selected table that a key of this setting names.
fn selected<'s>(
    selection: &'s mut [SelectedStream],
    entry: &Entry<'_>,
    setting: &str,
) -> Result<&'s mut SelectedStream, ConfigError> {
    let name = entry.name();
    let stream = table(entry, name)?;
    selection.iter_mut().find(|selected| selected.stream() == stream).ok_or_else(|| {
        entry.error(format!("`{setting}` names the table `{name}`, which `tables` leaves out"), "")
    })
}

fn method(entry: &Entry<'_>) -> Result<Method, ConfigError> {
    match entry.text()? {
        "incremental" => Ok(Method::Incremental),
        "full-table" => Ok(Method::FullTable),
        _ => Err(entry.error("The method of a table must be `incremental` or `full-table`", "")),
    }
}

fn table(entry: &Entry<'_>, name: &str) -> Result<BrontoStream, ConfigError> {
    let names = BrontoStream::ALL.map(BrontoStream::name);
    BrontoStream::named(name).ok_or_else(|| {
        let hint = nearest(name, names.into_iter()).map_or_else(
            || format!("The tables are {}", names.map(|name| format!("`{name}`")).join(", ")),
            |nearest| format!("Did you mean `{nearest}`?"),
        );
        entry.error(format!("There is no table `{name}`"), hint)
    })
}

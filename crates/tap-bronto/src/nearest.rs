//! Which known name somebody probably meant.

/// Names at least this alike are worth suggesting; below, a suggestion confuses more than it helps.
const ALIKE: f64 = 0.7;

/// The known name that is most like `wanted`, if any is alike enough. Letter case doesn't count.
pub(crate) fn name<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let wanted = wanted.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&wanted, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(left, _), (right, _)| left.total_cmp(right))
        .map(|(_, name)| name.to_owned())
}

/// The end of a message about an unknown name.
pub(crate) fn suggestion(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggests_what_is_alike_and_nothing_else() {
        let known = ["start_date", "end_date", "token", "streams"];
        assert_eq!(name("startdate", known).as_deref(), Some("start_date"));
        assert_eq!(name("TOKEN", known).as_deref(), Some("token"));
        assert_eq!(name("xyzzy", known), None);
    }
}

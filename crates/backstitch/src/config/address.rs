//! The addresses of destinations. An address never holds a password that anybody can read along: one that stands in the
//! configuration or on the command line is refused; one that comes from the environment or a file is split off at once.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
};

use secrecy::SecretString;

use crate::failure::Failure;

/// The schemes that later versions will know.
const LATER_SCHEMES: [&str; 4] = ["delta+s3", "snowflake", "bigquery", "redshift"];

/// What there is in this version.
const KNOWN: &str = "This version writes to `duckdb:PATH` and `postgres://USER@HOST/DATABASE`";

/// Where rows go, without any secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DestinationAddress {
    /// A DuckDB file.
    DuckDb(PathBuf),
    /// A PostgreSQL database, as a URL.
    Postgres(String),
}

/// Why a text is no address. None of the messages quotes the text, because it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AddressError {
    /// No `scheme:` in front.
    #[error("The destination's address has no scheme")]
    NoScheme,
    /// A scheme that nobody knows.
    #[error("The destination's scheme `{0}` is not known")]
    UnknownScheme(String),
    /// A scheme that this version doesn't have.
    #[error("Destinations of the kind `{0}` are not in this version")]
    NotYet(String),
    /// `duckdb:` with nothing after it.
    #[error("The destination's address names no DuckDB file")]
    NoPath,
    /// A password that can be read along.
    #[error("The destination's address holds a password, which anybody who sees it can read")]
    InlinePassword,
    /// The environment variable isn't set.
    #[error("The destination's address is missing: `{0}` is not set in the environment")]
    NotSet(String),
    /// The file can't be read.
    #[error("The destination's address can't be read from `{}`", .0.display())]
    Unreadable(PathBuf),
}

impl AddressError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Self::NotSet(name) => {
                format!("Set it, for example with `export {name}=postgres://USER@HOST/DATABASE`")
            }
            Self::Unreadable(_) => String::new(),
            Self::InlinePassword => "Leave it out, and give it in the configuration as \
                 `{ url = \"…\", password = { env = \"NAME\" } }`, or in PGPASSWORD or PGPASSFILE"
                .to_owned(),
            _ => KNOWN.to_owned(),
        }
    }
}

impl From<AddressError> for Failure {
    fn from(error: AddressError) -> Self {
        let hint = error.hint();
        Self::configuration(error.to_string()).with_hint(hint)
    }
}

/// An address, and the password that was split off from it.
#[derive(Debug)]
pub(crate) struct ParsedAddress {
    /// The address.
    pub(crate) address: DestinationAddress,
    /// The password that it held.
    pub(crate) password: Option<SecretString>,
}

impl DestinationAddress {
    /// Reads an address from the command line: the address itself, `env:NAME`, or `@FILE`. Relative paths start at the
    /// working folder.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub(crate) fn from_argument(argument: &str) -> Result<ParsedAddress, AddressError> {
        let here = Path::new("");
        if let Some(name) = argument.strip_prefix("env:") {
            return Self::from_environment(name, here);
        }
        match argument.strip_prefix('@') {
            Some(path) => Self::from_file(&PathBuf::from(path), here),
            None => Self::parse(argument, here),
        }
    }

    /// Reads an address that an environment variable holds.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub(crate) fn from_environment(
        name: &str,
        folder: &Path,
    ) -> Result<ParsedAddress, AddressError> {
        let text = std::env::var(name).map_err(|_| AddressError::NotSet(name.to_owned()))?;
        Self::parse_secret(&text, folder)
    }

    /// Reads an address that a file holds.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub(crate) fn from_file(path: &Path, folder: &Path) -> Result<ParsedAddress, AddressError> {
        let text =
            fs::read_to_string(path).map_err(|_| AddressError::Unreadable(path.to_owned()))?;
        Self::parse_secret(&text, folder)
    }

    /// Reads an address that anybody may see.
    ///
    /// # Errors
    /// See [`AddressError`]; a password in it is one.
    pub(crate) fn parse(text: &str, folder: &Path) -> Result<ParsedAddress, AddressError> {
        let parsed = Self::parse_secret(text, folder)?;
        if parsed.password.is_some() {
            return Err(AddressError::InlinePassword);
        }
        Ok(parsed)
    }

    fn parse_secret(text: &str, folder: &Path) -> Result<ParsedAddress, AddressError> {
        let text = text.trim();
        let (scheme, rest) = text.split_once(':').ok_or(AddressError::NoScheme)?;
        match scheme {
            "duckdb" if rest.is_empty() => Err(AddressError::NoPath),
            "duckdb" => {
                Ok(ParsedAddress { address: Self::DuckDb(folder.join(rest)), password: None })
            }
            "postgres" | "postgresql" => {
                let (url, password) = split_password(text);
                Ok(ParsedAddress { address: Self::Postgres(url), password })
            }
            later if LATER_SCHEMES.contains(&later) => Err(AddressError::NotYet(later.to_owned())),
            // What stands before the first colon of something else may be anything, a secret included.
            other
                if other.len() <= 12
                    && other.chars().all(|c| c.is_ascii_lowercase() || c == '+') =>
            {
                Err(AddressError::UnknownScheme(other.to_owned()))
            }
            _ => Err(AddressError::NoScheme),
        }
    }
}

/// Takes the password out of `scheme://user:password@host/…?password=…`.
fn split_password(url: &str) -> (String, Option<SecretString>) {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let mut password = None;
    let mut kept = url.to_owned();
    if let Some((scheme, rest)) = url.split_once("://") {
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        if let Some((user_info, host)) = authority.rsplit_once('@')
            && let Some((user, secret)) = user_info.split_once(':')
        {
            password = Some(percent_decoded(secret));
            kept = format!("{scheme}://{user}@{host}{path}");
        }
    }
    let (secrets, plain): (Vec<&str>, Vec<&str>) = query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .partition(|pair| pair.starts_with("password="));
    if let Some(secret) = secrets.first().and_then(|pair| pair.split_once('=')) {
        password = Some(percent_decoded(secret.1));
    }
    if !plain.is_empty() {
        kept.push('?');
        kept.push_str(&plain.join("&"));
    }
    (kept, password.filter(|secret| !secret.is_empty()).map(SecretString::from))
}

/// The text with `%41` read as `A`; bytes that make no UTF-8 stay as they were written.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).filter(|_| *first == b'%');
        let decoded =
            escaped.and_then(|digits| u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok());
        bytes.push(decoded.unwrap_or(*first));
        rest = if decoded.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

impl fmt::Display for DestinationAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DuckDb(path) => write!(formatter, "duckdb:{}", path.display()),
            Self::Postgres(url) => formatter.write_str(url),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn parse(text: &str) -> Result<String, AddressError> {
        DestinationAddress::parse(text, Path::new("/data")).map(|parsed| parsed.address.to_string())
    }

    #[test]
    fn paths_start_at_the_folder() {
        assert_eq!(parse("duckdb:w.duckdb").unwrap(), "duckdb:/data/w.duckdb");
        assert_eq!(parse("duckdb:/tmp/w.duckdb").unwrap(), "duckdb:/tmp/w.duckdb");
    }

    #[test]
    fn refuses_what_this_version_does_not_have() {
        assert_eq!(parse("duckdb:"), Err(AddressError::NoPath));
        assert_eq!(parse("warehouse"), Err(AddressError::NoScheme));
        assert_eq!(parse("mysql://h/d"), Err(AddressError::UnknownScheme("mysql".to_owned())));
        assert_eq!(parse("snowflake://a/d"), Err(AddressError::NotYet("snowflake".to_owned())));
        assert_eq!(parse("S3cret:x"), Err(AddressError::NoScheme));
    }

    #[test]
    fn a_password_that_can_be_read_along_is_refused() {
        for url in ["postgres://u:hunter2@h/d", "postgresql://u@h/d?a=b&password=hunter2"] {
            let error = parse(url).unwrap_err();
            assert_eq!(error, AddressError::InlinePassword);
            assert!(!format!("{error}{error:?}{}", error.hint()).contains("hunter2"));
        }
        assert_eq!(parse("postgres://u@h:5433/d").unwrap(), "postgres://u@h:5433/d");
    }

    #[test]
    fn a_password_from_a_secret_place_is_split_off() {
        let parsed = DestinationAddress::parse_secret(
            "postgres://u:p%40ss:w@h/d?sslmode=require\n",
            Path::new(""),
        )
        .unwrap();
        assert_eq!(parsed.address.to_string(), "postgres://u@h/d?sslmode=require");
        assert_eq!(parsed.password.unwrap().expose_secret(), "p@ss:w");
    }
}

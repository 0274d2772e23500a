//! Where the password comes from when the configuration doesn't give it: the places that every PostgreSQL program looks
//! at, in the same order and form.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use replication::destination::{DestinationError, DestinationErrorKind};
use secrecy::SecretString;

use crate::config::{Host, PostgresConfig};

/// Finds the password for a server, given the environment's variables.
pub(crate) fn find(
    config: &PostgresConfig,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<SecretString>, DestinationError> {
    if let Some(password) = variable("PGPASSWORD").filter(|password| !password.is_empty()) {
        let password = password.into_string().map_err(|_| {
            refused(
                "The environment variable `PGPASSWORD` is not UTF-8 text".to_owned(),
                "Set it anew",
            )
        })?;
        return Ok(Some(password.into()));
    }
    let named = variable("PGPASSFILE").map(PathBuf::from);
    let Some(file) = named.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".pgpass")))
    else {
        return Ok(None);
    };
    match fs::read_to_string(&file) {
        Ok(entries) => {
            check_privacy(&file)?;
            Ok(entries.lines().find_map(|line| match_entry(line, config)).map(SecretString::from))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let message = format!("The password file `{}` can't be read", file.display());
            Err(refused(message, "Make it readable for the account that runs this program")
                .caused_by(error))
        }
    }
}

/// The password of an entry `host:port:database:user:password` if it is meant for this server. `*` stands for anything;
/// `\` takes the special meaning from the character after it.
fn match_entry(line: &str, config: &PostgresConfig) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        match character {
            // The password is the last field; colons in it mean themselves.
            ':' if fields.len() < 5 => fields.push(String::new()),
            '\\' => fields.last_mut()?.extend(characters.next()),
            _ => fields.last_mut()?.push(character),
        }
    }
    let [host, port, database, user, password] = <[String; 5]>::try_from(fields).ok()?;
    let own_host = match &config.host {
        Host::Tcp(host) => host.as_str(),
        Host::Unix(_) => "localhost",
    };
    let own_port = config.port.to_string();
    let wanted = [
        (&host, own_host),
        (&port, &own_port),
        (&database, &config.database),
        (&user, &config.user),
    ];
    wanted.iter().all(|(entry, own)| *entry == "*" || entry == own).then_some(password)
}

#[cfg(unix)]
fn check_privacy(file: &Path) -> Result<(), DestinationError> {
    use std::os::unix::fs::PermissionsExt;

    let mode = fs::metadata(file).map_or(0, |metadata| metadata.permissions().mode());
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let message = format!("The password file `{}` can be read by other accounts", file.display());
    Err(refused(message, format!("Run `chmod 600 {}`", file.display())))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the other platforms' form can fail")]
fn check_privacy(_file: &Path) -> Result<(), DestinationError> {
    Ok(())
}

fn refused(message: String, remedy: impl Into<String>) -> DestinationError {
    DestinationError::new(DestinationErrorKind::Configuration, message, remedy)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use secrecy::ExposeSecret;

    use super::*;

    fn config() -> PostgresConfig {
        PostgresConfig::parse("postgres://loader@db.example.com:6543/warehouse", "s").unwrap()
    }

    fn found(variables: &[(&str, &Path)]) -> Result<Option<String>, DestinationError> {
        let variable = |name: &str| {
            variables
                .iter()
                .find(|(own, _)| *own == name)
                .map(|(_, value)| value.as_os_str().to_owned())
        };
        Ok(find(&config(), variable)?.map(|password| password.expose_secret().to_owned()))
    }

    #[test]
    fn the_first_entry_that_fits_counts() {
        let entries = "# db.example.com:6543:warehouse:loader:commented\n\
                       other:6543:warehouse:loader:a\n\
                       *:6543:*:loader:b\\:\\\\c:d\n\
                       *:*:*:*:last";
        let found = entries.lines().find_map(|line| match_entry(line, &config()));
        assert_eq!(found.unwrap(), "b:\\c:d");
        assert_eq!(match_entry("too:few:fields", &config()), None);
    }

    #[test]
    fn the_variable_comes_before_the_file_and_the_named_file_before_the_one_at_home() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, password: &str| {
            let file = folder.path().join(name);
            fs::write(&file, format!("*:*:*:*:{password}\n")).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            file
        };
        let home = folder.path();
        assert_eq!(found(&[("HOME", home)]).unwrap(), None);
        let named = write("named", "from the named file");
        write(".pgpass", "from home");
        assert_eq!(found(&[("HOME", home)]).unwrap().unwrap(), "from home");
        assert_eq!(
            found(&[("HOME", home), ("PGPASSFILE", &named)]).unwrap().unwrap(),
            "from the named file"
        );
        let variables = [("PGPASSWORD", Path::new("from the variable")), ("PGPASSFILE", &named)];
        assert_eq!(found(&variables).unwrap().unwrap(), "from the variable");
    }

    #[test]
    fn a_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pgpass");
        fs::write(&file, "*:*:*:*:secret\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let error = found(&[("PGPASSFILE", &file)]).unwrap_err();
        assert!(error.remedy.starts_with("Run `chmod 600 "), "{}", error.remedy);
    }
}

//! `backstitch key`: makes keys that the service seals secrets with.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use secrecy::{ExposeSecret, SecretString};

use crate::{
    command_line::{KeyArguments, KeyCommand},
    display,
    exit::ExitStatus,
    failure::Failure,
    hosting::{KEY_FILE_VARIABLE, new_key},
};

/// Runs the command.
///
/// # Errors
/// When the file can't be written.
pub(crate) fn execute(arguments: &KeyArguments) -> Result<ExitStatus, Failure> {
    match &arguments.command {
        KeyCommand::New { file } => {
            write_new(file, &new_key()).map_err(|error| unwritten(file, &error))?;
            display::print(&format!(
                "Made the key file `{}`, which nobody else can read.\n\
                 Name it to the service: `{KEY_FILE_VARIABLE}={}`, or `key_file` in `[service]`.\n\
                 Keep a copy apart from the backups of the data folder: without it the stored secrets are lost.\n",
                file.display(),
                file.display()
            ))?;
        }
        KeyCommand::Rotate { file } => {
            rotate(file).map_err(|error| unwritten(file, &error))?;
            display::print(&format!(
                "Put a new key before those in `{}`.\n\
                 When the service starts again, it seals all secrets with it; then the older lines may go.\n",
                file.display()
            ))?;
        }
    }
    Ok(ExitStatus::Done)
}

/// Writes a file that isn't there yet.
fn write_new(file: &Path, text: &SecretString) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut written = options.write(true).create_new(true).mode(0o600).open(file)?;
    writeln!(written, "{}", text.expose_secret())?;
    written.sync_all()
}

/// Puts a new key first. The file is replaced as a whole, so that no moment is without the old ones.
fn rotate(file: &Path) -> io::Result<()> {
    let old: SecretString = fs::read_to_string(file)?.into();
    let both = format!("{}\n{}", new_key().expose_secret(), old.expose_secret().trim_end());
    let mut draft = file.as_os_str().to_owned();
    draft.push(".new");
    let draft = Path::new(&draft);
    write_new(draft, &both.into())?;
    fs::rename(draft, file)
}

fn unwritten(file: &Path, error: &io::Error) -> Failure {
    let failure =
        Failure::configuration(format!("The key file `{}` can't be written", file.display()))
            .caused_by(error);
    match error.kind() {
        io::ErrorKind::AlreadyExists => failure.with_hint(
            "It is there already, and what is sealed with its keys needs them: use `backstitch key rotate`",
        ),
        _ => failure,
    }
}

//! Keys, and what is sealed with them: XChaCha20-Poly1305 over a random nonce. What a secret is of is part of what is
//! sealed, so one can't be put in the place of another in the store.
//!
//! Keys are lines of 64 hexadecimal digits in a file that nobody else can read and that is no part of a backup of the data
//! folder. The first one seals; the others, older, still open.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use service::{host::SettingError, store::SealedSecret};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// The environment variable that holds keys.
pub(crate) const KEY_VARIABLE: &str = "BACKSTITCH_KEY";
/// The environment variable that names the file of keys.
pub(crate) const KEY_FILE_VARIABLE: &str = "BACKSTITCH_KEY_FILE";

const NONCE_BYTES: usize = 24;

/// What a key looks like; part of what is said of one that isn't.
const FORM: &str = "Make one with `backstitch key new FILE`";

/// Keys, the one that seals first.
pub(crate) struct KeyRing {
    keys: Vec<Key>,
}

struct Key {
    id: String,
    cipher: XChaCha20Poly1305,
}

impl KeyRing {
    /// The keys that the environment holds or names, else those of the file that the configuration names; none if there are
    /// none.
    ///
    /// # Errors
    /// When there is something that holds no key, or that others can read.
    pub(crate) fn find(
        configured: Option<&Path>,
        data_folder: &Path,
    ) -> Result<Option<Self>, Failure> {
        if let Ok(text) = env::var(KEY_VARIABLE) {
            return Self::parse(
                &text.into(),
                &format!("the environment variable `{KEY_VARIABLE}`"),
            )
            .map(Some);
        }
        let named = env::var_os(KEY_FILE_VARIABLE).map(PathBuf::from);
        match named.as_deref().or(configured) {
            Some(path) => Self::read(path, data_folder).map(Some),
            None => Ok(None),
        }
    }

    fn read(path: &Path, data_folder: &Path) -> Result<Self, Failure> {
        let unreadable = |error: io::Error| {
            Failure::configuration(format!("The key file `{}` can't be read", path.display()))
                .caused_by(&error)
                .with_hint(FORM)
        };
        let mode = fs::metadata(path).map_err(unreadable)?.mode();
        if mode & 0o077 != 0 {
            let message = format!(
                "The key file `{}` can be read by others (mode {:03o})",
                path.display(),
                mode & 0o777
            );
            let hint = format!("Forbid that with `chmod 600 {}`", path.display());
            return Err(Failure::configuration(message).with_hint(hint));
        }
        let place = |path: &Path| fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        if place(path).starts_with(place(data_folder)) {
            let message = format!(
                "The key file `{}` is in the data folder, whose backups would hold it too",
                path.display()
            );
            return Err(Failure::configuration(message).with_hint("Move it to another folder"));
        }
        let text: SecretString = fs::read_to_string(path).map_err(unreadable)?.into();
        Self::parse(&text, &format!("`{}`", path.display()))
    }

    fn parse(text: &SecretString, place: &str) -> Result<Self, Failure> {
        let lines = text.expose_secret().lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Option<Vec<Key>> = lines.map(Key::parse).collect();
        match keys {
            Some(keys) if !keys.is_empty() => Ok(Self { keys }),
            _ => Err(Failure::configuration(format!("There is no key in {place}")).with_hint(FORM)),
        }
    }

    /// The id of the key that seals.
    pub(crate) fn current_id(&self) -> &str {
        self.keys.first().map_or("", |key| &key.id)
    }

    /// Seals a secret of an integration.
    ///
    /// # Errors
    /// Never in practice: it is far shorter than what the cipher takes.
    pub(crate) fn seal(
        &self,
        integration_id: &str,
        name: &str,
        secret: &SecretString,
    ) -> Result<SealedSecret, SettingError> {
        let failed = || failure(name, "could not be sealed", "Report this defect");
        let key = self.keys.first().ok_or_else(failed)?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let about = about(&key.id, integration_id, name);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &about };
        let sealed = key.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| failed())?;
        let sealed = [nonce.as_slice(), &sealed].concat();
        Ok(SealedSecret { name: name.to_owned(), key_id: key.id.clone(), sealed })
    }

    /// Opens what [`KeyRing::seal`] sealed.
    ///
    /// # Errors
    /// When its key isn't among these, or it was changed.
    pub(crate) fn open(
        &self,
        integration_id: &str,
        sealed: &SealedSecret,
    ) -> Result<SecretString, SettingError> {
        let name = &sealed.name;
        let Some(key) = self.keys.iter().find(|key| key.id == sealed.key_id) else {
            let what = format!("is sealed with the key {}, which is not there", sealed.key_id);
            return Err(failure(
                name,
                &what,
                "Add that key to the key file, or give the secret anew",
            ));
        };
        let changed = || failure(name, "can't be opened: it was changed", "Give the secret anew");
        let (nonce, rest) = sealed.sealed.split_first_chunk::<NONCE_BYTES>().ok_or_else(changed)?;
        let about = about(&key.id, integration_id, name);
        let payload = Payload { msg: rest, aad: &about };
        let opened = key.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| changed())?;
        String::from_utf8(opened).map(SecretString::from).map_err(|_| changed())
    }
}

impl Key {
    fn parse(line: &str) -> Option<Self> {
        let bytes: [u8; 32] = hex::decode(line).ok()?.try_into().ok()?;
        let mut digest = Sha256::new();
        digest.update(b"backstitch key id\0");
        digest.update(bytes);
        let id = hex::encode(digest.finalize().as_slice().get(..4)?);
        Some(Self { id, cipher: XChaCha20Poly1305::new(&bytes.into()) })
    }
}

/// What a sealed secret is of, each part with its length.
fn about(key_id: &str, integration_id: &str, name: &str) -> Vec<u8> {
    let mut about = b"backstitch secret 1".to_vec();
    for part in [key_id, integration_id, name] {
        about.extend(part.len().to_be_bytes());
        about.extend(part.as_bytes());
    }
    about
}

fn failure(name: &str, what: &str, remedy: &str) -> SettingError {
    SettingError {
        pointer: format!("/secrets/{name}"),
        message: format!("The secret `{name}` {what}"),
        remedy: remedy.to_owned(),
    }
}

/// A new key, as a line of a key file.
pub(crate) fn new_key() -> SecretString {
    hex::encode(rand::random::<[u8; 32]>()).into()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn ring(keys: &[&SecretString]) -> KeyRing {
        let lines: Vec<&str> = keys.iter().map(|key| key.expose_secret()).collect();
        KeyRing::parse(&lines.join("\n").into(), "here").unwrap()
    }

    #[test]
    fn what_is_sealed_opens_only_as_what_it_is() {
        let key = new_key();
        let ring = ring(&[&key]);
        let secret: SecretString = "C0FFEE".into();
        let sealed = ring.seal("one", "token", &secret).unwrap();
        assert_eq!(ring.open("one", &sealed).unwrap().expose_secret(), "C0FFEE");
        assert!(!sealed.sealed.windows(6).any(|part| part == b"C0FFEE"));
        assert_ne!(ring.seal("one", "token", &secret).unwrap().sealed, sealed.sealed);
        // Of another integration, under another name, or changed.
        assert!(ring.open("two", &sealed).is_err());
        let renamed = SealedSecret { name: "password".to_owned(), ..sealed.clone() };
        assert!(ring.open("one", &renamed).is_err());
        for position in 0..sealed.sealed.len() {
            let mut changed = sealed.clone();
            changed.sealed[position] ^= 1;
            assert!(ring.open("one", &changed).is_err());
        }
        let short = SealedSecret { sealed: vec![1, 2], ..sealed };
        assert!(ring.open("one", &short).is_err());
    }

    #[test]
    fn an_older_key_still_opens() {
        let (old, new) = (new_key(), new_key());
        let sealed = ring(&[&old]).seal("one", "token", &"C0FFEE".into()).unwrap();
        let both = ring(&[&new, &old]);
        assert_eq!(both.open("one", &sealed).unwrap().expose_secret(), "C0FFEE");
        assert_ne!(both.current_id(), sealed.key_id);
        let refused = ring(&[&new]).open("one", &sealed).unwrap_err();
        assert!(refused.message.contains(&sealed.key_id), "{refused}");
    }

    #[test]
    fn a_key_file_is_for_nobody_else() {
        let folder = tempfile::tempdir().unwrap();
        let (data, file) = (folder.path().join("data"), folder.path().join("key"));
        fs::create_dir(&data).unwrap();
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
        fs::write(&file, new_key().expose_secret()).unwrap();
        allow(&file, 0o644).unwrap();
        let refused = |path: &Path| KeyRing::read(path, &data).map(|_| ()).unwrap_err().render();
        assert!(refused(&file).contains("can be read by others (mode 644)"));
        allow(&file, 0o600).unwrap();
        assert!(KeyRing::read(&file, &data).is_ok());
        let inside = data.join("key");
        fs::copy(&file, &inside).unwrap();
        assert!(refused(&inside).contains("is in the data folder"));
        fs::write(&file, "# nothing\n").unwrap();
        assert!(refused(&file).contains("There is no key in"));
    }
}

//! Passwords: hashed with Argon2id, which is slow and takes memory, so only a few at once and never where tasks run.

use argon2::{
    Argon2,
    password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash},
};
use secrecy::{ExposeSecret, SecretString};

/// The shortest password, in characters.
pub const SHORTEST: usize = 12;
/// The longest, in bytes: more would only cost.
pub const LONGEST: usize = 1024;

/// The hash of a password that nobody has: a name that nobody has takes as long as one that somebody has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$YmFja3N0aXRjaC1ub2JvZHk$O1W0K5Qe8xT2l4QbVJ0Q5m7rJrC2l0mJ2v7zv1v0c3I";

/// The hash of a password, as [`Store::create_user`](crate::Store::create_user) takes it. It takes a while: call it where
/// it may block.
///
/// # Errors
/// When it is too short or too long; the message says which.
pub fn hash(password: &SecretString) -> Result<SecretString, String> {
    let text = password.expose_secret();
    if text.chars().count() < SHORTEST {
        return Err(format!("The password must have at least {SHORTEST} characters"));
    }
    if text.len() > LONGEST {
        return Err(format!("The password must have at most {LONGEST} bytes"));
    }
    let salt = rand::random::<[u8; 16]>();
    let hash: PasswordHash = Argon2::default()
        .hash_password_with_salt(text.as_bytes(), &salt)
        .map_err(|error| format!("The password could not be hashed ({error})"))?;
    Ok(hash.to_string().into())
}

/// Whether a password is that of a hash. Without a hash it isn't, and takes as long.
pub(super) fn is_right(password: &SecretString, hash: Option<&SecretString>) -> bool {
    let password = password.expose_secret().as_bytes();
    let text = hash.map_or(NOBODY, |hash| hash.expose_secret());
    let Ok(parsed) = PasswordHash::new(text) else { return false };
    Argon2::default().verify_password(password, &parsed).is_ok() && hash.is_some()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash() {
        let password = SecretString::from("correct horse battery");
        let made = hash(&password).unwrap();
        assert!(made.expose_secret().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(is_right(&password, Some(&made)));
        assert!(!is_right(&"correct horse batterz".into(), Some(&made)));
        assert!(!is_right(&password, None));
        assert_ne!(made.expose_secret(), hash(&password).unwrap().expose_secret());
        for bad in ["short".to_owned(), "x".repeat(LONGEST + 1)] {
            assert!(hash(&bad.into()).is_err());
        }
    }

    #[test]
    fn the_hash_of_nobody_costs_as_much_as_one_of_ours() {
        let (nobody, ours) =
            (PasswordHash::new(NOBODY).unwrap(), hash(&"twelve or more".into()).unwrap());
        let ours = PasswordHash::new(ours.expose_secret()).unwrap();
        assert_eq!(nobody.params, ours.params);
    }
}

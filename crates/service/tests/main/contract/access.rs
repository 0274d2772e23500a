//! Users, sessions, the keys of requests, and secrets that come with what they belong to.

use chrono::TimeDelta;
use secrecy::SecretString;
use service::{
    Store, StoreError,
    integration::{IntegrationEdit, PausedBy},
    store::{Admission, NewSecrets, Reply, Role, SealedSecret, SessionLimits, User},
};

use crate::{at, new_integration, subject::Subject};

async fn user(subject: &Subject, name: &str, role: Role) -> User {
    let hash = SecretString::from("$argon2id$…");
    subject.store.create_user(name, role, &hash, at("2026-05-01 12:00")).await.unwrap()
}

pub(super) async fn users_are_managed(subject: &Subject) {
    let one = user(subject, "one", Role::Administrator).await;
    let two = user(subject, "two", Role::Viewer).await;
    let last = subject.store.set_role(&one.id, Role::Member).await.unwrap_err();
    assert_eq!(last.to_string(), "`one` is the last administrator");
    let now = at("2026-05-02 12:00");
    let last = subject.store.disable_user(&one.id, now).await.unwrap_err();
    assert!(matches!(last, StoreError::LastAdministrator { .. }));
    subject.store.set_role(&two.id, Role::Administrator).await.unwrap();
    subject.other.disable_user(&one.id, now).await.unwrap();
    let users = subject.other.users().await.unwrap();
    let shown: Vec<_> = users
        .iter()
        .map(|found| (found.user.name.as_str(), found.user.role, found.disabled_at))
        .collect();
    assert_eq!(
        shown,
        [("one", Role::Administrator, Some(now)), ("two", Role::Administrator, None)]
    );
    assert_eq!(subject.store.user(&one.id).await.unwrap(), users[0]);
    // Of two who each take the other's role away, one remains.
    let three = user(subject, "three", Role::Administrator).await;
    let (first, second) = tokio::join!(
        subject.store.set_role(&two.id, Role::Viewer),
        subject.other.set_role(&three.id, Role::Viewer)
    );
    assert!(first.is_ok() != second.is_ok(), "{first:?} {second:?}");
    for missing in [
        subject.store.set_role("nothing", Role::Viewer).await,
        subject.store.set_role(&one.id, Role::Viewer).await,
        subject.store.disable_user("nothing", now).await,
        subject.store.set_password(&one.id, &"x".into()).await,
        subject.store.user("nothing").await.map(drop),
    ] {
        assert!(matches!(missing, Err(StoreError::NotFound { .. })));
    }
}

pub(super) async fn sessions_end(subject: &Subject) {
    let one = user(subject, "one", Role::Viewer).await;
    let limits = SessionLimits { idle: TimeDelta::hours(1), absolute: TimeDelta::hours(3) };
    let begin = || subject.store.begin_session(&one.id, limits, at("2026-05-01 12:00"));
    let first = begin().await.unwrap();
    let found = |session: &SecretString, now: &str| {
        let (session, now) = (session.clone(), at(now));
        async move { subject.other.session(&session, limits, now).await.unwrap().is_some() }
    };
    for (now, is_alive) in [
        ("2026-05-01 12:59", true),
        ("2026-05-01 13:58", true),
        ("2026-05-01 14:57", true),
        ("2026-05-01 15:00", false),
    ] {
        assert_eq!(found(&first, now).await, is_alive, "{now}");
    }
    let second = begin().await.unwrap();
    assert!(!found(&second, "2026-05-01 13:00").await);
    let third = begin().await.unwrap();
    subject.store.end_session(&third).await.unwrap();
    assert!(!found(&third, "2026-05-01 12:00").await);
    let fourth = begin().await.unwrap();
    subject.store.set_password(&one.id, &"$argon2id$…2".into()).await.unwrap();
    assert!(!found(&fourth, "2026-05-01 12:00").await);
    // Those that have ended are forgotten when the next begins, and only digests were ever stored.
    let later = subject.store.begin_session(&one.id, limits, at("2026-05-02 12:00")).await.unwrap();
    assert!(found(&later, "2026-05-02 12:00").await);
    let stored = subject.query("select token_hash from sessions").await;
    assert_eq!(stored.lines().count(), 1);
    assert!(!stored.contains(secrecy::ExposeSecret::expose_secret(&later)));
}

pub(super) async fn keys_of_requests(subject: &Subject) {
    let (one, two) =
        (user(subject, "one", Role::Viewer).await, user(subject, "two", Role::Viewer).await);
    let age = TimeDelta::hours(24);
    let admit = |user: &User, digest: &'static str, now: &str| {
        let (id, now) = (user.id.clone(), at(now));
        async move { subject.other.admit(&id, "key", digest, age, now).await.unwrap() }
    };
    // Of two that come at once, one is worked on.
    let (first, second) =
        tokio::join!(admit(&one, "a", "2026-05-01 12:00"), admit(&one, "a", "2026-05-01 12:00"));
    assert_eq!([&first, &second].iter().filter(|found| ***found == Admission::New).count(), 1);
    assert_eq!(admit(&one, "b", "2026-05-01 12:00").await, Admission::Differs);
    assert_eq!(admit(&two, "b", "2026-05-01 12:00").await, Admission::New);
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    let reply = Reply { status: 201, headers, body: "{}".to_owned() };
    subject.store.record_reply(&one.id, "key", &reply).await.unwrap();
    assert_eq!(admit(&one, "a", "2026-05-02 11:59").await, Admission::Answered(reply));
    // What was answered is not withdrawn; what was not is free again.
    subject.store.withdraw_key(&one.id, "key").await.unwrap();
    assert_eq!(admit(&one, "b", "2026-05-02 11:59").await, Admission::Differs);
    subject.store.withdraw_key(&two.id, "key").await.unwrap();
    assert_eq!(admit(&two, "c", "2026-05-02 11:59").await, Admission::New);
    assert_eq!(admit(&one, "b", "2026-05-02 12:00").await, Admission::New);
}

pub(super) async fn an_integration_and_its_secrets_are_one(subject: &Subject) {
    let now = at("2026-05-01 12:00");
    let secret = |name: &str, byte| {
        let key_id = "k1".to_owned();
        SealedSecret { name: name.to_owned(), key_id, sealed: vec![byte; 3] }
    };
    let id = Store::new_integration_id();
    let new = new_integration("One", None);
    let secrets = [secret("token", 1), secret("password", 2)];
    let by = Some(PausedBy::User);
    let made = subject.store.create_integration_with(&id, &new, &secrets, by, now).await.unwrap();
    assert_eq!((&made.id, made.paused), (&id, Some((now, PausedBy::User))));
    let found = subject.other.secrets(&id).await.unwrap();
    assert_eq!(found, [secret("password", 2), secret("token", 1)]);
    // One that can't be made leaves no secret.
    let other = Store::new_integration_id();
    let taken = subject.store.create_integration_with(&other, &new, &secrets, None, now).await;
    assert!(matches!(taken, Err(StoreError::Taken { .. })));
    assert!(subject.store.secrets(&other).await.unwrap().is_empty());
    let change = NewSecrets {
        sealed: vec![secret("token", 9)],
        forgotten: vec!["password".to_owned(), "nothing".to_owned()],
    };
    let edit = IntegrationEdit::default();
    let late = subject.store.edit_integration_with(&id, 7, &edit, &change, now).await;
    assert!(matches!(late, Err(StoreError::Changed { .. })));
    assert_eq!(subject.store.secrets(&id).await.unwrap().len(), 2);
    subject.store.edit_integration_with(&id, 1, &edit, &change, now).await.unwrap();
    assert_eq!(subject.other.secrets(&id).await.unwrap(), [secret("token", 9)]);
}

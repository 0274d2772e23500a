//! Neither the token nor a session id is ever seen.

use std::error::Error;
use std::io::Write;
use std::sync::{Arc, Mutex};

use bronto_client::{Client, ClientError, Cursor};
use tracing_subscriber::fmt::MakeWriter;

use crate::faults::activities;
use crate::server::{Ids, Reply, Server, TOKEN};
use crate::transport::lists;

/// Keeps what is written to it.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// All that can be shown of an error.
fn shown(error: &ClientError) -> String {
    let mut text = format!("{error} {error:?} {error:#?} {}", error.remedy());
    let mut cause = error.source();
    while let Some(error) = cause {
        text += &format!(" {error} {error:?}");
        cause = error.source();
    }
    text
}

fn assert_clean(text: &str) {
    let text = text.to_lowercase();
    assert!(!text.contains(&TOKEN.to_lowercase()), "the token in: {text}");
    assert!(!text.contains("secret-session"), "a session in: {text}");
}

#[tokio::test]
async fn no_error_and_no_log_line_holds_token_or_session() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);

    let session = crate::server::response("login", "<return>secret-session</return>");
    let login = || Reply::Raw(200, &[], session.clone().into_bytes());
    let leak = "Authentication failed for token: 3d5a2c10-7b1e-4e0b-8f44-19d0a7c2b6ee";
    let session_leak = "106: Unable to verify session SECRET-SESSION";
    let html = |status| Reply::Raw(status, &[], format!("<html>{TOKEN}</html>").into_bytes());
    let redirect =
        Reply::Raw(302, &[("location", "https://example.com/?t=3D5A2C10-7B1E")], Vec::new());
    let mut troubles: Vec<Reply> =
        [101, 102, 103, 104, 106, 107, 108, 111, 113, 116, 4711].map(Reply::Fault).to_vec();
    troubles.push(Reply::BareFault(leak));
    troubles.extend([html(200), html(404), redirect, Reply::Truncated, Reply::Broken]);
    for trouble in troubles {
        let server = Server::with_logins(vec![trouble.clone(); 9], vec![login(); 9]).await;
        let client = Client::new(server.config()).unwrap();
        let mut session = client.session().await.unwrap();
        let error = session.read(&lists(), &mut Ids::default()).await.unwrap_err();
        assert_clean(&shown(&error));
        assert_clean(&format!(
            "{client:?} {session:?} {:?} {:?}",
            server.config(),
            client.statistics()
        ));

        let server = Server::with_logins([], vec![trouble; 9]).await;
        if let Err(error) = Client::new(server.config()).unwrap().session().await {
            assert_clean(&shown(&error));
        }
    }
    let replies = [Reply::BareFault(session_leak), Reply::Page(&["a"]), Reply::Fault(102)];
    let server = Server::with_logins(replies, [login()]).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    let error = session.read(&lists(), &mut Ids::default()).await.unwrap_err();
    assert_clean(&shown(&error));
    session.read(&activities(Cursor::First), &mut Ids::default()).await.unwrap();
    let error = session.read(&activities(Cursor::Next), &mut Ids::default()).await.unwrap_err();
    assert_clean(&shown(&error));

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(log.contains("Asked Bronto") && log.contains("tried again"), "{log}");
    let ours = log.lines().filter(|line| line.contains("bronto_client"));
    assert!(ours.clone().count() > 50);
    // Bodies are logged by nobody, not even at the finest level.
    assert_clean(&log);
}

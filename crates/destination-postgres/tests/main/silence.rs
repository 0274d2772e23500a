//! Servers that say nothing any more, though the network says that all is well: they are given up in time.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use destination_postgres::{Postgres, PostgresConfig};
use replication::destination::{Destination, DestinationErrorKind};

use crate::{
    loads::{commit, contact, contacts, load, merged, request},
    subject::{SCHEMA, Server},
};

/// All goes through.
const OPEN: u8 = 0;
/// What the server says on connections that are open already is swallowed; new ones work.
const SWALLOWS_ANSWERS: u8 = 1;
/// Nothing gets through; connections are taken all the same.
const SILENT: u8 = 2;

/// A network that can fall silent.
struct Network {
    port: u16,
    state: Arc<AtomicU8>,
}

impl Network {
    fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(AtomicU8::new(OPEN));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(("127.0.0.1", server)).unwrap();
                let since = shared.load(SeqCst);
                for (mut from, mut to, is_answer) in [
                    (client.try_clone().unwrap(), server.try_clone().unwrap(), false),
                    (server, client, true),
                ] {
                    let state = Arc::clone(&shared);
                    thread::spawn(move || {
                        let mut bytes = [0; 16 << 10];
                        while let Ok(count @ 1..) = from.read(&mut bytes) {
                            let is_swallowed = match state.load(SeqCst) {
                                SILENT => true,
                                SWALLOWS_ANSWERS => is_answer && since == OPEN,
                                _ => false,
                            };
                            if !is_swallowed && to.write_all(&bytes[..count]).is_err() {
                                break;
                            }
                        }
                        // Nobody hears in a silent network that a connection was closed.
                        while state.load(SeqCst) == SILENT {
                            thread::park_timeout(Duration::from_millis(10));
                        }
                        to.shutdown(Shutdown::Both).unwrap_or_default();
                    });
                }
            }
        });
        Self { port, state }
    }

    fn falls(&self, state: u8) {
        self.state.store(state, SeqCst);
    }
}

fn through(network: &Network, server: &Server) -> Postgres {
    let url = server.cluster.url();
    let url = url.replace(&server.cluster.port().to_string(), &network.port.to_string());
    let brief = Duration::from_millis(200);
    let config = PostgresConfig::parse(&url, SCHEMA).unwrap();
    let config = config.with_password(server.cluster.password().to_owned().into());
    let config = config.with_connect_timeout(Duration::from_secs(2)).with_answer_timeout(brief);
    Postgres::new(config.with_lock_timeout(Duration::from_secs(1))).unwrap()
}

#[tokio::test]
async fn a_server_that_says_nothing_any_more_is_given_up() {
    let server = Server::start();
    let network = Network::before(server.cluster.port());
    let postgres = through(&network, &server);
    let claim = postgres.claim(&request("run")).await.unwrap();
    let rows = load(&contacts(), &[contact("a", "x", 1).lists(&["l"])]);
    commit(&postgres, &claim, &rows).await.unwrap();

    // In a statement that should be answered at once, and in one that may take as long as it likes.
    let mut unit = postgres.begin(&claim).await.unwrap();
    network.falls(SILENT);
    let error = unit.prepare(&contacts(), None).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("gave no answer in time"), "{error}");
    unit.rollback().await.unwrap_err();
    network.falls(OPEN);
    let mut unit = postgres.begin(&claim).await.unwrap();
    unit.prepare(&contacts(), None).await.unwrap();
    network.falls(SILENT);
    let error = unit.merge(&rows).await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::Unavailable, "{error}");
    unit.rollback().await.unwrap_err();

    network.falls(OPEN);
    let rows = load(&contacts(), &[contact("a", "y", 2).lists(&["m"])]);
    assert_eq!(commit(&postgres, &claim, &rows).await.unwrap().updated, 1);
    assert_eq!(server.query("select value from \"contact__listIds\""), "m");
}

#[tokio::test]
async fn an_answer_that_got_lost_is_not_waited_for() {
    let server = Server::start();
    let network = Network::before(server.cluster.port());
    let postgres = through(&network, &server);
    let claim = postgres.claim(&request("run")).await.unwrap();
    let rows = load(&contacts(), &[contact("a", "x", 1)]);
    let (unit, _) = merged(&postgres, &claim, &rows).await.unwrap();
    network.falls(SWALLOWS_ANSWERS);
    let error = unit.commit().await.unwrap_err();
    assert_eq!(error.kind, DestinationErrorKind::CommitUnknown, "{error}");
    assert_eq!(postgres.count("contact").await.unwrap(), Some(1), "it was committed");
}

#[tokio::test]
async fn a_server_that_is_at_work_is_waited_for() {
    let server = Server::start();
    let network = Network::before(server.cluster.port());
    let postgres = through(&network, &server);
    let claim = postgres.claim(&request("run")).await.unwrap();
    commit(&postgres, &claim, &load(&contacts(), &[contact("a", "x", 1)])).await.unwrap();
    // Much longer than it takes to give a server up that isn't.
    server.query(
        "create function slowly() returns trigger language plpgsql as 'begin perform pg_sleep(2); return new; end'; \
         create trigger slowly before insert on contact for each row execute function slowly()",
    );
    let rows = load(&contacts(), &[contact("b", "x", 2)]);
    assert_eq!(commit(&postgres, &claim, &rows).await.unwrap().inserted, 1);
}

//! A proxy before PostgreSQL that understands just enough of the protocol to break it at one exact place.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use crate::programs::pause;

/// The message of the client at which something happens. Statements count only after rows were sent on the same
/// connection, so that they belong to a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// Rows on their way.
    Rows,
    /// The statement that merges them.
    Merge,
    /// The commit of the unit.
    Commit,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The connection is cut, and the message does not arrive.
    CutBefore,
    /// The message arrives; its reply does not, and the connection is cut.
    CutReply,
    /// The message arrives, and the test is told at once; nothing comes back until it has let the proxy go on.
    Tell,
}

/// A running proxy. It goes with the process.
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    told: Receiver<()>,
    go_on: SyncSender<()>,
}

struct Shared {
    server: u16,
    armed: Mutex<Option<(Moment, Mishap)>>,
    /// How long each answer is kept back.
    delay: Mutex<Duration>,
    tell: SyncSender<()>,
    /// Received by the connection that told.
    go_on: Mutex<Receiver<()>>,
}

impl Proxy {
    /// Starts a proxy before the server at this port.
    pub(crate) fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (tell, told) = sync_channel(1);
        let (go_on, may_go_on) = sync_channel(1);
        let shared = Arc::new(Shared {
            server,
            armed: Mutex::default(),
            delay: Mutex::default(),
            tell,
            go_on: Mutex::new(may_go_on),
        });
        let of_threads = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&of_threads);
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { port, shared, told, go_on }
    }

    /// The port to connect to.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Something happens the next time that this moment comes, once.
    pub(crate) fn arm(&self, moment: Moment, mishap: Mishap) {
        *self.shared.armed.lock().unwrap() = Some((moment, mishap));
    }

    /// Whether what it was armed with has happened.
    pub(crate) fn has_struck(&self) -> bool {
        self.shared.armed.lock().unwrap().is_none()
    }

    /// Keeps each answer of the server back for a while.
    pub(crate) fn slow_down(&self, delay: Duration) {
        *self.shared.delay.lock().unwrap() = delay;
    }

    /// Waits until the moment of [`Mishap::Tell`] has come.
    pub(crate) fn wait(&self) {
        self.told.recv_timeout(Duration::from_secs(60)).unwrap();
    }

    /// Lets the connection that told go on.
    pub(crate) fn go_on(&self) {
        self.go_on.send(()).unwrap();
    }
}

impl Shared {
    /// One connection, to its end. Whatever ends it ends it for both sides.
    fn serve(&self, mut client: TcpStream) {
        let Ok(mut server) = TcpStream::connect(("127.0.0.1", self.server)) else { return };
        let answers = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let muted = Arc::new(Mutex::new(false));
        thread::scope(|scope| {
            let until = Arc::clone(&muted);
            scope.spawn(move || {
                let (mut server, mut client) = answers;
                drop(self.answer(&mut server, &mut client, &until));
                drop(client.shutdown(Shutdown::Both));
                drop(server.shutdown(Shutdown::Both));
            });
            drop(self.ask(&mut client, &mut server, &muted));
            drop(client.shutdown(Shutdown::Both));
            drop(server.shutdown(Shutdown::Both));
        });
    }

    /// Passes the server's answers on. Once muted, it waits for one more and ends.
    fn answer(
        &self,
        server: &mut TcpStream,
        client: &mut TcpStream,
        muted: &Mutex<bool>,
    ) -> io::Result<()> {
        let mut buffer = [0; 65_536];
        loop {
            let length = server.read(&mut buffer)?;
            if length == 0 || *muted.lock().unwrap() {
                return Ok(());
            }
            let delay = *self.delay.lock().unwrap();
            if !delay.is_zero() {
                pause(delay);
            }
            client.write_all(&buffer[..length])?;
        }
    }

    /// Passes the client's messages on, and looks at each.
    fn ask(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
        muted: &Mutex<bool>,
    ) -> io::Result<()> {
        // The first message has no type.
        let first = message(client, 0)?;
        server.write_all(&first)?;
        let mut had_rows = false;
        loop {
            let message = message(client, 1)?;
            had_rows |= message[0] == b'd';
            let Some(mishap) = self.due(&message, had_rows) else {
                server.write_all(&message)?;
                continue;
            };
            match mishap {
                Mishap::CutBefore => return Ok(()),
                Mishap::CutReply => {
                    // The other direction ends both when the answer has come; until then the server may want more
                    // than this message before it answers.
                    *muted.lock().unwrap() = true;
                    server.write_all(&message)?;
                }
                Mishap::Tell => {
                    server.write_all(&message)?;
                    self.tell.send(()).map_err(io::Error::other)?;
                    let go_on = self.go_on.lock().unwrap();
                    go_on.recv_timeout(Duration::from_secs(60)).map_err(io::Error::other)?;
                }
            }
        }
    }

    /// What happens at this message. It happens once.
    fn due(&self, message: &[u8], had_rows: bool) -> Option<Mishap> {
        let mut armed = self.armed.lock().unwrap();
        let (moment, mishap) = (*armed)?;
        let says = |text: &str| message.windows(text.len()).any(|part| part == text.as_bytes());
        let is_statement = matches!(message[0], b'Q' | b'P');
        let has_come = match moment {
            Moment::Rows => message[0] == b'd',
            Moment::Merge => is_statement && had_rows && says("on conflict"),
            Moment::Commit => message[0] == b'Q' && had_rows && &message[5..] == b"commit\0",
        };
        if has_come {
            *armed = None;
        }
        has_come.then_some(mishap)
    }
}

/// One message: its type, if it has one, its length, which counts itself, and what it says.
fn message(from: &mut TcpStream, type_bytes: usize) -> io::Result<Vec<u8>> {
    let mut message = vec![0; type_bytes + 4];
    from.read_exact(&mut message)?;
    let length = message[type_bytes..].try_into().map(u32::from_be_bytes).unwrap() as usize;
    message.resize(type_bytes + length, 0);
    from.read_exact(&mut message[type_bytes + 4..])?;
    Ok(message)
}

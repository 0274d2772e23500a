//! The command line over a service that is away, elsewhere, or no service; and logs that are followed over connections that
//! break.

use std::{
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use chrono::Utc;
use service::store::{LogLevel, LogLimits, NewLogLine};

use crate::{
    account,
    programs::{INTEGRATION, Running, until},
    remote::{LINES, replicated},
    served::{Host, TLS, certify},
    serving::terminate,
    warehouse::Warehouse,
};

/// A proxy that cuts every connection after so many bytes of the answer, the first few times. It goes with the process.
struct Cutter {
    port: u16,
    connections: Arc<AtomicUsize>,
    cuts: Arc<AtomicUsize>,
}

impl Cutter {
    fn start(server: u16, after: usize, times: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (connections, cuts) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (met, counted) = (Arc::clone(&connections), Arc::clone(&cuts));
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                met.fetch_add(1, Ordering::Relaxed);
                let counted = Arc::clone(&counted);
                thread::spawn(move || pass(&client, server, after, times, &counted));
            }
        });
        Self { port, connections, cuts }
    }
}

/// Passes one connection on, until it ends or is cut.
fn pass(client: &TcpStream, server: u16, after: usize, times: usize, cuts: &AtomicUsize) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)) else { return };
    let (mut from_client, mut to_server) =
        (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        drop(std::io::copy(&mut from_client, &mut to_server));
        drop(to_server.shutdown(Shutdown::Write));
    });
    let (mut server, mut client) = (server, client);
    let (mut buffer, mut passed) = ([0; 512], 0);
    while let Ok(length @ 1..) = server.read(&mut buffer) {
        passed += length;
        if passed > after && cuts.load(Ordering::Relaxed) < times {
            cuts.fetch_add(1, Ordering::Relaxed);
            break;
        }
        if client.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}

#[test]
fn a_log_is_followed_over_connections_that_break() {
    let account = account::start_sized(60);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    account.set_behaviour("latency_ms", "5").unwrap();
    account::change(&account);
    let control = host.control();
    let run_id = control.start();
    let cutter = Cutter::start(served.port(), 3_000, 4);
    let through = format!("http://127.0.0.1:{}", cutter.port);
    let following =
        Running::start(host.remote(&through, &host.token, &["logs", &run_id, "--follow"]));
    let followed = following.wait().expect(0).stdout;
    assert!(cutter.cuts.load(Ordering::Relaxed) >= 3);
    assert_eq!(followed, served.ask(&host, &["logs", &run_id]).expect(0).stdout);
    assert!(followed.ends_with(" main - INFO Done\n"), "{followed}");
    terminate(served.serving);
}

#[test]
fn a_log_that_is_followed_is_left_by_a_signal() {
    let account = account::start_sized(60);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    account.set_behaviour("latency_ms", "1000").unwrap();
    account::change(&account);
    let control = host.control();
    let run_id = control.start();
    control.until("a line", |run| run.log.lines > 0);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let through = Cutter::start(served.port(), 0, 0);
        let server = format!("http://127.0.0.1:{}", through.port);
        let arguments = ["logs", INTEGRATION, "--follow", "--level", "INFO"];
        let following = Running::start(host.remote(&server, &host.token, &arguments));
        // It hears signals before it connects.
        until("a connection", || through.connections.load(Ordering::Relaxed) > 0);
        let command_line = fs::read_to_string(format!("/proc/{}/cmdline", following.id())).unwrap();
        assert!(command_line.contains("--follow") && !command_line.contains(&host.token));
        following.signal(signal);
        let ended = following.wait().expect(code);
        assert_eq!(ended.stderr, "");
    }
    // Whoever reads may go away.
    let mut unread = host.remote(&served.server(), &host.token, &["logs", INTEGRATION, "--follow"]);
    let mut unread = unread.stdout(Stdio::piped()).spawn().unwrap();
    drop(unread.stdout.take());
    assert!(unread.wait().unwrap().success());
    let stopped = served.ask(&host, &["integrations", "stop", INTEGRATION]).expect(0).stdout;
    assert!(stopped.contains(&run_id), "{stopped}");
    account.set_behaviour("latency_ms", "0").unwrap();
    control.until("its end", |run| run.ended_at.is_some());
    let again = served.ask(&host, &["logs", &run_id, "--follow"]).expect(0).stdout;
    assert!(!again.is_empty());
    terminate(served.serving);
}

#[test]
fn hostile_lines_and_names_steer_no_terminal() {
    let account = account::start_sized(20);
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, LINES);
    let served = replicated(&account, &host);
    let control = host.control();
    let run = control.last_run().unwrap();
    let hostile = "\u{1b}[2J\u{1b}]0;title\u{7}\r\n2026-01-01 00:00:00,000Z   main - INFO forged\u{202e}\u{9b}31m\u{0}";
    let line = NewLogLine {
        logged_at: Utc::now(),
        location: "tap".to_owned(),
        level: LogLevel::Error,
        body: hostile.to_owned(),
    };
    control.append(&run.id, &[line], &LogLimits::default());
    for arguments in
        [&["logs", &run.id][..], &["logs", &run.id, "--follow"], &["logs", &run.id, "--json"]]
    {
        let shown = served.ask(&host, arguments).expect(0).stdout;
        let is_harmful =
            |letter: char| letter != '\n' && letter.is_control() || letter == '\u{202e}';
        // JSON keeps the text as it is, and writes control characters out.
        let found: Vec<char> = shown.chars().filter(|letter| is_harmful(*letter)).collect();
        let is_json = arguments.contains(&"--json");
        assert!(
            found.iter().all(|letter| is_json && !letter.is_ascii()),
            "{arguments:?}: {found:?}"
        );
        assert!(shown.contains("forged"), "{shown}");
        assert!(
            !shown.lines().any(|line| line.starts_with("2026-01-01 00:00:00,000Z   main")),
            "{shown}"
        );
    }
    let errors = served.ask(&host, &["logs", INTEGRATION, "--level", "error"]).expect(0).stdout;
    assert_eq!(errors.matches(" tap - ERROR ").count(), 1, "{errors}");
    terminate(served.serving);
}

/// A server that answers every request alike, and counts them.
fn answering(answer: &'static str) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut request = [0; 4_096];
            drop(client.read(&mut request));
            drop(client.write_all(answer.as_bytes()));
        }
    });
    (port, asked)
}

#[test]
fn what_is_no_service_is_told_from_one_that_is_away() {
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, "");
    let ask = |server: &str, more: &[&str]| {
        let arguments = [&["integrations"][..], more].concat();
        Running::start(host.remote(server, &host.token, &arguments)).wait()
    };
    // A port that was free a moment ago.
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let away = ask(&format!("http://127.0.0.1:{port}"), &[]).expect(4).failure();
    assert!(away.contains("can't be reached") && away.contains("hint: "), "{away}");

    let (elsewhere, reached) = answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}");
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: http://localhost:{elsewhere}/\r\ncontent-length: 0\r\n\r\n"
    );
    let (port, _) = answering(redirect.leak());
    let sent_on = ask(&format!("http://127.0.0.1:{port}"), &[]).expect(2).failure();
    assert!(
        sent_on.contains("`localhost`") && sent_on.contains("token doesn't go there"),
        "{sent_on}"
    );
    assert_eq!(reached.load(Ordering::Relaxed), 0);

    let (port, asked) = answering(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
    );
    let busy = ask(&format!("http://127.0.0.1:{port}"), &[]).expect(4).failure();
    assert!(busy.contains("503"), "{busy}");
    assert_eq!(asked.load(Ordering::Relaxed), 4);

    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\n<html",
        "HTTP/1.1 200 OK\r\ncontent-length: 14\r\nconnection: close\r\n\r\n{\"items\": [{}]",
        "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 15\r\nconnection: close\r\n\r\n{\"items\": [{}]}",
    ] {
        let (port, _) = answering(answer);
        let foreign = ask(&format!("http://127.0.0.1:{port}"), &[]).expect(2).failure();
        assert!(foreign.contains("is no service of Backstitch"), "{foreign}");
    }
    let plain = ask("http://192.0.2.1", &[]).expect(2).failure();
    assert!(plain.contains("unencrypted") && plain.contains("--allow-http"), "{plain}");
    let secret = ask("https://user:MARKER@b.example", &[]).expect(2).failure();
    assert!(!secret.contains("MARKER"), "{secret}");
}

#[test]
fn a_certificate_is_believed_only_if_it_is_known() {
    let warehouse = Warehouse::duckdb();
    let host = Host::new(&warehouse, TLS);
    certify(host.path());
    let served = host.serve();
    let server = format!("https://{}", served.address);
    let certificate = host.path().join("service.pem");
    let trusting = ["integrations", "--ca-file", certificate.to_str().unwrap()];
    Running::start(host.remote(&server, &host.token, &trusting)).wait().expect(0);
    let refused =
        Running::start(host.remote(&server, &host.token, &["integrations"])).wait().expect(4);
    let refused = refused.failure();
    assert!(refused.contains("certificate") && refused.contains("--ca-file"), "{refused}");
    let none = host.path().join("backstitch.toml");
    let none = ["integrations", "--ca-file", none.to_str().unwrap()];
    Running::start(host.remote(&server, &host.token, &none)).wait().expect(2);
    terminate(served.serving);
}

//! How long each kind of read takes, beside `/healthz` in the same run.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use crate::{fill::Filled, process::Serving};

/// How often each is asked; between any two of them `/healthz` is asked once.
const SAMPLES: usize = 300;

/// A connection that is kept.
struct Client {
    stream: BufReader<TcpStream>,
    host: String,
}

/// What asking took.
struct Taken {
    wall: Duration,
    processor: Duration,
    bytes: usize,
}

impl Client {
    fn connect(serving: &Serving) -> Self {
        let stream = TcpStream::connect(&serving.address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream), host: serving.address.clone() }
    }

    /// Sends a request, and answers how long its whole answer is and took.
    fn get(&mut self, path: &str, token: &str) -> (Duration, usize) {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
            self.host
        );
        let begun = Instant::now();
        self.stream.get_mut().write_all(request.as_bytes()).unwrap();
        let mut status = String::new();
        self.stream.read_line(&mut status).unwrap();
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line).unwrap();
            let line = line.trim_end().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).unwrap();
        let wall = begun.elapsed();
        assert!(status.contains(" 200 "), "{path}: {status}{}", String::from_utf8_lossy(&body));
        (wall, length)
    }
}

/// Asks for everything, and prints a table.
pub(crate) fn measure(serving: &Serving, filled: &Filled) {
    let Filled { integration, run, long_run, day, tokens } = filled;
    let of = format!("/api/v1/integrations/{integration}");
    let kinds = [
        ("50 integrations", "/api/v1/integrations".to_owned()),
        ("500 integrations", "/api/v1/integrations?limit=500".to_owned()),
        ("an integration", of.clone()),
        ("50 runs of all", "/api/v1/runs".to_owned()),
        ("50 runs that failed", "/api/v1/runs?state=failed".to_owned()),
        ("50 runs of an integration", format!("{of}/runs")),
        ("a run", format!("/api/v1/runs/{run}")),
        ("50 lines of a log of 100,000", format!("/api/v1/runs/{long_run}/log?after=50000")),
        ("its 50 first warnings", format!("/api/v1/runs/{long_run}/log?level=WARNING")),
        (
            "search in it, found on the first page",
            format!("/api/v1/runs/{long_run}/log?search=Outbound_Activity"),
        ),
        (
            "search in it, found nowhere",
            format!("/api/v1/runs/{long_run}/log?search=nothing%20of%20the%20kind"),
        ),
        ("all tables of an integration", format!("{of}/tables")),
        ("a table by day", format!("{of}/tables/contact/loads?day={day}")),
        ("slots", format!("{of}/slots")),
        ("schema events", format!("{of}/schema-events")),
        ("usage of an integration", format!("/api/v1/usage?integration_id={integration}")),
        ("usage of all, the first 500 lines", "/api/v1/usage".to_owned()),
        ("usage of all, 5,000 lines", "/api/v1/usage?limit=5000".to_owned()),
        ("metrics", "/metrics".to_owned()),
    ];
    println!(
        "| read | bytes | p50 ms | p99 ms | CPU ms | `/healthz` p50 ms | p99 ms | times p50 | times p99 |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let mut client = Client::connect(serving);
    for (kind, (name, path)) in kinds.iter().enumerate() {
        // A caller may ask 300 times at once.
        let callers = &tokens[kind * 2..kind * 2 + 2];
        for token in callers {
            client.get(path, token);
        }
        let (mut healths, mut reads) = (Vec::new(), Vec::new());
        for sample in 0..SAMPLES {
            healths.push(client.get("/healthz", "").0);
            let before = serving.processor_time();
            let (wall, bytes) = client.get(path, &callers[sample % callers.len()]);
            let processor = serving.processor_time() - before;
            reads.push(Taken { wall, processor, bytes });
        }
        let processor: Duration = reads.iter().map(|read| read.processor).sum();
        let bytes = reads.last().map_or(0, |read| read.bytes);
        let reads = sorted(reads.iter().map(|read| read.wall).collect());
        let healths = sorted(healths);
        let times = |part: usize| share(&reads, part) / share(&healths, part);
        println!(
            "| {name} | {bytes} | {:.2} | {:.2} | {:.2} | {:.3} | {:.3} | {:.0} | {:.0} |",
            share(&reads, 50),
            share(&reads, 99),
            milliseconds(processor) / 300.0,
            share(&healths, 50),
            share(&healths, 99),
            times(50),
            times(99),
        );
    }
}

fn sorted(mut durations: Vec<Duration>) -> Vec<Duration> {
    durations.sort();
    durations
}

/// What so many of a hundred stay below, in milliseconds.
fn share(sorted: &[Duration], percent: usize) -> f64 {
    milliseconds(sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)])
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

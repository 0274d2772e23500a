//! The program `bronto-sim`: serves a simulated Bronto account.

use std::error::Error;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;

use bronto_sim::{ClockMode, DEFAULT_TOKEN, Server, SimConfig, TokenGrant, behaviours};
use chrono::{DateTime, Utc};
use clap::{Args, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// A simulated Bronto account
#[derive(Debug, Parser)]
#[command(name = "bronto-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve an account; prints one line `listening on http://ADDR/v4` when ready
    Serve(Serve),
    /// List the behaviours: name, values, default, meaning
    Behaviours {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Serve {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The source of all chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where the account's clock starts [default: 2026-11-23T13:00:00Z]
    #[arg(long, value_name = "RFC3339")]
    now: Option<DateTime<Utc>>,
    /// Whether the clock runs on from there
    #[arg(long, value_enum, default_value_t)]
    clock: ClockMode,
    /// Days over which contacts and unsubscribes are spread; activities over the last 30 of them
    #[arg(long, default_value_t = SimConfig::default().days)]
    days: u32,
    /// Number of contacts
    #[arg(long, default_value_t = SimConfig::default().contacts)]
    contacts: u32,
    /// Number of lists
    #[arg(long, default_value_t = SimConfig::default().lists)]
    lists: u32,
    /// Number of custom fields of contacts
    #[arg(long, default_value_t = SimConfig::default().fields)]
    fields: u32,
    /// Number of unsubscribes
    #[arg(long, default_value_t = SimConfig::default().unsubscribes)]
    unsubscribes: u32,
    /// Number of inbound activities
    #[arg(long, default_value_t = SimConfig::default().inbound)]
    inbound: u32,
    /// Number of outbound activities
    #[arg(long, default_value_t = SimConfig::default().outbound)]
    outbound: u32,
    /// API token that may read; may be given more than once
    #[arg(long, default_value = DEFAULT_TOKEN)]
    token: Vec<String>,
    /// API token that may not read; may be given more than once
    #[arg(long)]
    token_without_read: Vec<String>,
    /// A behaviour that differs from its default; may be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = behaviour)]
    behaviour: Vec<(String, String)>,
}

fn behaviour(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "expected NAME=VALUE".to_owned())
}

impl From<Serve> for SimConfig {
    fn from(serve: Serve) -> Self {
        let reading = serve.token.into_iter().map(TokenGrant::reading);
        let others = serve.token_without_read.into_iter();
        Self {
            listen: serve.listen,
            seed: serve.seed,
            now: serve.now.unwrap_or_else(bronto_sim::default_now),
            clock: serve.clock,
            days: serve.days,
            contacts: serve.contacts,
            lists: serve.lists,
            fields: serve.fields,
            unsubscribes: serve.unsubscribes,
            inbound: serve.inbound,
            outbound: serve.outbound,
            tokens: reading.chain(others.map(TokenGrant::without_read)).collect(),
            behaviours: serve.behaviour,
        }
    }
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Serve(serve) => run(serve.into()),
        Command::Behaviours { json } => list_behaviours(json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has seen enough.
        Err(error) if is_broken_pipe(error.as_ref()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error.as_ref());
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &(dyn Error + 'static)) -> bool {
    error
        .downcast_ref::<std::io::Error>()
        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn report(error: &dyn Error) {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    eprintln!("ERROR {text}");
}

fn run(config: SimConfig) -> Result<(), Box<dyn Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(config).await?;
        let mut stdout = std::io::stdout();
        writeln!(stdout, "listening on {}", server.endpoint())?;
        stdout.flush()?;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        eprintln!("INFO Stopping after {} calls", server.stats().all_requests());
        server.shutdown().await;
        Ok(())
    })
}

fn list_behaviours(json: bool) -> Result<(), Box<dyn Error>> {
    let mut stdout = std::io::stdout();
    if json {
        serde_json::to_writer_pretty(&mut stdout, &behaviours())?;
        writeln!(stdout)?;
        return Ok(());
    }
    for each in behaviours() {
        writeln!(
            stdout,
            "{}={}\n    {} (default {})",
            each.name, each.values, each.meaning, each.default
        )?;
    }
    Ok(())
}

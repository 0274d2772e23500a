//! Trying whether an account can be read, step by step, up to the first that fails.

use bronto_client::{
    Class, Client, ClientError, ContactIncludes, Cursor, Direction, ReadActivities, ReadContacts,
    ReadFields, ReadLists, ReadRequest, ReadUnsubscribes, Session, lexical::utc_text,
};
use chrono::{DateTime, TimeDelta, Utc};
use replication::source::{CheckFailure, CheckStep};

use crate::{
    config::TapConfig,
    reader::Ignored,
    source::chain,
    streams::{BrontoStream, SelectedStream},
    window,
};

/// Reaches the service, logs in, and reads a little of each selected stream.
pub(crate) async fn run(client: &Client, config: &TapConfig) -> Vec<CheckStep> {
    let mut steps = Vec::new();
    let host = config.endpoint.host();
    let reach = format!("reach {host}");
    let mut session = match client.session().await {
        Ok(session) => session,
        // A fault is an answer, so the service was reached.
        Err(error) if error.fault().is_some() => {
            steps.push(passed(reach, "answered"));
            steps.push(failed("log in".to_owned(), &error));
            return steps;
        }
        Err(error) => {
            steps.push(failed(reach, &error));
            return steps;
        }
    };
    steps.push(passed(reach, "answered"));
    steps.push(passed("log in".to_owned(), "the token is valid"));
    for selected in &config.selection {
        let stream = selected.stream();
        let name = format!("read {}", stream.name());
        let now = client.server_date().unwrap_or_else(Utc::now);
        match read_a_little(&mut session, selected, now).await {
            Ok(()) => steps.push(passed(name, &readable(config, selected, now))),
            Err(error) => {
                steps.push(failed(name, &error));
                return steps;
            }
        }
    }
    steps
}

/// What can be said about how far back the stream can be read.
fn readable(config: &TapConfig, selected: &SelectedStream, now: DateTime<Utc>) -> String {
    let stream = selected.stream();
    let oldest = window::floor(now - TimeDelta::days(30));
    match config.start_date {
        Some(start) if stream.is_activity() && start < oldest => format!(
            "permitted; the activities from {} to {} can't be read, because Bronto returns only the last 30 days",
            utc_text(start),
            utc_text(oldest)
        ),
        _ if selected.is_read_whole() && stream != BrontoStream::List => {
            "permitted; a full table: every run reads all of it from the start date on".to_owned()
        }
        _ => "permitted".to_owned(),
    }
}

async fn read_a_little(
    session: &mut Session,
    selected: &SelectedStream,
    now: DateTime<Utc>,
) -> Result<(), ClientError> {
    if !selected.custom_fields().is_none() {
        let fields = ReadFields { page: 1, page_size: Some(10) };
        session.read(&ReadRequest::Fields(fields), &mut Ignored).await?;
    }
    let before = window::floor(now);
    let from = before - TimeDelta::seconds(1);
    let stream = selected.stream();
    let request = match stream {
        BrontoStream::Contact => ReadRequest::Contacts(ReadContacts {
            modified_from: from,
            modified_before: before,
            page: 1,
            include: ContactIncludes::default(),
            fields: Vec::new(),
        }),
        BrontoStream::InboundActivity | BrontoStream::OutboundActivity => {
            ReadRequest::Activities(ReadActivities {
                direction: match stream {
                    BrontoStream::OutboundActivity => Direction::Outbound,
                    _ => Direction::Inbound,
                },
                start: from,
                end: before,
                size: 1000,
                cursor: Cursor::First,
            })
        }
        BrontoStream::List => ReadRequest::Lists(ReadLists { page: 1, page_size: Some(10) }),
        BrontoStream::Unsubscribe => {
            ReadRequest::Unsubscribes(ReadUnsubscribes { start: from, end: before, page: 1 })
        }
    };
    session.read(&request, &mut Ignored).await.map(|_| ())
}

fn passed(name: String, found: &str) -> CheckStep {
    CheckStep { name, result: Ok(found.to_owned()) }
}

fn failed(name: String, error: &ClientError) -> CheckStep {
    let failure = CheckFailure {
        message: chain(error),
        remedy: error.remedy().to_owned(),
        retriable: error.class() == Class::Unavailable,
    };
    CheckStep { name, result: Err(failure) }
}

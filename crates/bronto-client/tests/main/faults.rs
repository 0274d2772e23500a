//! Every code of a fault, and what the client does about it.

use bronto_client::{
    Class, Client, ClientError, ContactIncludes, Cursor, Direction, ReadActivities, ReadContacts,
    ReadRequest,
};

use crate::server::{Ids, Reply, Server};

pub(crate) fn contacts() -> ReadRequest {
    ReadRequest::Contacts(ReadContacts {
        modified_from: "2019-03-04T00:00:00Z".parse().unwrap(),
        modified_before: "2019-03-05T00:00:00Z".parse().unwrap(),
        page: 1,
        include: ContactIncludes::all(),
        fields: Vec::new(),
    })
}

pub(crate) fn activities(cursor: Cursor) -> ReadRequest {
    ReadRequest::Activities(ReadActivities {
        direction: Direction::Inbound,
        start: "2019-03-04T00:00:00Z".parse().unwrap(),
        end: "2019-03-05T00:00:00Z".parse().unwrap(),
        size: 5000,
        cursor,
    })
}

/// What becomes of a read that is answered with one fault and then with a page.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The page, after a pause.
    Retried,
    /// The page, after a new login.
    Renewed,
    /// The end of the window.
    End,
    /// The fault, as an error of that class.
    Error(Class),
    /// The loss of the cursor.
    CursorLost,
}

async fn outcome(server: Server, request: &ReadRequest) -> Outcome {
    let client = Client::new(server.config()).unwrap();
    let mut session = client.session().await.unwrap();
    // The session proves itself first, with a window of activities that has a next page.
    session.read(&activities(Cursor::First), &mut Ids::default()).await.unwrap();
    let mut ids = Ids::default();
    let result = session.read(request, &mut ids).await;
    let statistics = client.statistics();
    match result {
        Ok(page) if page.end_of_query => Outcome::End,
        Ok(_) => {
            assert_eq!(ids.ids, ["a"]);
            assert_eq!(statistics.retries + statistics.lost_sessions, 1);
            if statistics.retries == 1 { Outcome::Retried } else { Outcome::Renewed }
        }
        Err(error) => {
            assert!(ids.ids.is_empty());
            assert_eq!(statistics.retries, 0, "{error:?}");
            match error {
                ClientError::CursorLost { .. } => Outcome::CursorLost,
                other => Outcome::Error(other.class()),
            }
        }
    }
}

#[tokio::test]
async fn each_code_is_retried_renewed_or_reported() {
    let codes = (101..=116).chain([302, 311, 312, 313, 401, 501, 802, 803]).chain(1201..=1204);
    for code in codes.chain([4711]) {
        for bare in [false, true] {
            let fault = || match bare {
                true => Reply::BareFault(Box::leak(format!("{code}: Text.").into_boxed_str())),
                false => Reply::Fault(code),
            };
            let script = || Server::start([Reply::Page(&["0"]), fault(), Reply::Page(&["a"])]);
            let paged = match code {
                101 | 108 | 113 => Outcome::Retried,
                103 | 107 => Outcome::Renewed,
                _ => Outcome::Error(Class::Refused),
            };
            let next = match code {
                101 | 103 | 107 | 108 | 113 => Outcome::CursorLost,
                116 => Outcome::End,
                _ => Outcome::Error(Class::Refused),
            };
            assert_eq!(outcome(script().await, &contacts()).await, paged, "{code}");
            let found = outcome(script().await, &activities(Cursor::Next)).await;
            assert_eq!(found, next, "{code} inside a cursor");
            if code == 116 {
                let first = outcome(script().await, &activities(Cursor::First)).await;
                assert_eq!(first, Outcome::End);
            }
        }
    }
}

#[tokio::test]
async fn lasting_faults_end_after_all_tries() {
    for code in [101, 108, 113] {
        let server = Server::start(vec![Reply::Fault(code); 9]).await;
        let client = Client::new(server.config()).unwrap();
        let mut session = client.session().await.unwrap();
        let error = session.read(&contacts(), &mut Ids::default()).await.unwrap_err();
        assert!(matches!(error, ClientError::GaveUp { tries: 4, .. }), "{error:?}");
        assert_eq!(error.fault().and_then(|fault| fault.code().number()), Some(code));
        assert_eq!(error.class(), Class::Unavailable);
        assert_eq!(server.calls().len(), 5);
        let counted: Vec<_> = client.statistics().faults.into_values().collect();
        assert_eq!(counted, [4]);
    }
}

#[tokio::test]
async fn no_tries_means_the_fault_itself() {
    let server = Server::start([Reply::Fault(101)]).await;
    let mut config = server.config();
    config.max_retries = 0;
    let mut session = Client::new(config).unwrap().session().await.unwrap();
    let error = session.read(&contacts(), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Fault { .. }), "{error:?}");
}

#[tokio::test]
async fn a_code_is_never_searched_for_in_the_text() {
    let fault = Reply::BareFault("106: Unable to verify parameter 116");
    let server = Server::start([fault, Reply::Page(&[])]).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    let error = session.read(&activities(Cursor::First), &mut Ids::default()).await.unwrap_err();
    assert_eq!(error.fault().and_then(|fault| fault.code().number()), Some(106));
}

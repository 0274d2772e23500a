//! Sessions: logins, renewals, and cursors that live and die with them.

use bronto_client::{
    Class, Client, ClientError, Cursor, Direction, Function, ReadActivities, ReadRequest, Retry,
};
use tokio::net::TcpListener;

use crate::faults::{activities, contacts};
use crate::server::{Ids, Reply, Server, TOKEN, config};
use crate::transport::lists;

#[tokio::test]
async fn a_session_that_died_is_renewed_once_without_a_pause() {
    let replies = [Reply::Fault(103), Reply::Page(&["a"])];
    let server = Server::start(replies).await;
    let client = Client::new(server.config()).unwrap();
    let mut session = client.session().await.unwrap();
    let page = session.read(&contacts(), &mut Ids::default()).await.unwrap();
    assert_eq!(server.log(), ["login", "readContacts S1", "login", "readContacts S2"]);
    assert_eq!(page.requests, 3);
    let statistics = client.statistics();
    assert_eq!((statistics.logins, statistics.lost_sessions, statistics.retries), (2, 1, 0));
}

#[tokio::test]
async fn a_session_that_dies_again_at_once_counts_as_a_failed_try() {
    let server = Server::start([Reply::Fault(103), Reply::Fault(103), Reply::Page(&["a"])]).await;
    let client = Client::new(server.config()).unwrap();
    let mut session = client.session().await.unwrap();
    let page = session.read(&contacts(), &mut Ids::default()).await.unwrap();
    assert_eq!((page.requests, client.statistics().retries), (5, 1));

    let server = Server::start(vec![Reply::Fault(103); 99]).await;
    let client = Client::new(server.config()).unwrap();
    let mut session = client.session().await.unwrap();
    let error = session.read(&contacts(), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::GaveUp { tries: 4, .. }), "{error:?}");
    assert_eq!(client.statistics().requests[&Function::ReadContacts], 5);
}

#[tokio::test]
async fn fault_107_means_a_stale_session_only_if_the_session_has_worked() {
    let server = Server::start([Reply::Fault(107)]).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    let error = session.read(&contacts(), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Fault { .. }), "{error:?}");
    assert_eq!(error.class(), Class::Refused);
    assert_eq!(server.log(), ["login", "readContacts S1"]);

    // One that has worked is renewed; then the request is at fault, and nothing is tried further.
    let server = Server::start([Reply::Page(&["a"]), Reply::Fault(107), Reply::Fault(107)]).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    session.read(&lists(), &mut Ids::default()).await.unwrap();
    let error = session.read(&contacts(), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::Fault { .. }), "{error:?}");
    let expected = ["login", "readLists S1", "readContacts S1", "login", "readContacts S2"];
    assert_eq!(server.log(), expected);
}

/// What HTTP and the service can do to a login that may well succeed the next time.
fn passing() -> Vec<Reply> {
    let raw = |status, body: &str| Reply::Raw(status, &[], body.as_bytes().to_vec());
    let mut troubles = vec![
        raw(500, "Internal Server Error"),
        raw(502, ""),
        raw(503, "<html>Sorry</html>"),
        raw(429, "slow down"),
        raw(200, ""),
        raw(200, "OK"),
        raw(200, "<html>Sorry</html>"),
        Reply::Raw(200, &[("content-encoding", "gzip")], b"no compression".to_vec()),
        Reply::Truncated,
        Reply::Broken,
        Reply::BareFault("Something fell over"),
        Reply::BareFault("101: There was an unknown API error."),
    ];
    troubles.extend([101, 103, 108, 113].map(Reply::Fault));
    troubles
}

#[tokio::test]
async fn whatever_befalls_a_login_in_passing_is_tried_again() {
    for trouble in passing() {
        let shown = format!("{trouble:?}");
        let server = Server::with_logins([Reply::Page(&["a"])], [trouble.clone()]).await;
        let client = Client::new(server.config()).unwrap();
        let mut session = client.session().await.unwrap_or_else(|error| panic!("{shown}: {error}"));
        session.read(&contacts(), &mut Ids::default()).await.unwrap();
        assert_eq!(server.log(), ["login", "login", "readContacts S1"], "{shown}");
        assert_eq!(client.statistics().logins, 1, "{shown}");

        // The same while a session is renewed, for a read or inside a cursor.
        let replies = [Reply::Fault(103), Reply::Page(&["a"])];
        let server = Server::with_logins(replies, []).await;
        let client = Client::new(server.config()).unwrap();
        let mut session = client.session().await.unwrap();
        server.next_logins([trouble.clone()]);
        let page = session.read(&contacts(), &mut Ids::default()).await.unwrap();
        assert_eq!((page.rows, page.requests), (1, 4), "{shown}");

        let server = Server::with_logins([], vec![trouble; 99]).await;
        let client = Client::new(server.config()).unwrap();
        let error = client.session().await.unwrap_err();
        assert!(matches!(error, ClientError::GaveUp { tries: 4, .. }), "{shown}: {error:?}");
        assert_eq!((error.class(), error.retry()), (Class::Unavailable, Retry::No), "{shown}");
        // A session that isn't valid is renewed once without counting, although there was none.
        let free = u64::from(shown.contains("103"));
        assert_eq!(client.statistics().requests[&Function::Login], 4 + free, "{shown}");
        assert_eq!(client.statistics().logins, 0, "{shown}");
    }
}

#[tokio::test]
async fn whatever_refuses_a_login_is_reported_at_once() {
    let codes = (101..=116).filter(|code| ![101, 103, 108, 113].contains(code));
    let faults = codes.chain([302, 401, 1201, 4711]).map(|code| (Some(code), Reply::Fault(code)));
    let pages = [400, 401, 403, 404].map(|status| (None, Reply::Raw(status, &[], Vec::new())));
    for (code, refusal) in faults.chain(pages) {
        let shown = format!("{refusal:?}");
        let server = Server::with_logins([], [refusal.clone()]).await;
        let client = Client::new(server.config()).unwrap();
        let error = client.session().await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{shown}");
        assert_eq!(error.fault().and_then(|fault| fault.code().number()), code, "{shown}");
        assert!(!error.remedy().is_empty() && !format!("{error:?}").contains(TOKEN), "{shown}");
        assert_eq!(server.log(), ["login"], "{shown}");

        // A token that was good and isn't any more: the read ends with the login's fault.
        let server = Server::with_logins([Reply::Page(&["a"]), Reply::Fault(103)], []).await;
        let client = Client::new(server.config()).unwrap();
        let mut session = client.session().await.unwrap();
        session.read(&contacts(), &mut Ids::default()).await.unwrap();
        server.next_logins([refusal]);
        let error = session.read(&contacts(), &mut Ids::default()).await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{shown}: {error:?}");
        let expected = ["login", "readContacts S1", "readContacts S1", "login"];
        assert_eq!(server.log(), expected, "{shown}");
    }
}

#[tokio::test]
async fn connections_that_break_during_a_login_are_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v4", listener.local_addr().unwrap());
    let accepted = tokio::spawn(async move {
        let mut accepted = 0;
        // The last try finds nobody there.
        while accepted < 3 {
            drop(listener.accept().await.unwrap());
            accepted += 1;
        }
        accepted
    });
    let client = Client::new(config(&endpoint)).unwrap();
    let error = client.session().await.unwrap_err();
    assert!(matches!(error, ClientError::GaveUp { tries: 4, .. }), "{error:?}");
    assert_eq!((error.class(), accepted.await.unwrap()), (Class::Unavailable, 3));
}

#[tokio::test]
async fn an_answer_that_stops_coming_times_out_and_is_tried_again() {
    for (replies, logins) in [
        (vec![Reply::Page(&["a"])], vec![Reply::Stalled]),
        (vec![Reply::Stalled, Reply::Page(&["a"])], Vec::new()),
    ] {
        let server = Server::with_logins(replies, logins).await;
        let mut settings = server.config();
        settings.request_timeout = std::time::Duration::from_secs(1);
        let client = Client::new(settings).unwrap();
        let mut ids = Ids::default();
        let mut session = client.session().await.unwrap();
        session.read(&contacts(), &mut ids).await.unwrap();
        assert_eq!((ids.ids.as_slice(), server.calls().len()), (["a".to_owned()].as_slice(), 3));
        assert_eq!(client.statistics().retries, 1);
    }
}

#[tokio::test]
async fn an_answer_that_comes_in_small_pieces_is_read_whole() {
    let server = Server::with_logins([Reply::Trickle(&["a", "b"])], [Reply::Trickle(&[])]).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    let mut ids = Ids::default();
    let page = session.read(&contacts(), &mut ids).await.unwrap();
    assert_eq!((ids.ids.as_slice(), page.requests), (["a", "b"].map(str::to_owned).as_slice(), 1));
}

#[tokio::test]
async fn a_login_without_a_session_is_no_login() {
    let none = crate::server::response("login", "<return> </return>");
    let server = Server::with_logins([], [Reply::Raw(200, &[], none.into_bytes())]).await;
    let client = Client::new(server.config()).unwrap();
    client.session().await.unwrap();
    assert_eq!(server.log(), ["login", "login"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_few_logins_go_on_at_once() {
    let server = Server::start([]).await;
    let client = Client::new(server.config()).unwrap();
    let logins = (0..16).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.session().await.map(|_| ()) })
    });
    for login in futures::future::join_all(logins).await {
        login.unwrap().unwrap();
    }
    assert_eq!(server.calls().len(), 16);
    assert!(server.most_logins_at_once() <= 4, "{}", server.most_logins_at_once());
}

#[tokio::test]
async fn logging_out_is_one_try() {
    let done = crate::server::response("logout", "<return><results/></return>");
    let server = Server::start([Reply::Raw(200, &[], done.into_bytes())]).await;
    let client = Client::new(server.config()).unwrap();
    client.session().await.unwrap().logout().await.unwrap();
    assert_eq!(server.log(), ["login", "logout S1"]);

    let server = Server::start([Reply::Fault(101)]).await;
    let client = Client::new(server.config()).unwrap();
    assert!(client.session().await.unwrap().logout().await.is_err());
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_window_is_walked_to_its_end() {
    let replies = [Reply::Page(&["a", "b"]), Reply::Page(&["c"]), Reply::Fault(116)];
    let server = Server::start(replies).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    let mut seen = Vec::new();
    let mut cursor = Cursor::First;
    loop {
        let mut ids = Ids::default();
        let page = session.read(&activities(cursor), &mut ids).await.unwrap();
        assert_eq!((page.rows, page.requests), (ids.ids.len(), 1));
        seen.append(&mut ids.ids);
        if page.end_of_query {
            break;
        }
        cursor = Cursor::Next;
    }
    assert_eq!(seen, ["a", "b", "c"]);
    let directions: Vec<_> = server.calls().iter().map(|call| call.body.contains("NEXT")).collect();
    assert_eq!(directions, [false, false, true, true]);
    // The query is over, so there is nothing to go on with.
    let error = session.read(&activities(Cursor::Next), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::CursorLost { source: None }));
    assert_eq!(server.calls().len(), 4);
}

#[tokio::test]
async fn a_lost_page_of_a_cursor_is_never_asked_for_again() {
    let raw = |body: &str| Reply::Raw(200, &[], body.as_bytes().to_vec());
    let losses = [
        Reply::Fault(101),
        Reply::Fault(103),
        Reply::Fault(107),
        Reply::Fault(113),
        Reply::Raw(503, &[], Vec::new()),
        Reply::Truncated,
        Reply::Broken,
        raw(""),
        raw("<html/>"),
    ];
    for loss in losses {
        let shown = format!("{loss:?}");
        let page = Reply::Page(&["a"]);
        let server = Server::start([page.clone(), loss, page.clone(), page]).await;
        let client = Client::new(server.config()).unwrap();
        let mut session = client.session().await.unwrap();
        let mut ids = Ids::default();
        session.read(&activities(Cursor::First), &mut ids).await.unwrap();
        let error = session.read(&activities(Cursor::Next), &mut ids).await.unwrap_err();
        assert!(matches!(error, ClientError::CursorLost { source: Some(_) }), "{shown}: {error:?}");
        assert!(ids.ids.is_empty(), "{shown}");
        // Nor by a second call: the cursor is gone for good.
        let again = session.read(&activities(Cursor::Next), &mut ids).await.unwrap_err();
        assert!(matches!(again, ClientError::CursorLost { source: None }), "{shown}");
        session.read(&activities(Cursor::First), &mut ids).await.unwrap();
        session.read(&activities(Cursor::Next), &mut ids).await.unwrap();
        let nexts = server.calls().iter().filter(|call| call.body.contains("NEXT")).count();
        assert_eq!(nexts, 2, "{shown}");
        let statistics = client.statistics();
        let renewed = shown.contains("103") || shown.contains("107");
        assert_eq!(statistics.lost_cursors, 1);
        assert_eq!((statistics.logins, statistics.retries), (1 + u64::from(renewed), 0), "{shown}");
    }
}

#[tokio::test]
async fn a_page_that_never_came_is_lost_too() {
    let page = Reply::Page(&["a"]);
    let server = Server::start([page.clone(), Reply::Silence, page]).await;
    let mut config = server.config();
    config.request_timeout = std::time::Duration::from_secs(1);
    let mut session = Client::new(config).unwrap().session().await.unwrap();
    session.read(&activities(Cursor::First), &mut Ids::default()).await.unwrap();
    let error = session.read(&activities(Cursor::Next), &mut Ids::default()).await.unwrap_err();
    let ClientError::CursorLost { source: Some(source) } = error else { panic!("{error:?}") };
    assert!(matches!(*source, ClientError::Timeout { .. }));
}

#[tokio::test]
async fn a_cursor_belongs_to_its_query_and_session() {
    let server = Server::start(vec![Reply::Page(&["a"]); 9]).await;
    let client = Client::new(server.config()).unwrap();
    let mut session = client.session().await.unwrap();
    let mut other = client.session().await.unwrap();
    let mut ids = Ids::default();
    session.read(&activities(Cursor::First), &mut ids).await.unwrap();
    let ReadRequest::Activities(query) = activities(Cursor::Next) else { panic!() };
    let wrong = [
        ReadActivities { direction: Direction::Outbound, ..query.clone() },
        ReadActivities { size: 1000, ..query.clone() },
        ReadActivities { end: query.start, ..query.clone() },
    ];
    for read in wrong {
        let error = session.read(&ReadRequest::Activities(read), &mut ids).await.unwrap_err();
        assert!(matches!(error, ClientError::CursorLost { source: None }));
    }
    let error = other.read(&activities(Cursor::Next), &mut ids).await.unwrap_err();
    assert!(matches!(error, ClientError::CursorLost { source: None }));
    assert_eq!(server.calls().len(), 3, "nothing of that was sent");
    // Other reads leave the cursor alone; a new first page replaces it.
    session.read(&lists(), &mut ids).await.unwrap();
    session.read(&activities(Cursor::Next), &mut ids).await.unwrap();
    let first = ReadActivities { direction: Direction::Outbound, cursor: Cursor::First, ..query };
    session.read(&ReadRequest::Activities(first), &mut ids).await.unwrap();
    let error = session.read(&activities(Cursor::Next), &mut ids).await.unwrap_err();
    assert!(matches!(error, ClientError::CursorLost { source: None }));
}

#[tokio::test]
async fn a_renewal_by_another_read_gives_up_the_cursor() {
    let replies = [Reply::Page(&["a"]), Reply::Fault(103), Reply::Page(&["b"])];
    let server = Server::start(replies).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    session.read(&activities(Cursor::First), &mut Ids::default()).await.unwrap();
    session.read(&lists(), &mut Ids::default()).await.unwrap();
    let error = session.read(&activities(Cursor::Next), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::CursorLost { source: None }));
    assert_eq!(server.calls().len(), 5);
}

#[tokio::test]
async fn dropping_a_read_gives_up_the_cursor() {
    let server = Server::start([Reply::Page(&["a"]), Reply::Silence, Reply::Page(&["b"])]).await;
    let mut session = Client::new(server.config()).unwrap().session().await.unwrap();
    session.read(&activities(Cursor::First), &mut Ids::default()).await.unwrap();
    let (request, mut ids) = (activities(Cursor::Next), Ids::default());
    let read = session.read(&request, &mut ids);
    let limit = std::time::Duration::from_millis(100);
    assert!(tokio::time::timeout(limit, read).await.is_err());
    let error = session.read(&request, &mut ids).await.unwrap_err();
    assert!(matches!(error, ClientError::CursorLost { source: None }));
}

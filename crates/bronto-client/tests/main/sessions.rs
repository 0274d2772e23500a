//! Sessions: logins, renewals, and cursors that live and die with them.

use bronto_client::{
    Class, Client, ClientError, Cursor, Direction, Function, ReadActivities, ReadRequest,
};

use crate::faults::{activities, contacts};
use crate::server::{Ids, Reply, Server};
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

#[tokio::test]
async fn logins_are_retried_like_any_call() {
    let troubles = [Reply::Fault(108), Reply::Raw(503, &[], Vec::new()), Reply::Broken];
    let server = Server::with_logins([], troubles).await;
    let client = Client::new(server.config()).unwrap();
    client.session().await.unwrap();
    assert_eq!(client.statistics().requests[&Function::Login], 4);
    assert_eq!(client.statistics().logins, 1);

    for code in [102, 104, 107, 109, 111] {
        let server = Server::with_logins([], [Reply::Fault(code)]).await;
        let error = Client::new(server.config()).unwrap().session().await.unwrap_err();
        assert_eq!(error.class(), Class::Refused, "{code}");
        assert_eq!(server.calls().len(), 1, "{code}");
    }
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

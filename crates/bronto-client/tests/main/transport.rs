//! What HTTP, TCP and TLS can do to a call.

use std::time::Duration;

use bronto_client::{
    AnswerDefect, Blame, Class, Client, ClientError, Page, ReadLists, ReadRequest, Retry,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::server::{Ids, Reply, Server, bare_fault, config, gzipped, page};

const XML: &[(&str, &str)] = &[("content-type", "text/xml")];

pub(crate) fn lists() -> ReadRequest {
    ReadRequest::Lists(ReadLists { page: 1, page_size: None })
}

/// Reads one page of lists from a new session.
async fn read(server: &Server) -> (Result<Page, ClientError>, Ids, Client) {
    let client = Client::new(server.config()).unwrap();
    let mut session = client.session().await.unwrap();
    let mut ids = Ids::default();
    let result = session.read(&lists(), &mut ids).await;
    (result, ids, client)
}

fn html(status: u16) -> Reply {
    Reply::Raw(status, &[("content-type", "text/html")], b"<html>Sorry</html>".to_vec())
}

fn gone(error: &ClientError) -> &ClientError {
    let ClientError::GaveUp { tries: 4, source } = error else {
        panic!("not given up after 4 tries: {error:?}");
    };
    assert_eq!(error.class(), source.class());
    assert_eq!(error.remedy(), source.remedy());
    source
}

#[tokio::test]
async fn a_request_is_a_soap_call() {
    let server = Server::start([Reply::Page(&["a", "b"])]).await;
    let (page, ids, client) = read(&server).await;
    let page = page.unwrap();
    assert_eq!((page.rows, page.rejected, page.requests), (2, 0, 1));
    assert!(!page.end_of_query);
    assert_eq!(ids.ids, ["a", "b"]);
    let calls = server.calls();
    assert_eq!(server.log(), ["login", "readLists S1"]);
    for call in &calls {
        assert_eq!(call.headers["soapaction"], "\"\"");
        assert_eq!(call.headers["content-type"], "text/xml; charset=utf-8");
        assert_eq!(call.headers["accept-encoding"], "gzip");
        assert!(call.headers["user-agent"].to_str().unwrap().starts_with("backstitch/"));
    }
    let statistics = client.statistics();
    assert_eq!(statistics.total_requests(), 2);
    assert_eq!((statistics.logins, statistics.retries, statistics.rows), (1, 0, 2));
    assert!(statistics.body_bytes > page.body_bytes);
    // The server's clock is this machine's, cut to seconds.
    let apart = page.server_date.unwrap() - page.sent_at;
    assert!(apart.num_seconds().abs() <= 20, "{apart}");
}

#[tokio::test]
async fn passing_troubles_pass_and_leave_nothing_behind() {
    let raw = |status, body: &str| Reply::Raw(status, XML, body.as_bytes().to_vec());
    let whole = page("readLists", &["lost"]);
    let troubles = [
        raw(503, "Service Temporarily Unavailable"),
        raw(500, "Internal Server Error"),
        raw(502, ""),
        html(504),
        html(200),
        raw(200, ""),
        raw(200, "OK"),
        raw(200, &whole.replace("</return>", "</x>")),
        raw(429, "slow down"),
        // A response with a status of failure is no response.
        raw(500, &whole),
        Reply::Raw(503, &[("retry-after", "3600")], Vec::new()),
        Reply::Truncated,
        Reply::Broken,
        Reply::Fault(101),
        Reply::Fault(113),
        Reply::Fault(108),
        Reply::BareFault("101: There was an unknown API error."),
        Reply::BareFault("Something fell over"),
    ];
    for trouble in troubles {
        let shown = format!("{trouble:?}");
        let server = Server::start([trouble, Reply::Page(&["a"])]).await;
        let (page, ids, client) = read(&server).await;
        let page = page.unwrap_or_else(|error| panic!("{shown}: {error:?}"));
        assert_eq!((ids.ids, ids.clears), (vec!["a".to_owned()], 2), "{shown}");
        assert_eq!((page.rows, page.requests), (1, 2), "{shown}");
        assert_eq!(client.statistics().retries, 1, "{shown}");
    }
}

#[tokio::test]
async fn lasting_troubles_end_after_all_tries_with_their_cause() {
    let raw = |status, body: &str| Reply::Raw(status, XML, body.as_bytes().to_vec());
    let bad = |source| move |error: &ClientError| matches!(error, ClientError::BadAnswer { source: found, .. } if *found == source);
    type Check = Box<dyn Fn(&ClientError) -> bool>;
    let status = |wanted: u16| -> Check {
        Box::new(
            move |error| matches!(error, ClientError::HttpStatus { status, .. } if *status == wanted),
        )
    };
    let cases: Vec<(Reply, Check)> = vec![
        (raw(503, "no"), status(503)),
        (html(500), status(500)),
        (html(200), Box::new(bad(AnswerDefect::Html))),
        (raw(200, ""), Box::new(bad(AnswerDefect::Empty))),
        (raw(200, "OK"), Box::new(bad(AnswerDefect::PlainText))),
        (Reply::Truncated, Box::new(bad(AnswerDefect::Truncated))),
        (Reply::Broken, Box::new(|error| matches!(error, ClientError::Reset { .. }))),
    ];
    for (trouble, is_expected) in cases {
        let shown = format!("{trouble:?}");
        let server = Server::start(vec![trouble; 9]).await;
        let (result, ids, client) = read(&server).await;
        let error = result.unwrap_err();
        let cause = gone(&error);
        assert!(is_expected(cause), "{shown}: {cause:?}");
        assert_eq!(
            (cause.retry(), error.retry(), error.class()),
            (Retry::Soon, Retry::No, Class::Unavailable)
        );
        assert!(ids.ids.is_empty(), "{shown}");
        assert_eq!((server.calls().len(), client.statistics().retries), (5, 3), "{shown}");
    }
}

#[tokio::test]
async fn refusals_end_at_once() {
    for status in [400, 401, 403, 404, 405, 418] {
        let server = Server::start([html(status)]).await;
        let (result, _, client) = read(&server).await;
        let error = result.unwrap_err();
        assert!(matches!(error, ClientError::HttpStatus { status: found, .. } if found == status));
        assert_eq!((error.class(), error.blame()), (Class::Refused, Blame::Operator));
        assert_eq!(client.statistics().retries, 0);
    }
}

#[tokio::test]
async fn a_fault_is_a_fault_whatever_the_status() {
    for status in [200, 202, 400, 500, 503] {
        let body = bare_fault("104: You do not have valid access for this method.");
        let server = Server::start([Reply::Raw(status, XML, body.into_bytes())]).await;
        let error = read(&server).await.0.unwrap_err();
        assert_eq!(error.fault().and_then(|fault| fault.code().number()), Some(104), "{status}");
        assert_eq!(error.class(), Class::Refused);
    }
}

#[tokio::test]
async fn answers_in_another_encoding_or_to_another_call_are_final() {
    let latin: &[(&str, &str)] = &[("content-type", "text/xml; charset=ISO-8859-1")];
    let server =
        Server::start([Reply::Raw(200, latin, page("readLists", &["a"]).into_bytes())]).await;
    let (result, ids, _) = read(&server).await;
    let ClientError::BadAnswer { source, .. } = result.unwrap_err() else { panic!() };
    assert!(matches!(source, AnswerDefect::Encoding { encoding } if encoding == "ISO-8859-1"));
    assert!(ids.ids.is_empty());

    let server =
        Server::start([Reply::Raw(200, XML, page("readContacts", &["a"]).into_bytes())]).await;
    let (result, ids, client) = read(&server).await;
    let ClientError::BadAnswer { source, .. } = result.unwrap_err() else { panic!() };
    assert!(matches!(source, AnswerDefect::WrongOperation { .. }));
    assert!(ids.ids.is_empty());
    assert_eq!(client.statistics().retries, 0);
}

#[tokio::test]
async fn redirects_are_told_and_not_followed() {
    for (target, named) in [
        ("https://elsewhere.example.com/v4?token=x", "elsewhere.example.com"),
        ("/v5", "127.0.0.1"),
        ("", "127.0.0.1"),
    ] {
        let location: &'static [(&str, &str)] = match target {
            "/v5" => &[("location", "/v5")],
            "" => &[("location", "")],
            _ => &[("location", "https://elsewhere.example.com/v4?token=x")],
        };
        let server = Server::start([Reply::Raw(307, location, Vec::new())]).await;
        let error = read(&server).await.0.unwrap_err();
        assert!(
            matches!(&error, ClientError::Redirect { target, .. } if target == named),
            "{error:?}"
        );
        assert_eq!((error.class(), error.retry()), (Class::Refused, Retry::No));
        assert_eq!(server.calls().len(), 2);
    }
}

#[tokio::test]
async fn compressed_answers_are_read_and_limited() {
    let gzip: &[(&str, &str)] = &[("content-type", "text/xml"), ("content-encoding", "gzip")];
    let body = gzipped(page("readLists", &["a"]).as_bytes());
    let cut = body[..body.len() - 9].to_vec();
    let replies = [Reply::Raw(200, gzip, cut), Reply::Raw(200, gzip, body)];
    let server = Server::start(replies).await;
    let (page, ids, _) = read(&server).await;
    assert_eq!(page.unwrap().requests, 2, "half a stream is no answer");
    assert_eq!(ids.ids, ["a"]);

    let bomb = gzipped(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 20);
    let server = Server::start([Reply::Raw(200, gzip, bomb)]).await;
    let mut config = server.config();
    config.max_response_bytes = 1 << 20;
    let mut session = Client::new(config).unwrap().session().await.unwrap();
    let error = session.read(&lists(), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { limit: 0x10_0000, .. }), "{error:?}");
}

#[tokio::test]
async fn damaged_compression_is_no_answer() {
    let gzip: &[(&str, &str)] = &[("content-type", "text/xml"), ("content-encoding", "gzip")];
    let whole = page("readLists", &["lost"]).into_bytes();
    let packed = gzipped(&whole);
    // Behind the ten bytes of the header, every bit counts: the stream ends with a checksum and its length.
    let places = (10..packed.len()).step_by(7).chain([packed.len() - 5, packed.len() - 1]);
    let mut damaged: Vec<Vec<u8>> = places
        .map(|place| {
            let mut bytes = packed.clone();
            bytes[place] ^= 0x10;
            bytes
        })
        .collect();
    damaged.extend([whole, Vec::new(), packed[..10].to_vec(), [&packed[..], b"more"].concat()]);
    for bytes in damaged {
        let shown = format!("{bytes:?}");
        let server = Server::start([Reply::Raw(200, gzip, bytes), Reply::Page(&["a"])]).await;
        let (page, ids, _) = read(&server).await;
        assert_eq!(page.unwrap().requests, 2, "{shown}");
        assert_eq!(ids.ids, ["a"], "{shown}");
    }
}

#[tokio::test]
async fn large_answers_are_refused_and_compression_can_be_off() {
    let server = Server::start([Reply::Page(&["a"]), Reply::Page(&["b"])]).await;
    let mut config = server.config();
    config.compression = false;
    config.max_response_bytes = page("readLists", &["a"]).len();
    let client = Client::new(config.clone()).unwrap();
    let mut session = client.session().await.unwrap();
    session.read(&lists(), &mut Ids::default()).await.unwrap();
    assert!(server.calls().iter().all(|call| !call.headers.contains_key("accept-encoding")));
    config.max_response_bytes -= 1;
    let mut session = Client::new(config).unwrap().session().await.unwrap();
    let error = session.read(&lists(), &mut Ids::default()).await.unwrap_err();
    assert!(matches!(error, ClientError::TooLarge { .. }), "{error:?}");
    assert_eq!(error.retry(), Retry::No);
}

#[tokio::test]
async fn silence_times_out() {
    let server = Server::start([Reply::Silence, Reply::Silence, Reply::Page(&["a"])]).await;
    let mut config = server.config();
    config.request_timeout = Duration::from_secs(1);
    config.max_retries = 1;
    let mut session = Client::new(config.clone()).unwrap().session().await.unwrap();
    let error = session.read(&lists(), &mut Ids::default()).await.unwrap_err();
    let ClientError::GaveUp { tries: 2, source } = &error else { panic!("{error:?}") };
    assert!(
        matches!(**source, ClientError::Timeout { limit, .. } if limit == config.request_timeout)
    );
    assert_eq!((error.class(), error.blame()), (Class::Unavailable, Blame::Network));
    let page = session.read(&lists(), &mut Ids::default()).await.unwrap();
    assert_eq!(page.rows, 1, "the session is still good");
}

#[tokio::test]
async fn nobody_there() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/v4", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new(config(&endpoint)).unwrap();
    let error = client.session().await.unwrap_err();
    assert!(matches!(gone(&error), ClientError::Unreachable { host, .. } if host == "127.0.0.1"));
    assert_eq!(error.class(), Class::Unavailable);
    assert_eq!(client.statistics().total_requests(), 4);
}

#[tokio::test]
async fn a_server_that_does_not_speak_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}/v4", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((mut connection, _)) = listener.accept().await {
            connection.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
            connections.push(connection);
        }
    });
    let client = Client::new(config(&endpoint)).unwrap();
    let error = client.session().await.unwrap_err();
    server.abort();
    assert!(matches!(error, ClientError::Tls { .. }), "{error:?}");
    assert_eq!((error.class(), error.retry()), (Class::Unavailable, Retry::No));
    assert_eq!(client.statistics().total_requests(), 1);
}

#[tokio::test]
async fn tokens_that_can_not_be_one_are_refused_before_anything_is_sent() {
    for token in ["", " ", "abc\n", "a\u{0}b"] {
        let mut settings = config("http://127.0.0.1:1/v4");
        settings.token = token.into();
        let error = Client::new(settings).unwrap_err();
        assert!(matches!(error, ClientError::BadToken));
        assert_eq!(error.class(), Class::Configuration);
    }
}

#[tokio::test]
async fn a_body_that_can_not_be_read_does_not_hide_the_status() {
    for (status, body) in [(503, ""), (503, "plain text"), (429, "slow down"), (403, "")] {
        let reply = Reply::Raw(status, &[("content-encoding", "gzip")], body.into());
        let server = Server::start(vec![reply; 9]).await;
        let error = read(&server).await.0.unwrap_err();
        let cause = if status == 403 { &error } else { gone(&error) };
        assert!(
            matches!(cause, ClientError::HttpStatus { status: found, .. } if *found == status),
            "{status}: {cause:?}"
        );
    }
}

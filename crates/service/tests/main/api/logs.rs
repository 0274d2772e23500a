//! Extraction logs.

use chrono::TimeDelta;
use serde_json::{Value, json};
use service::store::{LogLevel, LogLimits, NewLogLine};

use super::Service;

pub(super) fn line(service: &Service, level: LogLevel, body: &str) -> NewLogLine {
    NewLogLine {
        logged_at: service.now(),
        location: "tap".to_owned(),
        level,
        body: body.to_owned(),
    }
}

pub(super) async fn write(service: &Service, run_id: &str, lines: &[NewLogLine]) {
    service.store.append_log(run_id, lines, &LogLimits::default()).await.unwrap();
}

#[tokio::test]
async fn lines_are_found_by_level_and_words() {
    let service = Service::new().await;
    let run_id = service.run(&service.integration("One").await).await;
    let mut lines = Vec::new();
    for number in 1..=2_500 {
        let (level, body) = match number {
            2_400 => (LogLevel::Error, "Größe: A NEEDLE"),
            _ if number % 100 == 0 => (LogLevel::Warning, "odd"),
            _ => (LogLevel::Info, "as it should be"),
        };
        lines.push(line(&service, level, body));
    }
    write(&service, &run_id, &lines).await;
    let get = |query: &str| {
        let path = format!("/api/v1/runs/{run_id}/log?{query}");
        let service = &service;
        async move { service.member("GET", &path).send().await }
    };
    let numbers = |page: &Value| -> Vec<u64> {
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|line| line["number"].as_u64().unwrap())
            .collect()
    };
    let page = get("limit=3").await.value();
    assert_eq!((numbers(&page), page["next"].as_str()), (vec![1, 2, 3], Some("3")));
    assert_eq!(numbers(&get("after=2498").await.value()), [2_499, 2_500]);
    let errors = get("level=ERROR").await.value();
    assert_eq!((numbers(&errors), &errors["next"]), (vec![2_400], &json!(null)));
    assert_eq!(numbers(&get("level=WARNING&limit=2").await.value()), [100, 200]);
    let found = get("search=gr%C3%B6sse").await.value();
    assert!(numbers(&found).is_empty());
    let found = get("search=GR%C3%96%C3%9FE%3A%20a%20needle").await.value();
    assert_eq!((numbers(&found), &found["next"]), (vec![2_400], &json!(null)));
    let found = get("search=odd&level=WARNING&limit=2&after=150").await.value();
    assert_eq!((numbers(&found), found["next"].as_str()), (vec![200, 300], Some("300")));
    assert_eq!(get("level=LOUD").await.pointers(), ["?level"]);
    service.member("GET", "/api/v1/runs/nothing/log").send().await.problem(404, "not-found");
}

#[tokio::test]
async fn a_log_is_downloaded_in_stitchs_form_and_no_line_is_forged() {
    let service = Service::new().await;
    let run_id = service.run(&service.integration("One").await).await;
    service.pass(TimeDelta::milliseconds(7));
    let forged = "first\n2026-05-01 12:00:00,000Z    tap - CRITICAL forged\n";
    let lines = [
        line(
            &service,
            LogLevel::Info,
            "State update: adding bookmarks.contact.modified = \"2026-05-01T12:00:00Z\"",
        ),
        NewLogLine { location: "main".to_owned(), ..line(&service, LogLevel::Error, forged) },
        line(&service, LogLevel::Warning, "\u{1b}[31mred\u{202e}\r\u{0}<script>"),
    ];
    write(&service, &run_id, &lines).await;
    let many: Vec<_> = (0..2_100).map(|_| line(&service, LogLevel::Debug, "x")).collect();
    write(&service, &run_id, &many).await;
    let answer = service.member("GET", &format!("/api/v1/runs/{run_id}/log/download")).send().await;
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"{run_id}.log\"")
    );
    assert_eq!(answer.body.lines().count(), 2_104);
    let head: Vec<_> = answer.body.lines().take(5).collect();
    insta::assert_snapshot!(head.join("\n"));
}

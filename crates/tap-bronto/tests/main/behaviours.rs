//! Whatever the API leaves open, the rows are the account's.

use std::collections::{BTreeMap, BTreeSet};

use bronto_sim::SimConfig;
use replication::reject::ReasonCode;

use crate::{
    account::{Account, Run},
    table::{Tables, truth},
};

async fn assert_whole(behaviours: &[(&str, &str)]) -> (Account, Run) {
    let account = Account::start(behaviours).await;
    let run = account.run(&BTreeMap::new()).await;
    Tables::of(&run).assert_true(&account);
    (account, run)
}

#[tokio::test]
async fn dates_by_day_or_instant_in_any_zone_and_fraction() {
    for (operators, zone, fraction) in [
        ("day", "America/New_York", "millis"),
        ("day", "Z", "zeros"),
        ("instant", "Asia/Kolkata", "trimmed"),
        ("instant", "none", "none"),
        ("day", "Pacific/Kiritimati", "micros"),
    ] {
        assert_whole(&[
            ("date_operators", operators),
            ("returned_zone", zone),
            ("returned_fraction", fraction),
        ])
        .await;
    }
}

#[tokio::test]
async fn whole_days_of_many_pages_take_few_requests() {
    let config = SimConfig { contacts: 700, days: 1, ..SimConfig::default() };
    let account = Account::of(config, &[("date_operators", "day"), ("page_maximum", "40")]).await;
    let run = account.run(&BTreeMap::new()).await;
    Tables::of(&run).assert_stream_true(&account, "contact");
    let requests = account.server.stats().requests_of("readContacts");
    assert!(requests < 500, "{requests}");
}

#[tokio::test]
async fn a_date_time_finer_than_a_column_holds_is_rejected() {
    let account = Account::start(&[("returned_fraction", "nanos")]).await;
    let run = account.run(&BTreeMap::new()).await;
    assert!(!run.rejects.is_empty());
    assert!(run.rejects.iter().all(|reject| reject.code == ReasonCode::TimestampRange));
    assert!(run.rejects.iter().all(|reject| reject.record.starts_with("<return>")));
    for stream in ["contact", "inbound_activity", "outbound_activity"] {
        let rows = Tables::of(&run).lines(stream);
        let missing = truth(&account, stream)
            .into_iter()
            .filter(|line| rows.binary_search(line).is_err())
            .count();
        let rejects: Vec<_> =
            run.rejects.iter().filter(|reject| reject.stream.as_str() == stream).collect();
        assert_eq!(missing, rejects.len(), "{stream}");
        let ids: BTreeSet<String> = rejects.iter().map(|reject| reject.id()).collect();
        assert_eq!(ids.len(), missing, "objects alike to the letter are rejects of their own");
    }
}

#[tokio::test]
async fn windows_with_any_ends() {
    for (start, end) in
        [("exclusive", "inclusive"), ("inclusive", "inclusive"), ("exclusive", "exclusive")]
    {
        assert_whole(&[("window_start", start), ("window_end", end)]).await;
    }
}

#[tokio::test]
async fn ends_of_activity_windows() {
    for (empty, end, scope) in [
        ("empty", "fault", "session"),
        ("fault", "empty", "function"),
        ("empty", "empty", "session"),
    ] {
        assert_whole(&[
            ("empty_window", empty),
            ("cursor_end", end),
            ("cursor_scope", scope),
            ("too_old_start", "fault"),
        ])
        .await;
    }
}

#[tokio::test]
async fn small_and_uneven_pages_in_any_order() {
    for (pages, order) in [
        ("7", "shuffled"),
        ("varying:40", "descending"),
        ("100", "ascending"),
        ("varying", "shuffled"),
    ] {
        assert_whole(&[("page_maximum", pages), ("row_order", order)]).await;
    }
}

#[tokio::test]
async fn sessions_that_die() {
    for (calls, code, next, pages) in [("2", "103", "116", "600"), ("4", "107", "empty", "150")] {
        assert_whole(&[
            ("session_max_calls", calls),
            ("stale_session_code", code),
            ("next_without_cursor", next),
            ("page_maximum", pages),
        ])
        .await;
    }
}

#[tokio::test]
async fn a_service_with_trouble() {
    let rate = "0.05";
    assert_whole(&[
        ("fault_101_rate", rate),
        ("fault_103_rate", rate),
        ("fault_108_rate", rate),
        ("fault_113_rate", rate),
        ("http_503_rate", rate),
        ("html_rate", rate),
        ("truncate_rate", rate),
        ("fault_detail", "absent"),
        ("page_maximum", "400"),
    ])
    .await;
}

#[tokio::test]
async fn characters_that_xml_forbids_are_kept() {
    for (form, nul) in [("raw", "off"), ("references", "off"), ("raw", "on")] {
        assert_whole(&[
            ("control_characters", form),
            ("nul_characters", nul),
            ("whitespace", "indented"),
        ])
        .await;
    }
}

#[tokio::test]
async fn characters_that_nothing_can_hold_reject_their_row_alone() {
    let (_, run) = assert_whole(&[("unholdable_characters", "references")]).await;
    assert!(!run.rejects.is_empty());
    assert!(run.rejects.iter().all(|reject| reject.code == ReasonCode::Undecodable));
}

#[tokio::test]
async fn absent_and_nil_fields() {
    assert_whole(&[
        ("absent_optional_rate", "0.5"),
        ("nil_rate", "0.3"),
        ("deleted_contacts", "hidden"),
    ])
    .await;
}

#[tokio::test]
async fn absent_keys_are_rejected_and_absent_replication_keys_are_not() {
    let account = Account::start(&[("absent_key_rate", "0.1")]).await;
    let run = account.run(&BTreeMap::new()).await;
    let undated = run
        .rows
        .iter()
        .filter(|(stream, row)| stream == "contact" && !row.contains_key("modified"))
        .count();
    assert!(undated > 0);
    assert!(run.rejects.iter().any(|reject| reject.stream.as_str() == "contact"));
    assert!(run.rejects.iter().all(|reject| reject.code == ReasonCode::MissingKey));
}

#[tokio::test]
async fn numbers_in_any_form() {
    assert_whole(&[("float_form", "java")]).await;
    let account = Account::start(&[("float_form", "special")]).await;
    let run = account.run(&BTreeMap::new()).await;
    assert!(!run.rejects.is_empty());
    assert!(run.rejects.iter().all(|reject| reject.code == ReasonCode::NumberRange));
}

#[tokio::test]
async fn contacts_that_move_pages_while_they_are_read() {
    let config = || SimConfig {
        contacts: 600,
        inbound: 20,
        outbound: 20,
        unsubscribes: 20,
        ..SimConfig::default()
    };
    for (pages, changes, order) in
        [("50", "1", "ascending"), ("20", "3", "shuffled"), ("varying:60", "2", "descending")]
    {
        let behaviours =
            [("page_maximum", pages), ("mutate_between_pages", changes), ("row_order", order)];
        let account = Account::of(config(), &behaviours).await;
        let first = account.run(&BTreeMap::new()).await;
        // The changed ones are for the next run, once they have settled and nothing changes any more.
        account.server.set_behaviour("mutate_between_pages", "0").unwrap();
        account.server.advance_seconds(600);
        let second = account.run(&first.states).await;
        let mut tables = Tables::of(&first);
        tables.apply(second.rows);
        tables.assert_stream_true(&account, "contact");
    }
}

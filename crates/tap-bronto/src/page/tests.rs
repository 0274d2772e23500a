#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use arrow::array::{Array, ArrayRef, AsArray};
use chrono::DateTime;

use super::*;

fn sink_of(selected: &SelectedStream) -> PageSink {
    let form = RowForm::Columns(NumberForm::Decimal);
    PageSink::new(selected, &Arc::default(), IdScheme::Lossless, form)
}

fn arrays(page: &PageRows) -> &[ArrayRef] {
    match &page.built {
        BuiltRows::Columns(arrays) => arrays,
        BuiltRows::Lines(_) => panic!("the sink was made for columns"),
    }
}

fn sink(stream: BrontoStream) -> PageSink {
    sink_of(&SelectedStream::all(stream))
}

fn give(sink: &mut PageSink, values: &[(&str, &str)], raw: &str) {
    for (name, text) in values {
        let field = sink.stream.object().index_of(name).unwrap();
        sink.value(field, text);
    }
    sink.end_row(raw);
}

fn day(text: &str) -> DateTime<chrono::Utc> {
    format!("{text}T00:00:00Z").parse().unwrap()
}

#[test]
fn rows_outside_the_window_are_dropped_and_counted() {
    let mut sink = sink(BrontoStream::Contact);
    sink.set_window(Some(Window::new(day("2019-03-04"), day("2019-03-05"))));
    for (id, modified) in [
        ("before", "2019-03-03T23:59:59.999Z"),
        ("first", "2019-03-03T19:00:00-05:00"),
        ("last", "2019-03-04T23:59:59.999Z"),
        ("after", "2019-03-05T00:00:00Z"),
    ] {
        give(&mut sink, &[("id", id), ("listIds", "l"), ("modified", modified)], id);
    }
    give(&mut sink, &[("id", "undated")], "undated");
    let page = sink.take();
    let ids: Vec<_> = arrays(&page)[0].as_string::<i32>().iter().flatten().collect();
    assert_eq!(ids, ["first", "last", "undated"]);
    let expected =
        PageCounts { kept: 3, read: 5, out_of_window: 2, undated: 1, ..PageCounts::default() };
    assert_eq!(PageCounts { earliest_outside: None, ..page.counts }, expected);
    assert_eq!(page.counts.earliest_outside, Some(day("2019-03-04").timestamp() - 1));
    assert_eq!(page.marks.len(), 3);
}

#[test]
fn a_bad_value_rejects_its_row_and_no_other() {
    let mut sink = sink(BrontoStream::Contact);
    give(
        &mut sink,
        &[("id", "a"), ("modified", "2019-03-04T00:00:00Z"), ("numSends", "3")],
        "<a/>",
    );
    give(&mut sink, &[("id", "b"), ("modified", "yesterday")], "<b/>");
    give(&mut sink, &[("id", "c"), ("conversionAmount", "NaN")], "<c/>");
    give(&mut sink, &[("email", "nobody@example.com")], "<d/>");
    let page = sink.take();
    assert_eq!((page.counts.kept, page.counts.read), (1, 4));
    let rejects: Vec<_> = page
        .rejects
        .iter()
        .map(|reject| (reject.code.as_str(), reject.reason.as_str(), reject.raw.as_str()))
        .collect();
    assert_eq!(
        rejects,
        [
            ("timestamp_range", "`modified` does not have the form of a date-time", "<b/>"),
            ("number_range", "`conversionAmount` is not a number (NaN)", "<c/>"),
            ("missing_key", "The key field `id` is absent", "<d/>"),
        ]
    );
    assert!(arrays(&page).iter().all(|array| array.len() == 1));
}

#[test]
fn an_unsubscription_without_delivery_has_an_empty_one() {
    let mut sink = sink(BrontoStream::Unsubscribe);
    let created = ("created", "2019-03-04T14:05:09.120-05:00");
    give(&mut sink, &[("contactId", "c"), ("method", "admin"), created], "<u/>");
    give(&mut sink, &[("method", "admin"), created], "<v/>");
    let page = sink.take();
    assert_eq!(
        (arrays(&page)[1].null_count(), arrays(&page)[1].as_string::<i32>().value(0)),
        (0, "")
    );
    assert_eq!(arrays(&page)[4].as_string::<i32>().value(0), "2019-03-04T19:05:09.12Z");
    assert_eq!(page.rejects[0].reason, "The key field `contactId` is absent");
}

#[test]
fn marks_do_not_depend_on_the_selection_or_the_offset() {
    let mark = |columns: &[&str], created: &str| {
        let selected =
            SelectedStream::with_columns(BrontoStream::InboundActivity, columns.iter().copied())
                .unwrap();
        let mut sink = sink_of(&selected);
        give(
            &mut sink,
            &[("createdDate", created), ("activityType", "open"), ("linkUrl", "x")],
            "raw",
        );
        sink.take().marks[0].key
    };
    let all = mark(&["linkUrl", "activityType"], "2019-03-04T14:05:09.000-05:00");
    assert_eq!(all, mark(&[], "2019-03-04T19:05:09Z"));
    assert_ne!(all, mark(&[], "2019-03-04T19:05:09.1Z"));
}

#[test]
fn a_try_that_failed_leaves_nothing() {
    let mut sink = sink(BrontoStream::List);
    give(&mut sink, &[("id", "a"), ("name", "x")], "a");
    sink.value(0, "b");
    sink.clear();
    give(&mut sink, &[("id", "c")], "c");
    let page = sink.take();
    assert_eq!(page.counts.kept, 1);
    assert!(arrays(&page)[1].is_null(0));
}

#[test]
fn rows_without_a_key_are_not_alike() {
    let modified = ("modified", "2019-03-04T00:00:00Z");
    let rows = |sink: &mut PageSink| {
        give(sink, &[modified], "<a/>");
        give(sink, &[("id", "b"), modified, ("numSends", "many")], "<b/>");
        give(sink, &[modified], "<c/>");
        sink.take()
    };
    let mut sink = sink(BrontoStream::Contact);
    let read = rows(&mut sink);
    sink.set_looking(true);
    let looked = rows(&mut sink);
    let marks: Vec<_> = read.rejects.iter().map(|reject| reject.mark).collect();
    assert_eq!(marks, [None, Some(looked.marks[0]), None]);
    assert_eq!((looked.marks.len(), looked.counts.read), (1, 3));
}

//! Clauses on audits: what a destination holds is compared with what the source gives again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::{
    Subject,
    script::{Person, Script, instant, people, persons},
};
use crate::{
    audit::{Auditor, DayChoice, DifferenceKind, Rereadable, StreamPlan, TableAudit},
    progress::ProgressBoard,
    reject::{Occurrence, ReasonCode, RejectedRow},
    row,
    source::{Source, SourceError, Span},
    stream::{StreamName, StreamSchema, WinnerRule},
};

/// An account of people, as it is now.
struct Account {
    schema: Arc<StreamSchema>,
    people: Vec<(String, String, String, Vec<String>)>,
    rejects: Vec<RejectedRow>,
}

impl Account {
    fn new(people: &[Person<'_>]) -> Self {
        let owned = people.iter().map(|(id, modified, name, lists)| {
            let lists = lists.iter().map(|&list| list.to_owned()).collect();
            ((*id).to_owned(), (*modified).to_owned(), (*name).to_owned(), lists)
        });
        Self {
            schema: super::script::people(WinnerRule::ReplicationKey),
            people: owned.collect(),
            rejects: Vec::new(),
        }
    }

    /// The account's rows of spans, as a run.
    fn script(&self, is_wanted: impl Fn(DateTime<Utc>) -> bool) -> Script {
        let wanted = self.people.iter().filter(|person| is_wanted(instant(&person.1)));
        let lists: Vec<Vec<&str>> =
            wanted.clone().map(|person| person.3.iter().map(String::as_str).collect()).collect();
        let wanted: Vec<Person<'_>> = wanted
            .zip(&lists)
            .map(|(person, lists)| (&*person.0, &*person.1, &*person.2, &lists[..]))
            .collect();
        let mut rows = persons(&self.schema, &wanted);
        rows.rejects.clone_from(&self.rejects);
        Script::new().schema(&self.schema).rows(rows)
    }

    async fn replicate(&self, subject: &dyn Subject) {
        let script = self.script(|_| true);
        script.bookmark("people", BOOKMARK).succeed(subject.destination()).await;
    }

    async fn audit(&self, subject: &dyn Subject, chunk: usize) -> TableAudit {
        let plan = StreamPlan {
            schema: Arc::clone(&self.schema),
            drifting: BTreeSet::from(["fullName".to_owned()]),
            span: Span { from: instant("2026-01-01T00:00:00Z"), before: instant(BOOKMARK) },
            days: DayChoice::All,
            readable_since: None,
        };
        let stop = CancellationToken::new();
        let auditor = Auditor::new(self, subject.destination(), BTreeMap::new(), 100, stop);
        let board = Arc::new(ProgressBoard::default());
        let auditor = auditor.with_chunks_of(chunk).with_progress(Arc::clone(&board));
        let found = auditor.audit(&plan).await;
        let found = found.unwrap_or_else(|error| panic!("the audit failed: {error:?}"));
        let read = board.snapshot().values().map(|stream| stream.extracted).sum::<u64>();
        assert!(read >= found.totals().source.rows, "what was read again is shown: {read}");
        found
    }
}

impl Rereadable for Account {
    fn again(&self, _stream: &StreamName, spans: &[Span]) -> Result<Box<dyn Source>, SourceError> {
        Ok(self.script(|at| spans.iter().any(|span| span.contains(at))).source())
    }

    fn since(
        &self,
        _stream: &StreamName,
        from: DateTime<Utc>,
    ) -> Result<Box<dyn Source>, SourceError> {
        Ok(self.script(|at| at >= from).source())
    }
}

const BOOKMARK: &str = "2026-01-04T06:00:00Z";

const PEOPLE: [Person<'_>; 7] = [
    ("a", "2026-01-01T00:00:00Z", "A", &["x"]),
    ("b", "2026-01-02T00:00:00Z", "B", &[]),
    ("c", "2026-01-02T10:00:00.000001Z", "C", &["y", "x"]),
    ("d", "2026-01-02T23:59:59.999999Z", "D", &[]),
    ("e", "2026-01-02T12:00:00Z", "E", &["", "\u{1f4e7}"]),
    ("f", "2026-01-04T05:59:59Z", "F", &[]),
    ("g", "2026-01-04T06:00:00Z", "G", &[]),
];

/// What was loaded is what the source gives again, in chunks and parts of any size.
pub async fn agrees_with_its_source(subject: &dyn Subject) {
    let account = Account::new(&PEOPLE);
    let before = account.audit(subject, 100).await;
    assert_eq!(before.totals().missing, 6, "without a table everything is missing: {before:#?}");
    account.replicate(subject).await;
    for chunk in [1, 2, 3, 100] {
        let found = account.audit(subject, chunk).await;
        assert!(found.is_equal(), "chunks of {chunk}: {found:#?}");
        assert_eq!(found.totals().source.rows, 6);
        assert_eq!(found.excluded.after_bookmark, 1);
        assert_eq!(found.days.len(), 4, "also days without rows");
    }
}

/// Every row that differs is named, and nothing else.
pub async fn names_what_differs_from_its_source(subject: &dyn Subject) {
    let account = Account::new(&PEOPLE);
    account.replicate(subject).await;
    let mut people = PEOPLE;
    people[0].2 = "renamed";
    people[1].3 = &["new"];
    people[2].3 = &["x", "y"];
    // One moves within what is compared, one beyond it; one is gone, and another one is there.
    people[3].1 = "2026-01-03T12:00:00Z";
    people[4].1 = "2026-01-05T00:00:00Z";
    people[5].0 = "h";
    let account = Account::new(&people);
    for chunk in [1, 2, 100] {
        let found = account.audit(subject, chunk).await;
        let named: Vec<String> = found
            .differences
            .iter()
            .map(|difference| match &difference.kind {
                DifferenceKind::Missing => format!("{} missing", difference.key["id"]),
                DifferenceKind::Extra => format!("{} extra", difference.key["id"]),
                DifferenceKind::Different(columns) => {
                    format!("{} {}", difference.key["id"], columns.join(" "))
                }
            })
            .collect();
        let expected = [
            r#""b" listIds"#,
            r#""c" listIds"#,
            r#""d" modified"#,
            r#""f" extra"#,
            r#""h" missing"#,
        ];
        assert_eq!(named, expected, "chunks of {chunk}: {found:#?}");
        assert_eq!(found.drift, BTreeMap::from([("fullName".to_owned(), 1)]));
        assert_eq!((found.excluded.moved, found.totals().drifted), (1, 1));
        let spans = found.spans_to_mend();
        let spans: Vec<String> = spans.iter().map(|span| row::instant_text(span.from)).collect();
        assert_eq!(spans, ["2026-01-02T00:00:00Z"], "adjoining days are one span");
    }
}

/// Rows that stand among the rejects are accounted for; those that stand nowhere are not.
pub async fn accounts_for_rejects_when_audited(subject: &dyn Subject) {
    let reject = |record: &str| RejectedRow {
        stream: "people".into(),
        code: ReasonCode::Undecodable,
        reason: "for the test".to_owned(),
        record: record.to_owned(),
        key_digest: None,
        sequence: 1,
        table_version: 0,
        extracted_at: instant("2026-01-01T00:00:00Z"),
        occurrence: Occurrence::Uncounted,
        replays: None,
    };
    let mut account = Account::new(&PEOPLE[..3]);
    account.rejects = vec![reject("one")];
    account.replicate(subject).await;
    let found = account.audit(subject, 1).await;
    assert!(found.is_equal() && found.excluded.rejected > 0, "{found:#?}");
    account.rejects.push(reject("two"));
    let found = account.audit(subject, 100).await;
    assert!(!found.is_equal(), "{found:#?}");
    assert_eq!((found.excluded.rejected, found.lost_rejects), (1, 1));

    // A row that was kept out is no row that is missing.
    let schema = people(WinnerRule::ReplicationKey);
    let rows = persons(&schema, &[("z", "2026-01-02T08:00:00Z", "Z", &[])]);
    let digest = row::key_digest(&schema, &rows.batch, 0);
    account.rejects = vec![RejectedRow { key_digest: digest, ..reject("three") }];
    account.replicate(subject).await;
    account.people.push(("z".into(), "2026-01-02T08:00:00Z".into(), "Z".into(), Vec::new()));
    let found = account.audit(subject, 100).await;
    assert!(found.is_equal(), "{found:#?}");
    assert_eq!(found.excluded.rejected, 2);
}

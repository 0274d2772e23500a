//! Records that are read straight against the same ones with their envelope in an order that makes them be read with care.

use proptest::prelude::*;

use super::*;

const SCHEMA: &str = r#"{"type":"SCHEMA","stream":"rows","key_properties":["id"],"schema":{"properties":{
    "id":{"type":"integer"},"text":{"type":["string","null"]},"at":{"type":["string","null"],"format":"date-time"},
    "amount":{"type":["number","null"]},"price":{"type":["string","null"],"format":"singer.decimal"},
    "is":{"type":["boolean","null"]},"any":{},"tags":{"type":["array","null"],"items":{"type":["string","null"]}},
    "several":{"type":["string","integer","null"]},
    "odd\"name":{"type":["string","null"]},
    "inner":{"type":["object","null"],"properties":{"text":{"type":["string","null"]},"n":{"type":["integer","null"]}}},
    "_sdc_sequence":{"type":"integer"}}}}"#;

const KEYS: [&str; 15] = [
    "several",
    "text",
    "at",
    "amount",
    "price",
    "is",
    "any",
    "tags",
    "inner",
    r#"odd\"name"#,
    "_sdc_sequence",
    "other",
    "id",
    r"te\u0078t",
    "\u{7f}",
];

const VALUES: [&str; 28] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "7",
    "-1.5",
    "1e3",
    "9223372036854775808",
    "0.1234567891",
    r#""""#,
    r#""plain""#,
    r#""é and 雪, long enough for two words""#,
    r#""a\"b\\c\/\b\f\n\r\t""#,
    r#""\u00e9\ud83d\ude00\u0000""#,
    r#""\ud800""#,
    r#""\udc00x""#,
    r#""\ud800\n""#,
    r#""2020-01-02T03:04:05.678+09:00""#,
    r#""2020-01-02T03:04:60Z""#,
    r#""12.50""#,
    "[]",
    r#"["a",null, "b\n"]"#,
    "[1,[2]]",
    "{}",
    r#"{ "text" : "x" , "n":3,"x":[{}] }"#,
    r#"{"n":1,"n":2}"#,
    "NaN",
];

/// What is no JSON; it ends the input.
const BROKEN: [&str; 8] =
    ["01", "1.", "nul", "[", "\"open", "\"control\u{1}\"", r#""\x""#, r#""\u+123""#];

/// A record, and what comes behind it.
fn record() -> impl Strategy<Value = (String, &'static str)> {
    let space = prop::sample::select(vec!["", "", "", " ", "\t "]);
    let value = prop_oneof![
        30 => prop::sample::select(&VALUES[..]),
        1 => prop::sample::select(&BROKEN[..])
    ];
    let field = (prop::sample::select(&KEYS[..]), value, space);
    let id = prop::sample::select(vec!["1", "2", "3", "null", "\"x\""]);
    let behind = prop::sample::select(vec![
        "",
        "",
        r#","time_extracted":"2020-01-01T00:00:00.123456Z""#,
        r#", "time_extracted": "2020-01-01T00:00:00.1234567Z""#,
        r#","time_extracted":null"#,
        r#","version":1"#,
        r#","version":1.5"#,
        r#","more":{"x":[]}"#,
    ]);
    (id, prop::collection::vec(field, 0..6), behind).prop_map(|(id, fields, behind)| {
        let fields = fields
            .iter()
            .map(|(key, value, space)| format!(",{space}\"{key}\"{space}:{space}{value}{space}"));
        (format!("{{\"id\":{id}{}}}", fields.collect::<String>()), behind)
    })
}

/// What an input becomes, in a form that can be compared.
fn outcome(input: &str) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (events, outcome) = runtime.block_on(run_with(input, &[]));
    format!("{events:#?}\n{:?}", outcome.map_err(|error| error.to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_is_read_straight_is_read_as_with_care(
        records in prop::collection::vec(record(), 1..6),
    ) {
        let lines = |line: fn(&str, &str) -> String| {
            let lines = records.iter().map(|(record, behind)| line(record, behind));
            format!("{}\n{}", SCHEMA.replace('\n', ""), lines.collect::<String>())
        };
        let straight = lines(|record, behind| {
            format!("{{\"type\":\"RECORD\",\"stream\":\"rows\",\"record\":{record}{behind}}}\n")
        });
        let careful = lines(|record, behind| {
            format!("{{\"stream\":\"rows\",\"type\":\"RECORD\",\"record\":{record}{behind}}}\n")
        });
        prop_assert_eq!(outcome(&straight), outcome(&careful));
    }
}

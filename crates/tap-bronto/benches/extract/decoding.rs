//! Answers to Arrow arrays, against a bare event loop of the parser over the same bytes, in turns in one thread.

use std::{hint::black_box, time::Duration};

use bronto_sim::SimConfig;
use process_cost::thread_processor_time;
use quick_xml::{Reader, events::Event};
use tap_bronto::{BrontoStream, SelectedStream, recorded::AnswerDecoder};

use crate::{
    account::{Account, head, row},
    native, soap,
};

const ROWS: u32 = 40_000;
const TURNS: usize = 7;
const DAYS: u32 = 28;

pub(crate) fn print() {
    println!("### The native path against a bare quick-xml event loop\n");
    head(&[
        "what",
        "rows",
        "MB of XML",
        "bare loop, CPU ms",
        "to Arrow arrays, CPU ms",
        "ratio",
        "must stay within",
        "the whole process, HTTP included, CPU ms",
    ]);
    let config = SimConfig { contacts: ROWS, inbound: ROWS, days: DAYS, ..SimConfig::default() };
    let account = Account::of(config, &[]);
    for (what, stream, pages) in [
        ("contacts", BrontoStream::Contact, soap::contacts(&account)),
        ("activities", BrontoStream::InboundActivity, soap::activities(&account)),
    ] {
        let bytes: usize = pages.iter().map(Vec::len).sum();
        let mut decoder = AnswerDecoder::new(&SelectedStream::all(stream));
        let (mut bare, mut arrays) = (Duration::MAX, Duration::MAX);
        let mut rows = 0;
        for _ in 0..TURNS {
            bare = bare.min(time(|| pages.iter().for_each(|body| bare_loop(body))));
            rows = 0;
            arrays = arrays.min(time(|| {
                for body in &pages {
                    let columns = black_box(decoder.decode(body).unwrap());
                    rows += columns.first().map_or(0, |column| column.len());
                }
            }));
        }
        let whole = native::measure(&account, stream, DAYS.into()).processor;
        row(&[
            what.to_owned(),
            rows.to_string(),
            format!("{}", bytes / 1_000_000),
            format!("{:.1}", bare.as_secs_f64() * 1e3),
            format!("{:.1}", arrays.as_secs_f64() * 1e3),
            format!("**{:.2}**", arrays.as_secs_f64() / bare.as_secs_f64()),
            "1.6".to_owned(),
            whole.as_millis().to_string(),
        ]);
    }
    println!();
}

fn time(work: impl FnOnce()) -> Duration {
    let before = thread_processor_time().unwrap();
    work();
    thread_processor_time().unwrap() - before
}

fn bare_loop(body: &[u8]) {
    let mut reader = Reader::from_str(str::from_utf8(body).unwrap());
    loop {
        match black_box(reader.read_event().unwrap()) {
            Event::Eof => break,
            _ => continue,
        }
    }
}

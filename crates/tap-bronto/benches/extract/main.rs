//! What extraction costs: processor time against the Python tap and against a bare parser, requests, wall time with
//! latency, and peak memory. `cargo xtask bench extract` prints it as Markdown, `cargo xtask bench extract PART…` a part.
//!
//! The simulated server works in this process, each measured program in its own, from whose `/proc` its figures come.
//! Both taps write Singer JSON to a file and read the same account.

#![expect(clippy::unwrap_used, reason = "a failed step should stop the benchmark")]

mod account;
mod decoding;
mod memory;
mod native;
mod processor;
mod python;
mod requests;
mod soap;
mod waiting;

type Part = (&'static str, fn());

const PARTS: [Part; 5] = [
    ("processor", processor::print),
    ("decoding", decoding::print),
    ("requests", requests::print),
    ("waiting", waiting::print),
    ("memory", memory::print),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = arguments.as_slice()
        && first == native::ARGUMENT
    {
        native::extract(rest);
        return;
    }
    // Test runners start every target, and ask it for tests; there are none here.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| *argument != "--bench").collect();
    for name in &wanted {
        let known = PARTS.map(|(name, _)| name);
        assert!(known.contains(name), "there is no part `{name}`; the parts are {known:?}");
    }
    for (_, print) in PARTS.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
        print();
    }
}

//! The lines and states that fuzzing starts from, held to the same rules without it.

#![expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]

use std::{fs, path::Path};

#[path = "../../../../fuzz/properties/messages.rs"]
mod messages;
#[path = "../../../../fuzz/properties/state.rs"]
mod state;

/// The texts of one corpus.
fn corpus(name: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
}

#[test]
fn every_line_of_the_corpus_reads_the_same_when_written_again() {
    let lines = corpus("messages");
    assert!(lines.len() >= 8);
    for line in lines {
        messages::holds(&line);
        // The beginnings too: none of them is a message.
        let cuts = 1..line.trim_end().len();
        for cut in cuts.filter(|cut| line.is_char_boundary(*cut)) {
            assert!(singer::Message::parse(&line[..cut]).is_err(), "{}", &line[..cut]);
        }
    }
}

#[test]
fn every_state_of_the_corpus_reads_the_same_when_written_again() {
    let states = corpus("state");
    assert!(states.len() >= 5);
    states.iter().for_each(|text| state::holds(text));
}

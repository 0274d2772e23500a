//! The bodies that fuzzing starts from, held to the same rules without it.

use std::{fs, path::Path};

#[path = "../../../../fuzz/properties/answers.rs"]
mod answers;

#[test]
fn every_answer_of_the_corpus_is_whole_or_an_error() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/answers");
    let bodies =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let bodies: Vec<_> = bodies.collect();
    assert!(bodies.len() >= 15);
    for body in bodies {
        answers::holds(&body, body.len());
    }
}

//! What holds for every state that a run can be given.
//!
//! Reading it never panics, writing it again changes nothing, and a bookmark that is set leaves the others alone.

use singer::State;

/// Checks all that holds for a state. Panics where it doesn't.
pub(crate) fn holds(text: &str) {
    let Ok(state) = State::parse(text) else { return };
    assert_eq!(State::parse(&state.to_json()).as_ref(), Ok(&state));
    let mut changed = state.clone();
    changed.bookmark_mut("contact").insert("last_record".into(), "2026-01-02T03:04:05Z".into());
    changed.set_currently_syncing(None);
    assert_eq!(State::parse(&changed.to_json()).as_ref(), Ok(&changed));
    assert!(changed.bookmark("contact").is_some_and(|bookmark| !bookmark.is_empty()));
    for stream in state.streams().filter(|stream| *stream != "contact") {
        assert_eq!(changed.bookmark(stream), state.bookmark(stream));
    }
}

//! How much one of many may hold at once of what there is for all, so that nobody takes it all.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// What each holds.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    held: Arc<Mutex<HashMap<String, usize>>>,
    most: usize,
}

/// One part; given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Mutex<HashMap<String, usize>>>,
    whose: String,
}

impl Shares {
    /// Shares of which each may hold so many.
    pub(crate) fn new(most: usize) -> Self {
        Self { held: Arc::default(), most }
    }

    /// Takes one, if its holder hasn't got too many.
    pub(crate) fn take(&self, whose: &str) -> Option<Share> {
        let mut held = self.held.lock().ok()?;
        let count = held.entry(whose.to_owned()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { held: Arc::clone(&self.held), whose: whose.to_owned() })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let Ok(mut held) = self.held.lock() else { return };
        if let Some(count) = held.get_mut(&self.whose) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_holds_so_many_and_nothing_is_left_of_them() {
        let shares = Shares::new(2);
        let held: Vec<_> = ["one", "one", "one", "two"].map(|whose| shares.take(whose)).into();
        assert_eq!(held.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false, true]);
        drop(held);
        assert!(shares.take("one").is_some());
        assert!(shares.held.lock().is_ok_and(|held| held.is_empty()));
    }
}

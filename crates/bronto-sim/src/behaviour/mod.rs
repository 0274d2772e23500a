//! The registry of behaviours: everything that Bronto's documentation leaves open, and every failure.
//!
//! A reader of the API must come out right under any combination of these. Each has a name, its possible
//! values, a default and a meaning; all can be changed while the server runs.

mod registry;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use thiserror::Error;

use self::registry::{ENTRIES, FAIL_NEXT};
use crate::schema::Operation;
use crate::settings::{Failure, Settings};

/// One behaviour of the simulated server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Behaviour {
    /// The name by which it is set.
    pub name: &'static str,
    /// The values it takes; words in capitals are placeholders.
    pub values: &'static str,
    /// The value it has unless set.
    pub default: &'static str,
    /// What it decides.
    pub meaning: &'static str,
}

/// Why a behaviour could not be set.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BehaviourError {
    /// There is no behaviour of this name.
    #[error("There is no behaviour `{0}`; `bronto-sim behaviours` lists them")]
    UnknownName(String),
    /// The behaviour doesn't take this value.
    #[error("Behaviour `{name}` takes {values}, not `{value}`")]
    InvalidValue {
        /// The behaviour.
        name: &'static str,
        /// What it takes.
        values: &'static str,
        /// What it was given.
        value: String,
    },
}

/// A failure that the next calls meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Injection {
    failure: Failure,
    count: u32,
    /// The operation it waits for; any read if none.
    operation: Option<Operation>,
}

fn injections(value: &str) -> Option<VecDeque<Injection>> {
    if value == "none" {
        return Some(VecDeque::new());
    }
    value
        .split(',')
        .map(|part| {
            let mut parts = part.trim().splitn(3, ':');
            let failure = Failure::named(parts.next()?)?;
            let count = parts.next()?.parse().ok()?;
            let operation = match parts.next() {
                Some(name) => Some(Operation::named(name)?),
                None => None,
            };
            Some(Injection { failure, count, operation })
        })
        .collect()
}

/// Every behaviour, in the order in which they are documented.
#[must_use]
pub fn behaviours() -> Vec<Behaviour> {
    ENTRIES.iter().map(|entry| entry.behaviour).collect()
}

/// The behaviours in force.
#[derive(Debug)]
pub(crate) struct Behaviours(Mutex<InForce>);

#[derive(Debug)]
struct InForce {
    settings: Arc<Settings>,
    values: BTreeMap<&'static str, String>,
    injections: VecDeque<Injection>,
}

impl Behaviours {
    /// The defaults, then these changes.
    pub(crate) fn new<'a>(
        changes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, BehaviourError> {
        let behaviours = Self(Mutex::new(InForce {
            settings: Arc::new(Settings::default()),
            values: BTreeMap::new(),
            injections: VecDeque::new(),
        }));
        for entry in ENTRIES {
            behaviours.set(entry.behaviour.name, entry.behaviour.default)?;
        }
        for (name, value) in changes {
            behaviours.set(name, value)?;
        }
        Ok(behaviours)
    }

    /// Sets one behaviour; it holds from the next call on.
    pub(crate) fn set(&self, name: &str, value: &str) -> Result<(), BehaviourError> {
        let entry = ENTRIES
            .iter()
            .find(|entry| entry.behaviour.name == name)
            .ok_or_else(|| BehaviourError::UnknownName(name.to_owned()))?;
        let mut in_force = self.lock();
        let mut settings = Settings::clone(&in_force.settings);
        (entry.set)(&mut settings, value).ok_or_else(|| BehaviourError::InvalidValue {
            name: entry.behaviour.name,
            values: entry.behaviour.values,
            value: value.to_owned(),
        })?;
        if name == FAIL_NEXT {
            in_force.injections = injections(value).unwrap_or_default();
        }
        in_force.settings = Arc::new(settings);
        in_force.values.insert(entry.behaviour.name, value.to_owned());
        Ok(())
    }

    /// What holds now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        Arc::clone(&self.lock().settings)
    }

    /// Name and value of every behaviour.
    pub(crate) fn values(&self) -> BTreeMap<&'static str, String> {
        self.lock().values.clone()
    }

    /// Takes the failure that was ordered for this call, if any.
    pub(crate) fn take_injection(&self, operation: Operation) -> Option<Failure> {
        let mut in_force = self.lock();
        let position = in_force.injections.iter().position(|injection| {
            injection.count > 0
                && match injection.operation {
                    Some(wanted) => wanted == operation,
                    None => operation.is_read(),
                }
        })?;
        let injection = &mut in_force.injections[position];
        injection.count -= 1;
        let failure = injection.failure;
        if injection.count == 0 {
            in_force.injections.remove(position);
        }
        Some(failure)
    }

    fn lock(&self) -> MutexGuard<'_, InForce> {
        // Nothing panics between two related writes, so a poisoned lock still guards whole values.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_every_listed_word_is_accepted() {
        let behaviours = Behaviours::new([]).unwrap();
        for behaviour in super::behaviours() {
            let words = behaviour.values.split('|').filter(|word| {
                !word.contains("..") && !word.chars().any(|c| c.is_ascii_uppercase() && c != 'Z')
            });
            for word in words.chain([behaviour.default]) {
                behaviours.set(behaviour.name, word).unwrap_or_else(|error| panic!("{error}"));
            }
            let refused = behaviours.set(behaviour.name, "nonsense");
            assert!(refused.is_err(), "{}", behaviour.name);
        }
    }

    #[test]
    fn names_are_unique_and_documented() {
        let all = super::behaviours();
        let names: std::collections::BTreeSet<_> = all.iter().map(|each| each.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|each| !each.meaning.is_empty()));
    }

    #[test]
    fn errors_say_what_is_possible() {
        let behaviours = Behaviours::new([]).unwrap();
        assert_eq!(
            behaviours.set("date_operators", "week").unwrap_err().to_string(),
            "Behaviour `date_operators` takes instant|day, not `week`"
        );
        assert!(
            behaviours
                .set("colour", "red")
                .unwrap_err()
                .to_string()
                .starts_with("There is no behaviour `colour`")
        );
    }

    #[test]
    fn ordered_failures_are_taken_once_each_and_by_their_operation() {
        let behaviours = Behaviours::new([("fail_next", "103:1,html:2,108:1:login")]).unwrap();
        let read = Operation::ReadLists;
        assert_eq!(behaviours.take_injection(Operation::Login), Some(Failure::Fault(108)));
        assert_eq!(behaviours.take_injection(Operation::Login), None);
        assert_eq!(behaviours.take_injection(read), Some(Failure::Fault(103)));
        assert_eq!(behaviours.take_injection(read), Some(Failure::Html));
        assert_eq!(behaviours.take_injection(read), Some(Failure::Html));
        assert_eq!(behaviours.take_injection(read), None);
    }
}

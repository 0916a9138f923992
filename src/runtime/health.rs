//! How the parts of a process are: what `/readyz` answers and what a person is told to wait for.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// The state of one part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "detail", rename_all = "snake_case")]
pub enum State {
    /// Works.
    Ready,
    /// Does not work yet, or not now, and will by itself; the text says what it waits for.
    Waiting(String),
    /// Works, but something needs a person; the text says what.
    Degraded(String),
}

impl State {
    /// Whether the part does its work.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        matches!(self, Self::Ready | Self::Degraded(_))
    }
}

/// The states of all parts of this process.
#[derive(Clone, Debug, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, State>>>,
}

impl Health {
    /// Adds a part, which waits until it says otherwise.
    #[must_use]
    pub fn part(&self, name: impl Into<String>) -> Reporter {
        let reporter = Reporter { health: self.clone(), name: name.into() };
        reporter.waiting("starting");
        reporter
    }

    /// All parts with their states, by name.
    #[must_use]
    pub fn snapshot(&self) -> BTreeMap<String, State> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there are parts and all of them work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        !parts.is_empty() && parts.values().all(State::is_ready)
    }

    /// Sets one part's state and returns what it was.
    fn set(&self, name: &str, state: State) -> Option<State> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), state)
    }
}

/// One part's way to say how it is. Changes are logged once, not repeats.
#[derive(Clone, Debug)]
pub struct Reporter {
    health: Health,
    name: String,
}

impl Reporter {
    /// The part works.
    pub fn ready(&self) {
        if self.health.set(&self.name, State::Ready) != Some(State::Ready) {
            tracing::info!(part = self.name, "ready");
        }
    }

    /// The part waits, by itself, for what the text says.
    pub fn waiting(&self, what: impl Into<String>) {
        let what = what.into();
        let state = State::Waiting(what.clone());
        if self.health.set(&self.name, state.clone()) != Some(state) && what != "starting" {
            tracing::warn!(part = self.name, "waiting: {what}");
        }
    }

    /// The part works, but a person should look at what the text says.
    pub fn degraded(&self, what: impl Into<String>) {
        let what = what.into();
        let state = State::Degraded(what.clone());
        if self.health.set(&self.name, state.clone()) != Some(state) {
            tracing::error!(part = self.name, "degraded: {what}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_part_is() {
        let health = Health::default();
        assert!(!health.is_ready(), "a process without parts does nothing, so it isn't ready");
        let nats = health.part("nats");
        let store = health.part("clickhouse");
        nats.ready();
        assert!(!health.is_ready());
        store.degraded("dead letters are waiting");
        assert!(health.is_ready());
        nats.waiting("NATS at nats://127.0.0.1:4222");
        assert!(!health.is_ready());
        assert_eq!(
            health.snapshot()["nats"],
            State::Waiting("NATS at nats://127.0.0.1:4222".into())
        );
    }
}

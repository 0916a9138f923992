//! What happened when: the faults of a run and what came of them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::schedule::FaultKind;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// Seconds since the run began.
    pub at_seconds: f64,
    /// The same by the clock.
    pub time: DateTime<Utc>,
    /// The kind of fault, where this is the beginning of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<FaultKind>,
    /// What happened.
    pub what: String,
}

/// Who is told of each line at once.
pub type Watcher = Arc<dyn Fn(&Entry) + Send + Sync>;

/// The log of one run. Cheap to clone.
#[derive(Clone)]
pub struct Log {
    began: Instant,
    entries: Arc<Mutex<Vec<Entry>>>,
    watcher: Watcher,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("began", &self.began).finish_non_exhaustive()
    }
}

impl Log {
    /// An empty log, whose clock begins now.
    #[must_use]
    pub fn new(watcher: Watcher) -> Self {
        Self { began: Instant::now(), entries: Arc::default(), watcher }
    }

    /// Notes what happened.
    pub fn note(&self, what: impl Into<String>) {
        self.add(None, what.into());
    }

    /// Notes a fault.
    pub(super) fn fault(&self, kind: FaultKind, what: String) {
        self.add(Some(kind), what);
    }

    /// Seconds since the run began.
    pub(super) fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// All lines so far.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, fault: Option<FaultKind>, what: String) {
        let entry = Entry { at_seconds: self.seconds(), time: Utc::now(), fault, what };
        (self.watcher)(&entry);
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).push(entry);
    }
}

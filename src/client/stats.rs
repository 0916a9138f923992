//! What became of the checks of a client, in numbers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::decision::Cause;

/// What became of the checks of a client since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Checks that a worker decided.
    pub checked: u64,
    /// Calls that nobody decided, by cause ([`Cause::as_str`]); causes that never occurred are left
    /// out.
    pub unchecked: BTreeMap<&'static str, u64>,
    /// Unchecked calls that wait to be reported.
    pub waiting: usize,
    /// Unchecked calls that the stream has taken, those of earlier processes among them.
    pub reported: u64,
    /// Unchecked calls that are lost: the spool was full, or the stream takes no such message.
    pub lost: u64,
    /// Lines in files of the spool that were no reports.
    pub corrupt: u64,
    /// Outcomes that were sent.
    pub outcomes: u64,
    /// Outcomes for which the queue had no room.
    pub outcomes_lost: u64,
    /// Whether the breaker is open now.
    pub breaker_open: bool,
}

impl Stats {
    /// Calls that nobody decided.
    #[must_use]
    pub fn unchecked_total(&self) -> u64 {
        self.unchecked.values().sum()
    }

    /// The share of calls that a worker decided, from 0 to 1; 1 before the first call.
    #[must_use]
    pub fn coverage(&self) -> f64 {
        let all = self.checked + self.unchecked_total();
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        if all == 0 { 1.0 } else { self.checked as f64 / all as f64 }
    }
}

/// Counts, from anywhere.
#[derive(Debug, Default)]
pub(super) struct Counters {
    checked: AtomicU64,
    unchecked: [AtomicU64; Cause::ALL.len()],
    reported: AtomicU64,
    lost: AtomicU64,
    corrupt: AtomicU64,
    outcomes: AtomicU64,
    outcomes_lost: AtomicU64,
}

impl Counters {
    pub(super) fn checked(&self, count: u64) {
        self.checked.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn unchecked(&self, cause: Cause, count: u64) {
        let place = Cause::ALL.iter().position(|one| *one == cause);
        if let Some(counter) = place.and_then(|place| self.unchecked.get(place)) {
            counter.fetch_add(count, Ordering::Relaxed);
        }
    }

    pub(super) fn reported(&self) {
        self.reported.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn lost(&self) {
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn corrupt(&self) {
        self.corrupt.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn outcome(&self) {
        self.outcomes.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn outcome_lost(&self) {
        self.outcomes_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self, waiting: usize, breaker_open: bool) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let causes = Cause::ALL.iter().zip(&self.unchecked);
        let causes = causes.map(|(cause, count)| (cause.as_str(), read(count)));
        Stats {
            checked: read(&self.checked),
            unchecked: causes.filter(|(_, count)| *count > 0).collect(),
            waiting,
            reported: read(&self.reported),
            lost: read(&self.lost),
            corrupt: read(&self.corrupt),
            outcomes: read(&self.outcomes),
            outcomes_lost: read(&self.outcomes_lost),
            breaker_open,
        }
    }
}

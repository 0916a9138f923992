//! What became of this run's events, for its checkpoints. Events of other runs, which this process
//! sends because their own is gone, aren't counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use super::Outgoing;

/// Numbers given up that are remembered between two checkpoints; what is beyond shows as missing.
const MOST_GIVEN_UP: usize = 10_000;

#[derive(Debug)]
pub(super) struct Tally {
    run: Uuid,
    recorded: AtomicU64,
    kept: AtomicU64,
    given_up_ever: AtomicU64,
    given_up: Mutex<Vec<u64>>,
}

impl Tally {
    pub(super) fn new(run: Uuid) -> Self {
        Self {
            run,
            recorded: AtomicU64::new(0),
            kept: AtomicU64::new(0),
            given_up_ever: AtomicU64::new(0),
            given_up: Mutex::default(),
        }
    }

    fn is_ours(&self, event: &Outgoing) -> bool {
        event.number.worker_sequence > 0 && event.number.worker_run == self.run
    }

    fn count_ours(&self, events: &[Outgoing]) -> u64 {
        u64::try_from(events.iter().filter(|event| self.is_ours(event)).count()).unwrap_or(u64::MAX)
    }

    /// The stream has an event.
    pub(super) fn record(&self, event: &Outgoing) {
        if self.is_ours(event) {
            self.recorded.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Events wait to be sent again.
    pub(super) fn keep(&self, events: &[Outgoing]) {
        self.kept.fetch_add(self.count_ours(events), Ordering::AcqRel);
    }

    /// Events need not be sent again.
    pub(super) fn settle(&self, events: &[Outgoing]) {
        let settled = self.count_ours(events);
        let less = |kept: u64| Some(kept.saturating_sub(settled));
        let _ = self.kept.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }

    /// An event can never be stored.
    pub(super) fn give_up(&self, event: &Outgoing) {
        self.given_up_ever.fetch_add(1, Ordering::AcqRel);
        if self.is_ours(event) {
            self.return_given_up(vec![event.number.worker_sequence]);
        }
    }

    pub(super) fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Acquire)
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept.load(Ordering::Acquire)
    }

    /// Events given up, whoever's they were.
    pub(super) fn given_up_ever(&self) -> u64 {
        self.given_up_ever.load(Ordering::Acquire)
    }

    /// The numbers given up since this was last called.
    pub(super) fn take_given_up(&self) -> Vec<u64> {
        std::mem::take(&mut *self.given_up.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Nobody could be told of these: they are told next time.
    pub(super) fn return_given_up(&self, numbers: Vec<u64>) {
        let mut given_up = self.given_up.lock().unwrap_or_else(PoisonError::into_inner);
        let room = MOST_GIVEN_UP.saturating_sub(given_up.len());
        given_up.extend(numbers.into_iter().take(room));
    }
}

//! The numbers of this run's events.

use std::sync::atomic::{AtomicU64, Ordering};

use uuid::Uuid;

use crate::contract::event::Number;

/// Gives each event of this run its number, from one, without leaving any out.
#[derive(Debug)]
pub(super) struct Numbers {
    run: Uuid,
    given: AtomicU64,
}

impl Numbers {
    /// The numbers of a run that begins now.
    pub(super) fn begin() -> Self {
        Self { run: Uuid::now_v7(), given: AtomicU64::new(0) }
    }

    /// The run.
    pub(super) const fn run(&self) -> Uuid {
        self.run
    }

    /// The greatest number given.
    pub(super) fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// The next number.
    pub(super) fn next(&self) -> Number {
        let before = self.given.fetch_add(1, Ordering::Relaxed);
        Number { worker_run: self.run, worker_sequence: before.saturating_add(1) }
    }
}

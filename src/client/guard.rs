//! An operation that was allowed, until it has ended.

use std::time::Instant;

use super::check::Check;
use super::decision::Decision;
use super::outcome::{Outcome, OutcomeSender, Told};
use crate::domain::Identity;

/// An operation that may go on. Say how it ended with [`Guard::finish`]; dropped before, it counts as
/// cancelled, and in a panic as failed.
#[must_use = "dropped at once, the operation counts as cancelled"]
pub struct Guard {
    sender: OutcomeSender,
    action: String,
    identity: Identity,
    decision: Decision,
    began: Instant,
    cost_usd: Option<f64>,
    finished: bool,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let decision = &self.decision.id;
        f.debug_struct("Guard")
            .field("action", &self.action)
            .field("decision", decision)
            .finish_non_exhaustive()
    }
}

impl Guard {
    pub(super) fn new(sender: OutcomeSender, check: &Check, decision: Decision) -> Self {
        Self {
            sender,
            action: check.action().to_owned(),
            identity: check.identity(),
            decision,
            began: Instant::now(),
            cost_usd: None,
            finished: false,
        }
    }

    /// The decision that allowed it.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// What it has cost, in dollars.
    pub const fn cost_usd(&mut self, cost: f64) {
        self.cost_usd = Some(cost);
    }

    /// Says how it ended.
    pub fn finish(mut self, outcome: Outcome) {
        self.tell(&outcome);
    }

    /// Runs the operation and says how it ended.
    ///
    /// # Errors
    /// Those of the operation.
    pub async fn run<T, E>(self, operation: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let result = operation.await;
        self.finish(Outcome::of(&result));
        result
    }

    fn tell(&mut self, outcome: &Outcome) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.sender.tell(&Told {
            decision: self.decision.id,
            outcome,
            took: self.began.elapsed(),
            cost_usd: self.cost_usd,
            action: &self.action,
            identity: &self.identity,
        });
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let outcome = if std::thread::panicking() {
            Outcome::Error { exception_type: "panic".to_owned() }
        } else {
            Outcome::Cancelled
        };
        self.tell(&outcome);
    }
}

//! What a fleet did, in numbers.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Happening;

/// What a fleet did.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tally {
    /// By agent.
    pub agents: BTreeMap<String, Row>,
    /// How often each reason denied something.
    pub reasons: BTreeMap<String, u64>,
    /// Unchecked calls that could not be reported until the end.
    pub unreported: usize,
}

/// What one agent did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Row {
    /// Operations that it asked for.
    pub asked: u64,
    /// Those that were denied.
    pub denied: u64,
    /// Those that no worker decided.
    pub unchecked: u64,
    /// Those that went on and failed.
    pub failed: u64,
    /// What it spent, in dollars.
    pub spent_usd: f64,
}

impl Tally {
    pub(super) fn add(&mut self, happening: &Happening) {
        self.agents.entry(happening.agent.clone()).or_default().add(happening);
        for reason in &happening.deny_reasons {
            *self.reasons.entry(reason.clone()).or_default() += 1;
        }
    }

    /// All agents together.
    #[must_use]
    pub fn all(&self) -> Row {
        self.agents.values().fold(Row::default(), |all, row| Row {
            asked: all.asked + row.asked,
            denied: all.denied + row.denied,
            unchecked: all.unchecked + row.unchecked,
            failed: all.failed + row.failed,
            spent_usd: all.spent_usd + row.spent_usd,
        })
    }
}

impl Row {
    /// Counts an operation.
    pub fn add(&mut self, happening: &Happening) {
        self.asked += 1;
        self.denied += u64::from(!happening.allowed);
        self.unchecked += u64::from(!happening.checked);
        self.failed += u64::from(!happening.failed.is_empty());
        self.spent_usd += happening.cost_usd;
    }
}

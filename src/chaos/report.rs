//! What a run did and counted.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::ledger::Outcomes;
use super::log::Entry;
use super::proofs::{Finding, Verdict};
use super::schedule::FaultKind;

/// Seconds around a check in which what happened may have to do with it.
const AROUND: f64 = 5.0;
/// Lines of the log that a finding shows.
const LINES: usize = 40;

/// What a run did and counted.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// From it follows what was done when.
    pub seed: u64,
    /// How long faults went on.
    pub minutes: f64,
    /// Whether it was ended early.
    pub interrupted: bool,
    /// Faults, by kind.
    pub faults: BTreeMap<FaultKind, u64>,
    /// Checks, by what became of them.
    pub checks: Outcomes,
    /// Decisions in ClickHouse.
    pub decision_rows: u64,
    /// Violations in ClickHouse.
    pub violation_rows: u64,
    /// Copies of rows in ClickHouse that are not merged yet and that no exact question finds.
    pub copies_unmerged: u64,
    /// Violations that the subscriber was given again, since its acknowledgement was lost.
    pub redelivered: u64,
    /// Posts of the alerter that were taken again, since its report was lost.
    pub posted_again: u64,
    /// Posts of the alerter that were refused, and came again.
    pub posts_refused: u64,
    /// The longest time without an answered check, in seconds.
    pub longest_blackout_seconds: f64,
    /// When it began, in seconds since the run began.
    pub longest_blackout_at: f64,
    /// How long it took after the last fault until nothing was left to do, in seconds.
    pub settled_seconds: f64,
    /// The verdict.
    #[serde(flatten)]
    pub verdict: Verdict,
    /// The folder with all data and logs, where they are kept.
    pub folder: Option<PathBuf>,
}

impl Report {
    /// Whether every promise holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.verdict.broken.is_empty()
    }
}

/// Counts faults by kind.
#[must_use]
pub(super) fn faults(log: &[Entry]) -> BTreeMap<FaultKind, u64> {
    let mut counts = BTreeMap::new();
    for kind in log.iter().filter_map(|entry| entry.fault) {
        *counts.entry(kind).or_default() += 1;
    }
    counts
}

/// What happened around the times of a finding.
#[must_use]
pub fn around<'l>(finding: &Finding, log: &'l [Entry]) -> Vec<&'l Entry> {
    let near = |entry: &&Entry| {
        finding
            .times
            .iter()
            .any(|(from, to)| (from - AROUND..=to + AROUND).contains(&entry.at_seconds))
    };
    log.iter().filter(near).take(LINES).collect()
}

//! The result of `sluicegate bench eval`.

use std::time::Duration;

use comfy_table::Cell;
use serde::Serialize;

use super::figures::{Latency, Times, ratio, real};
use super::show;
use crate::cli::print::{self, DIM, STRONG, styled};

/// All that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(tag = "bench", rename = "eval")]
pub(super) struct Report {
    policies: Vec<String>,
    duration_seconds: f64,
    cases: Vec<Case>,
}

/// One workload.
#[derive(Serialize)]
pub(super) struct Case {
    workload: String,
    /// Requests that differ.
    requests: usize,
    /// Bytes of one, on average.
    request_bytes: usize,
    /// Rules that the baseline evaluates for each check.
    entry_points: usize,
    ours: Figures,
    baseline: Figures,
    /// Ours to the baseline, by the mean.
    ratio: Option<f64>,
}

/// Time of one check, in microseconds.
#[derive(Serialize)]
struct Figures {
    checks: u64,
    mean_us: f64,
    /// Of the means of some checks each.
    quantiles_us: Option<Latency>,
}

/// What one side did.
pub(super) struct Side {
    /// Time in which it was measured.
    pub(super) took: Duration,
    checks: u64,
    each: Times,
}

impl Side {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self { took: Duration::ZERO, checks: 0, each: Times::new()? })
    }

    /// The number of the next check.
    pub(super) fn next(&mut self) -> usize {
        self.checks += 1;
        usize::try_from(self.checks).unwrap_or(usize::MAX)
    }

    /// Counts the time of so many checks.
    pub(super) fn note(&mut self, took: Duration, checks: usize) {
        self.took += took;
        self.each.note(took / u32::try_from(checks).unwrap_or(1).max(1));
    }

    fn figures(&self) -> Figures {
        let mean = self.took.as_secs_f64() * 1e6 / real(self.checks.max(1));
        Figures { checks: self.checks, mean_us: mean, quantiles_us: self.each.latency() }
    }
}

impl Case {
    pub(super) fn new(
        workload: &str,
        requests: usize,
        request_bytes: usize,
        entry_points: usize,
        ours: &Side,
        baseline: &Side,
    ) -> Self {
        let (ours, baseline) = (ours.figures(), baseline.figures());
        let ratio = ratio(ours.mean_us, baseline.mean_us);
        Self {
            workload: workload.to_owned(),
            requests,
            request_bytes,
            entry_points,
            ours,
            baseline,
            ratio,
        }
    }
}

impl Report {
    pub(super) fn new(policies: Vec<String>, duration: Duration, cases: Vec<Case>) -> Self {
        Self { policies, duration_seconds: duration.as_secs_f64(), cases }
    }

    pub(super) fn measured(&self) -> bool {
        self.cases.iter().all(|case| case.ours.checks > 0)
    }

    pub(super) fn show(&self) {
        let about =
            format!("{} · {} s each, in turns", self.policies.join(", "), self.duration_seconds);
        print::line(format!("{}  {}", styled(STRONG, "bench eval"), styled(DIM, about)));
        let heads = ["workload", "", "per check", "p50", "p99", "checks"];
        let mut table = show::table(&heads, 2);
        for case in &self.cases {
            let name = format!("{} ({})", case.workload, show::count(real_count(case.requests)));
            table.add_row(row(name, "sluicegate", &case.ours));
            let what = format!("register VM, {} rules", case.entry_points);
            table.add_row(row(String::new(), &what, &case.baseline));
            table.add_row([
                Cell::new(""),
                show::strong("ratio"),
                show::strong(show::times(case.ratio)),
            ]);
        }
        print::line(table);
    }
}

fn real_count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

fn row(name: String, what: &str, figures: &Figures) -> Vec<Cell> {
    let mut cells =
        vec![Cell::new(name), Cell::new(what), Cell::new(show::fine_micros(figures.mean_us))];
    if let Some(latency) = &figures.quantiles_us {
        cells.extend([latency.p50, latency.p99].map(|us| Cell::new(show::micros(us))));
    }
    cells.push(Cell::new(show::count(figures.checks)));
    cells
}

//! The result of `sluicegate bench reload`.

use comfy_table::Cell;
use serde::Serialize;

use super::figures::{Latency, Times, ratio, real};
use super::reload_run::{self, Change};
use super::show;
use crate::cli::print::{self, DIM, STRONG, WARN, styled};

/// All that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(tag = "bench", rename = "reload")]
pub(super) struct Report {
    /// Policies stored.
    policies: u16,
    /// Those of them with Rego of their own; the others use a template.
    own_rego: u16,
    /// Changes of each kind that were asked for.
    changes: u32,
    cores: usize,
    pub(super) interrupted: bool,
    pub(super) runs: Vec<Run>,
}

/// One number of workers.
#[derive(Serialize)]
pub(super) struct Run {
    workers: u8,
    /// Changes of each kind that were made.
    changes: u64,
    /// Whether the time was up before all were made.
    cut_short: bool,
    /// Changes of settings.
    parameters: Reload,
    /// Changes of Rego.
    rego: Reload,
    /// Writes to a plain bucket.
    floor: Floor,
    /// The last worker against the last watcher.
    ratio: Ratios,
}

/// From the change being sent, in microseconds, but where it says otherwise.
#[derive(Serialize)]
struct Reload {
    /// To the first decision by it, each worker on its own.
    each_us: Option<Latency>,
    /// To that of the last worker.
    last_us: Option<Latency>,
    /// From the reply to that of the last worker; 1 where it came first.
    last_from_reply_us: Option<Latency>,
    /// To the reply.
    reply_us: Option<Latency>,
}

#[derive(Serialize)]
struct Floor {
    each_us: Option<Latency>,
    last_us: Option<Latency>,
}

#[derive(Serialize)]
struct Ratios {
    parameters: Ratio,
    rego: Ratio,
}

#[derive(Serialize)]
struct Ratio {
    p50: Option<f64>,
    p99: Option<f64>,
}

/// What is counted while changes are made.
pub(super) struct Measured {
    changes: u64,
    pub(super) cut_short: bool,
    parameters: Kind,
    rego: Kind,
    each_watcher: Times,
    last_watcher: Times,
}

struct Kind {
    each: Times,
    last: Times,
    last_from_reply: Times,
    reply: Times,
}

impl Kind {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            each: Times::new()?,
            last: Times::new()?,
            last_from_reply: Times::new()?,
            reply: Times::new()?,
        })
    }

    fn note(&mut self, change: &Change) {
        change.decided.iter().for_each(|decided| self.each.note(*decided));
        self.last.note(change.last());
        self.last_from_reply.note(change.last().saturating_sub(change.replied));
        self.reply.note(change.replied);
    }

    fn reload(&self) -> Reload {
        Reload {
            each_us: self.each.latency(),
            last_us: self.last.latency(),
            last_from_reply_us: self.last_from_reply.latency(),
            reply_us: self.reply.latency(),
        }
    }
}

impl Measured {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            changes: 0,
            cut_short: false,
            parameters: Kind::new()?,
            rego: Kind::new()?,
            each_watcher: Times::new()?,
            last_watcher: Times::new()?,
        })
    }

    /// Counts one turn of each.
    pub(super) fn note(
        &mut self,
        floor: &[std::time::Duration],
        parameters: &Change,
        rego: &Change,
    ) {
        self.changes += 1;
        floor.iter().for_each(|seen| self.each_watcher.note(*seen));
        self.last_watcher.note(reload_run::last(floor));
        self.parameters.note(parameters);
        self.rego.note(rego);
    }

    pub(super) const fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn run(&self, workers: u8) -> Run {
        let (parameters, rego) = (self.parameters.reload(), self.rego.reload());
        let floor =
            Floor { each_us: self.each_watcher.latency(), last_us: self.last_watcher.latency() };
        let against = |reload: &Reload| {
            let of = |quantile: fn(&Latency) -> u64| {
                let (ours, theirs) = (reload.last_us.as_ref()?, floor.last_us.as_ref()?);
                ratio(real(quantile(ours)), real(quantile(theirs)))
            };
            Ratio { p50: of(|latency| latency.p50), p99: of(|latency| latency.p99) }
        };
        let ratio = Ratios { parameters: against(&parameters), rego: against(&rego) };
        Run {
            workers,
            changes: self.changes,
            cut_short: self.cut_short,
            parameters,
            rego,
            floor,
            ratio,
        }
    }
}

impl Report {
    pub(super) fn new(policies: u16, own_rego: u16, changes: u32) -> Self {
        Self {
            policies,
            own_rego,
            changes,
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            interrupted: false,
            runs: Vec::new(),
        }
    }

    pub(super) fn show(&self) {
        print::line(format!(
            "{}  {}",
            styled(STRONG, "bench reload"),
            styled(
                DIM,
                format!(
                    "{} policies stored, {} with Rego of their own · {} changes of each kind · \
                     {} cores for all",
                    show::count(self.policies.into()),
                    show::count(self.own_rego.into()),
                    show::count(self.changes.into()),
                    self.cores
                )
            )
        ));
        print::line(self.table());
        print::line(styled(
            DIM,
            "time to the first decision by a change, since it was sent; a write to a plain bucket \
             is the floor",
        ));
        for run in self.runs.iter().filter(|run| run.cut_short) {
            let said = format!(
                "{} workers: the time was up after {} changes of each kind",
                run.workers,
                show::count(run.changes)
            );
            print::line(styled(WARN, said));
        }
        if self.interrupted {
            print::line(styled(WARN, "interrupted: this is what was measured by then"));
        }
    }

    fn table(&self) -> comfy_table::Table {
        let mut table = show::table(&["workers", "", "p50", "p90", "p99", "max", "mean"], 2);
        for run in &self.runs {
            let mut workers = run.workers.to_string();
            let mut add = |what: &str, latency: Option<&Latency>| {
                let mut cells = vec![Cell::new(std::mem::take(&mut workers)), Cell::new(what)];
                if let Some(Latency { mean, p50, p90, p99, p999: _, max }) = latency {
                    cells.extend([p50, p90, p99, max].map(|us| Cell::new(show::micros(*us))));
                    cells.push(Cell::new(show::real_micros(*mean)));
                }
                table.add_row(cells);
            };
            for (what, reload) in [("settings", &run.parameters), ("Rego", &run.rego)] {
                add(&format!("{what}: any worker"), reload.each_us.as_ref());
                add(&format!("{what}: last worker"), reload.last_us.as_ref());
                add(&format!("{what}: reply"), reload.reply_us.as_ref());
                add(&format!("{what}: last, after reply"), reload.last_from_reply_us.as_ref());
            }
            add("plain write: any watcher", run.floor.each_us.as_ref());
            add("plain write: last watcher", run.floor.last_us.as_ref());
            for (what, ratio) in [("settings", &run.ratio.parameters), ("Rego", &run.ratio.rego)] {
                table.add_row([
                    Cell::new(""),
                    show::strong(format!("{what} ÷ plain, last")),
                    show::strong(show::times(ratio.p50)),
                    Cell::new(""),
                    show::strong(show::times(ratio.p99)),
                ]);
            }
        }
        table
    }
}

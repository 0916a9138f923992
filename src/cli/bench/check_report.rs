//! The result of `sluicegate bench check`.

use comfy_table::Cell;
use serde::Serialize;

use super::figures::{Latency, Outcomes, Speed, ratio, real};
use super::show;
use crate::cli::print::{self, BAD, DIM, STRONG, WARN, styled};

/// All that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(tag = "bench", rename = "check")]
pub(super) struct Report {
    pub(super) request_bytes: usize,
    pub(super) reply_bytes: usize,
    /// Checks in one message.
    pub(super) batch: u16,
    /// Where the checks came from, where it is not one again and again.
    pub(super) workload: Option<String>,
    /// Checks that were due each second; none of a closed loop.
    pub(super) rate_per_second: Option<f64>,
    /// How often echo and checks took turns.
    pub(super) rounds: u32,
    pub(super) duration_seconds: f64,
    pub(super) warmup_seconds: f64,
    /// By which the checks are found in the audit; none where the request was given.
    pub(super) session_id: Option<String>,
    pub(super) cores: usize,
    pub(super) interrupted: bool,
    pub(super) runs: Vec<Run>,
}

/// One number of clients.
#[derive(Serialize)]
pub(super) struct Run {
    concurrency: u16,
    connections: usize,
    check: Speed,
    outcomes: Outcomes,
    echo: Speed,
    ratio: Ratio,
}

/// Checks against echo.
#[derive(Serialize)]
struct Ratio {
    rate: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
}

impl Run {
    pub(super) fn new(
        concurrency: u16,
        connections: usize,
        (check, outcomes): (Speed, Outcomes),
        echo: Speed,
    ) -> Self {
        let of = |quantile: fn(&Latency) -> u64| {
            let (ours, theirs) = (check.latency_us.as_ref()?, echo.latency_us.as_ref()?);
            ratio(real(quantile(ours)), real(quantile(theirs)))
        };
        let ratio = Ratio {
            rate: ratio(check.rate, echo.rate),
            p50: of(|latency| latency.p50),
            p99: of(|latency| latency.p99),
        };
        Self { concurrency, connections, check, outcomes, echo, ratio }
    }
}

impl Report {
    /// Whether any check was answered.
    pub(super) fn answered(&self) -> bool {
        self.runs.iter().any(|run| run.check.checks > 0)
    }

    pub(super) fn show(&self) {
        let batch = if self.batch > 1 {
            format!(" · {} checks a message", self.batch)
        } else {
            String::new()
        };
        let load = self.load();
        print::line(format!(
            "{}  {}",
            styled(STRONG, "bench check"),
            styled(
                DIM,
                format!(
                    "request {} bytes, reply {} bytes{batch}{load} · {} s each, in {} turns · {} \
                     cores for all",
                    self.request_bytes,
                    self.reply_bytes,
                    self.duration_seconds,
                    self.rounds,
                    self.cores
                )
            )
        ));
        print::line(self.table());
        for run in &self.runs {
            run.show_outcomes();
        }
        if let Some(session) = &self.session_id {
            print::line(styled(
                DIM,
                format!("recorded as session {session}: sluicegate audit --session {session}"),
            ));
        }
        if self.interrupted {
            print::line(styled(WARN, "interrupted: this is what was measured by then"));
        }
    }

    fn load(&self) -> String {
        let workload = self.workload.as_ref().map(|workload| format!(" · workload {workload}"));
        let rate = self.rate_per_second.map(|rate| format!(" · {rate} checks/s are due"));
        workload.into_iter().chain(rate).collect()
    }

    fn table(&self) -> comfy_table::Table {
        let mut table = show::table(
            &["clients", "", "checks/s", "p50", "p90", "p99", "p99.9", "max", "mean"],
            2,
        );
        for run in &self.runs {
            table.add_row(row(run.concurrency.to_string(), "check", &run.check));
            table.add_row(row(String::new(), "echo", &run.echo));
            let ratio = &run.ratio;
            table.add_row([
                Cell::new(""),
                show::strong("ratio"),
                show::strong(show::times(ratio.rate)),
                show::strong(show::times(ratio.p50)),
                Cell::new(""),
                show::strong(show::times(ratio.p99)),
            ]);
        }
        table
    }
}

fn row(clients: String, what: &str, speed: &Speed) -> Vec<Cell> {
    let mut cells = vec![Cell::new(clients), Cell::new(what), Cell::new(show::rate(speed.rate))];
    if let Some(latency) = &speed.latency_us {
        let Latency { mean, p50, p90, p99, p999, max } = *latency;
        cells.extend([p50, p90, p99, p999, max].map(|us| Cell::new(show::micros(us))));
        cells.push(Cell::new(show::real_micros(mean)));
    }
    cells
}

impl Run {
    fn show_outcomes(&self) {
        let Outcomes { allow, deny, refused, policy_errors, recorded, pending, unrecorded } =
            self.outcomes;
        let said = |style, number: u64, what: &str| {
            (number > 0).then(|| styled(style, format!("{} {what}", show::count(number))))
        };
        let plain = anstyle::Style::new();
        let parts = [
            said(plain, allow, "allowed"),
            said(plain, deny, "denied"),
            said(plain, recorded, "recorded before the reply"),
            said(WARN, pending, "recorded later: the stream was too slow"),
            said(WARN, unrecorded, "not recorded"),
            said(BAD, policy_errors, "with a policy that failed"),
            said(BAD, refused, "refused"),
            said(BAD, self.check.timed_out, "without an answer in time"),
            said(BAD, self.check.failed, "failed"),
            said(BAD, self.echo.timed_out + self.echo.failed, "echoes lost"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        let clients = if self.concurrency == 1 { "client:  " } else { "clients: " };
        print::line(format!("{:>5} {clients}{}", self.concurrency, parts.join(" · ")));
        if let Some(failure) = self.check.failure.as_ref().or(self.echo.failure.as_ref()) {
            print::line(format!("{:15}{}", "", styled(BAD, failure)));
        }
    }
}

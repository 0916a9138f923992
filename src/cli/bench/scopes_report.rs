//! The result of `sluicegate bench scopes`.

use comfy_table::Cell;
use serde::Serialize;

use super::figures::{Counts, Latency, Outcomes, Speed, ratio, real};
use super::show;
use crate::cli::print::{self, BAD, DIM, STRONG, WARN, styled};

/// All that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(tag = "bench", rename = "scopes")]
pub(super) struct Report {
    /// Policies that apply to the checks.
    apply: u16,
    concurrency: u16,
    request_bytes: usize,
    cores: usize,
    pub(super) interrupted: bool,
    few: Side,
    many: Side,
    /// Many against few.
    ratio: Ratios,
}

/// One worker.
#[derive(Serialize)]
pub(super) struct Side {
    /// Session-scoped policies stored.
    stored: u16,
    check: Option<Speed>,
    outcomes: Outcomes,
    /// The evaluation alone, as the worker says of each check.
    evaluation_us: Option<Latency>,
    /// Each turn by itself: what they differ by is noise.
    turns: Vec<Turn>,
    #[serde(skip)]
    counts: Counts,
}

#[derive(Serialize)]
struct Turn {
    p50: Option<u64>,
    p99: Option<u64>,
    evaluation_mean: Option<f64>,
}

#[derive(Serialize)]
struct Ratios {
    rate: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
    evaluation_mean: Option<f64>,
    evaluation_p50: Option<f64>,
    evaluation_p99: Option<f64>,
}

impl Side {
    pub(super) fn new(stored: u16) -> anyhow::Result<Self> {
        Ok(Self {
            stored,
            check: None,
            outcomes: Outcomes::default(),
            evaluation_us: None,
            turns: Vec::new(),
            counts: Counts::new()?,
        })
    }

    /// Adds one turn.
    pub(super) fn add(&mut self, turn: &Counts) -> anyhow::Result<()> {
        let latency = turn.speed().latency_us;
        self.turns.push(Turn {
            p50: latency.map(|latency| latency.p50),
            p99: latency.map(|latency| latency.p99),
            evaluation_mean: turn.evaluation().map(|latency| latency.mean),
        });
        self.counts.add(turn)?;
        self.check = Some(self.counts.speed());
        self.outcomes = self.counts.outcomes();
        self.evaluation_us = self.counts.evaluation();
        Ok(())
    }

    fn latency(&self) -> Option<&Latency> {
        self.check.as_ref()?.latency_us.as_ref()
    }

    fn rate(&self) -> f64 {
        self.check.as_ref().map_or(0.0, |check| check.rate)
    }

    /// Checks that were not answered with a decision that all policies took part in.
    fn unanswered(&self) -> u64 {
        let lost = self.check.as_ref().map_or(0, |check| check.timed_out + check.failed);
        lost + self.outcomes.refused + self.outcomes.policy_errors
    }

    /// The lowest and the highest of the turns.
    fn spread<T>(&self, of: fn(&Turn) -> Option<T>, shown: fn(T) -> String) -> String
    where
        T: Copy + PartialOrd,
    {
        let values = || self.turns.iter().filter_map(of);
        let lowest = values().reduce(|a, b| if b < a { b } else { a });
        let highest = values().reduce(|a, b| if b > a { b } else { a });
        match (lowest, highest) {
            (Some(lowest), Some(highest)) => format!("{} – {}", shown(lowest), shown(highest)),
            _ => String::new(),
        }
    }
}

impl Report {
    pub(super) fn new(
        few: Side,
        many: Side,
        apply: u16,
        concurrency: u16,
        request_bytes: usize,
    ) -> Self {
        type Of = fn(&Side) -> Option<f64>;
        let against = |of: Of| ratio(of(&many)?, of(&few)?);
        let ratio = Ratios {
            rate: against(|side| Some(side.rate())),
            p50: against(|side| Some(real(side.latency()?.p50))),
            p99: against(|side| Some(real(side.latency()?.p99))),
            evaluation_mean: against(|side| Some(side.evaluation_us?.mean)),
            evaluation_p50: against(|side| Some(real(side.evaluation_us?.p50))),
            evaluation_p99: against(|side| Some(real(side.evaluation_us?.p99))),
        };
        Self {
            apply,
            concurrency,
            request_bytes,
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            interrupted: false,
            few,
            many,
            ratio,
        }
    }

    /// Whether both were answered.
    pub(super) fn answered(&self) -> bool {
        [&self.few, &self.many].iter().all(|side| side.latency().is_some())
    }

    pub(super) fn show(&self) {
        print::line(format!(
            "{}  {}",
            styled(STRONG, "bench scopes"),
            styled(
                DIM,
                format!(
                    "{} policies apply · {} client{} · request {} bytes · {} turns each · {} cores \
                     for all",
                    self.apply,
                    self.concurrency,
                    if self.concurrency == 1 { "" } else { "s" },
                    self.request_bytes,
                    self.few.turns.len(),
                    self.cores
                )
            )
        ));
        print::line(self.table());
        for side in [&self.few, &self.many] {
            if side.unanswered() > 0 {
                let said = format!(
                    "{} stored: {} checks without a decision that all policies took part in",
                    show::count(side.stored.into()),
                    show::count(side.unanswered())
                );
                print::line(styled(BAD, said));
            }
        }
        if self.interrupted {
            print::line(styled(WARN, "interrupted: these are the turns that both had"));
        }
    }

    fn table(&self) -> comfy_table::Table {
        let heads = ["stored", "", "checks/s", "p50", "p99", "mean", "lowest – highest turn"];
        let mut table = show::table(&heads, 2);
        for side in [&self.few, &self.many] {
            let mut row = |stored: String, what: &str, rate: String, latency: &Latency, spread| {
                table.add_row([
                    Cell::new(stored),
                    Cell::new(what),
                    Cell::new(rate),
                    Cell::new(show::micros(latency.p50)),
                    Cell::new(show::micros(latency.p99)),
                    Cell::new(show::fine_micros(latency.mean)),
                    Cell::new(spread),
                ]);
            };
            if let Some(latency) = side.latency() {
                let spread = side.spread(|turn| turn.p50, show::micros);
                let stored = show::count(side.stored.into());
                row(stored, "check", show::rate(side.rate()), latency, format!("p50 {spread}"));
            }
            if let Some(latency) = &side.evaluation_us {
                let spread = side.spread(|turn| turn.evaluation_mean, show::fine_micros);
                let spread = format!("mean {spread}");
                row(String::new(), "evaluation", String::new(), latency, spread);
            }
        }
        let Ratios { rate, p50, p99, evaluation_mean, evaluation_p50, evaluation_p99 } = self.ratio;
        let mut add = |what: &str, [rate, p50, p99, mean]: [String; 4]| {
            table.add_row(["", what, &rate, &p50, &p99, &mean].map(show::strong));
        };
        let times = |ratio| show::times(ratio);
        add("check, ratio", [times(rate), times(p50), times(p99), String::new()]);
        add(
            "evaluation, ratio",
            [String::new(), times(evaluation_p50), times(evaluation_p99), times(evaluation_mean)],
        );
        table
    }
}

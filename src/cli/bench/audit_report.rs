//! The result of `sluicegate bench audit`.

use comfy_table::Cell;
use serde::Serialize;

use super::figures::{Latency, Outcomes, Speed, ratio, real};
use super::show;
use crate::cli::print::{self, DIM, STRONG, WARN, styled};

/// The names of the sides that others are compared with.
const OFF: &str = "off";
const ECHO: &str = "echo";

/// All that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(tag = "bench", rename = "audit")]
pub(super) struct Report {
    pub(super) request_bytes: usize,
    /// How often all took turns.
    pub(super) rounds: u8,
    pub(super) duration_seconds: f64,
    pub(super) cores: usize,
    pub(super) interrupted: bool,
    pub(super) runs: Vec<Run>,
}

/// One number of clients.
#[derive(Serialize)]
pub(super) struct Run {
    concurrency: u16,
    sides: Vec<Compared>,
}

/// One worker, or the echo.
#[derive(Serialize)]
pub(super) struct Side {
    /// The setting `audit.acknowledge`, or `echo`.
    pub(super) name: &'static str,
    pub(super) speed: Speed,
    pub(super) outcomes: Outcomes,
}

/// One side, and how it compares.
#[derive(Serialize)]
struct Compared {
    #[serde(flatten)]
    side: Side,
    of_off: Ratio,
    of_echo: Ratio,
}

/// Against another side of the same run.
#[derive(Clone, Copy, Serialize)]
struct Ratio {
    rate: Option<f64>,
    p50: Option<f64>,
    p99: Option<f64>,
}

impl Run {
    pub(super) fn new(concurrency: u16, sides: Vec<Side>) -> Self {
        let speed_of = |name| sides.iter().find(|side| side.name == name).map(|side| &side.speed);
        let ratios: Vec<[Ratio; 2]> = sides
            .iter()
            .map(|side| [OFF, ECHO].map(|other| against(&side.speed, speed_of(other))))
            .collect();
        let sides = sides.into_iter().zip(ratios);
        let sides = sides.map(|(side, [of_off, of_echo])| Compared { side, of_off, of_echo });
        Self { concurrency, sides: sides.collect() }
    }
}

fn against(speed: &Speed, other: Option<&Speed>) -> Ratio {
    let of = |quantile: fn(&Latency) -> u64| {
        let (ours, theirs) = (speed.latency_us.as_ref()?, other?.latency_us.as_ref()?);
        ratio(real(quantile(ours)), real(quantile(theirs)))
    };
    Ratio {
        rate: other.and_then(|other| ratio(speed.rate, other.rate)),
        p50: of(|latency| latency.p50),
        p99: of(|latency| latency.p99),
    }
}

impl Report {
    /// Whether every worker answered.
    pub(super) fn answered(&self) -> bool {
        self.runs.iter().flat_map(|run| &run.sides).all(|side| side.side.speed.requests > 0)
    }

    pub(super) fn show(&self) {
        let Self { request_bytes, duration_seconds, rounds, cores, .. } = self;
        print::line(format!(
            "{}  {}",
            styled(STRONG, "bench audit"),
            styled(
                DIM,
                format!(
                    "request {request_bytes} bytes · {duration_seconds} s each, in {rounds} turns \
                     · {cores} cores for all"
                )
            )
        ));
        let heads = [
            "clients",
            "acknowledge",
            "checks/s",
            "p50",
            "p99",
            "rate of off",
            "p99 of off",
            "rate of echo",
            "p99 of echo",
        ];
        let mut table = show::table(&heads, 2);
        for run in &self.runs {
            let mut clients = run.concurrency.to_string();
            for Compared { side, of_off, of_echo } in &run.sides {
                let latency = side.speed.latency_us.as_ref();
                let time = |quantile: fn(&Latency) -> u64| {
                    latency.map(|l| show::micros(quantile(l))).unwrap_or_default()
                };
                table.add_row([
                    Cell::new(std::mem::take(&mut clients)),
                    Cell::new(side.name),
                    Cell::new(show::rate(side.speed.rate)),
                    Cell::new(time(|l| l.p50)),
                    Cell::new(time(|l| l.p99)),
                    show::strong(show::times(of_off.rate)),
                    show::strong(show::times(of_off.p99)),
                    Cell::new(show::times(of_echo.rate)),
                    Cell::new(show::times(of_echo.p99)),
                ]);
            }
        }
        print::line(table);
        for run in &self.runs {
            for Compared { side, .. } in &run.sides {
                let late = side.name == "before_reply" && side.outcomes.pending > 0;
                if late || side.speed.timed_out + side.speed.failed > 0 {
                    print::line(styled(
                        WARN,
                        format!(
                            "{} clients, {}: {} recorded later, {} without an answer in time, {} failed",
                            run.concurrency,
                            side.name,
                            side.outcomes.pending,
                            side.speed.timed_out,
                            side.speed.failed
                        ),
                    ));
                }
            }
        }
        if self.interrupted {
            print::line(styled(WARN, "interrupted: this is what was measured by then"));
        }
    }
}

//! The result of `sluicegate bench sink`.

use comfy_table::Cell;
use serde::Serialize;

use super::figures::{per_second, ratio, real};
use super::show;
use crate::cli::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::config::Sink;

/// All that was measured, and under which conditions.
#[derive(Serialize)]
#[serde(tag = "bench", rename = "sink")]
pub(super) struct Report {
    rows: u64,
    engine: String,
    batch_rows: usize,
    batch_bytes: u64,
    cores: usize,
    interrupted: bool,
    /// Whether every table had every row, once.
    pub(super) complete: bool,
    published: Published,
    /// Rows per second, all rounds together.
    rate: Rates,
    /// The sink against the engine's own ingest.
    ratio: Ratios,
    rounds: Vec<Round>,
    /// None where it was not asked for, or interrupted.
    steady: Option<Steady>,
}

/// How the backlog was made.
#[derive(Serialize)]
pub(super) struct Published {
    pub(super) rows: u64,
    pub(super) seconds: f64,
    pub(super) rate: f64,
    /// Of the average event.
    pub(super) event_bytes: f64,
}

/// A turn of each.
#[derive(Serialize)]
pub(super) struct Round {
    pub(super) sink: Drain,
    pub(super) native: Ingest,
    pub(super) json_lines: Ingest,
}

/// The sink's turn.
#[derive(Serialize)]
pub(super) struct Drain {
    pub(super) rows: u64,
    pub(super) unique_ids: u64,
    /// From its start, connecting included, to the last row in the table.
    pub(super) seconds: f64,
    pub(super) rate: f64,
    /// When the first rows were seen in the table, and how many they were.
    pub(super) first_seconds: f64,
    pub(super) first_rows: u64,
}

/// The engine's turn.
#[derive(Serialize)]
pub(super) struct Ingest {
    pub(super) rows: u64,
    pub(super) unique_ids: u64,
    pub(super) file_bytes: u64,
    pub(super) seconds: f64,
    pub(super) rate: f64,
}

/// Storing what is published meanwhile.
#[derive(Serialize)]
pub(super) struct Steady {
    /// Events published.
    #[serde(skip)]
    pub(super) wanted: u64,
    pub(super) rows: u64,
    pub(super) unique_ids: u64,
    /// From the first event to the last row in the table.
    pub(super) seconds: f64,
    pub(super) rate: f64,
    /// How fast the events came.
    pub(super) published_rate: f64,
    /// Rows that were not stored yet when the last event was published.
    pub(super) behind: u64,
}

#[derive(Serialize)]
struct Rates {
    /// From the start of the sink to the last row.
    sink: f64,
    /// From the first rows in the table to the last; none where all came at once.
    sink_steady: Option<f64>,
    native: f64,
    json_lines: f64,
}

#[derive(Serialize)]
struct Ratios {
    native: Option<f64>,
    json_lines: Option<f64>,
}

impl Report {
    pub(super) fn new(
        engine: String,
        sink: &Sink,
        published: Published,
        rounds: Vec<Round>,
        steady: Option<Steady>,
        (wanted, wants_steady): (u8, bool),
    ) -> Self {
        let rows = published.rows;
        let over = |seconds: fn(&Round) -> f64| {
            let turns = u64::try_from(rounds.len()).unwrap_or(0);
            per_second(rows * turns, rounds.iter().map(seconds).sum())
        };
        let rate = Rates {
            sink: over(|round| round.sink.seconds),
            sink_steady: after_first(rows, &rounds),
            native: over(|round| round.native.seconds),
            json_lines: over(|round| round.json_lines.seconds),
        };
        let complete =
            rounds.iter().all(|round| {
                let Round { sink, native, json_lines } = round;
                [
                    (sink.rows, sink.unique_ids),
                    (native.rows, native.unique_ids),
                    (json_lines.rows, json_lines.unique_ids),
                ]
                .iter()
                .all(|counted| *counted == (rows, rows))
            }) && steady.as_ref().is_none_or(|s| (s.rows, s.unique_ids) == (s.wanted, s.wanted));
        Self {
            rows,
            engine,
            batch_rows: sink.batch_rows,
            batch_bytes: sink.batch_bytes.as_u64(),
            cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
            interrupted: rounds.len() < usize::from(wanted) || wants_steady != steady.is_some(),
            complete,
            published,
            ratio: Ratios {
                native: ratio(rate.sink, rate.native),
                json_lines: ratio(rate.sink, rate.json_lines),
            },
            rate,
            rounds,
            steady,
        }
    }

    pub(super) fn show(&self) {
        print::line(format!(
            "{}  {}",
            styled(STRONG, "bench sink"),
            styled(
                DIM,
                format!(
                    "{} events of {:.0} bytes · batches of {} rows · ClickHouse {} · {} \
                     round{} · {} cores for all",
                    show::count(self.rows),
                    self.published.event_bytes,
                    show::count(u64::try_from(self.batch_rows).unwrap_or(u64::MAX)),
                    self.engine,
                    self.rounds.len(),
                    if self.rounds.len() == 1 { "" } else { "s" },
                    self.cores
                )
            )
        ));
        print::line(self.table());
        if self.complete {
            let rows = show::count(self.rows);
            print::line(format!(
                "{} in every table: {rows} rows, {rows} different ids",
                styled(GOOD, "complete")
            ));
        } else {
            self.show_differences();
        }
        if self.interrupted {
            print::line(styled(WARN, "interrupted: these are the rounds that were complete"));
        }
    }

    fn table(&self) -> comfy_table::Table {
        let heads = ["", "rows/s", "ratio", "rows/s of each round"];
        let mut table = show::table(&heads, 1);
        let each = |rate: fn(&Round) -> f64| {
            let rates: Vec<String> = self.rounds.iter().map(|r| show::rate(rate(r))).collect();
            rates.join("  ")
        };
        let Rates { sink, sink_steady, native, json_lines } = self.rate;
        let mut add = |what, rate, ratio: Option<f64>, each| {
            let ratio = ratio.map_or_else(String::new, |ratio| show::times(Some(ratio)));
            table.add_row([
                Cell::new(what),
                Cell::new(show::rate(rate)),
                show::strong(ratio),
                Cell::new(each),
            ]);
        };
        add("sink, from its start", sink, None, each(|r| r.sink.rate));
        if let Some(steady) = sink_steady {
            add("sink, after its first rows", steady, None, String::new());
        }
        add("engine, Native file", native, self.ratio.native, each(|r| r.native.rate));
        add("engine, JSON lines", json_lines, self.ratio.json_lines, each(|r| r.json_lines.rate));
        if let Some(steady) = &self.steady {
            let what = format!(
                "{} events came at {}/s; {} were not stored yet when the last came",
                show::count(steady.wanted),
                show::rate(steady.published_rate),
                show::count(steady.behind)
            );
            add("sink, while events come", steady.rate, None, what);
        }
        table
    }

    fn show_differences(&self) {
        print::line(styled(BAD, "the tables differ from the backlog:"));
        if let Some(Steady { rows, unique_ids, .. }) = &self.steady {
            print::line(format!("  while events came: {rows} rows, {unique_ids} different ids"));
        }
        for (number, round) in self.rounds.iter().enumerate() {
            for (what, rows, ids) in [
                ("sink", round.sink.rows, round.sink.unique_ids),
                ("Native", round.native.rows, round.native.unique_ids),
                ("JSON lines", round.json_lines.rows, round.json_lines.unique_ids),
            ] {
                let number = number + 1;
                print::line(format!("  round {number}, {what}: {rows} rows, {ids} different ids"));
            }
        }
    }
}

/// The rate of all rounds from their first rows on.
fn after_first(rows: u64, rounds: &[Round]) -> Option<f64> {
    let stored: u64 = rounds.iter().map(|round| rows - round.sink.first_rows).sum();
    let seconds: f64 =
        rounds.iter().map(|round| round.sink.seconds - round.sink.first_seconds).sum();
    ratio(real(stored), seconds)
}

//! The numbers that workers gave: each run counts its events from one, so whatever is missing can be
//! named, also where neither the stream nor ClickHouse ever saw it.
//!
//! A worker's checkpoints say up to where it had counted, how many of these events the stream had
//! acknowledged, and how many the worker kept to send them again. An event that was acknowledged must
//! have a row. One that wasn't may be in flight, in the worker's spill, or lost with a worker that was
//! killed: that is said, and is no failure of the audit.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::report::{Finding, Kind, Report, WorkersReport};
use super::stream::{DeadLetters, Standing};
use super::{Job, Step, VerifyError};
use crate::store::chain::{Chained, EDGE, Hole, RunCheckpoint, RunNumbers, Span};

/// Holes of one run, and numbers with several rows, that are looked at one by one.
const LIMIT: u64 = 1_000;

/// How long an event can be in flight at most before its worker keeps it to send it again.
const IN_FLIGHT: TimeDelta = TimeDelta::seconds(120);

/// One run.
struct Run {
    run: Uuid,
    worker: String,
    /// Numbers up to here are not looked at.
    before: u64,
    /// The greatest number with a row.
    greatest: u64,
    stored: u64,
    checkpoint: Option<RunCheckpoint>,
}

pub(super) async fn verify(
    job: &Job<'_>,
    standing: &Standing,
    dead: &DeadLetters,
    report: &mut Report,
) -> Result<(), VerifyError> {
    (job.on_step)(Step::Numbers);
    let retained = Chained::ALL.map(|chained| job.retained_since(chained)).into_iter().max();
    let span = Span {
        since: retained.map_or(job.since(), |retained| retained.max(job.since())),
        until: job.scope.until.unwrap_or_else(|| far(job.now)),
    };
    doubles(job, span, report).await?;
    let mut workers =
        WorkersReport { unnumbered: job.store.unnumbered(span).await?, ..WorkersReport::default() };
    let reordered = job.store.reordered(span).await?;
    (workers.reordered, workers.largest_displacement) = (reordered.rows, reordered.displacement);
    for run in runs(job, standing, span).await? {
        workers.runs += 1;
        workers.ended += u64::from(run.checkpoint.as_ref().is_some_and(|c| c.last));
        Judging { job, span, dead, run: &run, workers: &mut workers, report }.judge().await?;
    }
    report.workers = workers;
    Ok(())
}

/// Later than any row.
fn far(now: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(4_200_000_000, 0).unwrap_or(now)
}

/// Ids and numbers that several rows have.
async fn doubles(job: &Job<'_>, span: Span, report: &mut Report) -> Result<(), VerifyError> {
    for chained in Chained::ALL {
        for doubled in job.store.doubled_ids(chained, span.since, LIMIT).await? {
            let detail = format!("{} rows have this id", doubled.rows);
            let finding = Finding::new(Kind::DuplicateId, detail);
            report
                .findings
                .add(finding.row(doubled.id, doubled.sequence).in_chain(chained.label()));
        }
    }
    for twice in job.store.numbers_twice(span, LIMIT).await? {
        let detail = format!("{} rows have this number, one of them is {}", twice.rows, twice.id);
        let finding = Finding::new(Kind::NumberTwice, detail);
        report.findings.add(finding.numbered(twice.run, twice.number, twice.number));
    }
    Ok(())
}

/// Every run that has rows or checkpoints in the span.
async fn runs(job: &Job<'_>, standing: &Standing, span: Span) -> Result<Vec<Run>, VerifyError> {
    let settled = standing.settled.values().min().copied().unwrap_or(0);
    let epoch = standing.epoch.unwrap_or(DateTime::UNIX_EPOCH);
    let mut checkpoints: BTreeMap<Uuid, RunCheckpoint> = BTreeMap::new();
    // Of a span that is over, what came later says nothing.
    if job.scope.until.is_none() {
        let found = job.store.run_checkpoints(span.since, epoch, settled).await?;
        checkpoints.extend(found.into_iter().map(|checkpoint| (checkpoint.run, checkpoint)));
    }
    let mut runs = Vec::new();
    for numbers in job.store.run_numbers(span).await? {
        let RunNumbers { run, worker, before, least, greatest, stored } = numbers;
        // A run that is older than what was read has numbers that were not read.
        let older = before == 0 && began_before(run, span.since - EDGE);
        let before = if older { least.saturating_sub(1) } else { before };
        let checkpoint = checkpoints.remove(&run);
        runs.push(Run { run, worker, before, greatest, stored, checkpoint });
    }
    // Runs of which there is no row at all.
    for (run, checkpoint) in checkpoints {
        if !began_before(run, span.since) && checkpoint.numbered > 0 {
            let worker = checkpoint.worker.clone();
            let checkpoint = Some(checkpoint);
            runs.push(Run { run, worker, before: 0, greatest: 0, stored: 0, checkpoint });
        }
    }
    Ok(runs)
}

/// A run's id has the time of its beginning.
fn began_before(run: Uuid, time: DateTime<Utc>) -> bool {
    let began = run.get_timestamp().map(|at| at.to_unix().0);
    began.and_then(|seconds| i64::try_from(seconds).ok()).is_some_and(|at| at < time.timestamp())
}

/// Looking at one run.
struct Judging<'a> {
    job: &'a Job<'a>,
    span: Span,
    dead: &'a DeadLetters,
    run: &'a Run,
    workers: &'a mut WorkersReport,
    report: &'a mut Report,
}

impl Judging<'_> {
    async fn judge(mut self) -> Result<(), VerifyError> {
        let run = self.run;
        let numbered = run.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.numbered);
        let until = run.greatest.max(numbered);
        let expected = until.saturating_sub(run.before);
        self.workers.numbers += expected;
        self.workers.stored += run.stored;
        if expected <= run.stored {
            return Ok(());
        }
        let holes = self.job.store.holes(run.run, run.before, until, self.span, LIMIT).await?;
        let (open, given_up) = self.without_known(&holes);
        for number in given_up {
            let detail =
                format!("the worker {} gave the event up: it can never be stored", run.worker);
            self.find(Kind::GivenUp, Hole { first: number, last: number }, detail);
        }
        let recorded_missing = self.acknowledged_missing(&open);
        for hole in open {
            self.hole(hole, recorded_missing).await?;
        }
        Ok(())
    }

    /// The holes without the numbers of which is known what became of them; and those given up.
    fn without_known(&mut self, holes: &[Hole]) -> (Vec<Hole>, Vec<u64>) {
        let dead = self.dead.numbers.get(&self.run.run);
        let given_up: BTreeSet<u64> =
            self.run.checkpoint.iter().flat_map(|c| c.given_up.iter().copied()).collect();
        let none = BTreeSet::new();
        let dead = dead.unwrap_or(&none);
        let (mut open, mut lost) = (Vec::new(), Vec::new());
        for hole in holes {
            let mut from = hole.first;
            let known: BTreeSet<u64> = dead
                .range(hole.first..=hole.last)
                .chain(given_up.range(hole.first..=hole.last))
                .copied()
                .collect();
            for number in known {
                if dead.contains(&number) {
                    self.workers.dead_letters += 1;
                } else {
                    lost.push(number);
                }
                if number > from {
                    open.push(Hole { first: from, last: number - 1 });
                }
                from = number.saturating_add(1);
            }
            if from <= hole.last {
                open.push(Hole { first: from, last: hole.last });
            }
        }
        (open, lost)
    }

    /// Whether more is missing than the stream had not acknowledged: then something is lost that it had.
    fn acknowledged_missing(&self, open: &[Hole]) -> bool {
        let Some(checkpoint) = &self.run.checkpoint else { return false };
        let missing: u64 = open
            .iter()
            .filter(|hole| hole.first <= checkpoint.numbered)
            .map(|hole| hole.last.min(checkpoint.numbered) - hole.first + 1)
            .sum();
        let given_up = u64::try_from(checkpoint.given_up.len()).unwrap_or(0);
        let done = checkpoint.recorded.saturating_add(given_up);
        missing > checkpoint.numbered.saturating_sub(done)
    }

    async fn hole(&mut self, hole: Hole, acknowledged_missing: bool) -> Result<(), VerifyError> {
        let worker = &self.run.worker;
        let Some(checkpoint) = &self.run.checkpoint else {
            return self.newest(hole, "no checkpoint of its worker was stored yet");
        };
        if hole.first > checkpoint.numbered {
            return self.newest(hole, "given after the last checkpoint of the run");
        }
        let (below, above) = if hole.last > checkpoint.numbered {
            let below = Hole { last: checkpoint.numbered, ..hole };
            (below, Some(Hole { first: checkpoint.numbered.saturating_add(1), ..hole }))
        } else {
            (hole, None)
        };
        if let Some(above) = above {
            self.newest(above, "given after the last checkpoint of the run")?;
        }
        let old = match self.job.store.numbered_since(self.run.run, below.last).await? {
            Some(since) => checkpoint.at - since >= IN_FLIGHT,
            None => false,
        };
        let ended = checkpoint.last;
        if acknowledged_missing {
            let detail =
                format!("the stream had acknowledged more events of {worker} than have rows");
            self.find(Kind::NumberMissing, below, detail);
        } else if checkpoint.kept == 0 && (ended || old) {
            let detail = format!(
                "{worker} {} and kept nothing, and the event was not recorded",
                if ended { "ended in order" } else { "went on long after" }
            );
            self.find(Kind::NumberMissing, below, detail);
        } else if ended || checkpoint.kept > 0 {
            let detail = format!(
                "{worker} keeps {} events that it could not record: they come when it runs again",
                checkpoint.kept
            );
            self.find(Kind::Unaccounted, below, detail);
        } else {
            return self.newest(below, "in flight at the last checkpoint of the run");
        }
        Ok(())
    }

    /// A hole at the end of what is known of a run: of one that lives, it may close yet.
    fn newest(&mut self, hole: Hole, why: &str) -> Result<(), VerifyError> {
        let pause = self.job.config.audit.checkpoint.saturating_mul(3);
        let pause = TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX).max(IN_FLIGHT);
        let at = self.run.checkpoint.as_ref().map(|checkpoint| checkpoint.at);
        let began = || {
            let (seconds, nanos) = self.run.run.get_timestamp()?.to_unix();
            DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
        };
        let ended = self.run.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.last);
        let heard = at.or_else(began).unwrap_or(DateTime::UNIX_EPOCH);
        if !ended && self.job.now.signed_duration_since(heard) < pause {
            self.workers.unsettled += hole.last - hole.first + 1;
            return Ok(());
        }
        let detail = format!(
            "{why}, and {} fell silent: in flight when it ended, or in its spill",
            self.run.worker
        );
        self.find(Kind::Unaccounted, hole, detail);
        Ok(())
    }

    fn find(&mut self, kind: Kind, hole: Hole, detail: String) {
        let finding = Finding::new(kind, detail).numbered(self.run.run, hole.first, hole.last);
        self.report.findings.add_many(finding, hole.last - hole.first + 1);
    }
}

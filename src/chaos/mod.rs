//! A fleet of checking clients with known ids, and everything that can happen to the processes and
//! the ways between them on one machine, at random times from a seed; then the proof that nothing
//! was lost and nothing doubled.
//!
//! All of it is real: servers, workers and sinks are processes of their own, started as users start
//! them. Nothing configured is touched, and nothing survives the run, however it ends.
//!
//! [`Run`] is the way of one run: [`Run::start`], [`Run::assault`], [`Run::finish`]. What a run has
//! found out is a [`Ledger`] and [`Evidence`]; [`prove`] holds the promises against them.

mod clients;
mod error;
mod evidence;
mod fleet;
mod ledger;
mod log;
mod member;
mod process;
mod proofs;
mod proxy;
mod receiver;
mod report;
mod schedule;
mod settle;
mod subscriber;
mod ways;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

pub use clients::Clients;
pub use error::ChaosError;
pub use evidence::{Events, Evidence, gather};
pub use fleet::{Fleet, Size};
pub use ledger::{Asked, Ledger, Outcome, Outcomes};
pub use log::{Entry, Log, Watcher};
pub use proofs::{Finding, Verdict, prove};
pub use receiver::Posted;
pub use report::{Report, around};
pub use schedule::{Component, Fault, FaultKind, Target, Way, schedule};
pub use settle::settle;
pub use subscriber::{Received, Subscriber};

use crate::bus::{self, Connection};
use crate::config::{Embedded, Nats};

/// What a run is to be.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program of workers and sinks.
    pub program: PathBuf,
    /// The folder of all data and logs.
    pub folder: PathBuf,
    /// Where nats-server and ClickHouse are found, as for `up`.
    pub servers: Embedded,
    /// How long faults go on.
    pub length: Duration,
    /// From it follows what is done when.
    pub seed: u64,
    /// Checking clients.
    pub clients: usize,
    /// Workers.
    pub workers: usize,
    /// Sinks.
    pub sinks: usize,
    /// The kinds of faults.
    pub only: Vec<FaultKind>,
    /// How long it may take after the last fault until nothing is left to do.
    pub patience: Duration,
}

/// A run under way. Dropping it kills all its processes.
pub struct Run {
    settings: Settings,
    fleet: Fleet,
    /// On a way that is never cut.
    connection: Connection,
    clients: Clients,
    subscriber: Subscriber,
    log: Log,
    interrupted: bool,
    /// Promises that were seen broken on the way.
    broken: Vec<String>,
}

impl Run {
    /// Starts everything, clients last.
    ///
    /// # Errors
    /// When something can't be started, or when told to stop meanwhile.
    pub async fn start(
        settings: Settings,
        watcher: Watcher,
        stop: &CancellationToken,
    ) -> Result<Self, ChaosError> {
        let log = Log::new(watcher);
        let size =
            Size { workers: settings.workers, sinks: settings.sinks, length: settings.length };
        let (program, folder) = (settings.program.clone(), settings.folder.clone());
        let starting = Fleet::start(program, &folder, &settings.servers, &size, &log);
        let fleet = tokio::select! {
            fleet = Box::pin(starting) => fleet?,
            () = stop.cancelled() => return Err(ChaosError::Stopped),
        };
        let connection = bus::connect_once(&fleet.config().nats, "chaos").await?;
        let by = |way| Nats { url: fleet.nats_url(way), ..fleet.config().nats.clone() };
        let subscriber = bus::connect_once(&by(Way::SinksToNats), "chaos-subscriber").await?;
        let subscriber = Subscriber::start(&subscriber, fleet.config());
        let run = format!("chaos-{}", uuid::Uuid::now_v7());
        let nats = by(Way::ClientsToNats);
        let clients = Clients::start(settings.clients, &nats, &run, settings.seed, &log).await?;
        log.note(format!("everything runs; run {run}"));
        let (interrupted, broken) = (false, Vec::new());
        Ok(Self { settings, fleet, connection, clients, subscriber, log, interrupted, broken })
    }

    /// How many checks have an outcome.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.clients.asked()
    }

    /// The log.
    #[must_use]
    pub const fn log(&self) -> &Log {
        &self.log
    }

    /// Where everything is, on ways that are never cut.
    #[must_use]
    pub fn config(&self) -> &crate::config::Config {
        self.fleet.config()
    }

    /// Harms the fleet as the seed says, until the time is over or told to stop. Every harm that has
    /// begun is undone.
    ///
    /// # Errors
    /// When a process can't be started again.
    pub async fn assault(
        &mut self,
        progress: impl Fn(Duration, usize),
        stop: &CancellationToken,
    ) -> Result<(), ChaosError> {
        let Settings { seed, length, only, .. } = &self.settings;
        let faults = schedule(*seed, *length, &self.fleet.components(), only);
        let start = Instant::now();
        let watching = CancellationToken::new();
        let (fleet, clients) = (&self.fleet, &self.clients);
        let harm = async {
            // However this ends, so does the watching.
            let _over = watching.clone().drop_guard();
            let mut harms = FuturesUnordered::new();
            let mut faults = faults.iter().peekable();
            let mut ticks = tokio::time::interval(Duration::from_millis(200));
            let mut interrupted = false;
            loop {
                let over = interrupted || start.elapsed() >= *length;
                if over && harms.is_empty() {
                    return Ok::<bool, ChaosError>(interrupted);
                }
                let next = faults.peek().filter(|_| !over).map(|fault| fault.at);
                let due = next.unwrap_or(Duration::MAX).saturating_sub(start.elapsed());
                tokio::select! {
                    () = stop.cancelled(), if !interrupted => interrupted = true,
                    () = tokio::time::sleep(due.min(Duration::from_secs(60))) => {
                        if next.is_some_and(|at| at <= start.elapsed())
                            && let Some(fault) = faults.next()
                        {
                            harms.push(fleet.harm(fault));
                        }
                    }
                    Some(done) = harms.next() => done?,
                    _ = ticks.tick() => progress(start.elapsed(), clients.asked()),
                }
            }
        };
        let (interrupted, ended) = tokio::join!(harm, fleet.watch(watching.clone()));
        self.interrupted = interrupted?;
        self.broken.extend(ended?);
        self.log.note("the faults are over");
        Ok(())
    }

    /// Lets the clients finish, waits until nothing is left to do and gathers what there is.
    ///
    /// # Errors
    /// When ClickHouse or NATS don't answer.
    pub async fn finish(mut self) -> Result<Finished, ChaosError> {
        let ledger = self.clients.finish().await;
        let start = Instant::now();
        self.fleet.ready().await?;
        if let Err(left) = settle(&self.fleet, &self.connection, self.settings.patience).await {
            self.broken.push(format!("not settled after {:?}: {left}", self.settings.patience));
        }
        let settled = start.elapsed();
        self.log.note(format!("settled after {:.1} s", settled.as_secs_f64()));
        let received = self.subscriber.finish().await;
        let evidence = Box::pin(gather(&self.connection, &self.fleet, received, &self.log)).await?;
        let Self { settings, fleet, connection, log, interrupted, broken, .. } = self;
        Ok(Finished {
            settings,
            ledger,
            evidence,
            log,
            broken,
            interrupted,
            settled,
            fleet,
            connection,
        })
    }
}

/// A run whose faults are over, with all that it found out. Its servers still run.
pub struct Finished {
    settings: Settings,
    /// What the clients asked.
    pub ledger: Ledger,
    /// What there is.
    pub evidence: Evidence,
    log: Log,
    broken: Vec<String>,
    interrupted: bool,
    settled: Duration,
    fleet: Fleet,
    connection: Connection,
}

impl Finished {
    /// Where everything is.
    #[must_use]
    pub fn config(&self) -> &crate::config::Config {
        self.fleet.config()
    }

    /// Reads the rows and the stream once more.
    ///
    /// # Errors
    /// When ClickHouse or NATS don't answer.
    pub async fn gather_again(&mut self) -> Result<(), ChaosError> {
        let received = std::mem::take(&mut self.evidence.received);
        self.evidence =
            Box::pin(gather(&self.connection, &self.fleet, received, &self.log)).await?;
        Ok(())
    }

    /// Holds the promises against what was found out.
    #[must_use]
    pub fn report(&self) -> Report {
        let mut verdict = prove(&self.ledger, &self.evidence);
        if !self.broken.is_empty() {
            verdict.broken.push(Finding {
                promise: "every process runs until it is harmed, and everything settles",
                count: self.broken.len(),
                named: self.broken.clone(),
                times: Vec::new(),
            });
        }
        let entries = self.log.entries();
        let (blackout, at) = self.ledger.longest_blackout();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Report {
            seed: self.settings.seed,
            minutes: self.settings.length.as_secs_f64() / 60.0,
            interrupted: self.interrupted,
            faults: report::faults(&entries),
            checks: self.ledger.outcomes(),
            decision_rows: count(self.evidence.rows.decisions.len()),
            violation_rows: count(self.evidence.rows.violations.len()),
            copies_unmerged: self.evidence.rows.unmerged,
            redelivered: self.evidence.received.again,
            posted_again: self
                .evidence
                .posted
                .violations
                .values()
                .map(|times| times.saturating_sub(1))
                .sum(),
            posts_refused: self.evidence.posted.refused,
            longest_blackout_seconds: blackout,
            longest_blackout_at: at,
            settled_seconds: self.settled.as_secs_f64(),
            verdict,
            folder: None,
        }
    }

    /// Ends all processes and gives the log.
    pub async fn stop(self) -> Vec<Entry> {
        self.fleet.stop().await;
        self.log.entries()
    }
}

/// A watcher that looks at nothing.
#[must_use]
pub fn nobody() -> Watcher {
    Arc::new(|_| ())
}

//! The loop that takes requests: admits them, or refuses what there is no room for.
//!
//! It never waits for the work of a request. It waits for one thing only, that a refusal can be
//! written to the connection: while replies can't leave, taking more requests would help nobody.
//! What comes meanwhile waits in the subscriptions, which are bounded, and beyond that is dropped by
//! the client, and counted.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::evaluation::{Job, Pool};
use super::manage::Manager;
use crate::bus::{Incoming, Kind, Recorder, Responder};
use crate::contract::RequestFault;
use crate::runtime::health::Reporter;
use crate::runtime::metrics::{self, CheckOutcome};

/// How often it is looked whether the worker is overloaded.
const LOOKS: Duration = Duration::from_millis(500);
/// How long the health says so after the last request that was refused or dropped.
const REMEMBERS: Duration = Duration::from_secs(5);

/// What admits requests.
pub(super) struct Intake {
    pub(super) responder: Responder,
    pub(super) manager: Manager,
    /// Asked for room, where decisions are recorded.
    pub(super) recorder: Option<Recorder>,
    pub(super) pool: Pool,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) overload: Overload,
    /// How long a refusal may take to be written.
    pub(super) patience: Duration,
}

impl Intake {
    /// Takes requests until stopped and until all that the server had sent by then is taken; then
    /// gives back the time at which it was told to stop, and what is left to finish.
    pub(super) async fn run(mut self, stop: &CancellationToken, drain: Duration) -> Left {
        let mut told = None;
        loop {
            tokio::select! {
                incoming = self.responder.next() => match incoming {
                    Some(incoming) => self.take(incoming).await,
                    None => break,
                },
                () = stop.cancelled(), if told.is_none() => {
                    told = Some(Instant::now());
                    self.overload.health.waiting("told to stop; finishes what it accepted");
                    self.responder.leave(self.patience.min(drain)).await;
                }
                _ = self.overload.looks.tick(), if told.is_none() => self.overload.look(self.responder.dropped()),
            }
        }
        let Self { responder, manager, pool, in_flight, .. } = self;
        let told = told.unwrap_or_else(Instant::now);
        Left { told, pool, in_flight, manager, _standing: responder }
    }

    async fn take(&mut self, incoming: Incoming) {
        if matches!(incoming.kind, Kind::Evaluate | Kind::Admin) {
            if let Err(refused) = self.manager.answer(incoming) {
                let (incoming, fault) = *refused;
                refuse(incoming, &fault, self.patience).await;
            }
            return;
        }
        if self.recorder.as_ref().is_some_and(Recorder::is_full) {
            self.shed(incoming, "the audit stream is down and no more events can be kept").await;
            return;
        }
        let Ok(permit) = Arc::clone(&self.in_flight).try_acquire_owned() else {
            let reason =
                "too many checks await their acknowledgement (setting audit.max_in_flight)";
            self.shed(incoming, reason).await;
            return;
        };
        if let Err(job) = self.pool.submit(Job { incoming, permit }) {
            let reason = "too many checks wait for evaluation (setting worker.queue)";
            self.shed(job.incoming, reason).await;
        }
    }

    /// Answers a check that can't be taken now; nothing was decided or recorded.
    async fn shed(&mut self, incoming: Incoming, reason: &'static str) {
        metrics::checks(CheckOutcome::Shed).increment(1);
        self.overload.refused += 1;
        let fault = RequestFault::unavailable(format!("the worker is overloaded: {reason}"));
        refuse(incoming, &fault, self.patience).await;
    }
}

async fn refuse(incoming: Incoming, fault: &RequestFault, patience: Duration) {
    match tokio::time::timeout(patience, incoming.refuse(fault)).await {
        Ok(Ok(())) => (),
        Ok(Err(error)) => tracing::debug!(%error, "could not refuse a request"),
        Err(_) => tracing::debug!("could not refuse a request: the connection takes nothing"),
    }
}

/// What is left when no more requests are taken.
pub(super) struct Left {
    /// When the worker was told to stop.
    pub(super) told: Instant,
    pub(super) pool: Pool,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) manager: Manager,
    /// Answers the standard tools until the end.
    pub(super) _standing: Responder,
}

/// Whether more comes than can be worked on, for the health.
pub(super) struct Overload {
    health: Reporter,
    looks: Interval,
    refused: u64,
    /// Refused and dropped at the last look.
    seen: (u64, u64),
    last: Option<(Instant, &'static str)>,
}

impl Overload {
    pub(super) fn new(health: Reporter) -> Self {
        let mut looks = tokio::time::interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { health, looks, refused: 0, seen: (0, 0), last: None }
    }

    fn look(&mut self, dropped: u64) {
        let now = Instant::now();
        if dropped > self.seen.1 {
            self.last = Some((
                now,
                "overloaded: checks arrive faster than they are taken, and the client drops some \
                 (setting nats.subscription_capacity; more workers share the load)",
            ));
        } else if self.refused > self.seen.0 {
            self.last = Some((now, "overloaded: checks are refused; more workers share the load"));
        }
        self.seen = (self.refused, dropped);
        match self.last {
            Some((at, what)) if now.duration_since(at) < REMEMBERS => self.health.degraded(what),
            _ => self.health.ready(),
        }
    }
}

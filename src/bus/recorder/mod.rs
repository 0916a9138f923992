//! The recorder: publishes events to the audit stream, waits for the acknowledgement within a
//! bound, and keeps and retries what was not acknowledged, always under the same message id.

mod backlog;
mod flights;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub(super) use self::backlog::{Backlog, Kept};
use self::flights::{Flights, Sent};
use self::tally::Tally;
use super::connection::Connection;
use super::error::BusError;
use super::spill::{Spill, SpillSettings};
use crate::contract::{AuditStatus, Number};
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::runtime::retry::{Retry, RetryPolicy};

/// Events sent at once when the backlog is worked off.
const RESEND: usize = 256;

/// One event on its way to the stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// Its message id, made by the worker: the stream stores each id once.
    pub id: String,
    /// The event as JSON.
    pub payload: Bytes,
    /// W3C trace context of the request, if it had one.
    pub traceparent: Option<String>,
    /// Its number in the run of a worker; zero for what isn't numbered.
    pub number: Number,
}

/// What belongs to one decision: its event and those of its violations.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The decision first.
    pub events: Vec<Outgoing>,
}

/// The recorder's bounds.
#[derive(Clone, Debug)]
pub struct RecorderSettings {
    /// How long to wait for an acknowledgement.
    pub timeout: Duration,
    /// Events that may await theirs at once.
    pub in_flight: usize,
    /// Events that may be kept.
    pub backlog: usize,
    /// Bytes of the events that may be kept.
    pub backlog_bytes: usize,
    /// Waiting between attempts.
    pub retry: RetryPolicy,
    /// The run whose events are counted.
    pub run: uuid::Uuid,
}

/// Publishes events to the audit stream. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    inner: Arc<Inner>,
}

struct Inner {
    flights: Flights,
    settings: RecorderSettings,
    backlog: Arc<Backlog>,
    spill: Option<Spill>,
    tally: Tally,
    /// Whether the stream takes nothing, so that what is new isn't tried either.
    stuck: AtomicBool,
    /// Whether the last attempt to send again what is kept failed.
    failing: AtomicBool,
    health: Reporter,
}

impl Recorder {
    /// A recorder on a connection of its own: the one that answers agents must not be able to
    /// publish audit events. What it keeps is in memory alone, unless there is a `spill`, which says
    /// where files are, and which part of the health is theirs.
    ///
    /// # Errors
    /// When the connection has ended, or there is no thread for the files.
    pub async fn start(
        connection: &Connection,
        settings: RecorderSettings,
        health: Reporter,
        spill: Option<(SpillSettings, Reporter)>,
    ) -> Result<Self, BusError> {
        let flights = Flights::start(connection, settings.timeout, settings.in_flight).await?;
        let backlog = Arc::new(Backlog::new(settings.backlog, settings.backlog_bytes));
        let spill =
            match spill {
                Some((spill, health)) => {
                    let spill = Spill::start(spill, Arc::clone(&backlog), health);
                    Some(spill.map_err(|error| {
                        BusError::request("start a thread for the spill", &error)
                    })?)
                }
                None => None,
            };
        let tally = Tally::new(settings.run);
        let (stuck, failing) = (AtomicBool::new(false), AtomicBool::new(false));
        let inner = Inner { flights, settings, backlog, spill, tally, stuck, failing, health };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Records a decision and its violations: true once the stream has acknowledged all of them.
    /// False means that what wasn't acknowledged is kept and sent until it is, unless the stream can
    /// never take it.
    ///
    /// While the stream takes nothing, new events queue at once: that costs a check the writing of a
    /// file, not a timeout. As soon as it takes something again, they are published beside what
    /// waits: what a dead worker left, perhaps a lot, must not turn into denials or pending replies.
    pub async fn record(&self, record: Record) -> bool {
        let (done, recorded) = oneshot::channel();
        self.record_then(record, move |recorded| {
            let _ = done.send(recorded);
        });
        recorded.await.unwrap_or(false)
    }

    /// The same, but returns at once, from whatever thread; `then` is told, and must not wait.
    pub fn record_then(&self, record: Record, then: impl FnOnce(bool) + Send + 'static) {
        let inner = Arc::clone(&self.inner);
        if inner.stuck.load(Ordering::Acquire) {
            self.runtime().spawn(async move {
                inner.keep(record.events).await;
                then(false);
            });
            return;
        }
        let start = Instant::now();
        let all = record.events.len();
        let landed = move |landed| {
            metrics::audit_acknowledge().record(start.elapsed().as_secs_f64());
            let Attempt { unsent, given_up, reason } = inner.take(landed, false);
            if unsent.is_empty() {
                then(given_up == 0);
                return;
            }
            tracing::debug!(reason, events = unsent.len(), "not acknowledged; kept");
            // Else the stream takes something.
            if unsent.len() == all {
                inner.stuck.store(true, Ordering::Release);
            }
            inner.flights.runtime().clone().spawn(async move {
                inner.keep(unsent).await;
                then(false);
            });
        };
        self.inner.flights.launch(record.events, Box::new(landed));
    }

    /// The runtime of the connection.
    #[must_use]
    pub fn runtime(&self) -> &Handle {
        self.inner.flights.runtime()
    }

    /// Publishes an event that isn't worth keeping: true once the stream has acknowledged it.
    pub async fn offer(&self, event: Outgoing) -> bool {
        !self.inner.stuck.load(Ordering::Acquire)
            && self.inner.publish_all(vec![event], false).await.unsent.is_empty()
    }

    /// Keeps events without trying to publish them first: they belong to others that are kept.
    pub async fn keep(&self, events: Vec<Outgoing>) {
        self.inner.keep(events).await;
    }

    /// Whether no more events can be kept, so that no more checks should be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match &self.inner.spill {
            Some(spill) if !spill.is_failing() => spill.is_full(),
            _ => !self.inner.backlog.has_room(),
        }
    }

    /// Events that wait to be sent again.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.inner.backlog.waiting()
    }

    /// Waits until everything that is kept is sent, or until it can't be now and the next process
    /// finds it in the files. True if everything is sent.
    pub async fn sent_or_spilled(&self) -> bool {
        let inner = &self.inner;
        loop {
            if self.backlog() == 0 {
                return true;
            }
            let spilled = inner.spill.is_some() && inner.backlog.is_in_files();
            let failing = [&inner.stuck, &inner.failing];
            if spilled && failing.iter().any(|flag| flag.load(Ordering::Acquire)) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How recording stands, for those who look at this worker from outside.
    #[must_use]
    pub fn status(&self) -> AuditStatus {
        let inner = &self.inner;
        let spill = inner.spill.as_ref();
        AuditStatus {
            run: inner.settings.run,
            waiting: self.backlog() as u64,
            spilled_bytes: spill.map_or(0, Spill::bytes),
            spill_max_bytes: spill.map_or(0, Spill::max_bytes),
            memory_only: spill.is_none_or(Spill::is_failing) || !inner.backlog.is_in_files(),
            stuck: inner.stuck.load(Ordering::Acquire),
            recorded: inner.tally.recorded(),
            kept: inner.tally.kept(),
            given_up: inner.tally.given_up_ever(),
            ..AuditStatus::default()
        }
    }

    /// Numbers of this run's events that were given up since this was last asked.
    #[must_use]
    pub fn given_up(&self) -> Vec<u64> {
        self.inner.tally.take_given_up()
    }

    /// Forgets that these numbers were asked for: nobody was told of them.
    pub fn return_given_up(&self, numbers: Vec<u64>) {
        self.inner.tally.return_given_up(numbers);
    }

    /// Sends what is kept, again and again, until dropped. Runs beside the worker.
    pub async fn work_off(self) {
        let inner = self.inner;
        let mut retry = Retry::new(inner.settings.retry);
        loop {
            let batch = inner.backlog.oldest(RESEND);
            if batch.is_empty() {
                if let Some(spill) = inner.spill.as_ref().filter(|spill| spill.unread() > 0) {
                    spill.load().await;
                    continue;
                }
                if retry.attempts() > 0 {
                    retry.reset();
                }
                inner.failing.store(false, Ordering::Release);
                inner.health.ready();
                inner.backlog.filled().await;
                continue;
            }
            let count = batch.len();
            let (reason, left) = inner.send_again(batch).await;
            if let Some(reason) = reason {
                // Without the number of events, which would make each message a new one.
                inner.health.waiting(format!(
                    "the audit stream does not take events, they are kept and sent again: {reason}"
                ));
            }
            inner.failing.store(left == count, Ordering::Release);
            // Only what is new says that the stream takes nothing: an event that it never takes must not
            // make others wait.
            if left < count {
                inner.stuck.store(false, Ordering::Release);
                retry.reset();
                continue;
            }
            // Nor may it keep them in their files.
            if let Some(spill) = inner.spill.as_ref().filter(|spill| spill.unread() > 0)
                && inner.backlog.has_room()
            {
                spill.load().await;
            }
            tokio::time::sleep(retry.next_delay()).await;
        }
    }
}

impl Inner {
    /// Keeps events until the stream has them.
    async fn keep(&self, events: Vec<Outgoing>) {
        self.tally.keep(&events);
        match &self.spill {
            Some(spill) => spill.keep(events).await,
            None => self.backlog.push(events.into_iter().map(Kept::in_memory)),
        }
    }

    /// Sends the oldest of what is kept. Says why, if not everything arrived, and how much didn't.
    async fn send_again(&self, batch: Vec<Outgoing>) -> (Option<String>, usize) {
        let count = batch.len();
        let Attempt { unsent, reason, .. } = self.publish_all(batch, true).await;
        let left = unsent.len();
        let sent = self.backlog.settle(count, &unsent);
        metrics::audit_resent().increment(u64::try_from(sent.len()).unwrap_or(u64::MAX));
        let (events, files): (Vec<_>, Vec<_>) =
            sent.into_iter().map(|kept| (kept.event, kept.segment)).unzip();
        self.tally.settle(&events);
        if let Some(spill) = &self.spill {
            spill.settle(files.into_iter().flatten().collect()).await;
        }
        ((left > 0).then_some(reason), left)
    }

    /// Publishes all, then awaits all acknowledgements.
    async fn publish_all(&self, events: Vec<Outgoing>, again: bool) -> Attempt {
        let (done, landed) = oneshot::channel();
        let landing = move |landed| {
            let _ = done.send(landed);
        };
        self.flights.launch(events, Box::new(landing));
        self.take(landed.await.unwrap_or_default(), again)
    }

    /// Counts what became of events.
    fn take(&self, landed: Vec<(Outgoing, Sent)>, again: bool) -> Attempt {
        let mut attempt = Attempt::default();
        for (event, sent) in landed {
            match sent {
                Sent::Acknowledged { duplicate } => {
                    if duplicate && !again {
                        metrics::audit_duplicates().increment(1);
                        tracing::error!(
                            id = event.id,
                            "the stream knew this id before it was first sent; somebody else \
                             publishes audit events"
                        );
                    }
                    self.tally.record(&event);
                }
                Sent::Unknown(reason) => {
                    metrics::audit_publish_failures().increment(1);
                    attempt.unsent.push(event);
                    attempt.reason = reason;
                }
                Sent::Never(reason) => {
                    metrics::audit_publish_failures().increment(1);
                    tracing::error!(
                        id = event.id,
                        subject = event.subject,
                        bytes = event.payload.len(),
                        "an event can never be stored and is given up: {reason}"
                    );
                    metrics::audit_given_up().increment(1);
                    self.tally.give_up(&event);
                    attempt.given_up += 1;
                }
            }
        }
        attempt
    }
}

/// What became of an attempt to publish several events.
#[derive(Default)]
struct Attempt {
    /// What was not acknowledged.
    unsent: Vec<Outgoing>,
    /// How many can never be stored.
    given_up: usize,
    /// Why the last of the unsent was not acknowledged.
    reason: String,
}

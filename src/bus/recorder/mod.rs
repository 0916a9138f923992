//! The recorder: publishes events to the audit stream, waits for the acknowledgement within a
//! bound, and keeps and retries what was not acknowledged, always under the same message id.

mod backlog;
mod tally;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_nats::jetstream::context::{ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::Semaphore;

pub(super) use self::backlog::{Backlog, Kept};
use self::tally::Tally;
use super::connection::Connection;
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
    context: jetstream::Context,
    settings: RecorderSettings,
    in_flight: Semaphore,
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
    /// publish audit events. What it keeps is in memory alone.
    #[must_use]
    pub fn new(connection: &Connection, settings: RecorderSettings, health: Reporter) -> Self {
        let backlog = Arc::new(Backlog::new(settings.backlog, settings.backlog_bytes));
        Self::of(connection, settings, health, backlog, None)
    }

    /// A recorder that keeps events in files as well; `spilling` is the files' part of the health.
    ///
    /// # Errors
    /// When there is no thread for them.
    pub fn with_spill(
        connection: &Connection,
        settings: RecorderSettings,
        health: Reporter,
        spill: SpillSettings,
        spilling: Reporter,
    ) -> std::io::Result<Self> {
        let backlog = Arc::new(Backlog::new(settings.backlog, settings.backlog_bytes));
        let spill = Spill::start(spill, Arc::clone(&backlog), spilling)?;
        Ok(Self::of(connection, settings, health, backlog, Some(spill)))
    }

    fn of(
        connection: &Connection,
        settings: RecorderSettings,
        health: Reporter,
        backlog: Arc<Backlog>,
        spill: Option<Spill>,
    ) -> Self {
        let context = ContextBuilder::new()
            .timeout(settings.timeout)
            .max_ack_inflight(settings.in_flight.saturating_mul(2))
            .backpressure_on_inflight(false)
            .build(connection.client.clone());
        let in_flight = Semaphore::new(settings.in_flight);
        let tally = Tally::new(settings.run);
        let (stuck, failing) = (AtomicBool::new(false), AtomicBool::new(false));
        let inner =
            Inner { context, settings, in_flight, backlog, spill, tally, stuck, failing, health };
        Self { inner: Arc::new(inner) }
    }

    /// Records a decision and its violations: true once the stream has acknowledged all of them.
    /// False means that what wasn't acknowledged is kept and sent until it is, unless the stream can
    /// never take it.
    ///
    /// While the stream takes nothing, new events queue at once: that costs a check the writing of a
    /// file, not a timeout. As soon as it takes something again, they are published beside what
    /// waits: what a dead worker left, perhaps a lot, must not turn into denials or pending replies.
    pub async fn record(&self, record: Record) -> bool {
        let inner = &self.inner;
        if inner.stuck.load(Ordering::Acquire) {
            inner.keep(record.events).await;
            return false;
        }
        let start = Instant::now();
        let all = record.events.len();
        let Attempt { unsent, given_up, reason } = inner.publish_all(record.events, false).await;
        metrics::audit_acknowledge().record(start.elapsed().as_secs_f64());
        if unsent.is_empty() {
            return given_up == 0;
        }
        tracing::debug!(reason, events = unsent.len(), "not acknowledged; kept");
        // Else the stream takes something.
        if unsent.len() == all {
            inner.stuck.store(true, Ordering::Release);
        }
        inner.keep(unsent).await;
        false
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
        let attempts = events.into_iter().map(|event| async move {
            let sent = self.publish(&event, again).await;
            (event, sent)
        });
        let mut attempt = Attempt::default();
        for (event, sent) in join_all(attempts).await {
            match sent {
                Sent::Acknowledged => self.tally.record(&event),
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

    async fn publish(&self, event: &Outgoing, again: bool) -> Sent {
        let permit = tokio::time::timeout(self.settings.timeout, self.in_flight.acquire());
        let Ok(Ok(_permit)) = permit.await else {
            return Sent::Unknown("too many events await their acknowledgement".to_owned());
        };
        let mut message =
            PublishMessage::build().payload(event.payload.clone()).message_id(event.id.as_str());
        if let Some(traceparent) = &event.traceparent {
            message = message.header("traceparent", traceparent.as_str());
        }
        metrics::audit_in_flight().increment(1.0);
        let sent = self.context.send_publish(event.subject.clone(), message).await;
        let acknowledged = match sent {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        metrics::audit_in_flight().decrement(1.0);
        match acknowledged {
            Ok(ack) => {
                if ack.duplicate && !again {
                    metrics::audit_duplicates().increment(1);
                    tracing::error!(
                        id = event.id,
                        "the stream knew this id before it was first sent; somebody else publishes \
                         audit events"
                    );
                }
                Sent::Acknowledged
            }
            Err(error) => failed(&error),
        }
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

/// What became of one attempt to publish.
enum Sent {
    /// The stream has it.
    Acknowledged,
    /// Nobody knows, or it was refused for now: it must be sent again under the same id.
    Unknown(String),
    /// It can't be stored, however often it is sent: sending it again would only stop the others.
    Never(String),
}

/// A failed publish is an unknown publish, unless the message itself is what is refused.
fn failed(error: &PublishError) -> Sent {
    let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
    let reason = format!("{error}{source}");
    let too_large = error
        .source()
        .and_then(|source| source.downcast_ref::<jetstream::Error>())
        .is_some_and(|e| e.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM);
    if too_large || error.kind() == PublishErrorKind::MaxPayloadExceeded {
        Sent::Never(reason)
    } else {
        Sent::Unknown(reason)
    }
}

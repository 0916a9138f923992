//! The recorder: publishes events to the audit stream, waits for the acknowledgement within a
//! bound, and keeps and retries what was not acknowledged, always under the same message id.

use std::collections::VecDeque;
use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::jetstream::context::{ContextBuilder, PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use futures::future::join_all;
use tokio::sync::{Notify, Semaphore};

use super::connection::Connection;
use crate::runtime::health::Reporter;
use crate::runtime::metrics;
use crate::runtime::retry::{Retry, RetryPolicy};

/// Events sent at once when the backlog is worked off.
const RESEND: usize = 256;

/// One event on its way to the stream.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where it goes.
    pub subject: String,
    /// Its message id, made by the worker: the stream stores each id once.
    pub id: String,
    /// The event as JSON.
    pub payload: Bytes,
    /// W3C trace context of the request, if it had one.
    pub traceparent: Option<String>,
}

/// What belongs to one decision: its event and those of its violations.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// The decision first.
    pub events: Vec<Outgoing>,
}

/// The recorder's bounds.
#[derive(Clone, Copy, Debug)]
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
    backlog: Backlog,
    health: Reporter,
}

impl Recorder {
    /// A recorder on a connection of its own: the one that answers agents must not be able to
    /// publish audit events.
    #[must_use]
    pub fn new(connection: &Connection, settings: RecorderSettings, health: Reporter) -> Self {
        let context = ContextBuilder::new()
            .timeout(settings.timeout)
            .max_ack_inflight(settings.in_flight.saturating_mul(2))
            .backpressure_on_inflight(false)
            .build(connection.client.clone());
        let in_flight = Semaphore::new(settings.in_flight);
        let backlog = Backlog::default();
        Self { inner: Arc::new(Inner { context, settings, in_flight, backlog, health }) }
    }

    /// Records a decision and its violations: true once the stream has acknowledged all of them.
    /// False means that what wasn't acknowledged is kept and sent until it is, unless the stream can
    /// never take it.
    ///
    /// While a backlog waits, new events queue behind it at once: a stream that is down costs a
    /// check microseconds, not a timeout.
    pub async fn record(&self, record: Record) -> bool {
        let inner = &self.inner;
        if inner.backlog.len() > 0 {
            inner.backlog.push(record.events);
            return false;
        }
        let start = Instant::now();
        let Attempt { unsent, given_up, reason } = inner.publish_all(record.events, false).await;
        metrics::audit_acknowledge().record(start.elapsed().as_secs_f64());
        if unsent.is_empty() {
            return given_up == 0;
        }
        tracing::debug!(reason, events = unsent.len(), "not acknowledged; kept");
        inner.backlog.push(unsent);
        false
    }

    /// Whether no more events can be kept, so that no more checks should be taken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let (inner, backlog) = (&self.inner, &self.inner.backlog);
        backlog.len() >= inner.settings.backlog || backlog.bytes() >= inner.settings.backlog_bytes
    }

    /// Events that wait to be sent again.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.inner.backlog.len()
    }

    /// Sends what is kept, again and again, until dropped. Runs beside the worker.
    pub async fn work_off(self) {
        let inner = self.inner;
        let mut retry = Retry::new(inner.settings.retry);
        loop {
            let batch = inner.backlog.oldest(RESEND);
            let count = batch.len();
            if batch.is_empty() {
                if retry.attempts() > 0 {
                    retry.reset();
                }
                inner.health.ready();
                inner.backlog.filled.notified().await;
                continue;
            }
            let Attempt { unsent, reason, .. } = inner.publish_all(batch, true).await;
            let failed = !unsent.is_empty();
            inner.backlog.settle(count, unsent);
            if failed {
                // Without the number of events, which would make each message a new one.
                inner.health.waiting(format!(
                    "the audit stream does not take events, they are kept and sent again: {reason}"
                ));
                tokio::time::sleep(retry.next_delay()).await;
            } else {
                retry.reset();
            }
        }
    }
}

impl Inner {
    /// Publishes all, then awaits all acknowledgements.
    async fn publish_all(&self, events: Vec<Outgoing>, again: bool) -> Attempt {
        let attempts = events.into_iter().map(|event| async move {
            let sent = self.publish(&event, again).await;
            (event, sent)
        });
        let mut attempt = Attempt::default();
        for (event, sent) in join_all(attempts).await {
            match sent {
                Sent::Acknowledged => (),
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

/// Events in memory that wait to be sent again, oldest first.
#[derive(Default)]
struct Backlog {
    events: Mutex<VecDeque<Outgoing>>,
    len: AtomicUsize,
    bytes: AtomicUsize,
    filled: Notify,
}

impl Backlog {
    fn len(&self) -> usize {
        self.len.load(Ordering::Acquire)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Acquire)
    }

    fn push(&self, new: Vec<Outgoing>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes: usize = new.iter().map(weight).sum();
        events.extend(new);
        self.counted(events.len(), self.bytes() + bytes);
        self.filled.notify_one();
    }

    /// The oldest. They stay, and count, until [`Self::settle`] says what became of them.
    fn oldest(&self, most: usize) -> Vec<Outgoing> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().take(most).cloned().collect()
    }

    /// Replaces the oldest `count` by those of them that are still unsent.
    fn settle(&self, count: usize, unsent: Vec<Outgoing>) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        let count = count.min(events.len());
        let gone: usize = events.drain(..count).map(|event| weight(&event)).sum();
        let back: usize = unsent.iter().map(weight).sum();
        for event in unsent.into_iter().rev() {
            events.push_front(event);
        }
        self.counted(events.len(), (self.bytes() + back).saturating_sub(gone));
    }

    fn counted(&self, len: usize, bytes: usize) {
        self.len.store(len, Ordering::Release);
        self.bytes.store(bytes, Ordering::Release);
        metrics::audit_pending().set(f64::from(u32::try_from(len).unwrap_or(u32::MAX)));
    }
}

/// Bytes that an event holds in memory, roughly.
fn weight(event: &Outgoing) -> usize {
    event.payload.len() + event.subject.len() + event.id.len() + size_of::<Outgoing>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: &str) -> Outgoing {
        Outgoing {
            subject: "s".into(),
            id: id.into(),
            payload: Bytes::from_static(b"{}"),
            traceparent: None,
        }
    }

    #[test]
    fn the_backlog_keeps_order_and_counts() {
        let backlog = Backlog::default();
        backlog.push(vec![event("1"), event("2"), event("3")]);
        let bytes = backlog.bytes();
        let batch = backlog.oldest(2);
        assert_eq!(backlog.len(), 3, "what is being sent still counts");
        backlog.push(vec![event("4")]);
        backlog.settle(batch.len(), vec![event("2")]);
        let ids: Vec<_> = backlog.oldest(9).into_iter().map(|e| e.id).collect();
        assert_eq!(ids, ["2", "3", "4"]);
        assert_eq!(backlog.bytes(), bytes);
        backlog.settle(3, vec![]);
        assert_eq!((backlog.len(), backlog.bytes()), (0, 0));
    }
}

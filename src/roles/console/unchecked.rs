//! Calls that no worker answered, reported on `policy.unchecked`: what was let through unseen is
//! evaluated and counted later. Reports wait in memory, within bounds, until the stream takes them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{SubsecRound, Utc};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::bus::{BusError, Connection, Publisher, Subjects};
use crate::contract::{EVENT_SCHEMA, UncheckedEvent};
use crate::runtime::metrics;
use crate::runtime::retry::{Retry, RetryPolicy};

/// Characters of the longest message in a report.
const LONGEST_MESSAGE: usize = 500;
/// How long one attempt to publish may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// How often the log says that calls go unchecked.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Why no worker answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// No worker takes checks.
    NoResponders,
    /// No answer within `http.check_timeout`.
    Timeout,
    /// There is no connection to NATS.
    Disconnected,
    /// A worker is overloaded or leaving.
    ServiceError,
    /// The answer can't be read.
    InvalidReply,
}

impl Cause {
    /// As it stands in reports and metrics.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::NoResponders => "no_responders",
            Self::Timeout => "timeout",
            Self::Disconnected => "disconnected",
            Self::ServiceError => "service_error",
            Self::InvalidReply => "invalid_reply",
        }
    }
}

/// A call that was answered without a worker.
#[derive(Clone, Debug)]
pub(super) struct UncheckedCall {
    /// UUIDv7: the decision's id, for the caller too.
    pub(super) id: Uuid,
    /// Why.
    pub(super) cause: Cause,
    /// The same in a line.
    pub(super) message: String,
    /// What the caller is told.
    pub(super) allowed: bool,
}

/// Reports of unchecked calls, on their way to the stream.
#[derive(Clone)]
pub(super) struct Reports {
    inner: Arc<Inner>,
}

struct Inner {
    most_bytes: usize,
    waiting: Mutex<Waiting>,
    arrived: Notify,
    said: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Waiting {
    reports: VecDeque<(Uuid, Bytes)>,
    bytes: usize,
}

impl Reports {
    pub(super) fn new(most_bytes: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                most_bytes,
                waiting: Mutex::default(),
                arrived: Notify::new(),
                said: Mutex::default(),
            }),
        }
    }

    /// Takes a report in. What there is no room for is counted as lost.
    pub(super) fn report(&self, call: &UncheckedCall, request: &Map<String, Value>) {
        metrics::http_unchecked(call.cause.as_str()).increment(1);
        let event = UncheckedEvent {
            schema: EVENT_SCHEMA,
            id: call.id,
            timestamp: Utc::now().trunc_subsecs(6),
            cause: call.cause.as_str().to_owned(),
            message: call.message.chars().take(LONGEST_MESSAGE).collect(),
            allowed: call.allowed,
            client: concat!("sluicegate-console/", env!("CARGO_PKG_VERSION")).to_owned(),
            request: request.clone(),
        };
        let Ok(event) = serde_json::to_vec(&event).map(Bytes::from) else {
            metrics::http_unchecked_lost().increment(1);
            return;
        };
        let room = {
            let mut waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            let room = waiting.bytes.saturating_add(event.len()) <= self.inner.most_bytes;
            if room {
                waiting.bytes += event.len();
                waiting.reports.push_back((call.id, event));
                self.shown(&waiting);
            }
            room
        };
        if room {
            self.inner.arrived.notify_one();
        } else {
            metrics::http_unchecked_lost().increment(1);
        }
        self.say(call, room);
    }

    /// One line now and then, not one for each call.
    fn say(&self, call: &UncheckedCall, room: bool) {
        let mut said = self.inner.said.lock().unwrap_or_else(PoisonError::into_inner);
        if said.is_some_and(|at| at.elapsed() < SAY_EVERY) {
            return;
        }
        *said = Some(Instant::now());
        let told = if call.allowed { "allowed" } else { "denied" };
        if room {
            tracing::warn!(
                cause = call.cause.as_str(),
                "calls over HTTP are {told} without a worker (setting http.fail_mode): {}",
                call.message
            );
        } else {
            tracing::error!(
                cause = call.cause.as_str(),
                "calls over HTTP are {told} without a worker, and there is no more room to remember \
                 them (setting http.unchecked_bytes): {}",
                call.message
            );
        }
    }

    fn shown(&self, waiting: &Waiting) {
        // Far below 2^52: a number of messages in memory.
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::http_unchecked_waiting().set(waiting.reports.len() as f64);
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner).reports.len()
    }

    /// Publishes what waits and what will come, in order, until dropped.
    pub(super) async fn deliver(
        &self,
        connection: &Connection,
        subjects: &Subjects,
        retry: RetryPolicy,
    ) {
        let publisher = Publisher::new(connection);
        let subject = subjects.unchecked();
        let mut retry = Retry::new(retry);
        loop {
            let first = {
                let waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.reports.front().cloned()
            };
            let Some((id, event)) = first else {
                self.inner.arrived.notified().await;
                continue;
            };
            let id = id.to_string();
            let attempt = publisher.publish(&subject, &id, event);
            let taken = match tokio::time::timeout(ATTEMPT, attempt).await {
                Ok(Ok(_)) => true,
                Ok(Err(error @ BusError::TooLarge { .. })) => {
                    tracing::error!(%error, "an unchecked call can't be reported");
                    metrics::http_unchecked_lost().increment(1);
                    true
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "an unchecked call can't be reported yet");
                    false
                }
                Err(_) => false,
            };
            if taken {
                retry.reset();
                self.gone();
            } else {
                tokio::time::sleep(retry.next_delay()).await;
            }
        }
    }

    /// The first one has been taken.
    fn gone(&self) {
        let mut waiting = self.inner.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, event)) = waiting.reports.pop_front() {
            waiting.bytes = waiting.bytes.saturating_sub(event.len());
        }
        self.shown(&waiting);
    }

    /// Waits until all are delivered, so long at most. What is left then is lost, and is counted.
    pub(super) async fn finish(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.len() > 0 && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let left = self.len();
        if left > 0 {
            metrics::http_unchecked_lost().increment(u64::try_from(left).unwrap_or(u64::MAX));
            tracing::error!(left, "unchecked calls could not be reported before the end");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn memory_is_bounded_by_bytes() {
        let reports = Reports::new(2_000);
        let request: Map<String, Value> =
            [("action".to_owned(), json!("x".repeat(500)))].into_iter().collect();
        for _ in 0..10 {
            let call = UncheckedCall {
                id: Uuid::now_v7(),
                cause: Cause::Timeout,
                message: "m".repeat(5_000),
                allowed: true,
            };
            reports.report(&call, &request);
        }
        assert_eq!(reports.len(), 1, "the message is cut, the bytes are bounded");
        reports.gone();
        assert_eq!(reports.inner.waiting.lock().unwrap().bytes, 0);
    }
}

//! The responder: takes checks and management as a NATS micro service and answers them.
//!
//! Several workers share one queue group. The subscriptions are our own, for two reasons. Leaving
//! loses nothing: see [`Responder::leave`]. And management comes before checks: a flood of checks
//! can't keep the switch from being turned. What the standard tools are told is in `service.rs`.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_nats::{HeaderMap, Message, Subscriber};
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::SelectAll;
use futures::{FutureExt, Stream, StreamExt};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Interval, MissedTickBehavior};

use super::connection::Connection;
use super::error::BusError;
use super::service::{Endpoint, Service};
use super::subjects::Subjects;
use crate::config::Nats;
use crate::contract::RequestFault;
use crate::runtime::metrics;

/// Makes `UNSUB <sid> <max>` take effect at once on the server, but not in the client, which ends a
/// subscription when it has had `max` messages: for the server it is no number (it reads nine digits
/// at most, and as a 64-bit integer it is -1, which stands for no maximum).
const NEVER_REACHED: u64 = u64::MAX;
/// How often it is looked whether messages were dropped.
const LOOKS: Duration = Duration::from_millis(250);

/// The header by which a check asks for more than the decision.
pub const WANT: &str = "Sluicegate-Want";
/// Its value that asks for the other rules of the package that the check names.
pub const DOCUMENT: &str = "document";

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One check.
    Check,
    /// Many checks.
    Batch,
    /// Policies to try on an input.
    Evaluate,
    /// Management of policies.
    Admin,
}

/// A request that waits for its answer.
pub struct Incoming {
    /// What kind.
    pub kind: Kind,
    /// The agent that the subject names, if it names one.
    pub agent: Option<String>,
    /// When it was taken.
    pub received: Instant,
    message: Message,
    endpoint: Arc<Endpoint>,
    connection: Connection,
}

impl Incoming {
    /// The body.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.message.payload
    }

    /// The last token of the NATS subject: the verb of a request of management.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.message.subject.rsplit('.').next().unwrap_or_default()
    }

    /// W3C trace context of the request.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        let value = self.message.headers.as_ref()?.get("traceparent")?.as_str();
        is_traceparent(value).then_some(value)
    }

    /// Whether the header asks for the other rules of the package, see [`WANT`].
    #[must_use]
    pub fn wants_document(&self) -> bool {
        let headers = self.message.headers.as_ref();
        headers.and_then(|headers| headers.get(WANT)).is_some_and(|want| want.as_str() == DOCUMENT)
    }

    /// Answers.
    ///
    /// # Errors
    /// When the connection is gone; the caller then runs into its timeout and its fail mode.
    pub async fn reply(self, body: Vec<u8>) -> Result<(), BusError> {
        self.respond(None, body).await?;
        self.endpoint.answered(self.received.elapsed());
        Ok(())
    }

    /// Answers with a service error: the headers say so to tools, the body says which field and
    /// the way out.
    ///
    /// # Errors
    /// As [`Self::reply`].
    pub async fn refuse(self, fault: &RequestFault) -> Result<(), BusError> {
        let mut headers = HeaderMap::new();
        // A header is one line.
        let text = fault.to_string().replace(['\r', '\n'], " ");
        let code = fault.code.number();
        headers.insert("Nats-Service-Error", text.as_str());
        headers.insert("Nats-Service-Error-Code", code.to_string().as_str());
        let body = serde_json::to_vec(&fault.body())
            .map_err(|e| BusError::request("encode a service error", &e))?;
        self.respond(Some(headers), body).await?;
        self.endpoint.failed(self.received.elapsed(), format!("{code}:{text}"));
        Ok(())
    }

    async fn respond(&self, headers: Option<HeaderMap>, body: Vec<u8>) -> Result<(), BusError> {
        // None gets here without one.
        let Some(reply) = self.message.reply.clone() else { return Ok(()) };
        let client = &self.connection.client;
        let sent = match headers {
            None => client.publish(reply, body.into()).await,
            Some(headers) => client.publish_with_headers(reply, headers, body.into()).await,
        };
        sent.map_err(|e| BusError::request("reply", &e))
    }
}

/// Whether an answer may be sent there: what is no inbox could be the audit stream or the JetStream
/// API.
pub(super) fn is_inbox(reply: &str, prefixes: &[String]) -> bool {
    prefixes.iter().any(|prefix| reply.starts_with(prefix.as_str()))
}

/// Format: <https://www.w3.org/TR/trace-context/#traceparent-header>; anything else is dropped.
fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match value.split('-').collect::<Vec<_>>().as_slice() {
        [version, trace, parent, flags] => {
            hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2)
        }
        _ => false,
    }
}

/// The subscriptions and the requests that come in.
pub struct Responder {
    connection: Connection,
    management: SelectAll<Intake>,
    checks: SelectAll<Intake>,
    subjects: Subjects,
    reply_prefixes: Vec<String>,
    leaving: Leaving,
    drops: Drops,
    _service: Service,
}

/// How far the responder is on its way out.
enum Leaving {
    /// It stays.
    No,
    /// The server is told; what it sent before it knew is on its way.
    Told(BoxFuture<'static, ()>),
    /// Nothing more is on its way.
    Gone,
}

impl Responder {
    /// Registers the service and subscribes in the queue group.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn start(
        connection: &Connection,
        settings: &Nats,
        subjects: &Subjects,
        worker: &str,
    ) -> Result<Self, BusError> {
        let (mut management, mut checks) = (SelectAll::new(), SelectAll::new());
        let mut endpoints = Vec::new();
        for (name, subject, kind) in [
            ("admin", subjects.admins(), Kind::Admin),
            ("evaluate", subjects.evaluate(), Kind::Evaluate),
            ("check", subjects.check(), Kind::Check),
            ("check-agent", subjects.check_of(None), Kind::Check),
            ("check_batch", subjects.check_batch(), Kind::Batch),
            ("check_batch-agent", subjects.check_batch_of(None), Kind::Batch),
        ] {
            let subscriber = connection
                .client
                .queue_subscribe(subject.clone(), settings.queue_group.clone())
                .await
                .map_err(|e| BusError::request("register the service", &e))?;
            let endpoint = Arc::new(Endpoint::new(name, subject));
            endpoints.push(Arc::clone(&endpoint));
            let intake = Intake { kind, endpoint, subscriber };
            match kind {
                Kind::Admin | Kind::Evaluate => management.push(intake),
                Kind::Check | Kind::Batch => checks.push(intake),
            }
        }
        let (group, prefixes) = (&settings.queue_group, &settings.reply_prefixes);
        let service = Service::start(connection, endpoints, group, worker, prefixes).await?;
        // Whoever is told that we take checks may ask at once.
        match connection.settled(settings.request_timeout).await {
            Err(error @ BusError::TimedOut { .. }) => {
                tracing::warn!(%error, "the server does not say whether the subscriptions hold");
            }
            outcome => outcome?,
        }
        Ok(Self {
            connection: connection.clone(),
            management,
            checks,
            subjects: subjects.clone(),
            reply_prefixes: settings.reply_prefixes.clone(),
            leaving: Leaving::No,
            drops: Drops::new(),
            _service: service,
        })
    }

    /// The next request that may be answered, management first; none once it has left and all that
    /// had arrived is taken.
    ///
    /// A request without a reply subject, or with one that isn't an inbox, is dropped: its answer
    /// could be made to land in the audit stream or the JetStream API.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            let (kind, endpoint, message) =
                std::future::poll_fn(|context| self.poll_message(context)).await?;
            self.connection.took_one();
            let reply = message.reply.as_ref();
            if reply.is_some_and(|reply| is_inbox(reply, &self.reply_prefixes)) {
                return Some(Incoming {
                    kind,
                    agent: self.subjects.agent_of(&message.subject),
                    received: Instant::now(),
                    message,
                    endpoint,
                    connection: self.connection.clone(),
                });
            }
            tracing::warn!(
                subject = %message.subject,
                reply = message.reply.as_ref().map(ToString::to_string),
                "a check without an inbox to reply to is dropped (setting nats.reply_prefixes)"
            );
        }
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Option<Taken>> {
        // Before the subscriptions are looked at: what the server sent first is in them by then.
        if let Leaving::Told(answered) = &mut self.leaving
            && answered.poll_unpin(context).is_ready()
        {
            self.leaving = Leaving::Gone;
        }
        let looks = self.drops.looks.poll_tick(context).is_ready();
        let mut ended = true;
        for intakes in [&mut self.management, &mut self.checks] {
            match intakes.poll_next_unpin(context) {
                Poll::Ready(Some(taken)) => return Poll::Ready(Some(taken)),
                Poll::Ready(None) => (),
                Poll::Pending => ended = false,
            }
        }
        // Without budget all are pending, whatever they hold.
        if !has_budget_remaining() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        if looks {
            self.drops.look(&self.connection);
            // The next look is not asked for by the one that was due.
            while self.drops.looks.poll_tick(context).is_ready() {}
        }
        if ended || matches!(self.leaving, Leaving::Gone) {
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// Takes nothing new: tells the server so. All that it sends before it knows is still given out
    /// by [`Self::next`], which then ends.
    ///
    /// That needs care. Ending a subscription in the client at once, or when its next bytes are read,
    /// as the client's own `unsubscribe` and `drain` do, throws away what is on the way, and nobody
    /// answers those checks. So the server alone ends the subscriptions, and the client keeps them
    /// until a message to itself has made the round trip behind the end.
    ///
    /// `within` bounds the wait for a server that doesn't answer.
    pub async fn leave(&mut self, within: Duration) {
        let told = async {
            for intake in self.management.iter_mut().chain(self.checks.iter_mut()) {
                if let Err(error) = intake.subscriber.unsubscribe_after(NEVER_REACHED).await {
                    tracing::debug!(%error, "the connection has ended already");
                }
            }
        };
        let deadline = tokio::time::Instant::now() + within;
        if tokio::time::timeout_at(deadline, told).await.is_err() {
            tracing::warn!("the server can't be told that no more checks are taken");
            self.leaving = Leaving::Gone;
            return;
        }
        let connection = self.connection.clone();
        let answered = async move {
            // Twice: a message for which the server had chosen us just before may be handed over
            // just after the first.
            for _ in 0..2 {
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                if let Err(error) = connection.settled(left).await {
                    tracing::warn!(
                        %error,
                        "the server does not say whether it sends no more checks; some may stay \
                         unanswered"
                    );
                    return;
                }
            }
        };
        self.leaving = Leaving::Told(answered.boxed());
    }

    /// How many messages the client has dropped because a subscription was full, as far as known:
    /// exact a moment after the flood.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.drops.counted
    }
}

/// What a subscription gave.
type Taken = (Kind, Arc<Endpoint>, Message);

/// A subscription.
struct Intake {
    kind: Kind,
    endpoint: Arc<Endpoint>,
    subscriber: Subscriber,
}

impl Stream for Intake {
    type Item = Taken;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Taken>> {
        let message = std::task::ready!(self.subscriber.poll_next_unpin(context));
        Poll::Ready(message.map(|message| (self.kind, Arc::clone(&self.endpoint), message)))
    }
}

/// Counts what the client has dropped. It tells of that by events, of which it drops some too; but
/// it counts every message that it receives.
struct Drops {
    looks: Interval,
    /// Messages received when all subscriptions were last found empty.
    received: u64,
    counted: u64,
}

impl Drops {
    fn new() -> Self {
        let mut looks = tokio::time::interval(LOOKS);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { looks, received: 0, counted: 0 }
    }

    /// Called when all subscriptions are empty. What had been received at the last look was taken
    /// since, or never will be.
    fn look(&mut self, connection: &Connection) {
        let dropped = self.received.saturating_sub(connection.taken());
        if dropped > self.counted {
            metrics::requests_dropped().increment(dropped - self.counted);
            self.counted = dropped;
        }
        self.received = connection.client.statistics().in_messages.load(Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_contexts_are_honoured() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in
            ["", "00-4bf9-00f0-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"]
        {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}

//! Events on their way to the stream, and what becomes of them.
//!
//! The client's own way to publish costs a task, a channel and a timer for each message. Here one
//! subscription takes all acknowledgements, one table knows whose they are, and one timer ends those
//! that don't come: a record in flight costs an entry of the table.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_nats::client::PublishErrorKind;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, HeaderMap, Message, StatusCode, Subscriber};
use futures::StreamExt as _;
use serde::Deserialize;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::MissedTickBehavior;

use super::Outgoing;
use crate::bus::connection::Connection;
use crate::bus::error::BusError;
use crate::runtime::eager::run_or_spawn;
use crate::runtime::metrics;

/// How much later than its time an acknowledgement may be given up, as a part of that time.
const LATE: u32 = 20;
/// The least time between two looks for what is late.
const LOOKS: Duration = Duration::from_millis(5);

/// What became of one attempt to publish.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Sent {
    /// The stream has it; whether it had it before.
    Acknowledged {
        /// It knew the message's id already.
        duplicate: bool,
    },
    /// Nobody knows, or it was refused for now: it must be sent again under the same id.
    Unknown(String),
    /// It can't be stored, however often it is sent: sending it again would only stop the others.
    Never(String),
}

/// What is done when it is known what became of all events of a flight. It must not wait.
type Landed = Box<dyn FnOnce(Vec<(Outgoing, Sent)>) + Send>;

/// Events published together.
struct Flight {
    events: Vec<(Outgoing, Option<Sent>)>,
    /// How many aren't known yet.
    open: usize,
    due: Instant,
    landed: Landed,
    _places: Option<OwnedSemaphorePermit>,
}

/// Publishes, and takes the acknowledgements. Ends its task when dropped.
pub(super) struct Flights {
    shared: Arc<Shared>,
    in_flight: Arc<Semaphore>,
    most: usize,
    task: AbortHandle,
}

struct Shared {
    client: Client,
    runtime: Handle,
    timeout: Duration,
    /// Where acknowledgements go, with a dot at its end.
    inbox: String,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    last: u64,
    /// By when they were begun: their numbers grow with time, and so do their deadlines.
    flights: BTreeMap<u64, Flight>,
}

impl Drop for Flights {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Flights {
    /// Subscribes to acknowledgements. At most `most` events are in flight, each for `timeout`.
    pub(super) async fn start(
        connection: &Connection,
        timeout: Duration,
        most: usize,
    ) -> Result<Self, BusError> {
        let client = connection.client.clone();
        let inbox = format!("{}.", client.new_inbox());
        let acknowledgements = client
            .subscribe(format!("{inbox}>"))
            .await
            .map_err(|error| BusError::request("subscribe to acknowledgements", &error))?;
        let table = Mutex::default();
        let runtime = Handle::current();
        let shared = Arc::new(Shared { client, runtime, timeout, inbox, table });
        let task = tokio::spawn(take(Arc::clone(&shared), acknowledgements)).abort_handle();
        Ok(Self { shared, in_flight: Arc::new(Semaphore::new(most)), most, task })
    }

    /// The runtime of the connection.
    pub(super) fn runtime(&self) -> &Handle {
        &self.shared.runtime
    }

    /// Publishes events and returns at once; `landed` is called when it is known what became of all
    /// of them, at the latest some time after the time-out.
    pub(super) fn launch(&self, events: Vec<Outgoing>, landed: Landed) {
        if events.is_empty() {
            landed(Vec::new());
            return;
        }
        let places = u32::try_from(events.len().min(self.most)).unwrap_or(u32::MAX);
        match Arc::clone(&self.in_flight).try_acquire_many_owned(places) {
            Ok(permit) => self.shared.launch(events, permit, landed),
            Err(_) => {
                let (shared, in_flight) = (Arc::clone(&self.shared), Arc::clone(&self.in_flight));
                self.shared.runtime.spawn(async move {
                    let permit = in_flight.acquire_many_owned(places);
                    match tokio::time::timeout(shared.timeout, permit).await {
                        Ok(Ok(permit)) => shared.launch(events, permit, landed),
                        Ok(Err(_)) | Err(_) => {
                            let unknown = |event| {
                                let reason = "too many events await their acknowledgement";
                                (event, Sent::Unknown(reason.to_owned()))
                            };
                            landed(events.into_iter().map(unknown).collect());
                        }
                    }
                });
            }
        }
    }
}

impl Shared {
    fn launch(
        self: &Arc<Self>,
        events: Vec<Outgoing>,
        places: OwnedSemaphorePermit,
        landed: Landed,
    ) {
        let messages: Vec<_> = events.iter().map(Prepared::of).collect();
        let open = events.len();
        metrics::audit_in_flight().increment(count(open));
        let number = {
            let mut table = self.table();
            table.last += 1;
            let number = table.last;
            // Under the lock, so that deadlines grow with the numbers.
            let due = Instant::now() + self.timeout;
            let events = events.into_iter().map(|event| (event, None)).collect();
            let flight = Flight { events, open, due, landed, _places: Some(places) };
            table.flights.insert(number, flight);
            number
        };
        for (index, message) in messages.into_iter().enumerate() {
            // It waits for one thing only, room in the connection's queue.
            run_or_spawn(&self.runtime, Arc::clone(self).publish(message, number, index));
        }
    }

    async fn publish(self: Arc<Self>, message: Prepared, number: u64, index: usize) {
        let Prepared { subject, headers, payload } = message;
        let reply = format!("{}{number}.{index}", self.inbox);
        let sent =
            self.client.publish_with_reply_and_headers(subject, reply, headers, payload).await;
        if let Err(error) = sent {
            let never = error.kind() == PublishErrorKind::MaxPayloadExceeded;
            let kind = if never { Sent::Never } else { Sent::Unknown };
            self.settle(number, index, kind(error.to_string()));
        }
    }

    /// Notes what became of an event, and lands its flight when it was the last.
    fn settle(&self, number: u64, index: usize, sent: Sent) {
        let landed = {
            let mut table = self.table();
            let Some(flight) = table.flights.get_mut(&number) else { return };
            match flight.events.get_mut(index) {
                Some((_, known @ None)) => *known = Some(sent),
                _ => return,
            }
            flight.open -= 1;
            if flight.open > 0 { None } else { table.flights.remove(&number) }
        };
        if let Some(flight) = landed {
            flight.land("");
        }
    }

    /// Ends flights whose time is over.
    fn sweep(&self) {
        let now = Instant::now();
        loop {
            let late = {
                let mut table = self.table();
                match table.flights.first_entry() {
                    Some(first) if first.get().due <= now => first.remove(),
                    _ => return,
                }
            };
            late.land("the stream didn't acknowledge it in time");
        }
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// `otherwise` is said of events of which nothing is known.
    fn land(self, otherwise: &str) {
        metrics::audit_in_flight().decrement(count(self.events.len()));
        let known = |(event, sent): (Outgoing, Option<Sent>)| {
            (event, sent.unwrap_or_else(|| Sent::Unknown(otherwise.to_owned())))
        };
        (self.landed)(self.events.into_iter().map(known).collect());
    }
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; there are not that many")]
const fn count(events: usize) -> f64 {
    events as f64
}

/// A message to publish.
struct Prepared {
    subject: String,
    headers: HeaderMap,
    payload: bytes::Bytes,
}

impl Prepared {
    fn of(event: &Outgoing) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(NATS_MESSAGE_ID, event.id.as_str());
        if let Some(traceparent) = &event.traceparent {
            headers.insert("traceparent", traceparent.as_str());
        }
        Self { subject: event.subject.clone(), headers, payload: event.payload.clone() }
    }
}

/// Takes acknowledgements, and looks for those that don't come.
async fn take(shared: Arc<Shared>, mut acknowledgements: Subscriber) {
    let mut looks = tokio::time::interval((shared.timeout / LATE).max(LOOKS));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            message = acknowledgements.next() => match message {
                Some(message) => {
                    if let Some((number, index)) = place(&shared.inbox, &message.subject) {
                        shared.settle(number, index, said(&message));
                    }
                }
                // The connection has ended for good. What is in flight still ends in time.
                None => break,
            },
            _ = looks.tick() => shared.sweep(),
        }
    }
    loop {
        looks.tick().await;
        shared.sweep();
    }
}

/// The flight and the event that an acknowledgement is about.
fn place(inbox: &str, subject: &str) -> Option<(u64, usize)> {
    let (number, index) = subject.strip_prefix(inbox)?.split_once('.')?;
    Some((number.parse().ok()?, index.parse().ok()?))
}

/// The stream's answer. Format:
/// <https://docs.nats.io/reference/jetstream/api/stream/pub-ack>
#[derive(Deserialize)]
struct Acknowledgement {
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<jetstream::Error>,
}

/// What an answer says. A failed publish is an unknown publish, unless the message itself is what is
/// refused.
fn said(message: &Message) -> Sent {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Sent::Unknown("no stream takes it".to_owned());
    }
    match serde_json::from_slice(&message.payload) {
        Ok(Acknowledgement { error: Some(error), .. }) => {
            if error.error_code() == ErrorCode::STREAM_MESSAGE_EXCEEDS_MAXIMUM {
                Sent::Never(error.to_string())
            } else {
                Sent::Unknown(error.to_string())
            }
        }
        Ok(Acknowledgement { seq, duplicate, error: None }) if seq > 0 => {
            Sent::Acknowledged { duplicate }
        }
        Ok(_) => Sent::Unknown("the answer is no acknowledgement".to_owned()),
        Err(error) => Sent::Unknown(format!("the answer is no acknowledgement: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(payload: &str) -> Message {
        Message {
            subject: "i.1.0".into(),
            reply: None,
            payload: payload.to_owned().into(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        }
    }

    #[test]
    fn the_subject_of_an_acknowledgement_says_whose_it_is() {
        assert_eq!(place("_INBOX.x.", "_INBOX.x.18.2"), Some((18, 2)));
        for other in ["_INBOX.x.18", "_INBOX.y.18.2", "_INBOX.x.a.2", "_INBOX.x.18.2.3", ""] {
            assert_eq!(place("_INBOX.x.", other), None, "{other}");
        }
    }

    #[test]
    fn only_an_acknowledgement_is_one() {
        let said = |payload: &str| said(&answer(payload));
        let acknowledged = |duplicate| Sent::Acknowledged { duplicate };
        assert_eq!(said(r#"{"stream":"S","seq":7}"#), acknowledged(false));
        assert_eq!(
            said(r#"{"stream":"S","seq":7,"domain":"d","duplicate":true}"#),
            acknowledged(true)
        );
        let error = r#"{"error":{"code":503,"err_code":10077,"description":"maximum bytes"}}"#;
        assert!(matches!(said(error), Sent::Unknown(reason) if reason.contains("maximum bytes")));
        let error = r#"{"error":{"code":400,"err_code":10054,"description":"message size"},"stream":"S","seq":0}"#;
        assert!(matches!(said(error), Sent::Never(_)));
        for other in ["", "{}", "[]", r#"{"seq":0}"#, r#"{"seq":-1}"#, "+OK"] {
            assert!(matches!(said(other), Sent::Unknown(_)), "{other}");
        }
        let nobody = Message { status: Some(StatusCode::NO_RESPONDERS), ..answer("") };
        assert!(matches!(super::said(&nobody), Sent::Unknown(_)));
    }
}

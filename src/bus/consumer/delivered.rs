//! A message as a consumer delivers it.

use async_nats::jetstream;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Ticket, utc};
use crate::bus::letters::REPLAYED;

/// The header by which the server names the client that is pinned.
const PIN: &str = "Nats-Pin-Id";

/// The headers of a message that says that a key of a bucket is gone: by a client's hand, or by the
/// server's limits.
const MARKERS: [&str; 2] = ["KV-Operation", "Nats-Marker-Reason"];

/// A message as the stream delivered it.
#[derive(Clone, Debug)]
pub struct Delivered {
    /// Its NATS subject.
    pub subject: String,
    /// Its body.
    pub payload: Bytes,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream took it.
    pub published: DateTime<Utc>,
    /// Whether it was delivered before, as far as the server remembers, or is a dead letter that is
    /// replayed: then it may be stored already.
    pub redelivered: bool,
    /// Whether it says that a key of a key-value bucket is gone, and has no value.
    pub marker: bool,
    /// By which it is acknowledged.
    pub ticket: Ticket,
}

/// The message and the pin it came with; `None` for what is no message of a stream.
pub(super) fn delivered(message: jetstream::Message) -> Option<(Delivered, Option<String>)> {
    let (sequence, published, redelivered) = match message.info() {
        Ok(info) => (info.stream_sequence, utc(info.published).ok()?, info.delivered > 1),
        Err(error) => {
            tracing::warn!(%error, subject = %message.subject, "not a message of a stream");
            return None;
        }
    };
    let message = message.message;
    let headers = message.headers.as_ref();
    let pin = headers.and_then(|headers| headers.get_last(PIN)).map(ToString::to_string);
    let marker = headers.is_some_and(|headers| MARKERS.iter().any(|m| headers.get(*m).is_some()));
    let replayed = headers.is_some_and(|headers| headers.get(REPLAYED).is_some());
    Some((
        Delivered {
            subject: message.subject.to_string(),
            payload: message.payload,
            sequence,
            published,
            redelivered: redelivered || replayed,
            marker,
            ticket: Ticket::new(message.reply?),
        },
        pin,
    ))
}

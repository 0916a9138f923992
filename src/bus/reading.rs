//! Reading a stream from the side, in order and without acknowledging anything: for comparing what it
//! holds with what became of it.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{DeliverPolicy, pull};
use async_nats::jetstream::stream::Stream as NatsStream;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::connection::Connection;
use super::consumer::utc;
use super::error::BusError;
use super::stream::{context, existing};

/// After so long without a message it is asked whether there is one.
const SILENCE: Duration = Duration::from_secs(10);

/// A stream, read from the side.
pub struct Replay {
    stream: NatsStream,
    /// When it was created, in the microseconds that tables hold.
    pub epoch: DateTime<Utc>,
}

impl std::fmt::Debug for Replay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replay").field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

/// What a stream holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The first sequence.
    pub first: u64,
    /// The last; less than the first where it is empty.
    pub last: u64,
}

/// A message as the stream holds it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its sequence.
    pub sequence: u64,
    /// Its NATS subject.
    pub subject: String,
    /// When the stream took it.
    pub time: DateTime<Utc>,
    /// The id by which the stream deduplicates.
    pub message_id: Option<String>,
    /// Its body; empty where only headers are read.
    pub payload: Bytes,
    headers: Option<async_nats::HeaderMap>,
}

impl Kept {
    /// One of its headers.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.as_ref()?.get(name).map(async_nats::HeaderValue::as_str)
    }
}

impl Replay {
    /// A stream; none where there is none of that name.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn open(connection: &Connection, name: &str) -> Result<Option<Self>, BusError> {
        let Some(stream) = existing(&context(connection), name, "stream information").await? else {
            return Ok(None);
        };
        let epoch = utc(stream.cached_info().created)?;
        Ok(Some(Self { stream, epoch }))
    }

    /// What it holds now.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn held(&mut self) -> Result<Held, BusError> {
        let info =
            self.stream.info().await.map_err(|e| BusError::request("stream information", &e))?;
        Ok(Held { first: info.state.first_sequence, last: info.state.last_sequence })
    }

    /// Up to where everything that a durable consumer of it is given is acknowledged; none where there is
    /// no such consumer.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn settled(&mut self, consumer: &str) -> Result<Option<u64>, BusError> {
        // Before the consumer: what comes in between is not settled.
        let last = self.held().await?.last;
        let info = match self.stream.consumer_info(consumer).await {
            Ok(info) => info,
            Err(error) => match error.kind() {
                jetstream::context::ConsumerInfoErrorKind::NotFound => return Ok(None),
                jetstream::context::ConsumerInfoErrorKind::JetStream(server)
                    if server.error_code() == ErrorCode::CONSUMER_NOT_FOUND =>
                {
                    return Ok(None);
                }
                _ => return Err(BusError::request("consumer information", &error)),
            },
        };
        let idle = info.num_pending == 0 && info.num_ack_pending == 0;
        Ok(Some(if idle { last } else { info.ack_floor.stream_sequence }))
    }

    /// Reads messages of these NATS subjects in order, from a sequence to another one (both included).
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn read(
        &self,
        subjects: Vec<String>,
        from: u64,
        to: u64,
        bodies: bool,
    ) -> Result<Reading, BusError> {
        let config = pull::OrderedConfig {
            filter_subjects: subjects,
            headers_only: !bodies,
            ..pull::OrderedConfig::default()
        };
        let (done, messages) = ordered(&self.stream, &config, from.max(1)).await?;
        let stream = self.stream.clone();
        Ok(Reading { stream, config, messages: Box::new(messages), to, next: from.max(1), done })
    }
}

/// Messages in order from a sequence on, and whether there are none.
async fn ordered(
    stream: &NatsStream,
    config: &pull::OrderedConfig,
    from: u64,
) -> Result<(bool, pull::Ordered), BusError> {
    let failed = |error: &dyn std::fmt::Display| BusError::request("reading the stream", &error);
    let deliver_policy = DeliverPolicy::ByStartSequence { start_sequence: from };
    let config = pull::OrderedConfig { deliver_policy, ..config.clone() };
    let consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
    let none = consumer.cached_info().num_pending == 0;
    let messages = consumer.messages().await.map_err(|error| failed(&error))?;
    Ok((none, messages))
}

/// A reading of a stream.
pub struct Reading {
    stream: NatsStream,
    config: pull::OrderedConfig,
    messages: Box<pull::Ordered>,
    to: u64,
    /// Everything before it was given.
    next: u64,
    done: bool,
}

impl std::fmt::Debug for Reading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reading").field("to", &self.to).finish_non_exhaustive()
    }
}

impl Reading {
    /// The next message; none at the end.
    ///
    /// # Errors
    /// When the reading was interrupted.
    pub async fn next(&mut self) -> Result<Option<Kept>, BusError> {
        if self.done {
            return Ok(None);
        }
        let message = loop {
            match tokio::time::timeout(SILENCE, self.messages.next()).await {
                Ok(Some(Ok(message))) => break message,
                Ok(Some(Err(error))) => {
                    return Err(BusError::request("reading the stream", &error));
                }
                Ok(None) => return Err(BusError::request("reading the stream", &"it ended")),
                Err(_) => {
                    // What was counted as we began may have been removed since.
                    let (none, messages) = ordered(&self.stream, &self.config, self.next).await?;
                    if none {
                        self.done = true;
                        return Ok(None);
                    }
                    *self.messages = messages;
                }
            }
        };
        let (sequence, pending, published) = match message.info() {
            Ok(info) => (info.stream_sequence, info.pending, info.published),
            Err(error) => return Err(BusError::request("reading the stream", &error)),
        };
        self.next = sequence.saturating_add(1);
        self.done = pending == 0 || sequence >= self.to;
        if sequence > self.to {
            return Ok(None);
        }
        let message = message.message;
        let message_id = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Msg-Id").map(|id| id.as_str().to_owned()));
        Ok(Some(Kept {
            sequence,
            time: utc(published)?,
            subject: message.subject.to_string(),
            message_id,
            payload: message.payload,
            headers: message.headers,
        }))
    }
}

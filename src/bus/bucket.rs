//! The key-value bucket that holds the policies: every change is a message of its stream, in one
//! order for all, and is taken only on top of the state that its author looked at.
//!
//! Format of a bucket: NATS ADR-8 (stream `KV_<bucket>`, NATS subjects `$KV.<bucket>.<key>`). Written
//! directly rather than through a client's key-value type, which compares sequences key by key: what
//! makes a change valid (unique packages, a template that exists) spans keys.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::{DeliverPolicy, push};
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, StorageType, Stream as NatsStream,
};
use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt;

use super::connection::Connection;
use super::error::BusError;
use super::stream::{context, existing, refused};
use super::subjects::{bucket_key, bucket_stream};
use crate::config::{Config as Settings, Policies};

/// What a key holds after one message.
#[derive(Clone, Debug)]
pub struct Held {
    /// The key.
    pub key: String,
    /// Its value; none where somebody deleted or purged the key itself.
    pub value: Option<Bytes>,
    /// The message's sequence in the bucket's stream.
    pub sequence: u64,
}

/// How a bucket stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketState {
    /// When it was created: what its sequences are relative to.
    pub epoch: DateTime<Utc>,
    /// The sequence of its newest message; 0 where there was never any.
    pub sequence: u64,
    /// Messages in it.
    pub messages: u64,
}

/// Why a value was not taken.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// Something else was written since.
    #[error("the bucket has changed meanwhile")]
    Conflict,
    /// The server says no.
    #[error("the bucket of policies takes nothing: {0}")]
    Refused(String),
    /// NATS; the value may have been taken all the same.
    #[error(transparent)]
    Bus(#[from] BusError),
}

/// The bucket.
#[derive(Clone, Debug)]
pub struct Bucket {
    connection: Connection,
    pub(super) context: jetstream::Context,
    name: String,
}

impl Bucket {
    /// Creates the bucket, or changes its limits to what the configuration says.
    ///
    /// # Errors
    /// When the server has no JetStream or refuses.
    pub async fn ensure(connection: &Connection, settings: &Settings) -> Result<Self, BusError> {
        let bucket = Self::new(connection, &settings.policies.bucket);
        let policies: &Policies = &settings.policies;
        let config = Config {
            name: bucket.stream(),
            description: Some("Policies, their versions, and the switch for enforcement".into()),
            subjects: vec![bucket.subject(">")],
            max_messages_per_subject: i64::try_from(policies.history).unwrap_or(i64::MAX),
            max_bytes: i64::try_from(policies.max_bytes.as_u64()).unwrap_or(i64::MAX),
            discard: DiscardPolicy::New,
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: settings.stream.replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            duplicate_window: settings.stream.duplicate_window,
            ..Config::default()
        };
        create(connection, &bucket.context, config).await?;
        Ok(bucket)
    }

    pub(super) fn new(connection: &Connection, name: &str) -> Self {
        Self { connection: connection.clone(), context: context(connection), name: name.to_owned() }
    }

    /// How it stands; none where there is no such bucket.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn state(&self) -> Result<Option<BucketState>, BusError> {
        Ok(self.open().await?.map(|stream| state_of(&stream)))
    }

    /// Writes a value if nothing was written to the bucket since `last`, and returns its sequence.
    ///
    /// # Errors
    /// When something was; when the server doesn't answer, and then nobody knows.
    pub async fn put(&self, key: &str, value: Vec<u8>, last: u64) -> Result<u64, PutError> {
        let bytes = value.len();
        let message = PublishMessage::build().payload(value.into()).expected_last_sequence(last);
        let sent = self.context.send_publish(self.subject(key), message).await;
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        acknowledged.map(|ack| ack.sequence).map_err(|error| match error.kind() {
            PublishErrorKind::WrongLastSequence => PutError::Conflict,
            PublishErrorKind::StreamNotFound => {
                PutError::Refused("it doesn't exist; it is made anew, try again".to_owned())
            }
            // An answer of JetStream, not the lack of one.
            PublishErrorKind::Other if refusal(&error).is_some() => {
                PutError::Refused(refusal(&error).unwrap_or_default())
            }
            PublishErrorKind::MaxPayloadExceeded => {
                PutError::Bus(BusError::TooLarge { subject: self.subject(key), bytes })
            }
            _ => PutError::Bus(BusError::request("write to the bucket of policies", &error)),
        })
    }

    /// Everything that the bucket still has of a key, oldest first.
    ///
    /// # Errors
    /// When the server doesn't answer in time.
    pub async fn history(&self, key: &str, timeout: Duration) -> Result<Vec<Held>, BusError> {
        let late = || BusError::TimedOut { subject: self.subject(key), timeout };
        tokio::time::timeout(timeout, self.read_history(key)).await.map_err(|_| late())?
    }

    /// The newest value of every key, and the bucket's sequence. Empty where there is no bucket.
    ///
    /// # Errors
    /// When the server doesn't answer in time.
    pub async fn snapshot(
        &self,
        timeout: Duration,
    ) -> Result<(HashMap<String, Option<Bytes>>, u64), BusError> {
        let reading = async {
            let mut newest = HashMap::new();
            let Some(mut following) = self.follow().await? else { return Ok((newest, 0)) };
            let mut last = following.state.sequence;
            while !following.caught_up() {
                let held = following.next().await.ok_or_else(interrupted)?;
                last = last.max(held.sequence);
                newest.insert(held.key, held.value);
            }
            Ok((newest, last))
        };
        let late = || BusError::TimedOut { subject: self.subject(">"), timeout };
        tokio::time::timeout(timeout, reading).await.map_err(|_| late())?
    }

    async fn read_history(&self, key: &str) -> Result<Vec<Held>, BusError> {
        let mut found = Vec::new();
        let Some(mut following) = self.subscribe(key, DeliverPolicy::All).await? else {
            return Ok(found);
        };
        while !following.caught_up() {
            found.push(following.next().await.ok_or_else(interrupted)?);
        }
        Ok(found)
    }

    /// Reads the newest value of every key, then what changes. None where there is no such bucket.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn follow(&self) -> Result<Option<Following>, BusError> {
        self.subscribe(">", DeliverPolicy::LastPerSubject).await
    }

    async fn subscribe(
        &self,
        keys: &str,
        deliver_policy: DeliverPolicy,
    ) -> Result<Option<Following>, BusError> {
        let connects = self.connection.connects();
        let Some(mut stream) = self.open().await? else { return Ok(None) };
        let consumer = stream
            .create_consumer(push::OrderedConfig {
                deliver_subject: self.connection.client.new_inbox(),
                filter_subject: self.subject(keys),
                deliver_policy,
                ..push::OrderedConfig::default()
            })
            .await
            .map_err(|e| BusError::request("read the bucket of policies", &e))?;
        let caught_up = consumer.cached_info().num_pending == 0;
        // Asked again: what was written until now is part of the beginning.
        stream
            .info()
            .await
            .map_err(|e| BusError::request("information on the bucket of policies", &e))?;
        let messages = consumer
            .messages()
            .await
            .map_err(|e| BusError::request("read the bucket of policies", &e))?;
        Ok(Some(Following {
            state: state_of(&stream),
            prefix: self.subject(""),
            messages,
            caught_up,
            connection: self.connection.clone(),
            connects,
        }))
    }

    async fn open(&self) -> Result<Option<NatsStream>, BusError> {
        existing(&self.context, &self.stream(), "information on the bucket of policies").await
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn stream(&self) -> String {
        bucket_stream(&self.name)
    }

    pub(super) fn subject(&self, key: &str) -> String {
        bucket_key(&self.name, key)
    }
}

/// What JetStream answered, if it did.
fn refusal(error: &jetstream::context::PublishError) -> Option<String> {
    let answer = std::error::Error::source(error)?.downcast_ref::<jetstream::Error>()?;
    Some(format!("{answer} (setting policies.max_bytes bounds its size)"))
}

/// A reading that ended before its end must not pass for a whole one.
fn interrupted() -> BusError {
    BusError::Request {
        what: "read the bucket of policies",
        reason: "the connection was lost on the way".to_owned(),
    }
}

fn state_of(stream: &NatsStream) -> BucketState {
    let info = stream.cached_info();
    BucketState {
        epoch: DateTime::from_timestamp_nanos(
            i64::try_from(info.created.unix_timestamp_nanos()).unwrap_or(i64::MAX),
        ),
        sequence: info.state.last_sequence,
        messages: info.state.messages,
    }
}

pub(super) async fn create(
    connection: &Connection,
    context: &jetstream::Context,
    config: Config,
) -> Result<(), BusError> {
    let name = config.name.clone();
    match context.create_or_update_stream(config).await {
        Ok(_) => Ok(()),
        Err(error) => Err(refused(connection, name, &error)),
    }
}

/// An uninterrupted reading of a bucket.
pub struct Following {
    /// How the bucket stood when the reading began.
    pub state: BucketState,
    prefix: String,
    messages: push::Ordered,
    caught_up: bool,
    connection: Connection,
    connects: u64,
}

impl Following {
    /// Whether all that was there at the beginning has been given.
    #[must_use]
    pub const fn caught_up(&self) -> bool {
        self.caught_up
    }

    /// The next value; none once the reading is interrupted, and then a new one must begin: the
    /// connection was lost, or the server has forgotten us.
    pub async fn next(&mut self) -> Option<Held> {
        let mut connects = self.connection.connects.clone();
        let began_at = self.connects;
        let message = tokio::select! {
            message = self.messages.next() => message,
            _ = connects.wait_for(|now| *now != began_at) => None,
        };
        self.take(message)
    }

    /// A value that has arrived already, if there is one.
    pub fn ready(&mut self) -> Option<Held> {
        use futures::FutureExt as _;

        let message = self.messages.next().now_or_never()?;
        self.take(message)
    }

    fn take(
        &mut self,
        message: Option<Result<jetstream::Message, push::OrderedError>>,
    ) -> Option<Held> {
        let message = match message? {
            Ok(message) => message,
            Err(error) => {
                tracing::debug!(%error, "reading the bucket of policies was interrupted");
                return None;
            }
        };
        let (sequence, pending) = match message.info() {
            Ok(info) => (info.stream_sequence, info.pending),
            Err(error) => {
                tracing::warn!(%error, "a message of the bucket of policies can't be placed");
                return None;
            }
        };
        // Not by counting: a consumer that is made anew on the way delivers more than was asked for.
        self.caught_up |= pending == 0 || sequence >= self.state.sequence;
        let Message { subject, payload, headers, .. } = message.message;
        let key = subject.strip_prefix(&self.prefix).unwrap_or(&subject).to_owned();
        let removed = headers.as_ref().is_some_and(is_removal);
        Some(Held { key, value: (!removed).then_some(payload), sequence })
    }
}

/// A marker by which a key is deleted or purged, by hand or by a limit (NATS ADR-8, ADR-48).
fn is_removal(headers: &HeaderMap) -> bool {
    headers.get("KV-Operation").is_some() || headers.get("Nats-Marker-Reason").is_some()
}

//! The key-value bucket that holds the newest link of each chain. Each is written only on top of the one
//! that its author looked at: so a chain has one line, however many sinks seal it, and whoever removes its
//! end elsewhere is found out.

use std::time::Duration;

use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, LastRawMessageErrorKind, RetentionPolicy, StorageType,
};
use bytes::Bytes;

use super::bucket::{Bucket, PutError, create};
use super::connection::Connection;
use super::error::BusError;
use super::stream::existing;
use crate::config::Config as Settings;

/// Links of each chain that the bucket remembers; only the newest is used.
const HISTORY: i64 = 64;

/// The newest value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The value; none where the key never had one, or somebody removed it.
    pub value: Option<Bytes>,
    /// What the next value must be written on top of.
    pub revision: u64,
}

/// The bucket.
#[derive(Clone, Debug)]
pub struct Heads {
    bucket: Bucket,
    connection: Connection,
    replicas: usize,
}

impl Heads {
    /// Creates the bucket, or changes its limits to what the configuration says.
    ///
    /// # Errors
    /// When the server has no JetStream or refuses.
    pub async fn ensure(connection: &Connection, settings: &Settings) -> Result<Self, BusError> {
        let heads = Self::open(connection, settings);
        heads.make().await?;
        Ok(heads)
    }

    /// The bucket as it is; creates nothing.
    #[must_use]
    pub fn open(connection: &Connection, settings: &Settings) -> Self {
        Self {
            bucket: Bucket::new(connection, &settings.chain.bucket),
            connection: connection.clone(),
            replicas: settings.stream.replicas,
        }
    }

    /// Creates it, or changes its limits.
    ///
    /// # Errors
    /// When the server has no JetStream or refuses.
    pub async fn make(&self) -> Result<(), BusError> {
        let config = Config {
            name: self.bucket.stream(),
            description: Some("The newest link of each chain over the audit".into()),
            subjects: vec![self.bucket.subject(">")],
            max_messages_per_subject: HISTORY,
            discard: DiscardPolicy::New,
            retention: RetentionPolicy::Limits,
            storage: StorageType::File,
            num_replicas: self.replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        };
        create(&self.connection, &self.bucket.context, config).await
    }

    /// The newest value of a key; nothing, at revision 0, where there is no bucket.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn newest(&self, key: &str) -> Result<Head, BusError> {
        let nothing = Head { value: None, revision: 0 };
        let failed = |error: &dyn std::fmt::Display| BusError::Request {
            what: "read the bucket of chains",
            reason: error.to_string(),
        };
        let name = self.bucket.stream();
        let stream = existing(&self.bucket.context, &name, "read the bucket of chains").await?;
        let Some(stream) = stream else {
            return Ok(nothing);
        };
        match stream.get_last_raw_message_by_subject(&self.bucket.subject(key)).await {
            Ok(message) => {
                let removed = message.headers.get("KV-Operation").is_some()
                    || message.headers.get("Nats-Marker-Reason").is_some();
                let value = (!removed).then_some(message.payload);
                Ok(Head { value, revision: message.sequence })
            }
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => Ok(nothing),
            Err(error) => Err(failed(&error)),
        }
    }

    /// The values of a key that the bucket still has, oldest first.
    ///
    /// # Errors
    /// When the server doesn't answer in time.
    pub async fn history(&self, key: &str, timeout: Duration) -> Result<Vec<Bytes>, BusError> {
        let held = self.bucket.history(key, timeout).await?;
        Ok(held.into_iter().filter_map(|held| held.value).collect())
    }

    /// Writes a value if the key's newest is still that of `revision`, and returns the new revision.
    ///
    /// # Errors
    /// When it isn't; when the server doesn't answer, and then nobody knows.
    pub async fn put(&self, key: &str, value: Vec<u8>, revision: u64) -> Result<u64, PutError> {
        let message =
            PublishMessage::build().payload(value.into()).expected_last_subject_sequence(revision);
        let sent = self.bucket.context.send_publish(self.bucket.subject(key), message).await;
        let acknowledged = match sent {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        acknowledged.map(|ack| ack.sequence).map_err(|error| match error.kind() {
            PublishErrorKind::WrongLastSequence => PutError::Conflict,
            _ => PutError::Bus(BusError::request("write to the bucket of chains", &error)),
        })
    }
}

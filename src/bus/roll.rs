//! The roll of live workers: a key-value bucket in which each says what it has in force, and which
//! forgets a worker that falls silent.

use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use bytes::Bytes;

use super::bucket::{Bucket, create};
use super::connection::Connection;
use super::error::BusError;
use crate::config::Config as Settings;

/// The bucket in which live workers say what they have in force; each word is forgotten when its
/// worker falls silent.
#[derive(Clone, Debug)]
pub struct Roll {
    bucket: Bucket,
}

impl Roll {
    /// Creates the bucket, or changes its limits to what the configuration says.
    ///
    /// # Errors
    /// When the server has no JetStream or refuses.
    pub async fn ensure(connection: &Connection, settings: &Settings) -> Result<Self, BusError> {
        let bucket = Bucket::new(connection, &settings.policies.workers_bucket);
        let config = Config {
            name: bucket.stream(),
            description: Some("What each live worker has in force".into()),
            subjects: vec![bucket.subject(">")],
            max_messages_per_subject: 1,
            max_bytes: 16 << 20,
            max_age: settings.policies.report.saturating_mul(SILENT_REPORTS),
            discard: DiscardPolicy::New,
            storage: StorageType::Memory,
            num_replicas: settings.stream.replicas,
            allow_rollup: true,
            deny_delete: true,
            allow_direct: true,
            ..Config::default()
        };
        create(connection, &bucket.context, config).await?;
        Ok(Self { bucket })
    }

    /// The roll as it is; creates nothing.
    #[must_use]
    pub fn open(connection: &Connection, settings: &Settings) -> Self {
        Self { bucket: Bucket::new(connection, &settings.policies.workers_bucket) }
    }

    /// Says what a worker has in force.
    ///
    /// # Errors
    /// When the server doesn't take it.
    pub async fn report(&self, worker: &str, status: Vec<u8>) -> Result<(), BusError> {
        let subject = self.bucket.subject(&key(worker));
        let message = PublishMessage::build().payload(status.into());
        let refused = |e| BusError::request("report to other workers", &e);
        let ack = self.bucket.context.send_publish(subject, message).await.map_err(refused)?;
        ack.await.map(|_| ()).map_err(refused)
    }

    /// Takes a worker off the roll: it leaves.
    ///
    /// # Errors
    /// When the server doesn't take it.
    pub async fn leave(&self, worker: &str) -> Result<(), BusError> {
        let subject = self.bucket.subject(&key(worker));
        let message =
            PublishMessage::build().header("KV-Operation", "PURGE").header("Nats-Rollup", "sub");
        let refused = |e| BusError::request("report to other workers", &e);
        let ack = self.bucket.context.send_publish(subject, message).await.map_err(refused)?;
        ack.await.map(|_| ()).map_err(refused)
    }

    /// What every live worker said last.
    ///
    /// # Errors
    /// When the server doesn't answer in time.
    pub async fn all(&self, timeout: Duration) -> Result<Vec<Bytes>, BusError> {
        let (newest, _) = self.bucket.snapshot(timeout).await?;
        Ok(newest.into_values().flatten().collect())
    }
}

/// Reports that a worker may miss before it counts as gone.
const SILENT_REPORTS: u32 = 5;

/// A key holds letters, digits, `-`, `_`, `/`, `=`, `.`: a name's other bytes are written in hexadecimal.
fn key(worker: &str) -> String {
    super::subjects::token(worker).replace('%', "=")
}

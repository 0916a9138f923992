//! Reads the audit stream from outside.

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::stream::{Config, Stream};
use async_nats::jetstream::{self, Context};
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::Value;

use super::until;
use crate::support::cluster::servers;

/// Where workers say how far they have numbered.
const CHECKPOINT: &str = "policy.checkpoint";

/// A stream, seen from outside.
pub(crate) struct AuditStream {
    pub(crate) jetstream: Context,
    pub(crate) name: String,
}

/// One event as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Its NATS subject.
    pub(crate) subject: String,
    /// Its header `Nats-Msg-Id`.
    pub(crate) id: String,
    /// Its header `traceparent`.
    pub(crate) traceparent: Option<String>,
    /// Its payload; null where it is no JSON.
    pub(crate) event: Value,
}

impl AuditStream {
    pub(crate) async fn open(url: &str, name: &str) -> Self {
        let client = async_nats::connect(servers(url)).await.unwrap();
        Self::of(client, name)
    }

    fn of(client: Client, name: &str) -> Self {
        Self { jetstream: jetstream::new(client), name: name.to_owned() }
    }

    /// Its configuration, as the server has it.
    pub(crate) async fn config(&self) -> Config {
        self.stream().await.cached_info().config.clone()
    }

    /// How many events it holds, without checkpoints.
    pub(crate) async fn len(&self) -> u64 {
        self.count(">").await - self.count(CHECKPOINT).await
    }

    async fn count(&self, filter: &str) -> u64 {
        let mut subjects = self.stream().await.info_with_subjects(filter).await.unwrap();
        let mut sum = 0;
        while let Some((_, count)) = subjects.try_next().await.unwrap() {
            sum += u64::try_from(count).unwrap();
        }
        sum
    }

    /// All checkpoints, oldest first.
    pub(crate) async fn checkpoints(&self) -> Vec<Value> {
        let all = self.everything().await;
        all.into_iter().filter(|s| s.subject == CHECKPOINT).map(|s| s.event).collect()
    }

    /// The newest event of a NATS subject, now.
    pub(crate) async fn last(&self, subject: &str) -> Option<Stored> {
        let message = self.stream().await.get_last_raw_message_by_subject(subject).await.ok()?;
        Some(stored(&message.subject, &message.headers, &message.payload))
    }

    /// All events without checkpoints, oldest first.
    pub(crate) async fn all(&self) -> Vec<Stored> {
        let all = self.everything().await;
        all.into_iter().filter(|stored| stored.subject != CHECKPOINT).collect()
    }

    /// A cluster that has just chosen a leader may let a reading fail: then it begins anew.
    async fn everything(&self) -> Vec<Stored> {
        until("the stream is read", async || self.read().await).await
    }

    async fn read(&self) -> Option<Vec<Stored>> {
        let stream = self.jetstream.get_stream(&self.name).await.ok()?;
        let expected = usize::try_from(stream.cached_info().state.messages).unwrap();
        let config = pull::Config { ack_policy: AckPolicy::None, ..pull::Config::default() };
        let consumer = stream.create_consumer(config).await.ok()?;
        let mut found = Vec::with_capacity(expected);
        while found.len() < expected {
            let mut batch = consumer.fetch().max_messages(500).messages().await.ok()?;
            while let Some(message) = batch.next().await {
                let message = message.ok()?;
                let headers = message.headers.clone().unwrap_or_default();
                found.push(stored(&message.subject, &headers, &message.payload));
            }
        }
        Some(found)
    }

    /// The event with this message id; there must be exactly one.
    pub(crate) async fn only(&self, id: &str) -> Stored {
        let mut found: Vec<Stored> =
            self.all().await.into_iter().filter(|stored| stored.id == id).collect();
        assert_eq!(found.len(), 1, "events with the id {id}");
        found.remove(0)
    }

    /// The event of a decision, by its reply.
    pub(crate) async fn of_reply(&self, reply: &Value) -> Stored {
        self.only(reply["decision_id"].as_str().unwrap()).await
    }

    /// The violations of a decision, by its reply.
    pub(crate) async fn violations(&self, reply: &Value) -> Vec<Stored> {
        let all = self.all().await;
        all.into_iter().filter(|s| s.event["decision_id"] == reply["decision_id"]).collect()
    }

    /// Waits until it holds so many events.
    pub(crate) async fn holds(&self, count: u64) {
        let what = format!("{} holds {count} events", self.name);
        until(&what, async || (self.len().await >= count).then_some(())).await;
        assert_eq!(self.len().await, count, "events of {}", self.name);
    }

    /// Changes its limit of bytes.
    pub(crate) async fn limit(&self, max_bytes: i64) {
        let config = Config { max_bytes, ..self.config().await };
        self.jetstream.update_stream(config).await.unwrap();
    }

    async fn stream(&self) -> Stream {
        self.jetstream.get_stream(&self.name).await.unwrap()
    }
}

fn stored(subject: &str, headers: &async_nats::HeaderMap, payload: &[u8]) -> Stored {
    let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
    Stored {
        subject: subject.to_owned(),
        id: header("Nats-Msg-Id").unwrap_or_default(),
        traceparent: header("traceparent"),
        event: serde_json::from_slice(payload).unwrap_or_default(),
    }
}

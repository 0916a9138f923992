//! How the streams and their consumers stand, for `sluicegate status`.

use std::time::Duration;

use async_nats::jetstream::consumer;
use chrono::{DateTime, Utc};
use futures::TryStreamExt as _;
use serde::Serialize;

use super::connection::Connection;
use super::error::BusError;
use super::stream::{context, existing};

/// A stream as the server has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StreamOverview {
    /// Its name.
    pub name: String,
    /// Messages in it.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that it may hold; none where it has no limit.
    pub max_bytes: Option<u64>,
    /// How long it keeps a message, in seconds; none for ever.
    pub max_age_seconds: Option<u64>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Sequence and time of the oldest message; none while it is empty.
    pub first: Option<Place>,
    /// Sequence and time of the newest message; none while it is empty.
    pub last: Option<Place>,
    /// Copies it should have.
    pub replicas: usize,
    /// Servers of a cluster that hold a copy which is not up to date, or can't be reached.
    pub lagging: Vec<String>,
    /// Its durable consumers, by name.
    pub consumers: Vec<ConsumerOverview>,
}

/// A message's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its sequence.
    pub sequence: u64,
    /// When the stream took it.
    pub time: DateTime<Utc>,
}

/// A consumer as the server has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConsumerOverview {
    /// Its durable name.
    pub name: String,
    /// Messages that it has yet to deliver.
    pub pending: u64,
    /// Messages delivered and not acknowledged.
    pub unacknowledged: u64,
    /// Messages that were delivered more than once and aren't acknowledged yet.
    pub redelivered: u64,
    /// Whether somebody reads it now.
    pub active: bool,
    /// Every message up to this sequence is settled.
    pub settled: u64,
}

/// How a stream and its consumers stand; `None` when there is no such stream.
///
/// # Errors
/// When the server doesn't answer in time, or refuses.
pub async fn overview(
    connection: &Connection,
    stream: &str,
    timeout: Duration,
) -> Result<Option<StreamOverview>, BusError> {
    let asking = look(connection, stream);
    match tokio::time::timeout(timeout, asking).await {
        Ok(answer) => answer,
        Err(_) => Err(BusError::TimedOut { subject: format!("stream {stream}"), timeout }),
    }
}

async fn look(connection: &Connection, name: &str) -> Result<Option<StreamOverview>, BusError> {
    let Some(stream) = existing(&context(connection), name, "stream information").await? else {
        return Ok(None);
    };
    let mut found = stream.consumers();
    let mut consumers = Vec::new();
    while let Some(info) =
        found.try_next().await.map_err(|error| BusError::request("consumer information", &error))?
    {
        if info.config.durable_name.is_some() {
            consumers.push(standing(&info));
        }
    }
    consumers.sort_by(|a, b| a.name.cmp(&b.name));
    let info = stream.cached_info();
    let state = &info.state;
    let place = |sequence, time: async_nats::datetime::DateTime| {
        (state.messages > 0).then(|| Place { sequence, time: utc(time) })
    };
    let cluster = info.cluster.as_ref();
    let lagging = cluster.map_or_else(Vec::new, |cluster| {
        let behind = cluster.replicas.iter().filter(|peer| peer.offline || !peer.current);
        behind.map(|peer| peer.name.clone()).collect()
    });
    Ok(Some(StreamOverview {
        name: name.to_owned(),
        messages: state.messages,
        bytes: state.bytes,
        max_bytes: u64::try_from(info.config.max_bytes).ok().filter(|bytes| *bytes > 0),
        max_age_seconds: Some(info.config.max_age.as_secs()).filter(|age| *age > 0),
        created: utc(info.created),
        first: place(state.first_sequence, state.first_timestamp),
        last: place(state.last_sequence, state.last_timestamp),
        replicas: info.config.num_replicas,
        lagging,
        consumers,
    }))
}

fn standing(info: &consumer::Info) -> ConsumerOverview {
    let pinned = info
        .priority_groups
        .iter()
        .any(|group| group.pinned_client_id.as_ref().is_some_and(|pin| !pin.is_empty()));
    ConsumerOverview {
        name: info.name.clone(),
        pending: info.num_pending,
        unacknowledged: info.num_ack_pending as u64,
        redelivered: info.num_redelivered as u64,
        active: pinned || info.num_waiting > 0,
        settled: info.ack_floor.stream_sequence,
    }
}

/// The server's time in our own type; the beginning of 1970 for what no type of ours can hold.
fn utc(time: async_nats::datetime::DateTime) -> DateTime<Utc> {
    i64::try_from(time.unix_timestamp_nanos() / 1_000)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .unwrap_or_default()
}

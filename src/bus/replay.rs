//! A stream read from its beginning to its end as it is now, leaving nothing behind on the server.

use std::time::Duration;

use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull;
use bytes::Bytes;
use futures::StreamExt as _;

use super::connection::Connection;
use super::error::BusError;
use super::stream::context;

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// Its NATS subject.
    pub subject: String,
    /// Its sequence.
    pub sequence: u64,
    /// Its body.
    pub payload: Bytes,
}

/// Gives every message of a stream on a NATS subject, oldest first. Returns how many there were.
/// `silence` is the longest time without a message.
///
/// # Errors
/// When the server doesn't answer, or falls silent before the end.
pub async fn replay(
    connection: &Connection,
    stream: &str,
    filter: &str,
    silence: Duration,
    mut each: impl FnMut(Replayed),
) -> Result<u64, BusError> {
    const WHAT: &str = "reading the stream";
    let failed = |error: &dyn std::fmt::Display| BusError::request(WHAT, &error.to_string());
    let stream = context(connection).get_stream(stream).await.map_err(|e| failed(&e))?;
    let config = pull::OrderedConfig {
        deliver_policy: DeliverPolicy::All,
        filter_subject: filter.to_owned(),
        ..pull::OrderedConfig::default()
    };
    let consumer = stream.create_consumer(config).await.map_err(|e| failed(&e))?;
    let mut left = consumer.cached_info().num_pending;
    let mut count = 0;
    if left == 0 {
        return Ok(count);
    }
    let mut messages = consumer.messages().await.map_err(|e| failed(&e))?;
    while left > 0 {
        let message = match tokio::time::timeout(silence, messages.next()).await {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => return Err(failed(&error)),
            Ok(None) => return Err(failed(&"it ended")),
            Err(_) => return Err(failed(&format!("{left} messages don't come"))),
        };
        let info = message.info().map_err(|e| failed(&e))?;
        let (sequence, pending) = (info.stream_sequence, info.pending);
        left = pending;
        count += 1;
        let message = message.message;
        each(Replayed { subject: message.subject.to_string(), sequence, payload: message.payload });
    }
    Ok(count)
}

//! What `sluicegate bench` needs of NATS: an echo to compare with, and streams that go away again.

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::DeleteStreamErrorKind;
use bytes::Bytes;
use futures::StreamExt;
use tokio::task::JoinHandle;

use super::bucket::Bucket;
use super::connection::Connection;
use super::error::BusError;
use super::stream::context;
use super::subjects::bucket_stream;
use crate::config::Stream;

/// What the names of a benchmark's streams and buckets begin with; no other is ever removed.
pub const STREAM_PREFIX: &str = "bench-";

/// Answers every request on one NATS subject with the same bytes, and does nothing else: the
/// least that a request over NATS can cost. Ends when dropped.
#[derive(Debug)]
pub struct Echo {
    task: JoinHandle<()>,
}

impl Echo {
    /// Subscribes, and answers from now on.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn start(
        connection: &Connection,
        subject: String,
        reply: Bytes,
    ) -> Result<Self, BusError> {
        let client = connection.client.clone();
        let mut requests =
            client.subscribe(subject).await.map_err(|e| BusError::request("subscribe", &e))?;
        // Those who ask do so over other connections: the server must know of us first.
        connection.flush().await?;
        let task = tokio::spawn(async move {
            while let Some(request) = requests.next().await {
                if let Some(inbox) = request.reply
                    && client.publish(inbox, reply.clone()).await.is_err()
                {
                    return;
                }
            }
        });
        Ok(Self { task })
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Removes the streams of a benchmark with all that they hold. Missing ones are no error.
///
/// # Errors
/// When the server doesn't answer or refuses, or when a name isn't a benchmark's.
pub async fn remove_streams(connection: &Connection, settings: &Stream) -> Result<(), BusError> {
    for name in [&settings.name, &settings.dead_letter_name] {
        remove(connection, name, name.clone()).await?;
    }
    Ok(())
}

/// Removes a key-value bucket of a benchmark with all that it holds. A missing one is no error.
///
/// # Errors
/// As [`remove_streams`].
pub async fn remove_bucket(connection: &Connection, bucket: &str) -> Result<(), BusError> {
    remove(connection, bucket, bucket_stream(bucket)).await
}

impl Bucket {
    /// The same bucket over another connection: watchers that share one would also share its turns.
    #[must_use]
    pub fn over(&self, connection: &Connection) -> Self {
        Self::new(connection, self.name())
    }
}

/// Empties the stream of a benchmark.
///
/// # Errors
/// When its name isn't that of a benchmark's, or the server refuses.
pub async fn purge_stream(connection: &Connection, stream: &str) -> Result<(), BusError> {
    let refused = |reason: String| BusError::Stream {
        stream: stream.to_owned(),
        reason: format!("not emptied: {reason}"),
        transient: false,
    };
    if !stream.starts_with(STREAM_PREFIX) {
        return Err(refused(format!("its name doesn't begin with {STREAM_PREFIX}")));
    }
    let stream = context(connection).get_stream(stream).await;
    let stream = stream.map_err(|error| refused(error.to_string()))?;
    stream.purge().await.map_err(|error| refused(error.to_string()))?;
    Ok(())
}

async fn remove(connection: &Connection, name: &str, stream: String) -> Result<(), BusError> {
    if !name.starts_with(STREAM_PREFIX) {
        return Err(BusError::Stream {
            stream,
            reason: format!("not removed: its name doesn't begin with {STREAM_PREFIX}"),
            transient: false,
        });
    }
    match context(connection).delete_stream(stream).await {
        Ok(_) => Ok(()),
        Err(error) => match error.kind() {
            DeleteStreamErrorKind::JetStream(server)
                if server.error_code() == ErrorCode::STREAM_NOT_FOUND =>
            {
                Ok(())
            }
            _ => Err(BusError::request("removing a stream", &error)),
        },
    }
}

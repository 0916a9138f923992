//! Publishing single messages to a stream, each with its acknowledgement.

use std::fmt;

use async_nats::jetstream;
use async_nats::jetstream::context::PublishErrorKind;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use uuid::Uuid;

use super::connection::Connection;
use super::error::BusError;
use super::letters::EVENT_ID;
use super::stream::context;

/// Publishes to streams. Cheap to clone.
#[derive(Clone)]
pub struct Publisher {
    context: jetstream::Context,
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl Publisher {
    /// A publisher on a connection.
    #[must_use]
    pub fn new(connection: &Connection) -> Self {
        Self { context: context(connection) }
    }

    /// Publishes and waits until a stream has it. The same id again is stored once, for as long as the
    /// stream remembers ids. Gives back whether the stream knew the id already.
    ///
    /// # Errors
    /// When no stream takes it. It may be stored all the same: the same call again settles it.
    pub async fn publish(&self, subject: &str, id: &str, payload: Bytes) -> Result<bool, BusError> {
        let message = PublishMessage::build().message_id(id).payload(payload.clone());
        self.send(subject, message, payload.len()).await
    }

    /// The same for an event whose own id belongs to another message of the stream already: it goes by
    /// a message id of its own, and a header says which event it is.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub async fn publish_as(
        &self,
        subject: &str,
        message_id: &str,
        event: Uuid,
        payload: Bytes,
    ) -> Result<bool, BusError> {
        let message = PublishMessage::build()
            .message_id(message_id)
            .header(EVENT_ID, event.to_string().as_str())
            .payload(payload.clone());
        self.send(subject, message, payload.len()).await
    }

    async fn send(
        &self,
        subject: &str,
        message: PublishMessage,
        bytes: usize,
    ) -> Result<bool, BusError> {
        let acknowledged = match self.context.send_publish(subject.to_owned(), message).await {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        acknowledged.map(|ack| ack.duplicate).map_err(|error| {
            if error.kind() == PublishErrorKind::MaxPayloadExceeded {
                BusError::TooLarge { subject: subject.to_owned(), bytes }
            } else {
                BusError::request("publishing", &error)
            }
        })
    }
}

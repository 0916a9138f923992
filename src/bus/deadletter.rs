//! Events that can never be stored: kept aside in a stream of their own, with the reason, so that
//! they block nobody and nothing is lost.
//!
//! The body is the event as it came, the headers say the rest.

use std::fmt;

use async_nats::jetstream;
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::connection::Connection;
use super::error::BusError;
use super::stream::context;
use super::subjects::Subjects;

/// Why the event can't be stored: one of a few words, as in the metrics.
pub const REASON: &str = "Sluicegate-Reason";
/// The same in a sentence.
pub const DETAIL: &str = "Sluicegate-Detail";
/// The NATS subject it came on.
pub const SUBJECT: &str = "Sluicegate-Subject";
/// The stream it came from.
pub const STREAM: &str = "Sluicegate-Stream";
/// When that stream was created.
pub const EPOCH: &str = "Sluicegate-Stream-Epoch";
/// Its sequence there.
pub const SEQUENCE: &str = "Sluicegate-Stream-Sequence";
/// When that stream took it.
pub const PUBLISHED: &str = "Sluicegate-Published";
/// How many bytes it has, where the body holds only its beginning.
pub const TRUNCATED: &str = "Sluicegate-Truncated";

/// Characters of a detail: headers count towards the size of a message.
const LONGEST_DETAIL: usize = 500;
/// Room for the headers in the largest message that a server takes.
const HEADERS: usize = 4_096;

/// An event that can never be stored.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The table it was meant for.
    pub table: &'static str,
    /// Why, in one of a few words.
    pub reason: &'static str,
    /// Why, in a sentence.
    pub detail: String,
    /// The NATS subject it came on.
    pub subject: String,
    /// When its stream was created.
    pub epoch: DateTime<Utc>,
    /// Its sequence in the stream.
    pub sequence: u64,
    /// When the stream took it.
    pub published: DateTime<Utc>,
    /// The event as it came.
    pub payload: Bytes,
}

/// Publishes dead letters.
#[derive(Clone)]
pub struct DeadLetters {
    connection: Connection,
    context: jetstream::Context,
    subjects: Subjects,
    /// The stream that events come from.
    stream: String,
}

impl fmt::Debug for DeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeadLetters").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl DeadLetters {
    /// For events of `stream`.
    #[must_use]
    pub fn new(connection: &Connection, subjects: Subjects, stream: impl Into<String>) -> Self {
        Self {
            connection: connection.clone(),
            context: context(connection),
            subjects,
            stream: stream.into(),
        }
    }

    /// Puts an event aside and waits until its stream has it. The same event again is stored once,
    /// for as long as the stream remembers ids.
    ///
    /// # Errors
    /// When the stream doesn't take it. Its events stay where they are until it does.
    pub async fn publish(&self, letter: &DeadLetter) -> Result<(), BusError> {
        let epoch = letter.epoch.timestamp_micros();
        let room = self.connection.max_payload().saturating_sub(HEADERS);
        let mut message = PublishMessage::build()
            .message_id(format!("dl-{epoch}-{}", letter.sequence))
            .header(REASON, letter.reason)
            .header(DETAIL, one_line(&letter.detail).as_str())
            .header(SUBJECT, one_line(&letter.subject).as_str())
            .header(STREAM, self.stream.as_str())
            .header(EPOCH, letter.epoch.to_rfc3339().as_str())
            .header(SEQUENCE, letter.sequence.to_string().as_str())
            .header(PUBLISHED, letter.published.to_rfc3339().as_str());
        if letter.payload.len() > room {
            // The whole event stays in its own stream until its time is over.
            message = message
                .header(TRUNCATED, letter.payload.len().to_string().as_str())
                .payload(letter.payload.slice(..room));
        } else {
            message = message.payload(letter.payload.clone());
        }
        let subject = self.subjects.dead_letter(letter.table);
        let acknowledged = match self.context.send_publish(subject, message).await {
            Ok(pending) => pending.await,
            Err(error) => Err(error),
        };
        acknowledged.map(|_| ()).map_err(|error| BusError::request("dead letter", &error))
    }
}

/// Headers are lines: whatever would end one becomes a space.
fn one_line(text: &str) -> String {
    text.chars()
        .take(LONGEST_DETAIL)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn a_header_is_one_line() {
        assert_eq!(one_line("a\r\nb\0c"), "a  b c");
        assert_eq!(one_line(&"é".repeat(2_000)).chars().count(), 500);
    }
}

//! Dead letters, read: found, shown, and given back to the audit stream once their cause is mended.

use std::collections::VecDeque;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{PublishError, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use async_nats::jetstream::stream::{RawMessageErrorKind, Stream};
use async_nats::jetstream::{self, ErrorCode};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::connection::Connection;
use super::consumer::utc;
use super::deadletter::{DETAIL, EPOCH, PUBLISHED, REASON, SEQUENCE, STREAM, SUBJECT, TRUNCATED};
use super::error::BusError;
use super::stream::context;
use super::subjects::{Subjects, text};
use crate::config;

/// The header of a message that was a dead letter: its number.
pub const REPLAYED: &str = "Sluicegate-Replayed";

/// The header that has the event's id where the message id is another one.
pub const EVENT_ID: &str = "Sluicegate-Event-Id";

/// Letters asked for at once.
const FETCH: usize = 1_000;

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Letter {
    /// Its number: the sequence in the stream of dead letters.
    pub number: u64,
    /// When it was put aside.
    pub time: DateTime<Utc>,
    /// The table it was meant for.
    pub table: String,
    /// Why it couldn't be stored, in a word.
    pub reason: String,
    /// The same in a sentence.
    pub detail: String,
    /// The NATS subject it came on.
    pub subject: String,
    /// The stream it came from.
    pub stream: String,
    /// When that stream was created.
    pub stream_epoch: Option<DateTime<Utc>>,
    /// Its sequence there.
    pub stream_sequence: Option<u64>,
    /// When that stream took it.
    pub published: Option<DateTime<Utc>>,
    /// Bytes of the body that is kept.
    pub size: usize,
    /// Bytes that the body had, where only its beginning is kept.
    pub truncated_from: Option<usize>,
}

/// Which letters. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only of this reason.
    pub reason: Option<String>,
    /// Only of this table.
    pub table: Option<String>,
    /// Put aside then or later.
    pub since: Option<DateTime<Utc>>,
}

/// What became of a letter that was to be replayed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "why", rename_all = "snake_case")]
pub enum Replay {
    /// The audit stream has it again, and it is no dead letter any more.
    Replayed,
    /// It could be replayed; nothing was done.
    Possible,
    /// It can't be, and why, with the way out.
    Refused(String),
    /// There is no such letter (any more).
    Gone,
}

/// Reads dead letters.
#[derive(Clone)]
pub struct Letters {
    context: jetstream::Context,
    subjects: Subjects,
    settings: config::Stream,
    timeout: Duration,
}

impl std::fmt::Debug for Letters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Letters").field("stream", &self.settings.dead_letter_name).finish()
    }
}

impl Letters {
    /// The dead letters of this configuration.
    #[must_use]
    pub fn new(connection: &Connection, config: &config::Config) -> Self {
        Self {
            context: context(connection),
            subjects: Subjects::new(&config.nats.subject_prefix),
            settings: config.stream.clone(),
            timeout: config.nats.request_timeout,
        }
    }

    /// The newest letters, newest first, at most so many, and how many there are in all. Bodies are
    /// not read.
    ///
    /// # Errors
    /// When the server doesn't answer in time, or there is no such stream.
    pub async fn list(
        &self,
        filter: &LetterFilter,
        most: usize,
    ) -> Result<(Vec<Letter>, u64), BusError> {
        let stream = self.stream(&self.settings.dead_letter_name).await?;
        let mut config = pull::Config {
            ack_policy: AckPolicy::None,
            headers_only: true,
            inactive_threshold: self.timeout.saturating_mul(4),
            memory_storage: true,
            ..pull::Config::default()
        };
        if let Some(since) = filter.since {
            let nanos = i128::from(since.timestamp_micros()) * 1_000;
            let start_time = async_nats::datetime::from_nanos(nanos)
                .map_err(|error| BusError::request("reading a time", &error))?;
            config.deliver_policy = DeliverPolicy::ByStartTime { start_time };
        }
        if let Some(table) = &filter.table {
            config.filter_subject = self.subjects.dead_letter(table);
        }
        let failed =
            |error: &dyn std::fmt::Display| BusError::request("reading dead letters", &error);
        let mut consumer = stream.create_consumer(config).await.map_err(|error| failed(&error))?;
        let mut left = consumer.cached_info().num_pending;
        let mut silent = tokio::time::Instant::now();
        let (mut newest, mut found) = (VecDeque::new(), 0);
        while left > 0 {
            // What is there now, without waiting for more.
            let batch = consumer.fetch().max_messages(FETCH).messages();
            let mut batch = batch.await.map_err(|error| failed(&error))?;
            let mut came = false;
            while let Some(message) = batch.next().await {
                let message = message.map_err(|error| failed(&error))?;
                let info = message.info().map_err(|error| failed(&error))?;
                (left, came) = (info.pending, true);
                let Ok(time) = utc(info.published) else { continue };
                let headers = message.headers.clone().unwrap_or_default();
                let size = number(&headers, "Nats-Msg-Size").unwrap_or_default();
                let letter =
                    self.letter(info.stream_sequence, time, &message.subject, &headers, size);
                if filter.reason.as_ref().is_some_and(|reason| *reason != letter.reason) {
                    continue;
                }
                found += 1;
                newest.push_front(letter);
                newest.truncate(most);
            }
            if came {
                silent = tokio::time::Instant::now();
            } else {
                // Letters that were counted may have been removed since.
                left = consumer.info().await.map_err(|error| failed(&error))?.num_pending;
            }
            if left > 0 && silent.elapsed() > self.timeout {
                return Err(failed(&"the server fell silent"));
            }
        }
        Ok((newest.into(), found))
    }

    /// A letter with its body; none where there is no such letter.
    ///
    /// # Errors
    /// When the server doesn't answer, or there is no such stream.
    pub async fn get(&self, number: u64) -> Result<Option<(Letter, Bytes)>, BusError> {
        let stream = self.stream(&self.settings.dead_letter_name).await?;
        let message = match stream.get_raw_message(number).await {
            Ok(message) => message,
            Err(error) if is_gone(error.kind()) => return Ok(None),
            Err(error) => return Err(BusError::request("reading a dead letter", &error)),
        };
        let (time, size) = (utc(message.time)?, message.payload.len());
        let letter = self.letter(number, time, &message.subject, &message.headers, size);
        Ok(Some((letter, message.payload)))
    }

    /// The whole body of a letter that was cut, if its own stream still has it.
    ///
    /// # Errors
    /// When the server doesn't answer.
    pub async fn whole(&self, letter: &Letter) -> Result<Option<Bytes>, BusError> {
        let (Some(epoch), Some(sequence)) = (letter.stream_epoch, letter.stream_sequence) else {
            return Ok(None);
        };
        if letter.stream != self.settings.name {
            return Ok(None);
        }
        let stream = self.stream(&letter.stream).await?;
        // A stream that was made anew gives the same sequence to another event.
        if utc(stream.cached_info().created)? != epoch {
            return Ok(None);
        }
        match stream.get_raw_message(sequence).await {
            Ok(message) => {
                Ok((message.subject.as_str() == letter.subject).then_some(message.payload))
            }
            Err(error) if is_gone(error.kind()) => Ok(None),
            Err(error) => Err(BusError::request("reading the event", &error)),
        }
    }

    /// Gives a letter back to the audit stream, and removes it when the stream has it. With `dry_run`
    /// only says whether that is possible.
    ///
    /// The message has an id of its own: under the event's id the stream may remember the original,
    /// and would deliver nothing. The sink looks a replayed event up by its id before it stores it, so
    /// one event stays one row.
    ///
    /// # Errors
    /// When the server doesn't answer, or the stream doesn't take it. The same call again is safe.
    pub async fn replay(&self, number: u64, dry_run: bool) -> Result<Replay, BusError> {
        let Some((letter, body)) = self.get(number).await? else { return Ok(Replay::Gone) };
        if let Some(why) = self.refusal(&letter) {
            return Ok(Replay::Refused(why));
        }
        let body = match letter.truncated_from {
            None => body,
            Some(bytes) => match self.whole(&letter).await? {
                Some(body) if body.len() == bytes => body,
                _ => {
                    return Ok(Replay::Refused(format!(
                        "only its beginning is kept, and the stream {} has the event no more",
                        letter.stream
                    )));
                }
            },
        };
        if dry_run {
            return Ok(Replay::Possible);
        }
        // The time tells letters of one number apart, should their stream be made anew.
        let id = format!("replay-{}-{number}", letter.time.timestamp_micros());
        let plain = PublishMessage::build()
            .message_id(id)
            .expected_stream(&self.settings.name)
            .header(REPLAYED, number.to_string().as_str())
            .payload(body.clone());
        // For whoever compares rows with the stream: which event it is, and where it stood.
        let mut message = plain.clone();
        if let Some(event) = event_id(&body) {
            message = message.header(EVENT_ID, event.to_string().as_str());
        }
        if let (Some(epoch), Some(sequence)) = (letter.stream_epoch, letter.stream_sequence) {
            message = message
                .header(EPOCH, epoch.to_rfc3339().as_str())
                .header(SEQUENCE, sequence.to_string().as_str());
        }
        let mut acknowledged = self.publish(&letter.subject, message).await;
        if let Err(error) = &acknowledged
            && error.kind() == PublishErrorKind::MaxPayloadExceeded
        {
            // An event so large has no room for them. Better stored than explained.
            acknowledged = self.publish(&letter.subject, plain).await;
        }
        // A duplicate was published by a replay that ended before it removed the letter.
        acknowledged.map_err(|error| BusError::request("replaying a dead letter", &error))?;
        let stream = self.stream(&self.settings.dead_letter_name).await?;
        if let Err(error) = stream.delete_message(number).await
            // Somebody else who replays may have been quicker.
            && self.get(number).await?.is_some()
        {
            return Err(BusError::request("removing a dead letter", &error));
        }
        Ok(Replay::Replayed)
    }

    async fn publish(
        &self,
        subject: &str,
        message: PublishMessage,
    ) -> Result<PublishAck, PublishError> {
        self.context.send_publish(subject.to_owned(), message).await?.await
    }

    fn refusal(&self, letter: &Letter) -> Option<String> {
        if letter.subject.starts_with("$KV.") {
            return Some(
                "it came from a bucket: put back, it would overwrite what was changed since; \
                 look at it with `sluicegate deadletter show`, and store the policy with \
                 `sluicegate policy put` or turn the switch with `sluicegate enforcement`"
                    .to_owned(),
            );
        }
        if letter.stream != self.settings.name {
            return Some(format!(
                "it came from the stream {}, and the audit stream is {} (setting stream.name)",
                letter.stream, self.settings.name
            ));
        }
        (!self.subjects.is_audit(&letter.subject)).then(|| {
            format!(
                "the audit stream has no subject {:?} (setting nats.subject_prefix)",
                letter.subject
            )
        })
    }

    fn letter(
        &self,
        number_: u64,
        time: DateTime<Utc>,
        subject: &str,
        headers: &HeaderMap,
        size: usize,
    ) -> Letter {
        let word =
            |name: &str| headers.get(name).map(|v| v.as_str().to_owned()).unwrap_or_default();
        let when = |name: &str| word(name).parse::<DateTime<Utc>>().ok();
        let all = self.subjects.dead_letters();
        let table = subject.strip_prefix(all.trim_end_matches('>')).unwrap_or(subject);
        Letter {
            number: number_,
            time,
            table: text(table).unwrap_or_else(|| table.to_owned()),
            reason: word(REASON),
            detail: word(DETAIL),
            subject: word(SUBJECT),
            stream: word(STREAM),
            stream_epoch: when(EPOCH),
            stream_sequence: number(headers, SEQUENCE),
            published: when(PUBLISHED),
            size,
            truncated_from: number(headers, TRUNCATED),
        }
    }

    async fn stream(&self, name: &str) -> Result<Stream, BusError> {
        self.context.get_stream(name).await.map_err(|error| BusError::Stream {
            stream: name.to_owned(),
            reason: error.to_string(),
            transient: true,
        })
    }
}

fn number<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Option<T> {
    headers.get(name)?.as_str().parse().ok()
}

fn is_gone(kind: RawMessageErrorKind) -> bool {
    matches!(kind, RawMessageErrorKind::NoMessageFound)
        || matches!(kind, RawMessageErrorKind::JetStream(error)
            if error.error_code() == ErrorCode::NO_MESSAGE_FOUND)
}

/// The id of an event, if its body is one.
fn event_id(body: &[u8]) -> Option<Uuid> {
    #[derive(Deserialize)]
    struct Event {
        id: Uuid,
    }
    serde_json::from_slice::<Event>(body).ok().map(|event| event.id)
}

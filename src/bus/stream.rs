//! The streams: created and reconciled with the configuration at start.

use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, RetentionPolicy, StorageType, Stream as NatsStream,
};
use async_nats::jetstream::{self, ErrorCode};

use super::connection::Connection;
use super::error::BusError;
use super::subjects::Subjects;
use crate::config::Stream;

/// A JetStream context for management and consumers.
#[must_use]
pub(super) fn context(connection: &Connection) -> jetstream::Context {
    ContextBuilder::new().backpressure_on_inflight(false).build(connection.client.clone())
}

/// A stream as it stands; none where the server has no stream of that name. `what` completes the error.
pub(super) async fn existing(
    context: &jetstream::Context,
    name: &str,
    what: &'static str,
) -> Result<Option<NatsStream>, BusError> {
    use jetstream::context::GetStreamErrorKind as Kind;

    match context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream)),
        Err(error) => match error.kind() {
            Kind::JetStream(server) if server.error_code() == ErrorCode::STREAM_NOT_FOUND => {
                Ok(None)
            }
            _ => Err(BusError::request(what, &error)),
        },
    }
}

/// Creates the audit stream and the stream of dead letters, or changes their limits to what the
/// configuration says.
///
/// Both refuse new messages when full rather than forget old ones: the default policy of a stream
/// throws away acknowledged events that nobody has read yet.
///
/// # Errors
/// When the server has no JetStream or refuses.
pub async fn ensure(
    connection: &Connection,
    settings: &Stream,
    subjects: &Subjects,
) -> Result<(), BusError> {
    let audit = Config {
        name: settings.name.clone(),
        description: Some("Every decision and violation, until ClickHouse has it".into()),
        subjects: subjects.audit(),
        max_bytes: bytes(settings.max_bytes.as_u64()),
        max_age: settings.max_age,
        max_message_size: message_size(settings),
        duplicate_window: settings.duplicate_window,
        ..base(settings)
    };
    let dead_letters = Config {
        name: settings.dead_letter_name.clone(),
        description: Some("Events that could not be stored, with the reason".into()),
        subjects: vec![subjects.dead_letters()],
        max_bytes: bytes(settings.dead_letter_max_bytes.as_u64()),
        duplicate_window: settings.duplicate_window,
        ..base(settings)
    };
    let context = context(connection);
    for config in [audit, dead_letters] {
        let stream = config.name.clone();
        if let Err(error) = context.create_or_update_stream(config).await {
            return Err(refused(connection, stream, &error));
        }
    }
    Ok(())
}

/// Why a stream can't be made what the configuration says.
pub(super) fn refused(
    connection: &Connection,
    stream: String,
    error: &jetstream::context::CreateStreamError,
) -> BusError {
    use jetstream::context::CreateStreamErrorKind as Kind;

    match error.kind() {
        Kind::JetStreamUnavailable => BusError::NoJetStream { url: connection.url.clone() },
        Kind::JetStream(server) if server.error_code() == ErrorCode::STORAGE_RESOURCES_EXCEEDED => {
            let reason = format!(
                "{server}: the server's disk has less room than the stream may grow to; free some, \
                 or lower the settings stream.max_bytes, stream.dead_letter_max_bytes and \
                 policies.max_bytes"
            );
            BusError::Stream { stream, reason, transient: true }
        }
        Kind::JetStream(server)
            if server.error_code() == ErrorCode::STREAM_REPLICAS_NOT_SUPPORTED =>
        {
            let reason = format!(
                "{server}: {} is a single server, which keeps one copy; connect to a NATS cluster, \
                 or set stream.replicas = 1",
                connection.url
            );
            BusError::Stream { stream, reason, transient: false }
        }
        Kind::JetStream(server) if server.error_code() == ErrorCode::CLUSTER_NO_PEERS => {
            let reason = format!(
                "{server}: the NATS cluster has fewer servers that can hold the stream than \
                 stream.replicas; start the missing ones, make room on their disks, or lower the \
                 setting"
            );
            BusError::Stream { stream, reason, transient: true }
        }
        Kind::JetStream(server) => BusError::Stream {
            stream,
            transient: server.error_code() == ErrorCode::CLUSTER_NOT_AVAILABLE
                || server.code() == 503,
            reason: server.to_string(),
        },
        Kind::TimedOut | Kind::Response => {
            BusError::Stream { stream, reason: error.to_string(), transient: true }
        }
        _ => BusError::Stream { stream, reason: error.to_string(), transient: false },
    }
}

/// Whether the server has both streams, whatever their limits.
///
/// # Errors
/// When the server doesn't answer.
pub async fn exist(connection: &Connection, settings: &Stream) -> Result<bool, BusError> {
    let context = context(connection);
    for name in [&settings.name, &settings.dead_letter_name] {
        if existing(&context, name, "stream information").await?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Creates the streams where one is missing. Leaves them alone that are there: an operator who enlarges a
/// full one must not find it small again because somebody connected.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_exist(
    connection: &Connection,
    settings: &Stream,
    subjects: &Subjects,
) -> Result<(), BusError> {
    if exist(connection, settings).await? {
        return Ok(());
    }
    ensure(connection, settings, subjects).await
}

fn base(settings: &Stream) -> Config {
    Config {
        retention: RetentionPolicy::Limits,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: settings.replicas,
        ..Config::default()
    }
}

fn bytes(limit: u64) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

fn message_size(settings: &Stream) -> i32 {
    i32::try_from(settings.max_message_size.as_u64()).unwrap_or(i32::MAX)
}

/// What the audit stream holds now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamState {
    /// Events.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Sequence of the newest.
    pub last_sequence: u64,
    /// Time of the oldest, in seconds since 1970; none when empty.
    pub oldest: Option<i64>,
}

/// Asks the server what a stream holds.
///
/// # Errors
/// When the server doesn't answer or has no such stream.
pub async fn state(connection: &Connection, stream: &str) -> Result<StreamState, BusError> {
    let mut stream = context(connection)
        .get_stream(stream)
        .await
        .map_err(|e| BusError::request("stream information", &e))?;
    let info = stream.info().await.map_err(|e| BusError::request("stream information", &e))?;
    Ok(StreamState {
        messages: info.state.messages,
        bytes: info.state.bytes,
        last_sequence: info.state.last_sequence,
        oldest: (info.state.messages > 0).then(|| info.state.first_timestamp.unix_timestamp()),
    })
}

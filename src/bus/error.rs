//! What can go wrong with NATS, and whether trying again may help.

/// What can go wrong with NATS.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection.
    #[error("NATS at {url} can't be reached: {reason}")]
    Connect {
        /// Where.
        url: String,
        /// Why.
        reason: String,
    },
    /// Settings by which no connection can be made.
    #[error("setting {setting}: {reason}")]
    Setting {
        /// Which one.
        setting: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The server has no JetStream.
    #[error(
        "the NATS server at {url} has no JetStream, which holds the audit; start it with \
         `nats-server -js` or a `jetstream` block in its configuration"
    )]
    NoJetStream {
        /// Where.
        url: String,
    },
    /// A stream exists and can't be made what the configuration says.
    #[error("stream {stream}: {reason}")]
    Stream {
        /// Its name.
        stream: String,
        /// What the server says.
        reason: String,
        /// Whether the server may say otherwise later.
        transient: bool,
    },
    /// A request to the server failed.
    #[error("{what}: {reason}")]
    Request {
        /// What was asked.
        what: &'static str,
        /// What came back.
        reason: String,
    },
    /// Nobody answers on a subject.
    #[error(
        "nobody answers on {subject}; is a worker running? (`sluicegate worker`, or `make up`)"
    )]
    NoResponders {
        /// The NATS subject.
        subject: String,
    },
    /// No answer within the time.
    #[error("no answer on {subject} within {timeout:?}")]
    TimedOut {
        /// The NATS subject.
        subject: String,
        /// How long was waited.
        timeout: std::time::Duration,
    },
    /// The event is larger than the server or the stream takes.
    #[error("an event of {bytes} bytes for {subject} is larger than the server takes")]
    TooLarge {
        /// Where it should go.
        subject: String,
        /// Its bytes.
        bytes: usize,
    },
}

impl BusError {
    /// Whether trying again may help without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. }
            | Self::Request { .. }
            | Self::NoResponders { .. }
            | Self::TimedOut { .. } => true,
            Self::Stream { transient, .. } => *transient,
            Self::Setting { .. } | Self::NoJetStream { .. } | Self::TooLarge { .. } => false,
        }
    }

    /// A failed request.
    pub(super) fn request(what: &'static str, reason: &impl std::fmt::Display) -> Self {
        Self::Request { what, reason: reason.to_string() }
    }
}

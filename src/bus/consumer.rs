//! A durable consumer of a stream that one process at a time reads: whoever is pinned is given
//! messages, the others stand by and take over when it falls silent. Or one that several share: then
//! each message goes to one of them, and to another where that doesn't acknowledge it in time.
//!
//! A [`Session`] is one uninterrupted reading. Whatever may have made the server and us differ about
//! what was delivered (a reconnection, a consumer or stream made anew) ends it, and the next one
//! begins at the first message that nobody acknowledged.

mod acks;
mod delivered;

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::consumer::{
    AckPolicy, Consumer as NatsConsumer, DeliverPolicy, PriorityPolicy,
};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::Stream as NatsStream;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;

pub use acks::{Acks, Ticket};
pub use delivered::Delivered;

use self::delivered::delivered;
use super::connection::Connection;
use super::error::BusError;
use super::stream::context;

/// The one priority group of a consumer: the server pins a client per group.
const GROUP: &str = "active";

/// What a consumer should be.
#[derive(Clone, Debug)]
pub struct ConsumerSettings {
    /// The stream it reads.
    pub stream: String,
    /// Its durable name.
    pub name: String,
    /// The NATS subjects it is given.
    pub filter: String,
    /// How long the server waits for an acknowledgement before it delivers again.
    pub ack_wait: Duration,
    /// Messages that may wait for their acknowledgement at once.
    pub max_ack_pending: usize,
    /// How long the pinned process may be silent before another takes over.
    pub takeover: Duration,
    /// Messages asked for at once.
    pub pull_messages: usize,
    /// Bytes asked for at once; must hold the largest message.
    pub pull_bytes: usize,
    /// How far back a consumer that is made anew begins; none means with all that the stream has.
    pub begin: Option<Duration>,
    /// Whether what was not acknowledged comes again at once when reading begins, with all that was
    /// delivered after it; else it comes after the wait for its acknowledgement, and alone.
    pub rewind: bool,
    /// Whether several processes read at once: nobody is pinned, and nothing is taken back.
    pub shared: bool,
}

/// What a session brings.
#[derive(Debug)]
pub enum Delivery {
    /// This process is the one that reads, from now or again: another may have read before.
    Pinned,
    /// A message.
    Message(Box<Delivered>),
}

/// How far a consumer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Messages that it has yet to deliver or to see acknowledged.
    pub lag: u64,
    /// Whether this process is known to be the one that reads: it is told with the first message.
    pub reads: bool,
    /// Of every message up to this sequence is known what became of it: none of them comes again.
    pub settled: u64,
}

/// A durable consumer, wherever it stands.
#[derive(Debug)]
pub struct Consumer {
    connection: Connection,
    context: jetstream::Context,
    settings: ConsumerSettings,
    /// The pin that this process was last given.
    pin: Option<String>,
}

/// One uninterrupted reading.
pub struct Session {
    /// When the stream was created: what its sequences are relative to.
    pub epoch: DateTime<Utc>,
    consumer: NatsConsumer<pull::Config>,
    messages: pull::Stream,
    connection: Connection,
    /// How often the client had connected when the session began.
    connects: u64,
    pin: Option<String>,
    /// A message that came with a new pin, to be given after the word of it.
    held: Option<Box<Delivered>>,
}

impl Consumer {
    /// A consumer on a connection; asks the server nothing yet.
    #[must_use]
    pub fn new(connection: &Connection, settings: ConsumerSettings) -> Self {
        Self { connection: connection.clone(), context: context(connection), settings, pin: None }
    }

    /// Its durable name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// How its messages are acknowledged.
    #[must_use]
    pub fn acks(&self, timeout: Duration) -> Acks {
        Acks::new(&self.connection, timeout)
    }

    /// Creates the consumer on the server or makes it what the settings say, takes it back to what
    /// was not acknowledged, and begins to read.
    ///
    /// # Errors
    /// When the server doesn't answer or refuses.
    pub async fn open(&mut self) -> Result<Session, BusError> {
        let connects = connects(&self.connection);
        let stream = self.stream().await?;
        let epoch = utc(stream.cached_info().created)?;
        let mut config = self.config();
        config.deliver_policy = self.begins(&stream).await?;
        let mut consumer = stream
            .create_consumer(config)
            .await
            .map_err(|error| self.refused(&error.to_string(), false))?;
        self.take_back(&stream, &mut consumer).await;
        // The pin is lost when no pull arrives for the time of taking over.
        let expires = (self.settings.takeover / 2).max(Duration::from_secs(1));
        let mut pull = consumer.stream();
        if !self.settings.shared {
            pull = pull.group(GROUP);
        }
        let messages = pull
            .max_messages_per_batch(self.settings.pull_messages)
            .max_bytes_per_batch(self.settings.pull_bytes)
            .expires(expires)
            .heartbeat(expires / 3)
            .messages()
            .await
            .map_err(|error| BusError::request("reading the stream", &error))?;
        Ok(Session {
            epoch,
            consumer,
            messages,
            connection: self.connection.clone(),
            connects,
            pin: None,
            held: None,
        })
    }

    /// Ends a session: nothing more is asked for. Its pin is remembered, so that the next session, or
    /// [`Self::release`], can tell our own from another process's.
    pub fn stop(&mut self, session: Session) {
        if session.pin.is_some() {
            self.pin = session.pin;
        }
    }

    /// If this process is the one that reads: gives back what it didn't acknowledge and lets another
    /// take over at once. To be called when everything is acknowledged that will be.
    pub async fn release(&mut self) {
        if self.pin.is_none() {
            return;
        }
        let released = async {
            let stream = self.stream().await?;
            let mut consumer = self.existing(&stream).await?;
            if pinned(&consumer) == self.pin {
                self.rewind(&mut consumer).await;
                self.unpin(&stream).await;
            }
            Ok::<(), BusError>(())
        };
        match released.await {
            Ok(()) => self.pin = None,
            Err(error) => tracing::debug!(%error, "could not release the consumer"),
        }
    }

    async fn stream(&self) -> Result<NatsStream, BusError> {
        self.context
            .get_stream(&self.settings.stream)
            .await
            .map_err(|error| self.refused(&error.to_string(), true))
    }

    async fn existing(&self, stream: &NatsStream) -> Result<NatsConsumer<pull::Config>, BusError> {
        stream
            .get_consumer(&self.settings.name)
            .await
            .map_err(|error| self.refused(&error.to_string(), true))
    }

    /// Where the consumer begins: for one that is there this can't be changed.
    async fn begins(&self, stream: &NatsStream) -> Result<DeliverPolicy, BusError> {
        let Some(ago) = self.settings.begin else { return Ok(DeliverPolicy::All) };
        match stream.consumer_info(&self.settings.name).await {
            Ok(info) => Ok(info.config.deliver_policy),
            Err(error) if matches!(error.kind(), ConsumerInfoErrorKind::NotFound) => {
                let start = Utc::now() - TimeDelta::from_std(ago).unwrap_or(TimeDelta::MAX);
                let nanos = i128::from(start.timestamp_micros()) * 1_000;
                let start_time = async_nats::datetime::from_nanos(nanos)
                    .map_err(|error| BusError::request("reading a time", &error))?;
                Ok(DeliverPolicy::ByStartTime { start_time })
            }
            Err(error) => Err(self.refused(&error.to_string(), true)),
        }
    }

    fn refused(&self, reason: &str, transient: bool) -> BusError {
        BusError::Stream {
            stream: self.settings.stream.clone(),
            reason: format!("consumer {}: {reason}", self.settings.name),
            transient,
        }
    }

    fn config(&self) -> pull::Config {
        let settings = &self.settings;
        let (priority_policy, priority_groups, priority_timeout) = if settings.shared {
            (PriorityPolicy::None, Vec::new(), Duration::ZERO)
        } else {
            (PriorityPolicy::PinnedClient, vec![GROUP.to_owned()], settings.takeover)
        };
        pull::Config {
            durable_name: Some(settings.name.clone()),
            filter_subject: settings.filter.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: settings.ack_wait,
            // A finite number would skip events that were tried often.
            max_deliver: -1,
            max_ack_pending: i64::try_from(settings.max_ack_pending).unwrap_or(i64::MAX),
            priority_policy,
            priority_groups,
            priority_timeout,
            ..pull::Config::default()
        }
    }

    /// What was delivered to a process that is gone (our own former self) would come again only after
    /// the wait for its acknowledgement. While another process reads, its messages are its own.
    async fn take_back(&mut self, stream: &NatsStream, consumer: &mut NatsConsumer<pull::Config>) {
        if self.settings.shared {
            return;
        }
        let current = pinned(consumer);
        if current.is_some() {
            if current != self.pin {
                return;
            }
            self.unpin(stream).await;
        }
        self.pin = None;
        self.rewind(consumer).await;
    }

    async fn rewind(&self, consumer: &mut NatsConsumer<pull::Config>) {
        if self.settings.rewind
            && consumer.cached_info().num_ack_pending > 0
            && let Err(error) = consumer.reset(None).await
        {
            // Servers before 2.14 can't: then the messages come after the wait.
            tracing::debug!(%error, consumer = self.settings.name, "could not rewind the consumer");
        }
    }

    async fn unpin(&self, stream: &NatsStream) {
        if let Err(error) = stream.unpin_consumer(&self.settings.name, GROUP).await {
            tracing::debug!(%error, consumer = self.settings.name, "could not release the pin");
        }
    }
}

impl Session {
    /// The next of what the stream has for us.
    ///
    /// # Errors
    /// When the session is over: the consumer or the connection is not the one it began with.
    pub async fn next(&mut self) -> Result<Delivery, BusError> {
        if let Some(message) = self.held.take() {
            return Ok(Delivery::Message(message));
        }
        loop {
            let message = match self.messages.next().await {
                Some(Ok(message)) => message,
                Some(Err(error)) => return Err(BusError::request("reading the stream", &error)),
                None => return Err(BusError::request("reading the stream", &"it ended")),
            };
            // Messages from before the loss of a connection may still be in the client's hands.
            self.check_connection()?;
            let Some((delivered, pin)) = delivered(message) else { continue };
            let delivered = Box::new(delivered);
            if pin.is_some() && pin != self.pin {
                self.pin = pin;
                self.held = Some(delivered);
                return Ok(Delivery::Pinned);
            }
            return Ok(Delivery::Message(delivered));
        }
    }

    /// How far the consumer has come.
    ///
    /// # Errors
    /// When the server doesn't answer, or the consumer is not the one this session began with.
    pub async fn progress(&mut self) -> Result<Progress, BusError> {
        let created = self.consumer.cached_info().created;
        let info = self
            .consumer
            .get_info()
            .await
            .map_err(|error| BusError::request("consumer information", &error))?;
        if info.created != created {
            return Err(BusError::request("reading the stream", &"the consumer was made anew"));
        }
        self.check_connection()?;
        let unacknowledged = u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
        Ok(Progress {
            lag: info.num_pending.saturating_add(unacknowledged),
            reads: self.pin.is_some() && pin_of(&info) == self.pin,
            settled: info.ack_floor.stream_sequence,
        })
    }

    /// Makes sure that this process is the one that reads. To be asked before [`Self::next`] by whoever
    /// wanted nothing for long: the reading may have gone to another process, and what is still in the
    /// client's hands with it.
    ///
    /// # Errors
    /// When another process reads, or as [`Self::progress`].
    pub async fn still_reads(&mut self) -> Result<(), BusError> {
        if self.progress().await?.reads {
            return Ok(());
        }
        Err(BusError::request("reading the stream", &"another process reads it now"))
    }

    fn check_connection(&self) -> Result<(), BusError> {
        if connects(&self.connection) == self.connects {
            Ok(())
        } else {
            Err(BusError::request("reading the stream", &"the connection was lost and made again"))
        }
    }
}

fn connects(connection: &Connection) -> u64 {
    connection.client.statistics().connects.load(Ordering::Relaxed)
}

fn pinned(consumer: &NatsConsumer<pull::Config>) -> Option<String> {
    pin_of(consumer.cached_info())
}

fn pin_of(info: &jetstream::consumer::Info) -> Option<String> {
    let groups = &info.priority_groups;
    let pin = groups.iter().find(|group| group.group == GROUP)?.pinned_client_id.clone();
    pin.filter(|pin| !pin.is_empty())
}

/// The stream's clock in our own type, in the microseconds that tables hold.
pub(super) fn utc(time: async_nats::datetime::DateTime) -> Result<DateTime<Utc>, BusError> {
    i64::try_from(time.unix_timestamp_nanos() / 1_000)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
        .ok_or_else(|| BusError::request("reading a time", &time))
}

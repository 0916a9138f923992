//! Connecting to NATS: waits until the server is there, says what it waits for, and keeps the
//! health of the connection up to date.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, ConnectOptions, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::BusError;
use crate::config::Nats;
use crate::runtime::health::{Health, Reporter};
use crate::runtime::metrics;
use crate::runtime::retry::{Retry, RetryPolicy};

/// A connection and where it goes.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The client; cheap to clone.
    pub(crate) client: Client,
    /// The server's URL as configured.
    pub url: String,
    /// How often the client has connected; changes when the connection was lost and is back.
    pub(super) connects: watch::Receiver<u64>,
    /// Messages taken from subscriptions, where somebody counts them.
    taken: Arc<AtomicU64>,
}

impl Connection {
    /// How often the client has connected.
    pub(super) fn connects(&self) -> u64 {
        *self.connects.borrow()
    }

    /// Messages taken so far.
    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// Counts a message that was taken from a subscription.
    pub(super) fn took_one(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends what is buffered.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn flush(&self) -> Result<(), BusError> {
        self.client.flush().await.map_err(|e| BusError::request("flush", &e))
    }

    /// Waits until the server has taken in all that was sent before, subscriptions among it: a
    /// flush only hands it to the operating system. A message to ourselves comes back behind it.
    ///
    /// # Errors
    /// When the connection is gone, or the message doesn't come back in time.
    pub async fn settled(&self, timeout: Duration) -> Result<(), BusError> {
        use futures::StreamExt as _;
        let inbox = self.client.new_inbox();
        let round_trip = async {
            let mut own = self
                .client
                .subscribe(inbox.clone())
                .await
                .map_err(|e| BusError::request("subscribe", &e))?;
            self.publish(&inbox, Vec::new()).await?;
            self.flush().await?;
            if own.next().await.is_some() {
                self.took_one();
            }
            Ok(())
        };
        match tokio::time::timeout(timeout, round_trip).await {
            Ok(outcome) => outcome,
            Err(_) => Err(BusError::TimedOut { subject: inbox, timeout }),
        }
    }

    /// Listens to a NATS subject, without the guarantees of a stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn subscribe(&self, subject: &str) -> Result<Subscription, BusError> {
        let subscriber = self
            .client
            .subscribe(subject.to_owned())
            .await
            .map_err(|e| BusError::request("subscribe", &e))?;
        Ok(Subscription { subscriber })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// When nobody answers, or not in time.
    pub async fn request(
        &self,
        subject: &str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Answered, BusError> {
        self.request_with(subject, None, payload, timeout).await
    }

    /// As [`Self::request`], with a header.
    ///
    /// # Errors
    /// As [`Self::request`].
    pub async fn request_with(
        &self,
        subject: &str,
        header: Option<(&'static str, &'static str)>,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Result<Answered, BusError> {
        let mut request = async_nats::Request::new().payload(payload.into()).timeout(Some(timeout));
        if let Some((name, value)) = header {
            let mut headers = async_nats::HeaderMap::new();
            headers.insert(name, value);
            request = request.headers(headers);
        }
        let message = self.client.send_request(subject.to_owned(), request).await.map_err(
            |error| match error.kind() {
                RequestErrorKind::NoResponders => {
                    BusError::NoResponders { subject: subject.to_owned() }
                }
                RequestErrorKind::TimedOut => {
                    BusError::TimedOut { subject: subject.to_owned(), timeout }
                }
                _ => BusError::request("request", &error),
            },
        )?;
        let error_code = message
            .headers
            .as_ref()
            .and_then(|headers| headers.get("Nats-Service-Error-Code"))
            .map(|code| code.as_str().to_owned());
        Ok(Answered { payload: message.payload, error_code })
    }

    /// Publishes without the guarantees of a stream.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn publish(&self, subject: &str, payload: Vec<u8>) -> Result<(), BusError> {
        self.client
            .publish(subject.to_owned(), payload.into())
            .await
            .map_err(|e| BusError::request("publish", &e))
    }

    /// Whether the server is there now. While it isn't, the client keeps what it is given, and a
    /// request only times out.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.client.connection_state() == async_nats::connection::State::Connected
    }

    /// Bytes of the largest message that the server takes.
    #[must_use]
    pub fn max_payload(&self) -> usize {
        self.client.server_info().max_payload
    }
}

/// The answer to a request.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The body.
    pub payload: bytes::Bytes,
    /// The code of a service error, where the answer is one.
    pub error_code: Option<String>,
}

/// Connects now or not at all: for commands, where a person waits.
///
/// # Errors
/// When the server can't be reached, or a setting makes any connection impossible.
pub async fn connect_once(settings: &Nats, role: &str) -> Result<Connection, BusError> {
    let health = Health::default().part(role);
    let name = format!("sluicegate-{role}");
    let (counter, connects) = watch::channel(0);
    let client = options(settings, name, health, counter)?
        .connect(servers(settings))
        .await
        .map_err(|error| BusError::Connect { url: settings.url.clone(), reason: reason(&error) })?;
    Ok(established(client, settings, connects).await)
}

/// A connection whose count of connections has its first: told late, that one would look like a second
/// to whoever began to read meanwhile.
async fn established(
    client: Client,
    settings: &Nats,
    mut connects: watch::Receiver<u64>,
) -> Connection {
    let first = connects.wait_for(|connects| *connects > 0);
    if tokio::time::timeout(settings.connection_timeout, first).await.is_err() {
        tracing::debug!("the client never said that it is connected");
    }
    Connection { client, url: settings.url.clone(), connects, taken: Arc::default() }
}

fn servers(settings: &Nats) -> Vec<&str> {
    settings.url.split(',').map(str::trim).collect()
}

/// Connects, however long it takes: until the server is there, the part of the health says what
/// it waits for. `role` names the connection on the server.
///
/// # Errors
/// When a setting makes any connection impossible, or when stopped while waiting.
pub async fn connect(
    settings: &Nats,
    name: &str,
    role: &str,
    retry: RetryPolicy,
    health: &Reporter,
    stop: &CancellationToken,
) -> Result<Connection, BusError> {
    let mut retry = Retry::new(retry);
    loop {
        let (counter, connects) = watch::channel(0);
        let name = format!("sluicegate-{role}-{name}");
        let options = options(settings, name, health.clone(), counter)?;
        let reason = tokio::select! {
            connected = options.connect(servers(settings)) => match connected {
                Ok(client) => {
                    health.ready();
                    return Ok(established(client, settings, connects).await);
                }
                Err(error) => reason(&error),
            },
            () = stop.cancelled() => "stopped while waiting".to_owned(),
        };
        let error = BusError::Connect { url: settings.url.clone(), reason };
        if stop.is_cancelled() {
            return Err(error);
        }
        health.waiting(error.to_string());
        tokio::select! {
            () = tokio::time::sleep(retry.next_delay()) => (),
            () = stop.cancelled() => return Err(error),
        }
    }
}

/// The chain of causes in one line: the outermost alone often says only "IO error".
fn reason(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

fn options(
    settings: &Nats,
    name: String,
    health: Reporter,
    connects: watch::Sender<u64>,
) -> Result<ConnectOptions, BusError> {
    let url = settings.url.clone();
    let connects = Arc::new(connects);
    let mut options = ConnectOptions::new()
        .name(name)
        .connection_timeout(settings.connection_timeout)
        .request_timeout(Some(settings.request_timeout))
        .ping_interval(settings.ping_interval)
        .subscription_capacity(settings.subscription_capacity)
        .require_tls(settings.require_tls)
        .event_callback(move |event| {
            let (health, url, connects) = (health.clone(), url.clone(), Arc::clone(&connects));
            async move {
                if matches!(event, Event::Connected) {
                    connects.send_modify(|count| *count += 1);
                }
                noted(&event, &health, &url);
            }
        });
    if !settings.user.is_empty() {
        options =
            options.user_and_password(settings.user.clone(), settings.password.expose().to_owned());
    }
    if !settings.token.is_empty() {
        options = options.token(settings.token.expose().to_owned());
    }
    if settings.credentials_file != Path::new("") {
        let text =
            std::fs::read_to_string(&settings.credentials_file).map_err(|e| BusError::Setting {
                setting: "nats.credentials_file",
                reason: format!("{}: {e}", settings.credentials_file.display()),
            })?;
        options = options.credentials(&text).map_err(|e| BusError::Setting {
            setting: "nats.credentials_file",
            reason: e.to_string(),
        })?;
    }
    if settings.root_certificates != Path::new("") {
        options = options.add_root_certificates(settings.root_certificates.clone());
    }
    Ok(options)
}

fn noted(event: &Event, health: &Reporter, url: &str) {
    match event {
        Event::Connected => health.ready(),
        Event::Disconnected => health.waiting(format!("NATS at {url}: connection lost")),
        Event::SlowConsumer(_) => {
            metrics::slow_consumer().increment(1);
            tracing::warn!(
                "checks arrive faster than they are taken: the client dropped one \
                 (setting nats.subscription_capacity; more workers share the load)"
            );
        }
        Event::ServerError(error) => tracing::warn!(%error, "NATS server"),
        Event::ClientError(error) => tracing::warn!(%error, "NATS client"),
        Event::LameDuckMode | Event::Draining | Event::Closed => {
            tracing::debug!(%event, "NATS connection");
        }
    }
}

/// Messages of one NATS subject.
pub struct Subscription {
    subscriber: async_nats::Subscriber,
}

impl Subscription {
    /// The next message's subject and payload; none once the connection has ended.
    pub async fn next_message(&mut self) -> Option<(String, bytes::Bytes)> {
        use futures::StreamExt as _;
        let message = self.subscriber.next().await?;
        Some((message.subject.to_string(), message.payload))
    }

    /// The next message's payload; none once the connection has ended.
    pub async fn next(&mut self) -> Option<bytes::Bytes> {
        Some(self.next_message().await?.1)
    }
}

//! The connection to NATS: made beside, made again, asked within a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State;
use async_nats::{ConnectOptions, Event, HeaderMap, Message, Request};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::breaker::Breaker;
use super::check::fits;
use super::decision::Cause;
use super::error::{ClientError, Failure};
use super::settings::{Auth, Settings};
use crate::contract::fault::ServiceError;

/// How long one attempt to connect may take.
const ATTEMPT: Duration = Duration::from_secs(5);
/// How often the server must give a sign of life; after two that are missing it counts as gone.
const PING: Duration = Duration::from_secs(5);
/// The longest wait between attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// Characters of a text from outside that go into a message.
const LONGEST_TEXT: usize = 300;
/// Who counts on events alone may miss one when very many come at once.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The connection.
#[derive(Clone)]
pub(super) struct Link {
    client: async_nats::Client,
    /// Changes with each event of the connection.
    events: watch::Receiver<u64>,
    /// The last thing the server or the network complained of.
    complaint: Arc<Mutex<Option<String>>>,
}

impl Link {
    /// Begins to connect.
    pub(super) async fn connect(
        settings: &Settings,
        breaker: Arc<Breaker>,
    ) -> Result<Self, ClientError> {
        let (counter, events) = watch::channel(0);
        let counter = Arc::new(counter);
        let complaint = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&complaint);
        let options = options(settings)?.event_callback(move |event| {
            note(&event, &noted, &breaker);
            counter.send_modify(|count| *count += 1);
            std::future::ready(())
        });
        let addresses: Result<Vec<async_nats::ServerAddr>, _> =
            settings.url.split(',').map(|server| server.trim().parse()).collect();
        let addresses = addresses.map_err(|error| ClientError::setting("url", error))?;
        // With retries from the first attempt on, this only starts the tasks and doesn't wait.
        let client = options.connect(addresses).await;
        let client = client.map_err(|error| ClientError::setting("url", error))?;
        Ok(Self { client, events, complaint })
    }

    pub(super) fn is_up(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Waits for the connection.
    pub(super) async fn up(&self) {
        let mut events = self.events.clone();
        while !self.is_up() {
            let changed = tokio::time::timeout(LOOK_AGAIN, events.changed()).await;
            if matches!(changed, Ok(Err(_))) {
                // No events any more: the client was closed.
                std::future::pending::<()>().await;
            }
        }
    }

    /// What was last complained of, while there is no connection.
    pub(super) fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks. Nothing is handed over without a connection: it would be sent after all, later, when
    /// the caller has long been told that it was not checked.
    pub(super) async fn request(
        &self,
        subject: String,
        body: Bytes,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Bytes, Failure> {
        if tokio::time::timeout_at(deadline, self.up()).await.is_err() {
            let said = self.complaint().map(|text| format!(": {text}")).unwrap_or_default();
            return Err(Failure::new(Cause::Disconnected, format!("no connection to NATS{said}")));
        }
        fits(body.len(), self.client.max_payload())?;
        let request = Request::new().payload(body).timeout(None);
        let request = self.client.send_request(subject.clone(), request);
        let Ok(answer) = tokio::time::timeout_at(deadline, request).await else {
            let said = self.complaint().map(|text| format!(" ({text})")).unwrap_or_default();
            let message = format!("no answer on {subject} within {timeout:?}{said}");
            return Err(Failure::new(Cause::Timeout, message));
        };
        let answer = answer.map_err(|error| {
            let cause = match error.kind() {
                RequestErrorKind::NoResponders => {
                    let message = format!("no worker answers on {subject}");
                    return Failure::new(Cause::NoResponders, message);
                }
                RequestErrorKind::TimedOut => Cause::Timeout,
                RequestErrorKind::MaxPayloadExceeded | RequestErrorKind::InvalidSubject => {
                    Cause::Unserializable
                }
                RequestErrorKind::Other => Cause::Disconnected,
            };
            Failure::new(cause, short(&error.to_string()))
        })?;
        refused(&answer).map_or(Ok(answer.payload), Err)
    }

    /// Sends without waiting for an answer.
    pub(super) async fn publish(&self, subject: &str, id: &str, body: Bytes) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        self.client.publish_with_headers(subject.to_owned(), headers, body).await.is_ok()
    }

    /// Asks a stream to store a message under an id, and returns what it says.
    pub(super) async fn store(
        &self,
        subject: &str,
        id: &str,
        body: Bytes,
        timeout: Duration,
    ) -> Result<Bytes, Failure> {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Msg-Id", id);
        let request = Request::new().payload(body).headers(headers).timeout(Some(timeout));
        let answer = self.client.send_request(subject.to_owned(), request).await;
        answer.map(|answer| answer.payload).map_err(|error| {
            let cause = match error.kind() {
                RequestErrorKind::MaxPayloadExceeded => Cause::Unserializable,
                RequestErrorKind::NoResponders => Cause::NoResponders,
                _ => Cause::Timeout,
            };
            Failure::new(cause, short(&error.to_string()))
        })
    }

    pub(super) async fn flush(&self) {
        // A connection that is gone has nothing to flush.
        let _ = self.client.flush().await;
    }

    /// Ends the connection.
    pub(super) async fn close(&self) {
        let _ = tokio::time::timeout(Duration::from_secs(1), self.client.drain()).await;
    }
}

/// The service error that an answer is, if it is one. Format: NATS ADR-32.
fn refused(answer: &Message) -> Option<Failure> {
    let headers = answer.headers.as_ref()?;
    let code = headers.get("Nats-Service-Error-Code");
    let text = headers.get("Nats-Service-Error");
    if code.is_none() && text.is_none() {
        return None;
    }
    let said = text.map_or("no reason given", |text| text.as_str());
    let mut failure = Failure::new(Cause::ServiceError, short(said));
    failure.code = code.and_then(|code| code.as_str().parse().ok());
    if let Ok(body) = serde_json::from_slice::<ServiceError>(&answer.payload) {
        failure.code = failure.code.or(Some(body.error.code));
        let message = short(&body.error.message);
        let field = short(&body.error.field);
        failure.message = if field.is_empty() { message } else { format!("{field}: {message}") };
        failure.field = field;
        failure.findings = body.error.findings;
    }
    Some(failure)
}

/// A text from outside, as one line of bounded length.
pub(super) fn short(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(LONGEST_TEXT).collect()
}

fn note(event: &Event, complaint: &Mutex<Option<String>>, breaker: &Breaker) {
    let mut complaint = complaint.lock().unwrap_or_else(PoisonError::into_inner);
    match event {
        Event::Connected => {
            *complaint = None;
            breaker.connected();
        }
        Event::Disconnected => *complaint = Some("the connection was lost".to_owned()),
        Event::ServerError(error) => *complaint = Some(short(&error.to_string())),
        Event::ClientError(error) => *complaint = Some(short(&error.to_string())),
        Event::LameDuckMode | Event::Draining | Event::Closed | Event::SlowConsumer(_) => (),
    }
}

fn options(settings: &Settings) -> Result<ConnectOptions, ClientError> {
    let longest = settings.probe_interval.min(LONGEST_PAUSE);
    let mut options = ConnectOptions::new()
        .name(concat!("sluicegate-client/", env!("CARGO_PKG_VERSION")))
        .connection_timeout(ATTEMPT)
        .ping_interval(PING)
        .require_tls(settings.require_tls)
        .retry_on_initial_connect()
        .reconnect_delay_callback(move |attempts| {
            let doublings = u32::try_from(attempts.min(10)).unwrap_or(10);
            if attempts <= 1 {
                Duration::ZERO
            } else {
                longest.min(Duration::from_millis(1 << doublings))
            }
        });
    options = match &settings.auth {
        Auth::None => options,
        Auth::User { name, password } => options.user_and_password(name.clone(), password.clone()),
        Auth::Token(token) => options.token(token.clone()),
        Auth::CredentialsFile(path) => {
            let wrong = |error: std::io::Error| {
                ClientError::setting("credentials_file", format!("{}: {error}", path.display()))
            };
            let text = std::fs::read_to_string(path).map_err(wrong)?;
            options.credentials(&text).map_err(wrong)?
        }
    };
    if let Some(path) = &settings.root_certificates {
        if let Err(error) = std::fs::metadata(path) {
            let reason = format!("{}: {error}", path.display());
            return Err(ClientError::setting("root_certificates", reason));
        }
        options = options.add_root_certificates(path.clone());
    }
    Ok(options)
}

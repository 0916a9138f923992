//! An agent, who asks over NATS as any client would: no code of ours on this side.

use std::time::Duration;

use async_nats::{Client, HeaderMap, Message, RequestError};
use serde_json::{Value, json};

use crate::support::cluster::servers;
use crate::support::servers::PATIENCE;

/// An agent's connection.
#[derive(Clone)]
pub(crate) struct Agent {
    pub(crate) client: Client,
    pub(crate) subject: String,
}

/// A service error.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The header `Nats-Service-Error-Code`.
    pub(crate) code: String,
    /// The header `Nats-Service-Error`.
    pub(crate) text: String,
    /// The member `error` of the body.
    pub(crate) error: Value,
}

impl Agent {
    /// Connects to the first of these servers that takes it.
    pub(crate) async fn connect(url: &str) -> Self {
        let client = async_nats::ConnectOptions::new()
            .request_timeout(Some(PATIENCE))
            .ping_interval(Duration::from_secs(1))
            .retain_servers_order()
            .connect(servers(url))
            .await
            .unwrap();
        Self { client, subject: "policy.check".to_owned() }
    }

    /// The same, asking on another subject.
    pub(crate) fn on(&self, subject: &str) -> Self {
        Self { client: self.client.clone(), subject: subject.to_owned() }
    }

    /// The decision on a check.
    pub(crate) async fn check(&self, request: Value) -> Value {
        decided(&self.ask(request.to_string()).await)
    }

    /// The decision on an action without anything else.
    pub(crate) async fn act(&self, action: &str) -> Value {
        self.check(json!({"action": action, "resource": "r"})).await
    }

    /// The refusal of a request.
    pub(crate) async fn refused(&self, body: impl Into<Vec<u8>>) -> Refusal {
        refusal(&self.ask(body).await)
    }

    /// What comes back.
    pub(crate) async fn ask(&self, body: impl Into<Vec<u8>>) -> Message {
        self.client.request(self.subject.clone(), body.into().into()).await.unwrap()
    }

    /// What comes back, if something does, within a time.
    pub(crate) async fn try_ask(
        &self,
        request: &Value,
        timeout: Duration,
    ) -> Result<Message, RequestError> {
        let body = request.to_string().into_bytes();
        let request = async_nats::Request::new().payload(body.into()).timeout(Some(timeout));
        self.client.send_request(self.subject.clone(), request).await
    }

    /// What comes back to a request with a header.
    pub(crate) async fn ask_with_header(&self, request: Value, name: &str, value: &str) -> Message {
        let mut headers = HeaderMap::new();
        headers.insert(name, value);
        let body = request.to_string().into_bytes().into();
        self.client.request_with_headers(self.subject.clone(), headers, body).await.unwrap()
    }
}

/// Reads a decision, which must not be a service error.
pub(crate) fn decided(message: &Message) -> Value {
    let value: Value = serde_json::from_slice(&message.payload).unwrap();
    assert!(header(message, "Nats-Service-Error-Code").is_none(), "a service error: {value}");
    value
}

/// Reads a service error, which it must be.
pub(crate) fn refusal(message: &Message) -> Refusal {
    let said = String::from_utf8_lossy(&message.payload);
    let code = header(message, "Nats-Service-Error-Code")
        .unwrap_or_else(|| panic!("no service error: {said}"));
    let text = header(message, "Nats-Service-Error").unwrap();
    let mut body: Value = serde_json::from_slice(&message.payload).unwrap();
    Refusal { code, text, error: body["error"].take() }
}

/// A header's value.
pub(crate) fn header(message: &Message, name: &str) -> Option<String> {
    Some(message.headers.as_ref()?.get(name)?.as_str().to_owned())
}

//! A console in this process, and who calls it.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use sluicegate::config::{Config, Secret};
use sluicegate::roles::RoleContext;
use sluicegate::roles::console::{self, Doors, Shown};
use sluicegate::runtime::health::{Health, State};
use sluicegate::runtime::metrics;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::worker::support::until;

/// The tokens of a console with all roles: each is its role's name and this.
pub(crate) const SECRET: &str = "-s3cret-0123456789";

/// A console. Dropped, it is told to stop.
pub(crate) struct House {
    pub(crate) url: String,
    pub(crate) health: Health,
    doors: Doors,
    stop: CancellationToken,
    http: Option<JoinHandle<()>>,
    token: String,
}

impl House {
    /// One whose callers need no token, connected to NATS.
    pub(crate) async fn open(config: &Config) -> Self {
        let house = Self::begin(config).await;
        house.connected().await;
        house
    }

    /// One with a token for each role.
    pub(crate) async fn with_tokens(config: &Config) -> Self {
        let mut config = config.clone();
        let tokens: Vec<String> = ["checker", "viewer", "author", "admin"]
            .map(|role| format!("the-{role}:{role}:{role}{SECRET}"))
            .into();
        config.http.tokens = Secret::from(tokens.join(","));
        Self::open(&config).await
    }

    /// One that needn't have found NATS.
    pub(crate) async fn begin(config: &Config) -> Self {
        let mut config = config.clone();
        config.http.listen = "127.0.0.1:0".parse().unwrap();
        let listener = console::listen(config.http.listen, "http.listen").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (health, stop) = (Health::default(), CancellationToken::new());
        let doors = Doors::new(&config).unwrap();
        let shown = Shown {
            health: health.clone(),
            metrics: metrics::install().unwrap(),
            http: config.http.clone(),
            doors: Some(doors.clone()),
        };
        let http = tokio::spawn(console::serve(listener, shown, stop.clone()));
        let context = RoleContext {
            config: Arc::new(config),
            name: "console-1".to_owned(),
            health: health.clone(),
            stop: stop.clone(),
        };
        tokio::spawn(console::run(doors.clone(), context));
        Self { url, health, doors, stop, http: Some(http), token: String::new() }
    }

    /// Waits until it has found NATS.
    pub(crate) async fn connected(&self) {
        until("the console finds NATS", async || {
            (self.health.snapshot().get("nats-console") == Some(&State::Ready)).then_some(())
        })
        .await;
    }

    /// Calls with the token of a role from now on.
    pub(crate) fn as_role(&mut self, role: &str) {
        self.token = format!("{role}{SECRET}");
    }

    /// A request.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = client().request(method, format!("{}{path}", self.url));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }

    pub(crate) async fn get(&self, path: &str) -> Said {
        Said::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Said {
        Said::of(self.request(Method::POST, path).json(&body)).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: impl Into<String>) -> Said {
        let body: String = body.into();
        Said::of(self.request(method.parse().unwrap(), path).body(body)).await
    }

    /// A change, with a body and headers.
    pub(crate) async fn change(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> Said {
        let mut request = self.request(method.parse().unwrap(), path).json(&body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Said::of(request).await
    }

    /// OPA's question for a document.
    pub(crate) async fn data(&self, path: &str, input: Value) -> Said {
        self.post(&format!("/v1/data/{path}"), json!({"input": input})).await
    }

    /// Tells it to stop, and waits until all is delivered.
    pub(crate) async fn close(mut self) {
        self.stop.cancel();
        self.http.take().unwrap().await.unwrap();
        self.doors.finish(Duration::from_secs(20)).await;
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One client for each test's runtime would do; a fresh one keeps no connection of another runtime.
pub(crate) fn client() -> reqwest::Client {
    reqwest::Client::builder().timeout(Duration::from_secs(60)).build().unwrap()
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Said {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        Self::read(request.send().await.unwrap()).await
    }

    async fn read(response: Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self { status: status.as_u16(), headers, text: response.text().await.unwrap() }
    }

    /// The body as JSON, of an answer with this status.
    pub(crate) fn json(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The body, of an answer with this status.
    pub(crate) fn is(&self, status: u16) -> &str {
        assert_eq!(self.status, status, "{self:?}");
        &self.text
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The code of an error in OPA's shape, which it must be.
    pub(crate) fn opa_code(&self, status: u16) -> String {
        let body = self.json(status);
        assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        body["code"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
    }
}

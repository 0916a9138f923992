//! What a NATS micro service tells the standard tools: who it is, its endpoints, their numbers.
//!
//! Format: NATS ADR-32 (`$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`, for all services, for those of a name,
//! for one instance). Written here rather than taken from the client: its service ends its
//! subscriptions before the server has, which loses the requests that are on the way.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Message, Subscriber};
use chrono::{DateTime, SecondsFormat, Utc};
use futures::StreamExt;
use futures::stream::SelectAll;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::connection::Connection;
use super::error::BusError;
use super::responder::is_inbox;
use super::subjects::service_verb;

/// Name under which the standard tools see the service.
const NAME: &str = "sluicegate";
const DESCRIPTION: &str = "Permission checks: may this agent do this?";

/// One endpoint and what it has done.
#[derive(Debug)]
pub(super) struct Endpoint {
    name: &'static str,
    subject: String,
    requests: AtomicU64,
    errors: AtomicU64,
    nanoseconds: AtomicU64,
    last_error: Mutex<String>,
}

impl Endpoint {
    pub(super) fn new(name: &'static str, subject: String) -> Self {
        Self {
            name,
            subject,
            requests: AtomicU64::new(0),
            errors: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
            last_error: Mutex::default(),
        }
    }

    /// Counts an answered request.
    pub(super) fn answered(&self, took: Duration) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
    }

    /// Counts a request answered with a service error, which reads `<code>:<text>` in the statistics.
    pub(super) fn failed(&self, took: Duration, error: String) {
        self.answered(took);
        self.errors.fetch_add(1, Ordering::Relaxed);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }

    fn info(&self, group: &str) -> Value {
        json!({"name": self.name, "subject": self.subject, "queue_group": group, "metadata": {}})
    }

    fn stats(&self, group: &str) -> Value {
        let requests = self.requests.load(Ordering::Relaxed);
        let nanoseconds = self.nanoseconds.load(Ordering::Relaxed);
        json!({
            "name": self.name,
            "subject": self.subject,
            "queue_group": group,
            "num_requests": requests,
            "num_errors": self.errors.load(Ordering::Relaxed),
            "last_error": *self.last_error.lock().unwrap_or_else(PoisonError::into_inner),
            "processing_time": nanoseconds,
            "average_processing_time": nanoseconds.checked_div(requests).unwrap_or(0),
        })
    }
}

/// What is asked.
#[derive(Clone, Copy)]
enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Ping, "PING"), (Self::Info, "INFO"), (Self::Stats, "STATS")];
}

/// Answers the standard tools until dropped.
pub(super) struct Service {
    _answering: AbortOnDropHandle<()>,
}

impl Service {
    /// Subscribes and begins to answer.
    pub(super) async fn start(
        connection: &Connection,
        endpoints: Vec<Arc<Endpoint>>,
        queue_group: &str,
        worker: &str,
        reply_prefixes: &[String],
    ) -> Result<Self, BusError> {
        let own = Identity {
            id: Uuid::new_v4().simple().to_string(),
            metadata: [("worker".to_owned(), worker.to_owned())].into(),
            started: Utc::now(),
            group: queue_group.to_owned(),
            endpoints,
        };
        let mut asked = SelectAll::new();
        for (verb, name) in Verb::ALL {
            for subject in service_verb(name, NAME, &own.id) {
                let subscriber: Subscriber = connection
                    .client
                    .subscribe(subject)
                    .await
                    .map_err(|e| BusError::request("register the service", &e))?;
                asked.push(subscriber.map(move |message: Message| (verb, message)));
            }
        }
        let (connection, prefixes) = (connection.clone(), reply_prefixes.to_vec());
        let answering = tokio::spawn(async move {
            while let Some((verb, message)) = asked.next().await {
                connection.took_one();
                let Some(reply) = message.reply.filter(|reply| is_inbox(reply, &prefixes)) else {
                    continue;
                };
                let answer = own.answer(verb).to_string().into_bytes();
                if let Err(error) = connection.publish(&reply, answer).await {
                    tracing::debug!(%error, "the service could not say who it is");
                }
            }
        });
        Ok(Self { _answering: AbortOnDropHandle::new(answering) })
    }
}

/// Who this instance of the service is.
struct Identity {
    id: String,
    metadata: BTreeMap<String, String>,
    started: DateTime<Utc>,
    group: String,
    endpoints: Vec<Arc<Endpoint>>,
}

impl Identity {
    fn answer(&self, verb: Verb) -> Value {
        let mut answer = json!({
            "name": NAME,
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": self.metadata,
        });
        match verb {
            Verb::Ping => set(&mut answer, "type", json!("io.nats.micro.v1.ping_response")),
            Verb::Info => {
                set(&mut answer, "type", json!("io.nats.micro.v1.info_response"));
                set(&mut answer, "description", json!(DESCRIPTION));
                set(&mut answer, "endpoints", self.each(Endpoint::info));
            }
            Verb::Stats => {
                set(&mut answer, "type", json!("io.nats.micro.v1.stats_response"));
                let started = self.started.to_rfc3339_opts(SecondsFormat::Nanos, true);
                set(&mut answer, "started", json!(started));
                set(&mut answer, "endpoints", self.each(Endpoint::stats));
            }
        }
        answer
    }

    fn each(&self, shown: fn(&Endpoint, &str) -> Value) -> Value {
        self.endpoints.iter().map(|endpoint| shown(endpoint, &self.group)).collect()
    }
}

fn set(answer: &mut Value, key: &str, value: Value) {
    if let Value::Object(members) = answer {
        members.insert(key.to_owned(), value);
    }
}

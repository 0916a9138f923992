//! Events about events: how far a worker has counted, who was told of a violation, and what clients
//! report of calls: that nobody answered, and how they ended.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

/// How far one run of a worker has numbered its events, on `policy.checkpoint`: every
/// `audit.checkpoint`, and a last one when the worker has finished. With it the end of a run can be
/// told from a loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CheckpointEvent {
    /// Version of this shape.
    pub schema: u32,
    /// UUIDv7 of the checkpoint; also the message id that deduplicates it.
    pub id: Uuid,
    /// The worker's clock.
    pub timestamp: DateTime<Utc>,
    /// Name of the worker.
    pub worker: String,
    /// UUIDv7 of the run.
    pub worker_run: Uuid,
    /// The greatest number given to an event.
    pub numbered: u64,
    /// Events of the run that the stream has acknowledged.
    pub recorded: u64,
    /// Events of the run that wait to be sent again.
    pub kept: u64,
    /// Numbers of events that can never be stored and were given up since the checkpoint before.
    #[serde(default)]
    pub given_up: Vec<u64>,
    /// Whether the run has ended: nothing of it is in flight any more, only what is kept may come.
    pub last: bool,
}

/// Who was told of a violation, or wasn't, on `policy.notification`: fills `notified` and
/// `notification_details`. Any alerting service may publish it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NotificationEvent {
    /// Version of this shape.
    pub schema: u32,
    /// Id of the notification, best a UUIDv7, also as message id: one id counts once.
    pub id: Uuid,
    /// The violation.
    pub violation_id: Uuid,
    /// When somebody was told.
    pub timestamp: DateTime<Utc>,
    /// Who says so.
    pub notifier: String,
    /// Whether somebody was told.
    pub notified: bool,
    /// By what: for example `slack` or `cloudevents`.
    #[serde(default)]
    pub channel: String,
    /// Whatever else is worth knowing: attempts, status, the error, who.
    #[serde(default)]
    pub details: Map<String, Value>,
}

/// Why a client had no answer.
pub const UNCHECKED_CAUSES: [&str; 7] = [
    "no_responders",
    "timeout",
    "disconnected",
    "service_error",
    "circuit_open",
    "invalid_reply",
    "unserializable",
];

/// A call that went on, or was refused, although no worker answered, on `policy.unchecked`. A client
/// publishes it as soon as it can; a worker evaluates it then and records the decision under its id.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct UncheckedEvent {
    /// Version of this shape.
    pub schema: u32,
    /// UUIDv7 made by the client: the decision's id, as the caller was told; also the message id that
    /// deduplicates it.
    pub id: Uuid,
    /// The client's clock when it asked.
    pub timestamp: DateTime<Utc>,
    /// Why there was no answer: `no_responders`, `timeout`, `disconnected`, `service_error`,
    /// `circuit_open`, `invalid_reply` or `unserializable`.
    #[schemars(length(min = 1, max = 64))]
    pub cause: String,
    /// The same in a line.
    #[serde(default)]
    #[schemars(length(max = 500))]
    pub message: String,
    /// Whether the caller was told that it may go on: false where the client fails closed.
    pub allowed: bool,
    /// Name and version of the client.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub client: String,
    /// The check as it would have been asked.
    pub request: Map<String, Value>,
}

/// How a guarded call ended, on `policy.outcome`. Clients tell it without waiting, so it may be lost.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeEvent {
    /// Version of this shape.
    pub schema: u32,
    /// UUIDv7 of the outcome; also the message id that deduplicates it.
    pub id: Uuid,
    /// The decision that let the call go on.
    pub decision_id: Uuid,
    /// The client's clock when the call ended.
    pub timestamp: DateTime<Utc>,
    /// How.
    pub outcome: CallOutcome,
    /// Type of what was raised, such as `builtins.ValueError`; empty where nothing was.
    #[serde(default)]
    #[schemars(length(max = 256))]
    pub exception_type: String,
    /// Time that the call took, in seconds.
    #[schemars(range(min = 0))]
    pub duration_seconds: f64,
    /// What it cost in US dollars, where that is known.
    #[serde(default)]
    pub cost_usd: Option<f64>,
    /// Name and version of the client.
    #[serde(default)]
    #[schemars(length(max = 128))]
    pub client: String,
    /// What the agent did.
    #[serde(default)]
    pub action: String,
    /// The agent.
    #[serde(default)]
    pub agent: String,
    /// The person the agent works for.
    #[serde(default)]
    pub user: String,
    /// The session.
    #[serde(default)]
    pub session_id: String,
    /// The run.
    #[serde(default)]
    pub run_id: String,
    /// The step of the run.
    #[serde(default)]
    pub step_id: String,
    /// The project.
    #[serde(default)]
    pub project_id: String,
}

/// How a guarded call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CallOutcome {
    /// It did what it should.
    Ok,
    /// It failed.
    Error,
    /// It was given up before it ended.
    Cancelled,
}

impl CallOutcome {
    /// The word used in tables and JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Error => "error",
            Self::Cancelled => "cancelled",
        }
    }
}

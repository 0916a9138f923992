//! Events about events: how far a worker has counted, and who was told of a violation.

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

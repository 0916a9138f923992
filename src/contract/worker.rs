//! What a worker tells of itself.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::EnforcementMode;

/// What one worker has in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerStatus {
    /// Its name.
    pub name: String,
    /// Version of the program.
    pub version: String,
    /// Digest of the set in force.
    pub revision: String,
    /// The bucket's sequence that it has taken in.
    pub sequence: u64,
    /// Policies in the set.
    pub policies: usize,
    /// Those of them that take part in checks of their scope.
    pub taking_part: usize,
    /// How policies take part.
    pub enforcement: EnforcementMode,
    /// What it could not take up.
    pub problems: Vec<String>,
    /// When it started.
    pub started_at: DateTime<Utc>,
    /// When it said so.
    pub reported_at: DateTime<Utc>,
    /// How its recording stands.
    #[serde(default)]
    pub audit: AuditStatus,
}

/// The answer to `policy.admin.workers`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WorkerList {
    /// By name; one that was silent for a while is not listed.
    pub workers: Vec<WorkerStatus>,
}

/// How a worker's recording stands, in what it tells of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct AuditStatus {
    /// The setting `audit.acknowledge`.
    pub acknowledge: String,
    /// The setting `audit.on_unavailable`.
    pub on_unavailable: String,
    /// UUIDv7 of the worker's run.
    pub run: Uuid,
    /// The greatest number given to an event of the run.
    pub numbered: u64,
    /// Events of the run that the stream has acknowledged.
    pub recorded: u64,
    /// Events of the run that wait to be sent again.
    pub kept: u64,
    /// Events that wait to be sent again, those of workers that are gone included.
    pub waiting: u64,
    /// Bytes of the files that hold them.
    pub spilled_bytes: u64,
    /// Bytes that these files may hold; zero where there are none.
    pub spill_max_bytes: u64,
    /// Whether what waits is in memory alone, and ends with the worker.
    pub memory_only: bool,
    /// Whether the stream did not take what waits at the last attempt.
    pub stuck: bool,
    /// Events that could never be stored and were given up.
    pub given_up: u64,
}

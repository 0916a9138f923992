//! The table `audit_workers`: how far each run of a worker has numbered its events.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::rows::{StoredRow, StreamPosition, Table, storable};
use crate::contract::CheckpointEvent;

/// A row of `audit_workers`: one checkpoint.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct CheckpointRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub timestamp: DateTime<Utc>,
    pub worker: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub worker_run: Uuid,
    pub numbered: u64,
    pub recorded: u64,
    pub kept: u64,
    pub given_up: Vec<u64>,
    pub last: bool,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl CheckpointRow {
    /// The row of a checkpoint.
    ///
    /// # Errors
    /// When its time is none that a table can hold.
    pub fn new(event: CheckpointEvent, at: StreamPosition) -> Result<Self, StoreError> {
        Ok(Self {
            timestamp: storable(event.timestamp)?,
            id: event.id,
            worker: event.worker,
            worker_run: event.worker_run,
            numbered: event.numbered,
            recorded: event.recorded,
            kept: event.kept,
            given_up: event.given_up,
            last: event.last,
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        })
    }
}

impl StoredRow for CheckpointRow {
    const TABLE: Table = Table::Workers;

    fn id(&self) -> Uuid {
        self.id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }

    /// The table is one partition.
    fn partition(&self) -> (i32, u32) {
        (0, 0)
    }
}

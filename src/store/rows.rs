//! The rows of the tables, made from events.

use std::ops::RangeInclusive;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use clickhouse::{Row, RowOwned, RowWrite};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::stored::time_of;
use crate::contract::{DecisionEvent, ViolationEvent};

/// Years that a decision can have been made in. ClickHouse's time of expiry ends in 2106, and every
/// month is a partition: a broken clock must not make hundreds of them.
const YEARS: RangeInclusive<i32> = 2000..=2105;

/// How long before the time in its id an unchecked call may have been recorded: its client's clock may
/// have been ahead.
const CLOCK_AHEAD: TimeDelta = TimeDelta::days(31);

/// A table that the sink fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// `policy_decisions`.
    Decisions,
    /// `policy_violations`.
    Violations,
    /// `policy_rules`.
    Rules,
    /// `policy_enforcement`.
    Enforcement,
    /// `audit_workers`.
    Workers,
    /// `policy_notifications`.
    Notifications,
    /// `policy_outcomes`.
    Outcomes,
}

impl Table {
    /// Its name in ClickHouse.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decisions => "policy_decisions",
            Self::Violations => "policy_violations",
            Self::Rules => "policy_rules",
            Self::Enforcement => "policy_enforcement",
            Self::Workers => "audit_workers",
            Self::Notifications => "policy_notifications",
            Self::Outcomes => "policy_outcomes",
        }
    }

    /// Its word in metrics, logs and names of consumers.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Decisions => "decisions",
            Self::Violations => "violations",
            Self::Rules => "rules",
            Self::Enforcement => "enforcement",
            Self::Workers => "checkpoints",
            Self::Notifications => "notifications",
            Self::Outcomes => "outcomes",
        }
    }

    /// The column of [`StoredRow::id`].
    pub(super) const fn id_column(self) -> &'static str {
        match self {
            Self::Decisions
            | Self::Violations
            | Self::Notifications
            | Self::Outcomes
            | Self::Workers => "id",
            Self::Rules | Self::Enforcement => "content_id",
        }
    }

    /// Whether the column `timestamp` leads its sort key, so that a span of time bounds a question.
    /// The others are small; and of notifications, which other programs make, one id is one row
    /// whatever time they give it.
    pub(super) const fn is_by_time(self) -> bool {
        matches!(self, Self::Decisions | Self::Violations | Self::Outcomes)
    }
}

/// Where an event stands in the stream. A sequence means something only together with the epoch: a
/// stream that was made anew counts from one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamPosition {
    /// When the stream was created.
    pub epoch: DateTime<Utc>,
    /// The event's sequence in it.
    pub sequence: u64,
}

/// A row that came from an event of the stream.
pub trait StoredRow: RowOwned + RowWrite + Clone + Send + Sync {
    /// Where it goes.
    const TABLE: Table;

    /// Its identity: two rows of one id are one.
    fn id(&self) -> Uuid;

    /// Its time; where it leads the sort key, it decides the partition.
    fn timestamp(&self) -> DateTime<Utc>;

    /// Where its event stands.
    fn position(&self) -> StreamPosition;

    /// Its partition: year and month.
    fn partition(&self) -> (i32, u32) {
        (self.timestamp().year(), self.timestamp().month())
    }

    /// Which version of what it is; none where rows are no versions.
    fn version_of(&self) -> Option<VersionOf> {
        None
    }

    /// The times among which a row of the same id may stand, where somebody else made the id: such a row
    /// is always looked up before it is stored. None where the id is ours.
    fn may_stand(&self) -> Option<RangeInclusive<DateTime<Utc>>> {
        None
    }

    /// The violation that it says something about; none where rows don't.
    fn speaks_of(&self) -> Option<Uuid> {
        None
    }
}

/// A version of something that counts its versions up by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionOf {
    /// What it is a version of, whatever its name: versions of one history follow each other.
    pub history: String,
    /// Its name, which a later history may have again.
    pub name: String,
    /// The version.
    pub version: u64,
}

/// A row of `policy_decisions`.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct DecisionRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub timestamp: DateTime<Utc>,
    pub decision: String,
    pub action: String,
    pub resource: String,
    pub subject: String,
    pub agent: String,
    pub user: String,
    pub session_id: String,
    pub run_id: String,
    pub step_id: String,
    pub project_id: String,
    pub policy_name: String,
    pub policy_package: String,
    pub policies: Vec<String>,
    pub policy_revision: String,
    pub policy_result: String,
    pub decision_reason: String,
    pub deny_reasons: Vec<String>,
    pub warnings: Vec<String>,
    pub would_deny: Vec<String>,
    pub enforced: bool,
    pub error: bool,
    pub error_message: String,
    pub unchecked: String,
    pub input_data: String,
    pub duration_us: u64,
    pub worker: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub worker_run: Uuid,
    pub worker_sequence: u64,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl DecisionRow {
    /// The row of an event.
    ///
    /// # Errors
    /// When the event's time is none that a table can hold.
    pub fn new(event: DecisionEvent, at: StreamPosition) -> Result<Self, StoreError> {
        Ok(Self {
            timestamp: storable(event.timestamp)?,
            policies: event.policies.iter().map(|p| format!("{}@{}", p.name, p.version)).collect(),
            policy_result: json(&event.policies)?,
            input_data: json(&event.input)?,
            id: event.id,
            decision: event.decision.as_str().to_owned(),
            action: event.action,
            resource: event.resource,
            subject: event.who.subject,
            agent: event.who.agent,
            user: event.who.user,
            session_id: event.who.session_id,
            run_id: event.who.run_id,
            step_id: event.who.step_id,
            project_id: event.who.project_id,
            policy_name: event.policy_name,
            policy_package: event.policy_package,
            policy_revision: event.policy_revision,
            decision_reason: event.reason,
            deny_reasons: event.deny_reasons,
            warnings: event.warnings,
            would_deny: event.would_deny,
            enforced: event.enforced,
            error: event.error,
            error_message: event.error_message,
            unchecked: event.unchecked,
            duration_us: event.duration_us,
            worker: event.worker,
            worker_run: event.number.worker_run,
            worker_sequence: event.number.worker_sequence,
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        })
    }
}

impl StoredRow for DecisionRow {
    const TABLE: Table = Table::Decisions;

    fn id(&self) -> Uuid {
        self.id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }

    /// The client of an unchecked call made its id, and may report the call again at any time, or use the
    /// id of a decision that it knows.
    fn may_stand(&self) -> Option<RangeInclusive<DateTime<Utc>>> {
        if self.unchecked.is_empty() {
            return None;
        }
        let made = time_of(self.id).unwrap_or(self.timestamp);
        let since = made.min(self.timestamp).checked_sub_signed(CLOCK_AHEAD);
        Some(since.unwrap_or(DateTime::UNIX_EPOCH)..=last_storable())
    }
}

/// A row of `policy_violations` as its event says it. What is said later (that somebody was
/// notified) has columns of its own.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct ViolationRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub decision_id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub timestamp: DateTime<Utc>,
    pub violation_type: String,
    pub severity: String,
    pub policy_name: String,
    pub policy_version: u64,
    pub action_taken: String,
    pub reasons: Vec<String>,
    pub decision: String,
    pub action: String,
    pub resource: String,
    pub subject: String,
    pub agent: String,
    pub user: String,
    pub session_id: String,
    pub run_id: String,
    pub step_id: String,
    pub project_id: String,
    pub worker: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub worker_run: Uuid,
    pub worker_sequence: u64,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl ViolationRow {
    /// The row of an event.
    ///
    /// # Errors
    /// When the event's time is none that a table can hold.
    pub fn new(event: ViolationEvent, at: StreamPosition) -> Result<Self, StoreError> {
        Ok(Self {
            timestamp: storable(event.timestamp)?,
            id: event.id,
            decision_id: event.decision_id,
            violation_type: event.violation_type.as_str().to_owned(),
            severity: event.severity.as_str().to_owned(),
            policy_name: event.policy_name,
            policy_version: event.policy_version,
            action_taken: event.action_taken.as_str().to_owned(),
            reasons: event.reasons,
            decision: event.decision.as_str().to_owned(),
            action: event.action,
            resource: event.resource,
            subject: event.who.subject,
            agent: event.who.agent,
            user: event.who.user,
            session_id: event.who.session_id,
            run_id: event.who.run_id,
            step_id: event.who.step_id,
            project_id: event.who.project_id,
            worker: event.worker,
            worker_run: event.number.worker_run,
            worker_sequence: event.number.worker_sequence,
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        })
    }
}

impl StoredRow for ViolationRow {
    const TABLE: Table = Table::Violations;

    fn id(&self) -> Uuid {
        self.id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }
}

/// Later than any row.
fn last_storable() -> DateTime<Utc> {
    DateTime::from_timestamp(4_291_747_199, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

pub(super) fn storable(timestamp: DateTime<Utc>) -> Result<DateTime<Utc>, StoreError> {
    if !YEARS.contains(&timestamp.year()) {
        return Err(StoreError::Row(format!(
            "the time {timestamp} is outside the years {} to {}",
            YEARS.start(),
            YEARS.end()
        )));
    }
    // The column holds microseconds; whoever compares with it must not have more.
    DateTime::from_timestamp_micros(timestamp.timestamp_micros())
        .ok_or_else(|| StoreError::Row(format!("the time {timestamp} has no microseconds")))
}

pub(super) fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError::Row(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_no_table_can_hold_are_refused() {
        for (text, fits) in [
            ("1999-12-31T23:59:59Z", false),
            ("2000-01-01T00:00:00Z", true),
            ("2105-12-31T23:59:59.999999999Z", true),
            ("2106-01-01T00:00:00Z", false),
        ] {
            let result = storable(text.parse().unwrap());
            assert_eq!(result.is_ok(), fits, "{text}: {result:?}");
        }
        let exact = storable("2026-01-31T23:59:59.123456789Z".parse().unwrap()).unwrap();
        assert_eq!(exact.timestamp_subsec_nanos(), 123_456_000);
    }
}

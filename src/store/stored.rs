//! One decision as it was stored, whole: what `sluicegate explain` begins with.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clickhouse::Row as _;
use uuid::Uuid;

use super::client::Store;
use super::error::StoreError;
use super::rows::{DecisionRow, StoredRow as _, StreamPosition};
use crate::contract::event::{Number, Who};
use crate::contract::{DecisionEvent, EVENT_SCHEMA};
use crate::domain::Verdict;

/// How far a decision's time may be from the time in its id: they are taken one after the other.
pub(super) const NEAR: Duration = Duration::from_secs(3_600);

/// A decision of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredDecision {
    /// The decision as its event said it: the input, and what each policy said in which version.
    pub event: DecisionEvent,
    /// Where its event stood in the audit stream.
    pub at: StreamPosition,
}

impl Store {
    /// The decision of this id, with its input and with what each policy said; none where the
    /// history has no such decision.
    ///
    /// # Errors
    /// When ClickHouse fails, or the row can't be read as a decision.
    pub async fn decision_by_id(&self, id: Uuid) -> Result<Option<StoredDecision>, StoreError> {
        // The id carries its time, which leads the sort key: a narrow look first. An id that lies
        // about its time is found by the slower way.
        if let Some(time) = time_of(id)
            && let Some(row) = self.decision_row(id, Some(time)).await?
        {
            return StoredDecision::new(row).map(Some);
        }
        self.decision_row(id, None).await?.map(StoredDecision::new).transpose()
    }

    async fn decision_row(
        &self,
        id: Uuid,
        near: Option<DateTime<Utc>>,
    ) -> Result<Option<DecisionRow>, StoreError> {
        let within = if near.is_some() {
            "timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') \
             AND timestamp <= fromUnixTimestamp64Micro({until:Int64}, 'UTC')"
        } else {
            "1"
        };
        // Copies are alike: the first will do, and nothing needs to be merged.
        let sql = format!(
            "SELECT {} FROM policy_decisions WHERE {within} AND id = {{id:UUID}} LIMIT 1",
            DecisionRow::COLUMN_NAMES.join(", "),
        );
        let mut query = self.read(&sql).param("id", id.to_string());
        if let Some(near) = near {
            query = query
                .param("since", (near - NEAR).timestamp_micros())
                .param("until", (near + NEAR).timestamp_micros());
        }
        let row = query.fetch_optional::<DecisionRow>();
        self.within_query_timeout("looking for a decision", row).await
    }
}

impl StoredDecision {
    fn new(row: DecisionRow) -> Result<Self, StoreError> {
        let unreadable = |column: &str, error: &dyn std::fmt::Display| {
            StoreError::Row(format!("decision {}, column {column}: {error}", row.id))
        };
        let decision = match row.decision.as_str() {
            "allow" => Verdict::Allow,
            "deny" => Verdict::Deny,
            other => return Err(unreadable("decision", &format_args!("`{other}`"))),
        };
        let input = serde_json::from_str(&row.input_data)
            .map_err(|error| unreadable("input_data", &error))?;
        let policies = serde_json::from_str(&row.policy_result)
            .map_err(|error| unreadable("policy_result", &error))?;
        let at = row.position();
        let event = DecisionEvent {
            schema: EVENT_SCHEMA,
            id: row.id,
            timestamp: row.timestamp,
            worker: row.worker,
            number: Number { worker_run: row.worker_run, worker_sequence: row.worker_sequence },
            decision,
            action: row.action,
            resource: row.resource,
            who: Who {
                subject: row.subject,
                agent: row.agent,
                user: row.user,
                session_id: row.session_id,
                run_id: row.run_id,
                step_id: row.step_id,
                project_id: row.project_id,
            },
            input,
            policy_name: row.policy_name,
            policy_package: row.policy_package,
            policy_revision: row.policy_revision,
            policies,
            reason: row.decision_reason,
            deny_reasons: row.deny_reasons,
            warnings: row.warnings,
            would_deny: row.would_deny,
            enforced: row.enforced,
            error: row.error,
            error_message: row.error_message,
            unchecked: row.unchecked,
            duration_us: row.duration_us,
        };
        Ok(Self { event, at })
    }
}

/// The time in an id; none where the id has none.
pub(super) fn time_of(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

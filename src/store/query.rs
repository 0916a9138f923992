//! Questions that the command line and the console ask. Values are always bound parameters; the
//! text of a query is made of constants only.

use chrono::{DateTime, Utc};
use clickhouse::query::Query;
use clickhouse::{Row, RowOwned, RowRead};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Store;
use super::conditions::{Conditions, conditions_of_decisions, conditions_of_violations};
use super::error::StoreError;

/// Rows that one question may answer with.
pub const MAX_LIMIT: u32 = 10_000;

/// Rows that a question answers with when it doesn't say.
const DEFAULT_LIMIT: u32 = 100;

/// Which decisions. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionFilter {
    /// Made then or later.
    pub since: Option<DateTime<Utc>>,
    /// Made before.
    pub until: Option<DateTime<Utc>>,
    /// `allow` or `deny`.
    pub decision: Option<String>,
    /// The action.
    pub action: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The person.
    pub user: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// The run.
    pub run_id: Option<String>,
    /// The project.
    pub project_id: Option<String>,
    /// A policy that took part, whatever it said.
    pub policy: Option<String>,
    /// One of the reasons for denying.
    pub reason: Option<String>,
    /// Only those where a policy could not be evaluated.
    pub error_only: bool,
    /// Only calls that no worker answered.
    pub unchecked_only: bool,
    /// Only those that drafts would have denied.
    pub shadow_only: bool,
    /// A part of the resource, the reason, the action or the agent, whatever its case.
    pub text: Option<String>,
    /// The decision's id.
    pub id: Option<Uuid>,
    /// Only those that come after this row where the newest come first: older ones.
    pub after: Option<Cursor>,
    /// How many at most; 100 when not said, never more than [`MAX_LIMIT`].
    pub limit: Option<u32>,
}

/// A row's place in a list, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Its time.
    pub timestamp: DateTime<Utc>,
    /// Its id.
    pub id: Uuid,
}

/// A decision as lists show it.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct DecisionSummary {
    #[serde(with = "clickhouse::serde::uuid")]
    #[schemars(with = "Uuid")]
    pub id: Uuid,
    #[serde(with = "micros")]
    #[schemars(with = "DateTime<Utc>")]
    pub timestamp: DateTime<Utc>,
    pub decision: String,
    pub action: String,
    pub resource: String,
    pub agent: String,
    pub user: String,
    pub session_id: String,
    pub run_id: String,
    pub step_id: String,
    pub project_id: String,
    pub policy_name: String,
    pub policies: Vec<String>,
    pub decision_reason: String,
    pub deny_reasons: Vec<String>,
    pub warnings: Vec<String>,
    pub would_deny: Vec<String>,
    pub enforced: bool,
    pub error: bool,
    pub error_message: String,
    pub unchecked: String,
    pub duration_us: u64,
    pub worker: String,
}

/// Which violations. Empty means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ViolationFilter {
    /// Made then or later.
    pub since: Option<DateTime<Utc>>,
    /// Made before.
    pub until: Option<DateTime<Utc>>,
    /// `info`, `warning` or `critical`.
    pub severity: Option<String>,
    /// The policy.
    pub policy: Option<String>,
    /// The agent.
    pub agent: Option<String>,
    /// The person.
    pub user: Option<String>,
    /// The session.
    pub session_id: Option<String>,
    /// The decision that the violation belongs to.
    pub decision_id: Option<Uuid>,
    /// Whether somebody was told.
    pub notified: Option<bool>,
    /// Whether somebody has acknowledged it.
    pub acknowledged: Option<bool>,
    /// Only those that come after this row where the newest come first: older ones.
    pub after: Option<Cursor>,
    /// How many at most; 100 when not said, never more than [`MAX_LIMIT`].
    pub limit: Option<u32>,
}

/// A violation as lists show it.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct ViolationSummary {
    #[serde(with = "clickhouse::serde::uuid")]
    #[schemars(with = "Uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    #[schemars(with = "Uuid")]
    pub decision_id: Uuid,
    #[serde(with = "micros")]
    #[schemars(with = "DateTime<Utc>")]
    pub timestamp: DateTime<Utc>,
    pub violation_type: String,
    pub severity: String,
    pub policy_name: String,
    pub policy_version: u64,
    pub action_taken: String,
    pub reasons: Vec<String>,
    pub action: String,
    pub resource: String,
    pub agent: String,
    pub user: String,
    pub session_id: String,
    pub notified: bool,
    pub notification_details: String,
}

/// How the call of a decision ended.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize, JsonSchema)]
pub struct CallEnd {
    /// When, by the client's clock.
    #[serde(with = "micros")]
    #[schemars(with = "DateTime<Utc>")]
    pub timestamp: DateTime<Utc>,
    /// `ok`, `error` or `cancelled`.
    pub outcome: String,
    /// Type of what was raised; empty where nothing was.
    pub exception_type: String,
    /// Time that the call took.
    pub duration_seconds: f64,
    /// What it cost, in US dollars; none where that isn't known.
    pub cost_usd: Option<f64>,
}

/// A decision with its input, to try it on a policy.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct DecidedInput {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "micros")]
    pub timestamp: DateTime<Utc>,
    pub decision: String,
    pub action: String,
    pub resource: String,
    pub agent: String,
    pub user: String,
    pub session_id: String,
    pub project_id: String,
    pub input_data: String,
}

/// How many decisions, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Counts {
    /// All.
    pub decisions: u64,
    /// Denied.
    pub denied: u64,
    /// With a policy that could not be evaluated.
    pub errors: u64,
}

impl Store {
    /// Decisions, newest first, each once.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn recent_decisions(
        &self,
        filter: &DecisionFilter,
    ) -> Result<Vec<DecisionSummary>, StoreError> {
        self.newest("policy_decisions", conditions_of_decisions(filter), filter.limit).await
    }

    /// Violations, newest first, each once.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn violations(
        &self,
        filter: &ViolationFilter,
    ) -> Result<Vec<ViolationSummary>, StoreError> {
        self.newest("policy_violations", conditions_of_violations(filter), filter.limit).await
    }

    /// How many decisions the filter finds, whatever its limit.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn count_decisions(&self, filter: &DecisionFilter) -> Result<Counts, StoreError> {
        let conditions = conditions_of_decisions(filter);
        let sql = format!(
            "SELECT count() AS decisions, countIf(decision = 'deny') AS denied, countIf(error) AS errors \
             FROM policy_decisions FINAL WHERE {}",
            conditions.sql()
        );
        let query = conditions.bind(self.exact(&sql)).fetch_one::<Counts>();
        self.within_query_timeout("counting decisions", query).await
    }

    /// The question for these decisions as text, for people to copy.
    #[must_use]
    pub fn sql_of_decisions(&self, filter: &DecisionFilter) -> String {
        let conditions = conditions_of_decisions(filter).inlined();
        let (database, limit) = (self.database(), filter.limit.unwrap_or(DEFAULT_LIMIT));
        format!(
            "SELECT * FROM {database}.decisions WHERE {conditions} \
             ORDER BY timestamp DESC, id DESC LIMIT {limit}"
        )
    }

    /// How the call of a decision ended, as far as somebody said; the first word counts.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn outcome_of(&self, decision: Uuid) -> Result<Option<CallEnd>, StoreError> {
        let sql = format!(
            "SELECT {} FROM policy_outcomes FINAL WHERE decision_id = {{id:UUID}} \
             ORDER BY timestamp LIMIT 1",
            CallEnd::COLUMN_NAMES.join(", ")
        );
        let query = self.exact(&sql).param("id", decision.to_string()).fetch_optional::<CallEnd>();
        self.within_query_timeout("looking for an outcome", query).await
    }

    /// Decisions with the inputs that policies saw, newest first: `limit` of them at most, and no
    /// more than `bytes` of inputs.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn decided_inputs(
        &self,
        filter: &DecisionFilter,
        bytes: usize,
    ) -> Result<Vec<DecidedInput>, StoreError> {
        let conditions = conditions_of_decisions(filter);
        let sql = format!(
            "SELECT {} FROM policy_decisions FINAL WHERE {} ORDER BY timestamp DESC, id DESC LIMIT {}",
            DecidedInput::COLUMN_NAMES.join(", "),
            conditions.sql(),
            filter.limit.unwrap_or(DEFAULT_LIMIT)
        );
        let mut cursor = conditions.bind(self.exact(&sql)).fetch::<DecidedInput>()?;
        let reading = async {
            let (mut found, mut left) = (Vec::new(), bytes);
            while let Some(row) = cursor.next().await? {
                let Some(rest) = left.checked_sub(row.input_data.len()) else { break };
                left = rest;
                found.push(row);
            }
            Ok(found)
        };
        self.within_query_timeout("reading inputs of decisions", reading).await
    }

    /// `FINAL` makes it exact; time leads the sort key, so ClickHouse reads from the end and stops at
    /// the limit.
    async fn newest<R: RowOwned + RowRead>(
        &self,
        table: &'static str,
        conditions: Conditions,
        limit: Option<u32>,
    ) -> Result<Vec<R>, StoreError> {
        let sql = format!(
            "SELECT {} FROM {table} FINAL WHERE {} ORDER BY timestamp DESC, id DESC LIMIT {}",
            R::COLUMN_NAMES.join(", "),
            conditions.sql(),
            limit.unwrap_or(DEFAULT_LIMIT).min(MAX_LIMIT)
        );
        let query = conditions.bind(self.exact(&sql)).fetch_all::<R>();
        self.within_query_timeout("querying the audit", query).await
    }

    pub(super) fn exact(&self, sql: &str) -> Query {
        // Two copies of a row always lie in the same month.
        self.read(sql).with_setting("do_not_merge_across_partitions_select_final", "1")
    }
}

/// Microseconds for ClickHouse's binary format, RFC 3339 in the JSON that the command line prints.
pub(super) mod micros {
    use chrono::{DateTime, Utc};
    use clickhouse::serde::chrono::datetime64::micros;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(in crate::store) fn serialize<S: Serializer>(
        time: &DateTime<Utc>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            time.serialize(serializer)
        } else {
            micros::serialize(time, serializer)
        }
    }

    pub(in crate::store) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<DateTime<Utc>, D::Error> {
        if deserializer.is_human_readable() {
            DateTime::deserialize(deserializer)
        } else {
            micros::deserialize(deserializer)
        }
    }
}

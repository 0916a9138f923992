//! Questions that the command line and the console ask. Values are always bound parameters; the
//! text of a query is made of constants only.

use chrono::{DateTime, Utc};
use clickhouse::query::Query;
use clickhouse::{Row, RowOwned, RowRead};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Store;
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
    /// How many at most; 100 when not said, never more than [`MAX_LIMIT`].
    pub limit: Option<u32>,
}

/// A decision as lists show it.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct DecisionSummary {
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
    /// How many at most; 100 when not said, never more than [`MAX_LIMIT`].
    pub limit: Option<u32>,
}

/// A violation as lists show it.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct ViolationSummary {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub decision_id: Uuid,
    #[serde(with = "micros")]
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

/// Parts of a WHERE clause with the values for their parameters.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    parts: Vec<&'static str>,
    texts: Vec<(&'static str, String)>,
    times: Vec<(&'static str, i64)>,
}

impl Conditions {
    fn since(&mut self, time: Option<DateTime<Utc>>) {
        self.time("since", "timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')", time);
    }

    fn until(&mut self, time: Option<DateTime<Utc>>) {
        self.time("until", "timestamp < fromUnixTimestamp64Micro({until:Int64}, 'UTC')", time);
    }

    fn time(&mut self, name: &'static str, part: &'static str, time: Option<DateTime<Utc>>) {
        if let Some(time) = time {
            self.parts.push(part);
            self.times.push((name, time.timestamp_micros()));
        }
    }

    fn text(&mut self, name: &'static str, part: &'static str, text: Option<&String>) {
        if let Some(text) = text {
            self.parts.push(part);
            self.texts.push((name, text.clone()));
        }
    }

    pub(super) fn sql(&self) -> String {
        if self.parts.is_empty() { "1".to_owned() } else { self.parts.join(" AND ") }
    }

    pub(super) fn bind(self, mut query: Query) -> Query {
        for (name, text) in self.texts {
            query = query.param(name, text);
        }
        for (name, time) in self.times {
            query = query.param(name, time);
        }
        query
    }
}

pub(super) fn conditions_of_decisions(filter: &DecisionFilter) -> Conditions {
    let mut found = Conditions::default();
    found.since(filter.since);
    found.until(filter.until);
    found.text("decision", "decision = {decision:String}", filter.decision.as_ref());
    found.text("action", "action = {action:String}", filter.action.as_ref());
    found.text("agent", "agent = {agent:String}", filter.agent.as_ref());
    found.text("user", "user = {user:String}", filter.user.as_ref());
    found.text("session", "session_id = {session:String}", filter.session_id.as_ref());
    found.text("run", "run_id = {run:String}", filter.run_id.as_ref());
    found.text("project", "project_id = {project:String}", filter.project_id.as_ref());
    // `policies` holds name@version.
    found.text(
        "policy",
        "arrayExists(p -> startsWith(p, concat({policy:String}, '@')), policies)",
        filter.policy.as_ref(),
    );
    found.text("reason", "has(deny_reasons, {reason:String})", filter.reason.as_ref());
    if filter.error_only {
        found.parts.push("error");
    }
    if filter.unchecked_only {
        found.parts.push("unchecked != ''");
    }
    found
}

/// What an outcome has of it: when, what, who and in which run.
pub(super) fn conditions_of_outcomes(filter: &DecisionFilter) -> Conditions {
    conditions_of_decisions(&DecisionFilter {
        decision: None,
        policy: None,
        reason: None,
        error_only: false,
        unchecked_only: false,
        ..filter.clone()
    })
}

pub(super) fn conditions_of_violations(filter: &ViolationFilter) -> Conditions {
    let mut found = Conditions::default();
    found.since(filter.since);
    found.until(filter.until);
    found.text("severity", "severity = {severity:String}", filter.severity.as_ref());
    found.text("policy", "policy_name = {policy:String}", filter.policy.as_ref());
    found.text("agent", "agent = {agent:String}", filter.agent.as_ref());
    found.text("user", "user = {user:String}", filter.user.as_ref());
    found.text("session", "session_id = {session:String}", filter.session_id.as_ref());
    let decision = filter.decision_id.map(|id| id.to_string());
    found.text("decision", "decision_id = {decision:UUID}", decision.as_ref());
    found
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_enter_the_text_of_a_query() {
        let filter = DecisionFilter {
            agent: Some("'; DROP TABLE policy_decisions; --".into()),
            policy: Some("x".into()),
            error_only: true,
            ..DecisionFilter::default()
        };
        let conditions = conditions_of_decisions(&filter);
        assert_eq!(
            conditions.sql(),
            "agent = {agent:String} AND \
             arrayExists(p -> startsWith(p, concat({policy:String}, '@')), policies) AND error"
        );
        assert_eq!(conditions_of_decisions(&DecisionFilter::default()).sql(), "1");
    }
}

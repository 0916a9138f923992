//! Who and what stands out in a span of time.

use chrono::{DateTime, Utc};
use clickhouse::{Row, RowOwned, RowRead};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::client::Store;
use super::error::StoreError;
use super::stats::{ESTIMATE, SPAN};

/// How many of each kind.
const MOST: usize = 10;

/// Who and what stands out, ten of each kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Tops {
    /// Policies that denied most.
    pub policies: Vec<TopPolicy>,
    /// Reasons that were given most often.
    pub reasons: Vec<TopReason>,
    /// Agents that asked most.
    pub agents: Vec<TopAgent>,
    /// Actions that were asked for most.
    pub actions: Vec<TopAction>,
    /// Sessions that asked most.
    pub sessions: Vec<TopSession>,
}

/// A policy that denied.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize, JsonSchema)]
pub struct TopPolicy {
    /// Its name.
    pub policy: String,
    /// Checks that it denied.
    pub denials: u64,
}

/// A reason for denials.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize, JsonSchema)]
pub struct TopReason {
    /// It.
    pub reason: String,
    /// Checks that were denied for it.
    pub denials: u64,
}

/// An agent.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize, JsonSchema)]
pub struct TopAgent {
    /// Its name.
    pub agent: String,
    /// Checks.
    pub decisions: u64,
    /// Of these denied.
    pub denials: u64,
}

/// An action.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize, JsonSchema)]
pub struct TopAction {
    /// Its name.
    pub action: String,
    /// Checks.
    pub decisions: u64,
    /// Of these denied.
    pub denials: u64,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize, JsonSchema)]
pub struct TopSession {
    /// Its id.
    pub session_id: String,
    /// Checks.
    pub decisions: u64,
    /// Of these denied.
    pub denials: u64,
    /// What its allowed calls were to cost, in US dollars.
    pub estimated_cost_usd: f64,
}

impl Store {
    /// Who and what stands out in a span of time.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub(super) async fn tops(
        &self,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Tops, StoreError> {
        const COUNTS: &str = "count() AS decisions, countIf(decision = 'deny') AS denials";
        let named = |column: &str| {
            format!(
                "SELECT {column}::String AS {column}, {COUNTS} FROM policy_decisions FINAL \
                 WHERE {SPAN} AND {column} != '' GROUP BY {column} ORDER BY decisions DESC, {column}"
            )
        };
        let policies = format!(
            "SELECT policy_name::String AS policy, count() AS denials FROM policy_violations FINAL \
             WHERE {SPAN} AND violation_type = 'policy_denied' GROUP BY policy \
             ORDER BY denials DESC, policy"
        );
        let reasons = format!(
            "SELECT arrayJoin(deny_reasons)::String AS reason, count() AS denials \
             FROM policy_decisions FINAL WHERE {SPAN} AND decision = 'deny' GROUP BY reason \
             ORDER BY denials DESC, reason"
        );
        let sessions = format!(
            "SELECT session_id, {COUNTS}, sumIf({ESTIMATE}, decision = 'allow') AS estimated_cost_usd \
             FROM policy_decisions FINAL WHERE {SPAN} AND session_id != '' GROUP BY session_id \
             ORDER BY decisions DESC, session_id"
        );
        let (agents, actions) = (named("agent"), named("action"));
        let (policies, reasons, agents, actions, sessions) = tokio::try_join!(
            self.most(&policies, since, until),
            self.most(&reasons, since, until),
            self.most(&agents, since, until),
            self.most(&actions, since, until),
            self.most(&sessions, since, until),
        )?;
        Ok(Tops { policies, reasons, agents, actions, sessions })
    }

    async fn most<R: RowOwned + RowRead>(
        &self,
        sql: &str,
        since: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<Vec<R>, StoreError> {
        let sql = format!("{sql} LIMIT {MOST}");
        let query = self.within(&sql, since, until).fetch_all::<R>();
        self.within_query_timeout("looking for what stands out", query).await
    }
}

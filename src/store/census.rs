//! Every row with what identifies it, for `sluicegate chaos`, which compares them with what it asked.

use clickhouse::{Row, RowOwned, RowRead};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Store;
use super::error::StoreError;
use super::rows::Table;

/// A decision's identity.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct CensusDecision {
    /// Its id.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    /// The run that its caller named.
    pub run_id: String,
    /// The step that its caller named.
    pub step_id: String,
    /// `allow` or `deny`.
    pub decision: String,
}

/// A violation's identity.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct CensusViolation {
    /// Its id.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    /// The decision it belongs to.
    #[serde(with = "clickhouse::serde::uuid")]
    pub decision_id: Uuid,
    /// The step that its caller named.
    pub step_id: String,
    /// Whether somebody was told.
    pub notified: bool,
}

/// All rows of both tables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Each decision as often as a question that is exact finds it.
    pub decisions: Vec<CensusDecision>,
    /// Each violation likewise.
    pub violations: Vec<CensusViolation>,
    /// Copies of rows that are not merged yet, which no exact question finds.
    pub unmerged: u64,
}

impl Store {
    /// Reads the identity of every decision and every violation.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn census(&self) -> Result<Census, StoreError> {
        let decisions: Vec<CensusDecision> = self.identities(Table::Decisions).await?;
        let violations: Vec<CensusViolation> = self.identities(Table::Violations).await?;
        let exact = decisions.len().saturating_add(violations.len());
        let stored = self
            .stored(Table::Decisions)
            .await?
            .saturating_add(self.stored(Table::Violations).await?);
        let unmerged = stored.saturating_sub(u64::try_from(exact).unwrap_or(u64::MAX));
        Ok(Census { decisions, violations, unmerged })
    }

    async fn identities<R: RowOwned + RowRead>(&self, table: Table) -> Result<Vec<R>, StoreError> {
        let sql = format!("SELECT {} FROM {} FINAL", R::COLUMN_NAMES.join(", "), table.name());
        let query = self.read(&sql).fetch_all::<R>();
        self.within_query_timeout("reading every row's identity", query).await
    }

    async fn stored(&self, table: Table) -> Result<u64, StoreError> {
        let sql = format!("SELECT count() FROM {}", table.name());
        self.within_query_timeout("counting rows", self.read(&sql).fetch_one::<u64>()).await
    }
}

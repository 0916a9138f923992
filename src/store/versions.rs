//! The history of policies and of the switch, asked for: single versions, the newest of each, and
//! which version each history has reached. Order is that of the bucket's stream, not of clocks.

use std::ops::RangeInclusive;

use clickhouse::{Row, RowOwned, RowRead};
use serde::{Deserialize, Serialize};

use super::client::Store;
use super::error::StoreError;
use super::rows::{StoredRow, Table, VersionOf};
use super::rules::{EnforcementRow, RuleRow};
use crate::domain::{EnforcementRecord, PolicyRecord};

/// Versions that one question may answer with: each may hold the Rego of a large policy.
pub const MAX_VERSIONS: u32 = 1_000;

/// Policies that are read at once.
const PAGE: usize = 500;

/// Histories in one question.
const HISTORIES_PER_QUERY: usize = 500;

/// Newest first, as the bucket's stream had them.
const NEWEST_FIRST: &str = "stream_epoch DESC, stream_sequence DESC, version DESC";

impl Store {
    /// A version of a policy, whether it exists still or not. Where a bucket that was made anew had
    /// the same name and version again, the latest.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn policy_version(
        &self,
        name: &str,
        version: u64,
    ) -> Result<Option<PolicyRecord>, StoreError> {
        let sql = select::<RuleRow>(
            Table::Rules,
            "name = {name:String} AND version = {version:UInt64}",
            NEWEST_FIRST,
            1,
        );
        let query = self.read(&sql).param("name", name).param("version", version);
        let row = query.fetch_optional::<RuleRow>();
        let row = self.within_query_timeout("reading a version of a policy", row).await?;
        row.map(RuleRow::record).transpose()
    }

    /// The newest versions of a policy, newest first: `limit` of them, never more than
    /// [`MAX_VERSIONS`]. Deletions are versions too.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn policy_versions(
        &self,
        name: &str,
        limit: u32,
    ) -> Result<Vec<PolicyRecord>, StoreError> {
        let limit = limit.min(MAX_VERSIONS);
        let sql = select::<RuleRow>(Table::Rules, "name = {name:String}", NEWEST_FIRST, limit);
        let query = self.read(&sql).param("name", name).fetch_all::<RuleRow>();
        let rows = self.within_query_timeout("reading versions of a policy", query).await?;
        rows.into_iter().map(RuleRow::record).collect()
    }

    /// The newest version of every policy that ever was, by name: also of those whose newest version
    /// says that they are gone (`deleted`). All of them, read page by page.
    ///
    /// # Errors
    /// When ClickHouse fails, or a row can't be read as a record.
    pub async fn latest_policies(&self) -> Result<Vec<PolicyRecord>, StoreError> {
        // First the narrow columns, to find which rows; then those rows with their Rego.
        let sql = format!(
            "SELECT {} FROM policy_rules FINAL WHERE (id, version, content_id) IN (\
               SELECT argMax((id, version, content_id), (stream_epoch, stream_sequence, version)) \
               FROM policy_rules WHERE name > {{after:String}} \
               GROUP BY name ORDER BY name LIMIT {PAGE}) \
             ORDER BY name LIMIT {PAGE}",
            RuleRow::COLUMN_NAMES.join(", ")
        );
        let mut found: Vec<PolicyRecord> = Vec::new();
        loop {
            let after = found.last().map_or("", |record| record.name.as_str());
            let query = self.read(&sql).param("after", after).fetch_all::<RuleRow>();
            let rows = self.within_query_timeout("reading the newest policies", query).await?;
            let whole = rows.len() == PAGE;
            for row in rows {
                found.push(row.record()?);
            }
            if !whole {
                return Ok(found);
            }
        }
    }

    /// The newest version of the switch for enforcement; none where it was never set.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn latest_enforcement(&self) -> Result<Option<EnforcementRecord>, StoreError> {
        let sql = select::<EnforcementRow>(Table::Enforcement, "1", NEWEST_FIRST, 1);
        let query = self.read(&sql).fetch_optional::<EnforcementRow>();
        let row = self.within_query_timeout("reading the switch", query).await?;
        row.map(EnforcementRow::record).transpose()
    }

    /// The greatest version that the table has of each of these histories, and of others of the same
    /// names. Nothing for tables whose rows are no versions.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn greatest_versions<R: StoredRow>(
        &self,
        rows: &[&R],
    ) -> Result<Vec<VersionOf>, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Greatest {
            history: String,
            named: String,
            greatest: u64,
        }
        let sql = match R::TABLE {
            Table::Decisions
            | Table::Violations
            | Table::Notifications
            | Table::Outcomes
            | Table::Workers => {
                return Ok(Vec::new());
            }
            Table::Rules => {
                "SELECT toString(id) AS history, toString(any(name)) AS named, max(version) AS greatest \
                 FROM policy_rules \
                 WHERE id IN {histories:Array(UUID)} OR name IN {names:Array(String)} GROUP BY id"
            }
            Table::Enforcement => {
                "SELECT toString(toUnixTimestamp64Micro(stream_epoch)) AS history, \
                        {name:String} AS named, max(version) AS greatest \
                 FROM policy_enforcement GROUP BY stream_epoch"
            }
        };
        let mut found = Vec::new();
        for rows in rows.chunks(HISTORIES_PER_QUERY) {
            let mut histories: Vec<String> = Vec::new();
            let mut names: Vec<String> = Vec::new();
            for of in rows.iter().filter_map(|row| row.version_of()) {
                histories.push(of.history);
                names.push(of.name);
            }
            for list in [&mut histories, &mut names] {
                list.sort();
                list.dedup();
            }
            let query = self.read(sql);
            let query = match R::TABLE {
                Table::Enforcement => query.param("name", EnforcementRow::NAME),
                _ => query.param("histories", histories).param("names", names),
            };
            let known = query.fetch_all::<Greatest>();
            let known = self.within_query_timeout("reading the versions stored", known).await?;
            found.extend(known.into_iter().map(|known| VersionOf {
                history: known.history,
                name: known.named,
                version: known.greatest,
            }));
        }
        Ok(found)
    }
}

impl Store {
    /// How many of these versions the table has, of this history or of another of the same name.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn count_versions(
        &self,
        table: Table,
        of: &VersionOf,
        versions: RangeInclusive<u64>,
    ) -> Result<u64, StoreError> {
        let whose = match table {
            Table::Decisions
            | Table::Violations
            | Table::Notifications
            | Table::Outcomes
            | Table::Workers => {
                return Ok(0);
            }
            Table::Rules => "id = {history:UUID} OR name = {name:String}",
            Table::Enforcement => "1",
        };
        let sql = format!(
            "SELECT uniqExact(version) FROM {} \
             WHERE ({whose}) AND version BETWEEN {{from:UInt64}} AND {{to:UInt64}}",
            table.name()
        );
        let mut query =
            self.read(&sql).param("from", *versions.start()).param("to", *versions.end());
        if table == Table::Rules {
            query = query.param("history", &of.history).param("name", &of.name);
        }
        self.within_query_timeout("counting versions", query.fetch_one::<u64>()).await
    }
}

fn select<R: RowOwned + RowRead>(table: Table, condition: &str, order: &str, limit: u32) -> String {
    format!(
        "SELECT {} FROM {} FINAL WHERE {condition} ORDER BY {order} LIMIT {limit}",
        R::COLUMN_NAMES.join(", "),
        table.name()
    )
}

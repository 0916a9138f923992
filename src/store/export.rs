//! Taking rows out of ClickHouse in a format of other tools.

use clickhouse::Row;
use clickhouse::query::BytesCursor;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Store;
use super::error::StoreError;
use super::query::{DecisionFilter, ViolationFilter};

/// Which rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportOf {
    /// Decisions; the limit is not looked at.
    Decisions(DecisionFilter),
    /// Violations; the limit is not looked at.
    Violations(ViolationFilter),
    /// Outcomes; of the filter counts what an outcome has: times, action, who and in which run.
    Outcomes(DecisionFilter),
}

/// In which format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Apache Parquet.
    Parquet,
    /// One JSON object per line.
    JsonLines,
    /// Comma-separated values with a line of column names (RFC 4180).
    Csv,
}

impl ExportFormat {
    /// ClickHouse's name of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Parquet => "Parquet",
            Self::JsonLines => "JSONEachRow",
            Self::Csv => "CSVWithNames",
        }
    }
}

/// An export under way.
pub struct Export {
    store: Store,
    cursor: BytesCursor,
    /// By which the query is found among those that run.
    mark: String,
}

impl Store {
    /// How many rows an export would have.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn count_export(&self, of: &ExportOf) -> Result<u64, StoreError> {
        let (table, conditions) = of.parts();
        let sql = format!("SELECT count() FROM {table} FINAL WHERE {}", conditions.sql());
        let query = conditions.bind(self.exact(&sql)).fetch_one::<u64>();
        self.within_query_timeout("counting what to export", query).await
    }

    /// Begins an export: every row once, oldest first, all columns of the table. Ids are texts in
    /// every format.
    ///
    /// # Errors
    /// When ClickHouse refuses.
    pub fn export(&self, of: &ExportOf, format: ExportFormat) -> Result<Export, StoreError> {
        let (table, conditions) = of.parts();
        let mark = Uuid::new_v4().to_string();
        let sql = format!(
            "SELECT * REPLACE ({}) FROM {table} FINAL WHERE {} ORDER BY timestamp, id /* {mark} */",
            of.ids().map(|id| format!("toString({id}) AS {id}")).collect::<Vec<_>>().join(", "),
            conditions.sql()
        );
        let query = self
            .client()
            .query_raw(&sql)
            .with_setting("do_not_merge_across_partitions_select_final", "1")
            // Times that every tool reads.
            .with_setting("date_time_output_format", "iso")
            // Text may hold what isn't UTF-8 only where somebody put it there by hand; JSON can't.
            .with_setting("output_format_json_validate_utf8", "1")
            .with_setting("output_format_json_quote_64bit_integers", "0");
        let cursor = conditions.bind(query).fetch_bytes(format.name())?;
        Ok(Export { store: self.clone(), cursor, mark })
    }
}

impl ExportOf {
    fn parts(&self) -> (&'static str, super::conditions::Conditions) {
        match self {
            Self::Decisions(filter) => {
                ("policy_decisions", super::conditions::conditions_of_decisions(filter))
            }
            Self::Violations(filter) => {
                ("policy_violations", super::conditions::conditions_of_violations(filter))
            }
            Self::Outcomes(filter) => {
                ("policy_outcomes", super::conditions::conditions_of_outcomes(filter))
            }
        }
    }

    /// Columns of type UUID, which Parquet would hold as bytes.
    fn ids(&self) -> std::iter::Copied<std::slice::Iter<'static, &'static str>> {
        match self {
            Self::Decisions(_) => ["id", "worker_run"].as_slice(),
            Self::Violations(_) => ["id", "decision_id", "worker_run"].as_slice(),
            Self::Outcomes(_) => ["id", "decision_id"].as_slice(),
        }
        .iter()
        .copied()
    }
}

impl Export {
    /// The next bytes of the file; `None` when it is complete. Has no time limit of its own: a server
    /// may sort for minutes before the first byte comes. [`ExportWatch`] tells whether it still works.
    ///
    /// # Errors
    /// When ClickHouse fails: then what came is not the whole.
    pub async fn next(&mut self) -> Result<Option<bytes::Bytes>, StoreError> {
        Ok(self.cursor.next().await?)
    }

    /// Looks at it from beside.
    #[must_use]
    pub fn watch(&self) -> ExportWatch {
        ExportWatch { store: self.store.clone(), mark: self.mark.clone() }
    }
}

/// Tells how far ClickHouse is with an export.
#[derive(Clone, Debug)]
pub struct ExportWatch {
    store: Store,
    mark: String,
}

impl ExportWatch {
    /// How many rows ClickHouse has read, while it works on it; `None` before and after.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn rows_read(&self) -> Result<Option<u64>, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Rows {
            rows: u64,
        }
        let query = self
            .store
            .read(
                "SELECT toUInt64(read_rows) AS rows FROM system.processes \
                 WHERE position(query, concat('/* ', {mark:String})) > 0",
            )
            .param("mark", self.mark.as_str())
            .fetch_optional::<Rows>();
        let found = self.store.within_query_timeout("looking at the export", query).await?;
        Ok(found.map(|found| found.rows))
    }
}

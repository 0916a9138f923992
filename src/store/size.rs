//! How large the tables are and how fast they grow.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::client::Store;
use super::error::StoreError;
use super::rows::Table;

/// A table's size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TableSize {
    /// Its name.
    pub name: String,
    /// Rows, copies that are not merged yet included.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Parts; many hundreds mean that ClickHouse can't merge as fast as rows come.
    pub parts: u64,
    /// When its oldest and newest row were made, for tables sorted by time that have rows.
    pub span: Option<(DateTime<Utc>, DateTime<Utc>)>,
    /// Rows made in the last 24 hours, for tables sorted by time.
    pub rows_last_day: Option<u64>,
}

impl TableSize {
    /// Bytes on disk that a day like the last adds.
    #[must_use]
    pub fn bytes_per_day(&self) -> Option<u64> {
        let day = u128::from(self.rows_last_day?);
        let bytes = u128::from(self.bytes) * day / u128::from(self.rows.max(1));
        u64::try_from(bytes).ok()
    }
}

/// Room on a disk of ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Disk {
    /// Its name.
    pub name: String,
    /// Free bytes.
    pub free: u64,
    /// All its bytes.
    pub total: u64,
}

impl Store {
    /// The size of every table of the product, by name.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn table_sizes(&self) -> Result<Vec<TableSize>, StoreError> {
        #[derive(Row, Deserialize)]
        struct Parts {
            name: String,
            rows: u64,
            bytes: u64,
            parts: u64,
        }
        let query = self
            .read(
                "SELECT t.name AS name, sum(p.rows) AS rows, sum(p.bytes_on_disk) AS bytes, \
                 countIf(p.name != '') AS parts \
                 FROM system.tables AS t \
                 LEFT JOIN (SELECT * FROM system.parts WHERE active AND database = currentDatabase()) AS p \
                 ON p.table = t.name \
                 WHERE t.database = currentDatabase() AND t.engine LIKE '%MergeTree' \
                 GROUP BY name ORDER BY name",
            )
            .fetch_all::<Parts>();
        let tables = self.within_query_timeout("reading the sizes of tables", query).await?;
        let mut sizes = Vec::with_capacity(tables.len());
        for table in tables {
            let by_time = [Table::Decisions, Table::Violations, Table::Outcomes];
            let known = by_time.into_iter().find(|known| known.name() == table.name);
            let days = match known {
                Some(known) => Some(self.days(known).await?),
                None => None,
            };
            let span = days.as_ref().filter(|_| table.rows > 0);
            sizes.push(TableSize {
                rows: table.rows,
                bytes: table.bytes,
                parts: table.parts,
                span: span.map(|days| (days.oldest, days.newest)),
                rows_last_day: days.map(|days| days.last_day),
                name: table.name,
            });
        }
        Ok(sizes)
    }

    async fn days(&self, table: Table) -> Result<Days, StoreError> {
        let sql = format!(
            "SELECT min(timestamp) AS oldest, max(timestamp) AS newest, \
             countIf(timestamp > now64(6, 'UTC') - INTERVAL 1 DAY) AS last_day FROM {}",
            table.name()
        );
        let query = self.read(&sql).fetch_one::<Days>();
        self.within_query_timeout("reading the age of rows", query).await
    }

    /// The disks of ClickHouse.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn disks(&self) -> Result<Vec<Disk>, StoreError> {
        let query = self
            .read(
                "SELECT name, toUInt64(free_space) AS free, toUInt64(total_space) AS total \
                 FROM system.disks ORDER BY name",
            )
            .fetch_all::<Disk>();
        self.within_query_timeout("reading the room on disks", query).await
    }
}

#[derive(Row, Deserialize)]
struct Days {
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    oldest: DateTime<Utc>,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    newest: DateTime<Utc>,
    last_day: u64,
}

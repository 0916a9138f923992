//! Writing a batch once, however often it is sent, and asking what is already there.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use chrono::{DateTime, Utc};
use clickhouse::{Row, RowOwned, RowWrite};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Store;
use super::error::StoreError;
use super::rows::{StoredRow, Table};

/// Ids in one question, so that it stays well below what servers accept in one parameter.
const IDS_PER_QUERY: usize = 2_000;

impl Store {
    /// Inserts rows of one partition as one block. ClickHouse remembers `token`: the same rows may be
    /// sent again under it and are stored once. Other rows under a token that was used are silently
    /// thrown away, so a token must be made of exactly these rows.
    ///
    /// # Errors
    /// When ClickHouse refuses, or when its answer doesn't arrive: then whether the rows are stored
    /// is unknown, and the same call again settles it.
    pub async fn insert<R: StoredRow>(&self, rows: &[&R], token: &str) -> Result<(), StoreError> {
        self.insert_rows(R::TABLE.name(), rows, token).await
    }

    pub(super) async fn insert_rows<R: RowOwned + RowWrite>(
        &self,
        table: &str,
        rows: &[&R],
        token: &str,
    ) -> Result<(), StoreError> {
        // The crate's own limits leave out the question for the table's columns: one for all.
        let limit = self.insert_timeout();
        let result = match tokio::time::timeout(limit, self.send_rows(table, rows, token)).await {
            Ok(result) => result.map_err(StoreError::from),
            Err(_) => Err(StoreError::timeout("insert", limit)),
        };
        if result.as_ref().is_err_and(|error| !error.is_transient()) {
            // The crate remembers the columns of a table. If they were changed meanwhile, the rows
            // looked wrong only because of that.
            self.client().clear_cached_metadata().await;
        }
        result
    }

    async fn send_rows<R: RowOwned + RowWrite>(
        &self,
        table: &str,
        rows: &[&R],
        token: &str,
    ) -> Result<(), clickhouse::error::Error> {
        let mut insert = self
            .client()
            .insert::<R>(table)
            .await?
            .with_setting("insert_deduplication_token", token);
        for row in rows {
            insert.write(row).await?;
        }
        insert.end().await
    }

    /// Which of these ids the table has, among rows of this span of time (both ends included) where
    /// the table is sorted by time.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn existing_ids(
        &self,
        table: Table,
        ids: &[Uuid],
        span: RangeInclusive<DateTime<Utc>>,
    ) -> Result<HashSet<Uuid>, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Id {
            #[serde(with = "clickhouse::serde::uuid")]
            id: Uuid,
        }
        let id = table.id_column();
        let within = if table.is_by_time() {
            "timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') \
             AND timestamp <= fromUnixTimestamp64Micro({until:Int64}, 'UTC')"
        } else {
            "1"
        };
        let sql = format!(
            "SELECT DISTINCT {id} AS id FROM {} WHERE {within} AND {id} IN {{ids:Array(UUID)}}",
            table.name()
        );
        let mut found = HashSet::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let texts: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
            let query = self
                .read(&sql)
                .param("since", span.start().timestamp_micros())
                .param("until", span.end().timestamp_micros())
                .param("ids", texts)
                .fetch_all::<Id>();
            let rows = self.within_query_timeout("looking up ids", query).await?;
            found.extend(rows.into_iter().map(|row| row.id));
        }
        Ok(found)
    }

    /// The greatest stream sequence that the table has of this epoch, among rows since `since` where
    /// the table is sorted by time: `None` if it has none.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn high_water_mark(
        &self,
        table: Table,
        epoch: DateTime<Utc>,
        since: DateTime<Utc>,
    ) -> Result<Option<u64>, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Mark {
            rows: u64,
            greatest: u64,
        }
        let within = if table.is_by_time() {
            "timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC')"
        } else {
            "1"
        };
        let sql = format!(
            "SELECT count() AS rows, max(stream_sequence) AS greatest FROM {} \
             WHERE {within} AND stream_epoch = fromUnixTimestamp64Micro({{epoch:Int64}}, 'UTC')",
            table.name()
        );
        let query = self
            .read(&sql)
            .param("since", since.timestamp_micros())
            .param("epoch", epoch.timestamp_micros())
            .fetch_one::<Mark>();
        let mark = self.within_query_timeout("reading the high-water mark", query).await?;
        Ok((mark.rows > 0).then_some(mark.greatest))
    }
}

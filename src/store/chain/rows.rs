//! The rows of a range as the chain sees them: every copy that ClickHouse holds, digested by ClickHouse.
//!
//! Without `FINAL`, on purpose: copies of one row say the same and are one here, and a copy that says
//! something else is seen, whichever of them a merge would keep.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::digest::Chained;
use super::link::{Range, SealedRow};
use crate::store::client::Store;
use crate::store::error::StoreError;

/// What a table has of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct EpochRows {
    /// When the stream was created.
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub epoch: DateTime<Utc>,
    /// The smallest sequence.
    pub first: u64,
    /// The greatest.
    pub last: u64,
    /// Rows, copies included.
    pub rows: u64,
}

/// What a table has of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct RowsFrom {
    /// The smallest sequence; 0 where there are no rows.
    pub first: u64,
    /// Rows, copies included.
    pub rows: u64,
}

pub(super) const IN_RANGE: &str = "stream_epoch = fromUnixTimestamp64Micro({epoch:Int64}, 'UTC') \
                        AND stream_sequence BETWEEN {first:UInt64} AND {last:UInt64}";

impl Store {
    /// All rows of a range, in the order of the stream.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn sealed_rows(
        &self,
        chained: Chained,
        range: Range,
    ) -> Result<Vec<SealedRow>, StoreError> {
        self.some_sealed_rows(chained, range, u64::MAX).await
    }

    /// As [`Self::sealed_rows`], `limit` of them at most.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn some_sealed_rows(
        &self,
        chained: Chained,
        range: Range,
        limit: u64,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT stream_sequence AS sequence, id, \
                    toUnixTimestamp64Micro(timestamp) AS timestamp_micros, {} AS row_digest \
             FROM {} WHERE {IN_RANGE} ORDER BY sequence, id, row_digest LIMIT {limit}",
            chained.sql(),
            chained.table().name()
        );
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            sequence: u64,
            #[serde(with = "clickhouse::serde::uuid")]
            id: uuid::Uuid,
            timestamp_micros: i64,
            row_digest: [u8; 32],
        }
        let query = self.in_range(&sql, range).fetch_all::<Found>();
        let rows = self.within_query_timeout("reading rows for the chain", query).await?;
        let sealed = rows.into_iter().map(|row| SealedRow {
            sequence: row.sequence,
            id: row.id,
            timestamp: row.timestamp_micros,
            digest: row.row_digest,
        });
        Ok(sealed.collect())
    }

    /// What the table has of a range: its first sequence, and how many rows.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn rows_from(&self, chained: Chained, range: Range) -> Result<RowsFrom, StoreError> {
        let sql = format!(
            "SELECT min(stream_sequence) AS first, count() AS rows FROM {} WHERE {IN_RANGE}",
            chained.table().name()
        );
        let query = self.in_range(&sql, range).fetch_one::<RowsFrom>();
        self.within_query_timeout("looking for rows to seal", query).await
    }

    /// What the table has of each stream, the oldest first.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn epochs(&self, chained: Chained) -> Result<Vec<EpochRows>, StoreError> {
        let sql = format!(
            "SELECT stream_epoch AS epoch, min(stream_sequence) AS first, \
                    max(stream_sequence) AS last, count() AS rows \
             FROM {} GROUP BY epoch ORDER BY epoch",
            chained.table().name()
        );
        let query = self.read(&sql).fetch_all::<EpochRows>();
        self.within_query_timeout("looking for streams", query).await
    }

    pub(super) fn in_range(&self, sql: &str, range: Range) -> clickhouse::query::Query {
        self.read(sql)
            .param("epoch", range.epoch.timestamp_micros())
            .param("first", range.first)
            .param("last", range.last)
    }
}

//! Where rows stand, by id or by place: for naming what is wrong.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::digest::Chained;
use super::link::Range;
use super::rows::IN_RANGE;
use crate::store::client::Store;
use crate::store::error::StoreError;

/// Ids in one question.
const IDS_PER_QUERY: usize = 2_000;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Place {
    /// The row.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    /// When its stream was created.
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub epoch: DateTime<Utc>,
    /// Its sequence there.
    pub sequence: u64,
}

/// An id with several rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Doubled {
    /// The id.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    /// One of its places.
    pub sequence: u64,
    /// How many rows.
    pub rows: u64,
}

impl Store {
    /// Where these rows stand, as far as they are there.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn places(&self, chained: Chained, ids: &[Uuid]) -> Result<Vec<Place>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT id, stream_epoch AS epoch, stream_sequence AS sequence FROM {} \
             WHERE id IN {{ids:Array(UUID)}} ORDER BY epoch, sequence",
            chained.table().name()
        );
        let mut places = Vec::new();
        for chunk in ids.chunks(IDS_PER_QUERY) {
            let texts: Vec<String> = chunk.iter().map(Uuid::to_string).collect();
            let query = self.read(&sql).param("ids", texts).fetch_all::<Place>();
            places.extend(self.within_query_timeout("looking for rows", query).await?);
        }
        Ok(places)
    }

    /// The rows of a range, in the order of the stream; `limit` at most.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn places_in(
        &self,
        chained: Chained,
        range: Range,
        limit: u64,
    ) -> Result<Vec<Place>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT id, stream_epoch AS epoch, stream_sequence AS sequence FROM {} \
             WHERE stream_epoch = fromUnixTimestamp64Micro({{epoch:Int64}}, 'UTC') \
             AND stream_sequence BETWEEN {{first:UInt64}} AND {{last:UInt64}} \
             ORDER BY sequence, id LIMIT {limit}",
            chained.table().name()
        );
        let query = self
            .read(&sql)
            .param("epoch", range.epoch.timestamp_micros())
            .param("first", range.first)
            .param("last", range.last)
            .fetch_all::<Place>();
        self.within_query_timeout("looking for rows", query).await
    }

    /// The rows of a range that are of a span of time (from, before); `limit` at most.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn places_within(
        &self,
        chained: Chained,
        range: Range,
        (since, until): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
        limit: u64,
    ) -> Result<Vec<Place>, StoreError> {
        let sql = format!(
            "SELECT DISTINCT id, stream_epoch AS epoch, stream_sequence AS sequence FROM {} \
             WHERE {IN_RANGE} AND toUnixTimestamp64Micro(timestamp) >= {{since:Int64}} \
             AND toUnixTimestamp64Micro(timestamp) < {{until:Int64}} \
             ORDER BY sequence, id LIMIT {limit}",
            chained.table().name()
        );
        let query = self
            .in_range(&sql, range)
            .param("since", since.map_or(i64::MIN, |since| since.timestamp_micros()))
            .param("until", until.map_or(i64::MAX, |until| until.timestamp_micros()))
            .fetch_all::<Place>();
        self.within_query_timeout("looking for rows", query).await
    }

    /// When the oldest row of a range was stored; none where there are none.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn stored_since(
        &self,
        chained: Chained,
        range: Range,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = format!(
            "SELECT toUnixTimestamp64Micro(min(inserted_at)) FROM {} WHERE {IN_RANGE}",
            chained.table().name()
        );
        let query = self.in_range(&sql, range).fetch_one::<i64>();
        let micros = self.within_query_timeout("looking for rows to seal", query).await?;
        Ok(DateTime::from_timestamp_micros(micros).filter(|_| micros > 0))
    }

    /// Ids that several rows of a span have: copies of one row are one. The first `limit` of them.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn doubled_ids(
        &self,
        chained: Chained,
        since: DateTime<Utc>,
        limit: u64,
    ) -> Result<Vec<Doubled>, StoreError> {
        // What memory can't hold, ClickHouse groups on disk.
        let sql = format!(
            "SELECT id, min(stream_sequence) AS sequence, \
                    uniqExact((timestamp, stream_epoch, stream_sequence)) AS rows \
             FROM {} WHERE timestamp >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') \
             GROUP BY id HAVING rows > 1 ORDER BY id LIMIT {limit}",
            chained.table().name()
        );
        let query = self
            .read(&sql)
            .param("since", since.timestamp_micros())
            .with_setting("max_bytes_before_external_group_by", "500000000")
            .fetch_all::<Doubled>();
        self.within_query_timeout("looking for doubled ids", query).await
    }
}

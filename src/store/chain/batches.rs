//! The table `audit_batches`: links are written once and read in order.

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::digest::Chained;
use super::link::{Index, Link};
use crate::store::client::Store;
use crate::store::error::StoreError;

/// Links that [`Store::links`] gives at once, at most.
pub const LINKS_PER_PAGE: usize = 5_000;

/// A link as the table holds it.
#[derive(Row, Serialize)]
struct LinkRow<'a> {
    chain: &'a str,
    number: u64,
    format: &'a str,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    epoch: DateTime<Utc>,
    first_sequence: u64,
    last_sequence: u64,
    rows: u64,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    first_timestamp: DateTime<Utc>,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    last_timestamp: DateTime<Utc>,
    rows_digest: &'a str,
    index_digest: &'a str,
    previous: &'a str,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    sealed_at: DateTime<Utc>,
    digest: &'a str,
    signature: &'a str,
    public_key: &'a str,
    sequences: &'a [u64],
    ids: Vec<Id>,
    timestamps: &'a [i64],
    prefixes: &'a [u64],
}

/// A UUID within an array.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(transparent)]
struct Id(#[serde(with = "clickhouse::serde::uuid")] Uuid);

#[derive(Row, Serialize, Deserialize)]
struct IndexRow {
    sequences: Vec<u64>,
    ids: Vec<Id>,
    timestamps: Vec<i64>,
    prefixes: Vec<u64>,
}

impl Store {
    /// Stores a link. The same link again changes nothing.
    ///
    /// # Errors
    /// When ClickHouse fails; whether the link is stored is unknown then.
    pub async fn insert_link(&self, link: &Link, index: &Index) -> Result<(), StoreError> {
        let row = LinkRow {
            chain: &link.chain,
            number: link.number,
            format: &link.format,
            epoch: link.epoch,
            first_sequence: link.first_sequence,
            last_sequence: link.last_sequence,
            rows: link.rows,
            first_timestamp: link.first_timestamp,
            last_timestamp: link.last_timestamp,
            rows_digest: &link.rows_digest,
            index_digest: &link.index_digest,
            previous: &link.previous,
            sealed_at: link.sealed_at,
            digest: &link.digest,
            signature: &link.signature,
            public_key: &link.public_key,
            sequences: &index.sequences,
            ids: index.ids.iter().copied().map(Id).collect(),
            timestamps: &index.timestamps,
            prefixes: &index.prefixes,
        };
        let limit = self.insert_timeout();
        // A token of its own each time: the link may have been deleted since it was inserted, and must
        // come back then. Copies merge.
        let token = Uuid::new_v4().to_string();
        let insert = async {
            let mut insert = self
                .client()
                .insert::<LinkRow<'_>>("audit_batches")
                .await?
                .with_setting("insert_deduplication_token", token);
            insert.write(&row).await?;
            insert.end().await
        };
        match tokio::time::timeout(limit, insert).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(StoreError::timeout("insert of a link", limit)),
        }
    }

    /// The link of the greatest number; none where the chain has not begun.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn newest_link(&self, chained: Chained) -> Result<Option<Link>, StoreError> {
        let sql = select("chain = {chain:String}", "number DESC, sealed_at", 1);
        let query = self.read(&sql).param("chain", chained.label()).fetch_optional::<Link>();
        self.within_query_timeout("reading the chain", query).await
    }

    /// Links in the order of their numbers, from `from` on: never more than some thousands. Of one
    /// number there may be several, if somebody wrote another one.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn links(&self, chained: Chained, from: u64) -> Result<Vec<Link>, StoreError> {
        let of = "chain = {chain:String} AND number >= {from:UInt64}";
        let sql = select(of, "number, sealed_at, digest", LINKS_PER_PAGE as u64);
        let query = self.read(&sql).param("chain", chained.label()).param("from", from);
        self.within_query_timeout("reading the chain", query.fetch_all::<Link>()).await
    }

    /// Up to where a stream is sealed; 0 where it isn't at all.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn sealed_up_to(
        &self,
        chained: Chained,
        epoch: DateTime<Utc>,
    ) -> Result<u64, StoreError> {
        let sql = "SELECT max(last_sequence) FROM audit_batches WHERE chain = {chain:String} \
                   AND epoch = fromUnixTimestamp64Micro({epoch:Int64}, 'UTC')";
        let query = self
            .read(sql)
            .param("chain", chained.label())
            .param("epoch", epoch.timestamp_micros())
            .fetch_one::<u64>();
        self.within_query_timeout("reading the chain", query).await
    }

    /// The index of a link; empty where it is gone.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn link_index(&self, link: &Link) -> Result<Index, StoreError> {
        let sql = "SELECT sequences, ids, timestamps, prefixes FROM audit_batches FINAL \
                   WHERE chain = {chain:String} AND number = {number:UInt64} \
                   AND digest = {digest:String} LIMIT 1";
        let query = self
            .read(sql)
            .param("chain", link.chain.as_str())
            .param("number", link.number)
            .param("digest", link.digest.as_str())
            .fetch_optional::<IndexRow>();
        let row = self.within_query_timeout("reading a link's index", query).await?;
        Ok(row.map_or_else(Index::default, |row| Index {
            sequences: row.sequences,
            ids: row.ids.into_iter().map(|Id(id)| id).collect(),
            timestamps: row.timestamps,
            prefixes: row.prefixes,
        }))
    }
}

fn select(condition: &str, order: &str, limit: u64) -> String {
    format!(
        "SELECT {} FROM audit_batches FINAL WHERE {condition} ORDER BY {order} LIMIT {limit}",
        Link::COLUMN_NAMES.join(", ")
    )
}

//! What `sluicegate bench sink` needs beside the tables: the engine's own ingest of a file, to
//! compare with, and databases that go away again.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::BytesMut;
use clickhouse::Row;
use clickhouse::sql::Identifier;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufWriter};

use super::client::Store;
use super::error::StoreError;
use super::rows::Table;

/// What the names of a benchmark's databases begin with; no other database is ever dropped.
pub const DATABASE_PREFIX: &str = "bench_";

/// Bytes read from a file and sent at once.
const CHUNK: usize = 1 << 20;

/// Why a benchmark can't go on.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file of rows.
    #[error("the file of rows: {0}")]
    File(#[from] std::io::Error),
}

impl From<clickhouse::error::Error> for BenchError {
    fn from(error: clickhouse::error::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How a file holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowFormat {
    /// Columns as the engine itself has them: the fastest it can read.
    Native,
    /// One JSON object per line: what a pipeline without a sink of its own would load.
    JsonLines,
}

impl RowFormat {
    /// ClickHouse's name of it.
    const fn name(self) -> &'static str {
        match self {
            Self::Native => "Native",
            Self::JsonLines => "JSONEachRow",
        }
    }
}

/// How many rows a table has, and how many different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Tally {
    /// Rows.
    pub rows: u64,
    /// Different ids among them.
    pub unique_ids: u64,
}

impl Store {
    /// How many decisions the table has, copies included: from the parts' headers, so that asking
    /// often costs the engine little.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn stored_decisions(&self) -> Result<u64, StoreError> {
        let sql = format!("SELECT count() FROM {}", Table::Decisions.name());
        self.within_query_timeout("counting rows", self.read(&sql).fetch_one::<u64>()).await
    }

    /// Counts the decisions exactly, copies told apart by their ids.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn tally_decisions(&self) -> Result<Tally, StoreError> {
        let sql = format!(
            "SELECT count() AS rows, uniqExact(id) AS unique_ids FROM {}",
            Table::Decisions.name()
        );
        self.within_query_timeout("counting ids", self.read(&sql).fetch_one::<Tally>()).await
    }

    /// Writes the decisions of these places in the stream to a file, chunk by chunk. Returns its bytes.
    ///
    /// # Errors
    /// When ClickHouse fails, or the file can't be written.
    pub async fn export_decisions(
        &self,
        format: RowFormat,
        path: &Path,
        rows: Range<u64>,
        limit: Duration,
    ) -> Result<u64, BenchError> {
        let copied = async {
            let mut rows = self
                .client()
                .query_raw(&format!(
                    "SELECT * EXCEPT (inserted_at) FROM {} \
                     WHERE stream_sequence >= {} AND stream_sequence < {}",
                    Table::Decisions.name(),
                    rows.start,
                    rows.end
                ))
                .fetch_bytes(format.name())?;
            let mut file = BufWriter::with_capacity(CHUNK, File::create(path).await?);
            let mut bytes = 0_u64;
            while let Some(chunk) = rows.next().await? {
                bytes = bytes.saturating_add(u64::try_from(chunk.len()).unwrap_or(u64::MAX));
                file.write_all(&chunk).await?;
            }
            file.flush().await?;
            Ok(bytes)
        };
        within("writing a file of rows", limit, copied).await
    }

    /// Gives the engine a file of decisions as one insert, and waits until it has stored them.
    ///
    /// # Errors
    /// When ClickHouse fails, or the file can't be read.
    pub async fn ingest_decisions(
        &self,
        format: RowFormat,
        path: &Path,
        limit: Duration,
    ) -> Result<(), BenchError> {
        let sent = async {
            let sql = format!(
                "INSERT INTO {} (* EXCEPT (inserted_at)) FORMAT {}",
                Table::Decisions.name(),
                format.name()
            );
            let mut insert = self.client().insert_formatted_with(sql);
            let mut file = File::open(path).await?;
            loop {
                let mut chunk = BytesMut::with_capacity(CHUNK);
                while chunk.len() < CHUNK && file.read_buf(&mut chunk).await? > 0 {}
                if chunk.is_empty() {
                    return Ok(insert.end().await?);
                }
                insert.send(chunk.freeze()).await?;
            }
        };
        within("inserting a file of rows", limit, sent).await
    }

    /// Drops the database with all its tables, and waits until their files are gone.
    ///
    /// # Errors
    /// When ClickHouse fails, or when the name isn't a benchmark's.
    pub async fn drop_bench_database(&self) -> Result<(), StoreError> {
        if !self.database().starts_with(DATABASE_PREFIX) {
            return Err(StoreError::Settings(format!(
                "database {} is not dropped: its name doesn't begin with {DATABASE_PREFIX}",
                self.database()
            )));
        }
        let drop = self
            .server()
            .query("DROP DATABASE IF EXISTS ? SYNC")
            .bind(Identifier(self.database()))
            .execute();
        self.within_query_timeout("dropping the database", drop).await
    }
}

async fn within<T>(
    what: &'static str,
    limit: Duration,
    work: impl Future<Output = Result<T, BenchError>>,
) -> Result<T, BenchError> {
    match tokio::time::timeout(limit, work).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::timeout(what, limit).into()),
    }
}

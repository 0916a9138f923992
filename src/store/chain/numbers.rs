//! The numbers that workers gave to their events, over both tables.

use chrono::{DateTime, TimeDelta, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::store::client::Store;
use crate::store::error::StoreError;

/// How far the time of an event (when its check was taken) may be from when it was numbered.
pub const EDGE: TimeDelta = TimeDelta::seconds(60);

/// What one grouping or sorting may hold in memory, in bytes; the rest goes to ClickHouse's disk.
const MEMORY: &str = "500000000";

/// Rows of both tables that are numbered, of a span of time and its edges.
const NUMBERED: &str = "\
SELECT worker_run, worker_sequence, worker::String AS worker, timestamp, stream_epoch, \
       stream_sequence, id FROM policy_decisions \
WHERE worker_sequence > 0 AND timestamp BETWEEN fromUnixTimestamp64Micro({from:Int64}, 'UTC') \
                                           AND fromUnixTimestamp64Micro({to:Int64}, 'UTC') \
UNION ALL \
SELECT worker_run, worker_sequence, worker::String AS worker, timestamp, stream_epoch, \
       stream_sequence, id FROM policy_violations \
WHERE worker_sequence > 0 AND timestamp BETWEEN fromUnixTimestamp64Micro({from:Int64}, 'UTC') \
                                           AND fromUnixTimestamp64Micro({to:Int64}, 'UTC')";

/// A span of time: rows from `since` on and before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// From here on.
    pub since: DateTime<Utc>,
    /// Before.
    pub until: DateTime<Utc>,
}

/// One run's numbers in a span.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct RunNumbers {
    /// The run.
    #[serde(with = "clickhouse::serde::uuid")]
    pub run: Uuid,
    /// Its worker.
    pub worker: String,
    /// The greatest number before the span; 0 where there is none near it.
    pub before: u64,
    /// The smallest in the span.
    pub least: u64,
    /// The greatest.
    pub greatest: u64,
    /// How many different ones.
    pub stored: u64,
}

/// The newest of a run's checkpoints.
#[derive(Clone, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct RunCheckpoint {
    /// The run.
    #[serde(with = "clickhouse::serde::uuid")]
    pub run: Uuid,
    /// Its worker.
    pub worker: String,
    /// When it was made.
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub at: DateTime<Utc>,
    /// The greatest number given.
    pub numbered: u64,
    /// Events acknowledged by the stream.
    pub recorded: u64,
    /// Events that waited to be sent again.
    pub kept: u64,
    /// Whether the run had ended.
    pub last: bool,
    /// Numbers given up in the whole run.
    pub given_up: Vec<u64>,
}

/// Numbers without a row: from `first` to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Hole {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// A number with several rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Twice {
    /// The run.
    #[serde(with = "clickhouse::serde::uuid")]
    pub run: Uuid,
    /// The number.
    pub number: u64,
    /// One of the rows.
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    /// How many.
    pub rows: u64,
}

/// Rows that the stream has behind a greater number of the same run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Row, Serialize, Deserialize)]
pub struct Reordered {
    /// How many.
    pub rows: u64,
    /// By how many numbers at most.
    pub displacement: u64,
}

impl Store {
    /// The numbers of every run that has rows in the span.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn run_numbers(&self, span: Span) -> Result<Vec<RunNumbers>, StoreError> {
        let sql = format!(
            "WITH numbered AS ({NUMBERED}), \
             bounds AS (SELECT worker_run, \
                 maxIf(worker_sequence, timestamp < fromUnixTimestamp64Micro({{since:Int64}}, 'UTC')) AS floor, \
                 maxIf(worker_sequence, timestamp < fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')) AS ceiling \
                 FROM numbered GROUP BY worker_run) \
             SELECT worker_run AS run, any(worker) AS worker_name, any(floor) AS before, \
                    min(worker_sequence) AS least, max(worker_sequence) AS greatest, \
                    groupBitmap(worker_sequence) AS stored \
             FROM numbered INNER JOIN bounds USING (worker_run) \
             WHERE worker_sequence > floor AND worker_sequence <= ceiling \
             GROUP BY worker_run ORDER BY worker_run"
        );
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            #[serde(with = "clickhouse::serde::uuid")]
            run: Uuid,
            worker_name: String,
            before: u64,
            least: u64,
            greatest: u64,
            stored: u64,
        }
        let query = self.spanning(&sql, span).fetch_all::<Found>();
        let found = self.within_query_timeout("reading the workers' numbers", query).await?;
        let runs = found.into_iter().map(|found| RunNumbers {
            run: found.run,
            worker: found.worker_name,
            before: found.before,
            least: found.least,
            greatest: found.greatest,
            stored: found.stored,
        });
        Ok(runs.collect())
    }

    /// The newest checkpoint of every run that made one since, of those that stood in another stream than
    /// this or at `settled` at most.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn run_checkpoints(
        &self,
        since: DateTime<Utc>,
        epoch: DateTime<Utc>,
        settled: u64,
    ) -> Result<Vec<RunCheckpoint>, StoreError> {
        let sql = "\
            SELECT worker_run AS run, any(worker::String) AS worker_name, max(timestamp) AS at, \
                   max(numbered) AS most, argMax(recorded, timestamp) AS acknowledged, \
                   argMax(kept, timestamp) AS waiting, max(last) AS ended, \
                   arraySort(groupUniqArrayArray(given_up)) AS lost \
            FROM audit_workers \
            WHERE (stream_epoch != fromUnixTimestamp64Micro({epoch:Int64}, 'UTC') \
                   OR stream_sequence <= {settled:UInt64}) \
            GROUP BY worker_run HAVING at >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') \
            ORDER BY run";
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            #[serde(with = "clickhouse::serde::uuid")]
            run: Uuid,
            worker_name: String,
            #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
            at: DateTime<Utc>,
            most: u64,
            acknowledged: u64,
            waiting: u64,
            ended: bool,
            lost: Vec<u64>,
        }
        let query = self
            .read(sql)
            .param("since", since.timestamp_micros())
            .param("epoch", epoch.timestamp_micros())
            .param("settled", settled)
            .fetch_all::<Found>();
        let found = self.within_query_timeout("reading checkpoints", query).await?;
        let runs = found.into_iter().map(|found| RunCheckpoint {
            run: found.run,
            worker: found.worker_name,
            at: found.at,
            numbered: found.most,
            recorded: found.acknowledged,
            kept: found.waiting,
            last: found.ended,
            given_up: found.lost,
        });
        Ok(runs.collect())
    }

    /// When a run first said that it had given this number; none where it never did.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn numbered_since(
        &self,
        run: Uuid,
        number: u64,
    ) -> Result<Option<DateTime<Utc>>, StoreError> {
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
            at: DateTime<Utc>,
            rows: u64,
        }
        let sql = "SELECT min(timestamp) AS at, count() AS rows FROM audit_workers \
                   WHERE worker_run = {run:UUID} AND numbered >= {number:UInt64}";
        let query = self.read(sql).param("run", run.to_string()).param("number", number);
        let query = query.fetch_one::<Found>();
        let found = self.within_query_timeout("reading checkpoints", query).await?;
        Ok((found.rows > 0).then_some(found.at))
    }

    /// The numbers of a run in `(before, greatest]` that have no row at all; the first `limit` holes.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn holes(
        &self,
        run: Uuid,
        before: u64,
        greatest: u64,
        span: Span,
        limit: u64,
    ) -> Result<Vec<Hole>, StoreError> {
        let sql = format!(
            "SELECT toUInt64(previous + 1) AS first, toUInt64(number - 1) AS last FROM (\
               SELECT number, lagInFrame(number, 1, {{before:UInt64}}) \
                      OVER (ORDER BY number ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS previous \
               FROM (SELECT DISTINCT worker_sequence AS number FROM ({NUMBERED}) \
                     WHERE worker_run = {{run:UUID}} AND worker_sequence > {{before:UInt64}} \
                     AND worker_sequence <= {{greatest:UInt64}} \
                     UNION ALL SELECT {{greatest:UInt64}} + 1 AS number)) \
             WHERE number > previous + 1 ORDER BY first LIMIT {limit}"
        );
        let query = self
            .spanning(&sql, span)
            .param("run", run.to_string())
            .param("before", before)
            .param("greatest", greatest)
            .fetch_all::<Hole>();
        self.within_query_timeout("looking for missing numbers", query).await
    }

    /// Numbers that several rows have; the first `limit`.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn numbers_twice(&self, span: Span, limit: u64) -> Result<Vec<Twice>, StoreError> {
        let sql = format!(
            "SELECT worker_run AS run, worker_sequence AS number, min(id) AS one, \
                    uniqExact(id) AS rows \
             FROM ({NUMBERED}) GROUP BY run, number HAVING rows > 1 ORDER BY run, number LIMIT {limit}"
        );
        #[derive(Row, Serialize, Deserialize)]
        struct Found {
            #[serde(with = "clickhouse::serde::uuid")]
            run: Uuid,
            number: u64,
            #[serde(with = "clickhouse::serde::uuid")]
            one: Uuid,
            rows: u64,
        }
        let query = self.spanning(&sql, span).fetch_all::<Found>();
        let found = self.within_query_timeout("looking for doubled numbers", query).await?;
        let twice = found.into_iter().map(|found| Twice {
            run: found.run,
            number: found.number,
            id: found.one,
            rows: found.rows,
        });
        Ok(twice.collect())
    }

    /// How far the stream's order differs from that of the numbers.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn reordered(&self, span: Span) -> Result<Reordered, StoreError> {
        let sql = format!(
            "SELECT countIf(worker_sequence < greatest) AS rows, \
                    toUInt64(max(greatest - worker_sequence)) AS displacement \
             FROM (SELECT worker_sequence, max(worker_sequence) OVER (\
                     PARTITION BY worker_run ORDER BY stream_epoch, stream_sequence \
                     ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS greatest \
                   FROM ({NUMBERED}))"
        );
        let query = self.spanning(&sql, span).fetch_one::<Reordered>();
        self.within_query_timeout("looking for another order", query).await
    }

    /// Rows of a span that have no number.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn unnumbered(&self, span: Span) -> Result<u64, StoreError> {
        // Events of unchecked calls have none on purpose.
        let of = |table: &str, numbered: &str| {
            format!(
                "(SELECT count() FROM {table} WHERE worker_sequence = 0 AND {numbered} \
                  AND timestamp >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') \
                  AND timestamp < fromUnixTimestamp64Micro({{until:Int64}}, 'UTC'))"
            )
        };
        let sql = format!(
            "SELECT assumeNotNull({}) + assumeNotNull({})",
            of("policy_decisions", "unchecked = ''"),
            of(
                "policy_violations",
                "decision_id NOT IN (SELECT id FROM policy_decisions WHERE unchecked != '')"
            )
        );
        let query = self.spanning(&sql, span).fetch_one::<u64>();
        self.within_query_timeout("counting rows without numbers", query).await
    }

    fn spanning(&self, sql: &str, span: Span) -> clickhouse::query::Query {
        let micros = |time: Option<DateTime<Utc>>, otherwise: DateTime<Utc>| {
            time.unwrap_or(otherwise).timestamp_micros()
        };
        self.read(sql)
            .param("since", span.since.timestamp_micros())
            .param("until", span.until.timestamp_micros())
            .param("from", micros(span.since.checked_sub_signed(EDGE), span.since))
            .param("to", micros(span.until.checked_add_signed(EDGE), span.until))
            .with_setting("max_bytes_before_external_group_by", MEMORY)
            .with_setting("max_bytes_before_external_sort", MEMORY)
    }
}

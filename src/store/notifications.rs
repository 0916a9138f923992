//! Who was told of violations: the rows, and how what they say comes into the violations' own rows.
//!
//! A violation's row is never changed in place. It is inserted again with a greater version and with
//! all that was said about it; the greatest version wins, whatever is delivered again and when. The
//! version follows from what was said alone, so that doing it twice, or in two processes, is the same
//! as once.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::client::Store;
use super::error::StoreError;
use super::rows::{StoredRow, StreamPosition, Table, json, storable};
use super::stored::{NEAR, time_of};
use crate::contract::NotificationEvent;

/// Bytes of the longest `details`, as JSON.
pub const LONGEST_DETAILS: usize = 4_096;

/// Bytes of the longest `notifier` and `channel`.
pub const LONGEST_NAME: usize = 128;

/// Violations in one question: with the most that may be said of each it stays within some megabytes.
const VIOLATIONS_PER_QUERY: usize = 200;

/// All that was said of some violations: how it counts, whether somebody was told, and the text for
/// `notification_details`. Of what says more than 200 times something about one violation only a part
/// counts, first of all that somebody was told; the text has the first hundred by time.
const SAID: &str = "\
SELECT
    violation_id,
    count() * 2 + toUInt64(max(notified)) AS said_version,
    max(notified) AS said_notified,
    concat('[', arrayStringConcat(arrayMap(said -> said.3,
        arraySlice(arraySort(groupArray((timestamp, id, entry))), 1, 100)), ','), ']') AS said_details
FROM
(
    SELECT
        violation_id, timestamp, id, notified,
        concat('{\"id\":\"', toString(id), '\",\"timestamp\":\"', replaceOne(toString(timestamp), ' ', 'T'),
            'Z\",\"notifier\":', toJSONString(notifier::String), ',\"notified\":', if(notified, 'true', 'false'),
            ',\"channel\":', toJSONString(channel::String), ',\"details\":', details, '}') AS entry
    FROM policy_notifications FINAL
    WHERE violation_id IN {ids:Array(UUID)}
    ORDER BY notified DESC, timestamp, id
    LIMIT 200 BY violation_id
)
GROUP BY violation_id";

/// All times that a table can hold, in microseconds since 1970: up to 2106.
const EVER: RangeInclusive<i64> = 0..=4_291_747_200_000_000;

/// A row of `policy_notifications`.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct NotificationRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub violation_id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub timestamp: DateTime<Utc>,
    pub notifier: String,
    pub notified: bool,
    pub channel: String,
    pub details: String,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl NotificationRow {
    /// The row of an event. Anybody may have made it: what is too long is refused, since it would
    /// become a part of the violation's own row.
    ///
    /// # Errors
    /// When the event holds what no row should.
    pub fn new(event: NotificationEvent, at: StreamPosition) -> Result<Self, StoreError> {
        let details = json(&event.details)?;
        for (what, length, most) in [
            ("details", details.len(), LONGEST_DETAILS),
            ("notifier", event.notifier.len(), LONGEST_NAME),
            ("channel", event.channel.len(), LONGEST_NAME),
        ] {
            if length > most {
                return Err(StoreError::Row(format!(
                    "`{what}` has {length} bytes; at most {most} can be stored"
                )));
            }
        }
        Ok(Self {
            timestamp: storable(event.timestamp)?,
            id: event.id,
            violation_id: event.violation_id,
            notifier: event.notifier,
            notified: event.notified,
            channel: event.channel,
            details,
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        })
    }
}

impl StoredRow for NotificationRow {
    const TABLE: Table = Table::Notifications;

    fn id(&self) -> Uuid {
        self.id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }

    fn speaks_of(&self) -> Option<Uuid> {
        Some(self.violation_id)
    }
}

/// A violation's row as far as it was found.
#[derive(Debug, Row, Serialize, Deserialize)]
struct Known {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    version: u64,
    micros: i64,
}

#[derive(Debug, Row, Serialize, Deserialize)]
struct Said {
    #[serde(with = "clickhouse::serde::uuid")]
    violation_id: Uuid,
    said_version: u64,
}

#[derive(Debug, Row, Serialize, Deserialize)]
struct Id {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
}

impl Store {
    /// Writes what the table of notifications says of these violations into the violations' rows,
    /// where it is not there yet. Gives back those that are not in the table of violations. An id
    /// carries its violation's time, and that is where the row is looked for; `everywhere` also finds
    /// one whose id lies, at the price of looking through all of the table's ids.
    ///
    /// # Errors
    /// When ClickHouse fails. Then some may be done; the same call again does the rest.
    pub async fn apply_notifications(
        &self,
        violations: &[Uuid],
        everywhere: bool,
    ) -> Result<Vec<Uuid>, StoreError> {
        let mut unknown = Vec::new();
        for ids in violations.chunks(VIOLATIONS_PER_QUERY) {
            let known = self.known_violations(ids, everywhere).await?;
            unknown.extend(ids.iter().copied().filter(|id| !known.contains_key(id)));
            let known_ids: Vec<Uuid> = known.keys().copied().collect();
            let said = self.said(&known_ids).await?;
            let newer: Vec<&Known> = said
                .iter()
                .filter_map(|said| Some((known.get(&said.violation_id)?, said.said_version)))
                .filter_map(|(known, said)| (said > known.version).then_some(known))
                .collect();
            self.insert_newer(&newer).await?;
        }
        Ok(unknown)
    }

    /// Whether there is a violation of this id.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn has_violation(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.known_violations(&[id], false).await?.contains_key(&id))
    }

    /// Violations that notifications of the last while speak of and that nothing was written into
    /// yet, at most so many.
    ///
    /// # Errors
    /// When ClickHouse fails.
    pub async fn unapplied_notifications(
        &self,
        last: Duration,
        most: usize,
    ) -> Result<Vec<Uuid>, StoreError> {
        // Whether their rows are there is another question, asked for each of them.
        let query = self
            .read(
                "SELECT DISTINCT violation_id AS id FROM policy_notifications \
                 WHERE inserted_at >= now64(6, 'UTC') - toIntervalSecond({last:UInt64}) \
                 AND violation_id NOT IN ( \
                     SELECT id FROM policy_violations WHERE version > 0 \
                     AND timestamp >= now64(6, 'UTC') - toIntervalSecond({last:UInt64} * 2)) \
                 LIMIT {most:UInt64}",
            )
            .param("last", last.as_secs())
            .param("most", u64::try_from(most).unwrap_or(u64::MAX))
            .fetch_all::<Id>();
        let found = self.within_query_timeout("looking for notifications", query).await?;
        Ok(found.into_iter().map(|row| row.id).collect())
    }

    /// The violations' rows, by id.
    async fn known_violations(
        &self,
        ids: &[Uuid],
        everywhere: bool,
    ) -> Result<HashMap<Uuid, Known>, StoreError> {
        let (timed, others): (Vec<Uuid>, Vec<Uuid>) =
            ids.iter().partition(|id| !everywhere && time_of(**id).is_some());
        let times = || timed.iter().filter_map(|id| time_of(*id));
        let mut known = HashMap::new();
        if let (Some(first), Some(last)) = (times().min(), times().max()) {
            let span = (first - NEAR).timestamp_micros()..=(last + NEAR).timestamp_micros();
            self.find_violations(&timed, span, &mut known).await?;
        }
        if !others.is_empty() {
            self.find_violations(&others, EVER, &mut known).await?;
        }
        Ok(known)
    }

    async fn find_violations(
        &self,
        ids: &[Uuid],
        span: RangeInclusive<i64>,
        known: &mut HashMap<Uuid, Known>,
    ) -> Result<(), StoreError> {
        let query = self
            .read(
                "SELECT id, max(version) AS version, \
                        max(toUnixTimestamp64Micro(timestamp)) AS micros \
                 FROM policy_violations WHERE id IN {ids:Array(UUID)} \
                 AND timestamp >= fromUnixTimestamp64Micro({since:Int64}, 'UTC') \
                 AND timestamp <= fromUnixTimestamp64Micro({until:Int64}, 'UTC') GROUP BY id",
            )
            .param("ids", texts(ids))
            .param("since", *span.start())
            .param("until", *span.end())
            .fetch_all::<Known>();
        let found = self.within_query_timeout("looking up violations", query).await?;
        known.extend(found.into_iter().map(|known| (known.id, known)));
        Ok(())
    }

    async fn said(&self, ids: &[Uuid]) -> Result<Vec<Said>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let sql = format!("SELECT violation_id, said_version FROM ({SAID})");
        let query = self.read(&sql).param("ids", texts(ids)).fetch_all::<Said>();
        self.within_query_timeout("reading notifications", query).await
    }

    /// The rows again as they are, with what was said and a greater version. Whatever columns the
    /// table has, none but these four changes.
    async fn insert_newer(&self, known: &[&Known]) -> Result<(), StoreError> {
        let times = || known.iter().map(|known| known.micros);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
        let ids: Vec<Uuid> = known.iter().map(|known| known.id).collect();
        let sql = format!(
            "INSERT INTO policy_violations \
             SELECT violation.* REPLACE ( \
                 violation.notified OR said.said_notified AS notified, \
                 said.said_details AS notification_details, \
                 said.said_version AS version, \
                 now64(6, 'UTC') AS inserted_at) \
             FROM (SELECT * FROM policy_violations FINAL WHERE id IN {{ids:Array(UUID)}} \
                 AND timestamp >= fromUnixTimestamp64Micro({{since:Int64}}, 'UTC') \
                 AND timestamp <= fromUnixTimestamp64Micro({{until:Int64}}, 'UTC')) AS violation \
             INNER JOIN ({SAID}) AS said ON violation.id = said.violation_id \
             WHERE said.said_version > violation.version"
        );
        let insert = self
            .client()
            .query_raw(&sql)
            .param("ids", texts(&ids))
            .param("since", first)
            .param("until", last)
            .execute();
        self.within_query_timeout("writing who was notified", insert).await
    }
}

fn texts(ids: &[Uuid]) -> Vec<String> {
    ids.iter().map(Uuid::to_string).collect()
}

//! How guarded calls ended: the rows.

use std::ops::RangeInclusive;

use chrono::{DateTime, TimeDelta, Utc};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::rows::{StoredRow, StreamPosition, Table, storable};
use super::stored::{NEAR, time_of};
use crate::contract::OutcomeEvent;

/// Bytes of the longest text that is kept of an outcome; what is longer is cut.
const LONGEST: usize = 256;
/// The longest duration, in seconds: some thirty years.
const LONGEST_CALL: f64 = 1e9;
/// The greatest cost, in US dollars.
const DEAREST_CALL: f64 = 1e9;

/// A row of `policy_outcomes`.
#[derive(Clone, Debug, PartialEq, Row, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns are documented in schemas/clickhouse")]
pub struct OutcomeRow {
    #[serde(with = "clickhouse::serde::uuid")]
    pub id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    pub decision_id: Uuid,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub timestamp: DateTime<Utc>,
    pub outcome: String,
    pub exception_type: String,
    pub duration_seconds: f64,
    pub cost_usd: Option<f64>,
    pub client: String,
    pub action: String,
    pub agent: String,
    pub user: String,
    pub session_id: String,
    pub run_id: String,
    pub step_id: String,
    pub project_id: String,
    #[serde(with = "clickhouse::serde::chrono::datetime64::micros")]
    pub stream_epoch: DateTime<Utc>,
    pub stream_sequence: u64,
}

impl OutcomeRow {
    /// The row of an event. Anybody may have made it: texts that are too long are cut, and what makes no
    /// sense is refused.
    ///
    /// # Errors
    /// When the event holds what no row should.
    pub fn new(event: OutcomeEvent, at: StreamPosition) -> Result<Self, StoreError> {
        let within = |what: &str, value: f64, most: f64| {
            (0.0..=most).contains(&value).then_some(value).ok_or_else(|| {
                StoreError::Row(format!("`{what}` is {value}; between 0 and {most} can be stored"))
            })
        };
        let near = TimeDelta::from_std(NEAR).unwrap_or(TimeDelta::MAX);
        // By it a copy is found without reading the whole table.
        let made = time_of(event.id).filter(|made| {
            event.id.get_version_num() == 7 && (*made - event.timestamp).abs() <= near
        });
        if made.is_none() {
            return Err(StoreError::Row(format!(
                "`id` is {}, which is no UUIDv7 of the time {}",
                event.id, event.timestamp
            )));
        }
        Ok(Self {
            timestamp: storable(event.timestamp)?,
            id: event.id,
            decision_id: event.decision_id,
            outcome: event.outcome.as_str().to_owned(),
            exception_type: cut(event.exception_type),
            duration_seconds: within("duration_seconds", event.duration_seconds, LONGEST_CALL)?,
            cost_usd: match event.cost_usd {
                Some(cost) => Some(within("cost_usd", cost, DEAREST_CALL)?),
                None => None,
            },
            client: cut(event.client),
            action: cut(event.action),
            agent: cut(event.agent),
            user: cut(event.user),
            session_id: cut(event.session_id),
            run_id: cut(event.run_id),
            step_id: cut(event.step_id),
            project_id: cut(event.project_id),
            stream_epoch: at.epoch,
            stream_sequence: at.sequence,
        })
    }
}

impl StoredRow for OutcomeRow {
    const TABLE: Table = Table::Outcomes;

    fn id(&self) -> Uuid {
        self.id
    }

    fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }

    fn position(&self) -> StreamPosition {
        StreamPosition { epoch: self.stream_epoch, sequence: self.stream_sequence }
    }

    fn may_stand(&self) -> Option<RangeInclusive<DateTime<Utc>>> {
        // Both it and a copy are near the time in the id they share.
        let twice = TimeDelta::from_std(NEAR * 2).unwrap_or(TimeDelta::MAX);
        Some(self.timestamp - twice..=self.timestamp + twice)
    }
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn row(change: &Value) -> Result<OutcomeRow, StoreError> {
        let mut event = json!({
            "schema": 1, "id": Uuid::now_v7(), "decision_id": Uuid::now_v7(),
            "timestamp": Utc::now(), "outcome": "ok", "duration_seconds": 0.12,
        });
        for (key, value) in change.as_object().unwrap() {
            event[key] = value.clone();
        }
        let at = StreamPosition { epoch: DateTime::UNIX_EPOCH, sequence: 1 };
        OutcomeRow::new(serde_json::from_value(event).unwrap(), at)
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_what_is_too_long_is_cut() {
        assert!(row(&json!({})).is_ok());
        assert_eq!(row(&json!({"cost_usd": 0.25})).unwrap().cost_usd, Some(0.25));
        for change in [
            json!({"duration_seconds": -1}),
            json!({"duration_seconds": 1e300}),
            json!({"cost_usd": -0.1}),
            json!({"cost_usd": 1e12}),
            json!({"id": Uuid::new_v4()}),
            json!({"id": Uuid::nil()}),
            json!({"timestamp": Utc::now() - TimeDelta::hours(3)}),
        ] {
            assert!(row(&change).is_err(), "{change}");
        }
        let long = row(&json!({"exception_type": "é".repeat(1_000)})).unwrap();
        assert!(long.exception_type.len() <= LONGEST + 3, "{}", long.exception_type.len());
    }
}

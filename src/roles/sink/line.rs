//! From a message to a row, for each of the tables.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::bus::Subjects;
use crate::bus::consumer::Delivered;
use crate::config::Config;
use crate::contract::{
    CheckpointEvent, DecisionEvent, EVENT_SCHEMA, NotificationEvent, OutcomeEvent, ViolationEvent,
};
use crate::store::{
    CheckpointRow, DecisionRow, NotificationRow, OutcomeRow, StoreError, StoredRow, StreamPosition,
    ViolationRow,
};

/// How far the clock of another program (an alerting service, a client) may be ahead of the stream's, and
/// how long it may take to say something: every month is a partition, and a broken clock must not make
/// hundreds of them.
const SAID_AHEAD: TimeDelta = TimeDelta::days(1);
const SAID_AGO: TimeDelta = TimeDelta::days(366);

/// A kind of row that the sink makes from messages of a stream.
pub(super) trait Line: StoredRow {
    /// Whether other programs make its events. Then each is looked up before it is stored: nobody
    /// knows what they do with ids and times.
    const BY_OTHERS: bool = false;

    /// Where its messages are.
    fn origin(config: &Config, subjects: &Subjects) -> Origin;

    /// The row of a message; `None` for a message that is meant for no row of this kind.
    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal>;
}

/// Where the messages of a kind of row are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    /// The stream.
    pub(super) stream: String,
    /// Their NATS subjects.
    pub(super) filter: String,
    /// Who makes the stream, for people who wait for it.
    pub(super) made_by: &'static str,
}

impl Line for DecisionRow {
    fn origin(config: &Config, subjects: &Subjects) -> Origin {
        audit(config, subjects.decisions())
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        read_event(&message.payload, |event: &DecisionEvent| event.schema)
            .and_then(|event| Self::new(event, at).map_err(|error| Refusal::unstorable(&error)))
            .map(Some)
    }
}

impl Line for ViolationRow {
    fn origin(config: &Config, subjects: &Subjects) -> Origin {
        audit(config, subjects.violations())
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        read_event(&message.payload, |event: &ViolationEvent| event.schema)
            .and_then(|event| Self::new(event, at).map_err(|error| Refusal::unstorable(&error)))
            .map(Some)
    }
}

impl Line for CheckpointRow {
    fn origin(config: &Config, subjects: &Subjects) -> Origin {
        audit(config, subjects.checkpoint())
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        read_event(&message.payload, |event: &CheckpointEvent| event.schema)
            .and_then(|event| Self::new(event, at).map_err(|error| Refusal::unstorable(&error)))
            .map(Some)
    }
}

impl Line for NotificationRow {
    const BY_OTHERS: bool = true;

    fn origin(config: &Config, subjects: &Subjects) -> Origin {
        audit(config, subjects.notification())
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        let event = read_event(&message.payload, |event: &NotificationEvent| event.schema)?;
        not_strange(event.timestamp, message)?;
        Self::new(event, at).map(Some).map_err(|error| Refusal::unstorable(&error))
    }
}

impl Line for OutcomeRow {
    fn origin(config: &Config, subjects: &Subjects) -> Origin {
        audit(config, subjects.outcome())
    }

    fn read(message: &Delivered, at: StreamPosition) -> Result<Option<Self>, Refusal> {
        let event = read_event(&message.payload, |event: &OutcomeEvent| event.schema)?;
        not_strange(event.timestamp, message)?;
        Self::new(event, at).map(Some).map_err(|error| Refusal::unstorable(&error))
    }
}

/// Whether the time that another program says can be true.
fn not_strange(timestamp: DateTime<Utc>, message: &Delivered) -> Result<(), Refusal> {
    let ago = message.published.signed_duration_since(timestamp);
    if ago >= -SAID_AHEAD && ago <= SAID_AGO {
        return Ok(());
    }
    Err(Refusal::new(
        "strange_time",
        format!(
            "`timestamp` is {timestamp}, but the stream took it at {}: somebody's clock is wrong",
            message.published
        ),
    ))
}

fn audit(config: &Config, filter: String) -> Origin {
    Origin {
        stream: config.stream.name.clone(),
        filter,
        made_by: "the audit stream, which workers and sinks make",
    }
}

/// Why an event can't become a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In one word, for metrics.
    pub(super) reason: &'static str,
    /// In a sentence, for people.
    pub(super) detail: String,
}

impl Refusal {
    pub(super) const fn new(reason: &'static str, detail: String) -> Self {
        Self { reason, detail }
    }

    /// No table can hold what it says.
    pub(super) fn unstorable(error: &StoreError) -> Self {
        Self::new("unstorable", error.to_string())
    }

    /// The body is not what it should be: `otherwise` where it is JSON at least.
    pub(super) fn unreadable(error: &serde_json::Error, otherwise: &'static str) -> Self {
        let reason = match error.classify() {
            Category::Eof => "truncated",
            Category::Syntax | Category::Io => "not_json",
            Category::Data => otherwise,
        };
        Self::new(reason, error.to_string())
    }

    /// ClickHouse doesn't take the row.
    pub(super) fn by_clickhouse(error: &StoreError) -> Self {
        Self::new("refused_by_clickhouse", error.to_string())
    }
}

/// Reads an event.
fn read_event<E: DeserializeOwned>(
    payload: &[u8],
    schema: impl Fn(&E) -> u32,
) -> Result<E, Refusal> {
    let event: E = serde_json::from_slice(payload).map_err(|error| why(payload, &error))?;
    match schema(&event) {
        schema if schema > EVENT_SCHEMA => Err(newer(schema)),
        _ => Ok(event),
    }
}

/// What is wrong with an event that can't be read. An event of a newer shape may well look broken:
/// so its version is asked for first.
fn why(payload: &[u8], error: &serde_json::Error) -> Refusal {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    match serde_json::from_slice::<Version>(payload) {
        Ok(Version { schema }) if schema > EVENT_SCHEMA && error.is_data() => newer(schema),
        _ => Refusal::unreadable(error, "not_an_event"),
    }
}

fn newer(schema: u32) -> Refusal {
    Refusal::new(
        "newer_schema",
        format!(
            "the event has shape {schema}, this program knows up to {EVENT_SCHEMA}; \
             a newer sink can store it"
        ),
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn event() -> Value {
        json!({
            "schema": 1, "id": "0197a000-0000-7000-8000-000000000001",
            "timestamp": "2026-03-04T05:06:07Z", "worker": "w", "decision": "allow", "action": "a",
            "resource": "r", "input": {}, "policy_name": "", "policy_package": "",
            "policy_revision": "", "policies": [], "reason": "", "deny_reasons": [],
            "warnings": [], "would_deny": [], "enforced": true, "error": false,
            "error_message": "", "duration_us": 1,
        })
    }

    fn reason(payload: &[u8]) -> Result<DecisionRow, &'static str> {
        let at = StreamPosition { epoch: chrono::DateTime::UNIX_EPOCH, sequence: 7 };
        let event = read_event(payload, |event: &DecisionEvent| event.schema);
        event
            .and_then(|event| {
                DecisionRow::new(event, at).map_err(|error| Refusal::unstorable(&error))
            })
            .map_err(|refusal| refusal.reason)
    }

    #[test]
    fn an_event_becomes_a_row_and_anything_else_says_why_not() {
        let good = event().to_string();
        assert_eq!(reason(good.as_bytes()).unwrap().stream_sequence, 7);
        assert_eq!(reason(&good.as_bytes()[..good.len() - 3]), Err("truncated"));
        assert_eq!(reason(b""), Err("truncated"));
        assert_eq!(reason(b"\xff\x00\x01"), Err("not_json"));
        assert_eq!(reason(b"hello"), Err("not_json"));
        assert_eq!(reason(b"{}"), Err("not_an_event"));
        assert_eq!(reason(b"[1]"), Err("not_an_event"));
        for (member, value, expected) in [
            ("schema", json!(2), "newer_schema"),
            ("schema", json!("1"), "not_an_event"),
            ("id", json!("x"), "not_an_event"),
            ("timestamp", json!("1815-12-10T00:00:00Z"), "unstorable"),
        ] {
            let mut bad = event();
            bad[member] = value;
            assert_eq!(reason(bad.to_string().as_bytes()), Err(expected), "{member}");
        }
        let mut newer = event();
        newer["schema"] = json!(9);
        newer.as_object_mut().unwrap().remove("worker");
        assert_eq!(reason(newer.to_string().as_bytes()), Err("newer_schema"));
        let mut extended = event();
        extended["something_new"] = json!([1]);
        assert!(reason(extended.to_string().as_bytes()).is_ok());
    }
}

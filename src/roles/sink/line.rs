//! From an event's bytes to a row, for each of the tables.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use crate::bus::Subjects;
use crate::contract::{DecisionEvent, EVENT_SCHEMA, ViolationEvent};
use crate::store::{DecisionRow, StoreError, StoredRow, StreamPosition, ViolationRow};

/// A kind of row that the sink makes from a kind of event.
pub(super) trait Line: StoredRow {
    /// The event.
    type Event: DeserializeOwned;

    /// The NATS subjects of the events.
    fn filter(subjects: &Subjects) -> String;

    /// The version of an event's shape.
    fn schema(event: &Self::Event) -> u32;

    /// The row of an event.
    fn row(event: Self::Event, at: StreamPosition) -> Result<Self, StoreError>;
}

impl Line for DecisionRow {
    type Event = DecisionEvent;

    fn filter(subjects: &Subjects) -> String {
        subjects.decisions()
    }

    fn schema(event: &DecisionEvent) -> u32 {
        event.schema
    }

    fn row(event: DecisionEvent, at: StreamPosition) -> Result<Self, StoreError> {
        Self::new(event, at)
    }
}

impl Line for ViolationRow {
    type Event = ViolationEvent;

    fn filter(subjects: &Subjects) -> String {
        subjects.violations()
    }

    fn schema(event: &ViolationEvent) -> u32 {
        event.schema
    }

    fn row(event: ViolationEvent, at: StreamPosition) -> Result<Self, StoreError> {
        Self::new(event, at)
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
    const fn new(reason: &'static str, detail: String) -> Self {
        Self { reason, detail }
    }

    /// ClickHouse doesn't take the row.
    pub(super) fn by_clickhouse(error: &StoreError) -> Self {
        Self::new("refused_by_clickhouse", error.to_string())
    }
}

/// Reads an event and makes its row.
pub(super) fn decode<R: Line>(payload: &[u8], at: StreamPosition) -> Result<R, Refusal> {
    let event: R::Event = serde_json::from_slice(payload).map_err(|error| why(payload, &error))?;
    let schema = R::schema(&event);
    if schema > EVENT_SCHEMA {
        return Err(newer(schema));
    }
    R::row(event, at).map_err(|error| Refusal::new("unstorable", error.to_string()))
}

/// What is wrong with an event that can't be read. An event of a newer shape may well look broken:
/// so its version is asked for first.
fn why(payload: &[u8], error: &serde_json::Error) -> Refusal {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let detail = error.to_string();
    match error.classify() {
        Category::Eof => Refusal::new("truncated", detail),
        Category::Syntax | Category::Io => Refusal::new("not_json", detail),
        Category::Data => match serde_json::from_slice::<Version>(payload) {
            Ok(Version { schema }) if schema > EVENT_SCHEMA => newer(schema),
            _ => Refusal::new("not_an_event", detail),
        },
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
        decode::<DecisionRow>(payload, at).map_err(|refusal| refusal.reason)
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

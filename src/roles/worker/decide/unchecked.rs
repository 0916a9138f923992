//! A call that nobody answered, evaluated after the event: what would have been decided, and the events
//! that say so.
//!
//! All of it follows from the report and from when the stream took it (the ids of all events, the time of
//! the decision), so that a report which is delivered again becomes the same rows.

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{Decider, HEADROOM};
use crate::bus::consumer::Delivered;
use crate::contract::check::Stamp;
use crate::contract::parse::MAX_ACTION_BYTES;
use crate::contract::pipeline::UNCHECKED_CAUSES;
use crate::contract::{
    DecisionEvent, EVENT_SCHEMA, Number, RequestFault, UncheckedEvent, ViolationEvent, parse_check,
};
use crate::domain::{
    ActionTaken, CheckRequest, Decision, EnforcementMode, Verdict, input, violation,
};
use crate::engine::Evaluator;
use crate::roles::worker::fit;

/// The reason of a call that its client refused because nobody answered.
const UNCHECKED: &str = "unchecked";
/// The cause of a report whose own one is none that this program knows.
const OTHER: &str = "other";
/// Characters of the longest text of a report that is kept.
const LONGEST_TEXT: usize = 500;

/// A report as it came.
pub(in crate::roles::worker) struct Reported {
    pub(in crate::roles::worker) payload: Bytes,
    /// When the stream took it.
    pub(in crate::roles::worker) published: DateTime<Utc>,
}

impl From<&Delivered> for Reported {
    fn from(message: &Delivered) -> Self {
        Self { payload: message.payload.clone(), published: message.published }
    }
}

/// What is to be recorded of an unchecked call.
pub(in crate::roles::worker) struct Assessed {
    /// Its decision and violations.
    pub(in crate::roles::worker) events: Vec<Entry>,
    /// Why nobody answered.
    pub(in crate::roles::worker) cause: &'static str,
    /// Whether it would have been denied.
    pub(in crate::roles::worker) would_deny: bool,
}

/// One event.
pub(in crate::roles::worker) struct Entry {
    pub(in crate::roles::worker) subject: String,
    /// The stream has the client's report under the decision's id already.
    pub(in crate::roles::worker) message_id: String,
    pub(in crate::roles::worker) id: Uuid,
    pub(in crate::roles::worker) payload: Bytes,
}

/// Why nothing can be made of a report.
#[derive(Debug)]
pub(in crate::roles::worker) struct Unusable {
    /// In a word.
    pub(in crate::roles::worker) reason: &'static str,
    /// In a sentence.
    pub(in crate::roles::worker) detail: String,
}

impl Decider {
    /// Evaluates a reported call as it would have been, enforcing nothing.
    pub(in crate::roles::worker) fn assess(
        &self,
        reported: &Reported,
        max_age: TimeDelta,
        evaluator: &mut Evaluator,
    ) -> Result<Assessed, Unusable> {
        let report = read(&reported.payload)?;
        let cause = cause_of(&report);
        let timestamp = time_of_call(report.timestamp, reported.published, max_age);
        let (request, fault) = self.request_of(&report);
        let identity = request.identity();
        let mut input = input::build(&request, timestamp);
        input.insert(UNCHECKED.to_owned(), said_of(&report));

        let start = std::time::Instant::now();
        let in_force = self.policies.current();
        let second = u64::try_from(timestamp.timestamp()).unwrap_or(0);
        let mut decision = match fault {
            Some(_) => Decision::default(),
            None => self.weigh(&in_force, &request, &identity, &input, second, evaluator),
        };
        if report.allowed && in_force.enforcement != EnforcementMode::Off {
            self.count(&in_force, &request, &identity, second);
        }
        let mut violations = violation::violations_of(&decision);
        for violation in violations.iter_mut().filter(|_| report.allowed) {
            violation.action_taken = ActionTaken::Logged;
        }
        as_told(&mut decision, &report, cause, fault.as_ref());

        let stamp = Stamp {
            id: report.id,
            timestamp,
            revision: in_force.set.revision().to_string(),
            duration_us: u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX),
        };
        // Without a number: whoever evaluates it again would number it again, and one of the two numbers
        // would belong to no row.
        let none = Number::default();
        let mut event =
            DecisionEvent::new(&request, &identity, input, &decision, &stamp, &self.worker, none);
        cause.clone_into(&mut event.unchecked);
        let mut events = vec![self.entry_of(&mut event)?];
        for (number, violation) in violations.iter().enumerate() {
            let id = violation_id(&event, number, &violation.policy_name);
            let event = ViolationEvent::new(violation, id, none, &event);
            let payload = serde_json::to_vec(&event).map_err(|error| unencodable(&error))?;
            events.push(Entry {
                subject: self.subjects.violation(violation.severity, &violation.policy_name),
                message_id: id.to_string(),
                id,
                payload: payload.into(),
            });
        }
        Ok(Assessed { events, cause, would_deny: !event.would_deny.is_empty() })
    }

    fn entry_of(&self, event: &mut DecisionEvent) -> Result<Entry, Unusable> {
        let payload = fit::event(event, self.largest).map_err(|error| unencodable(&error))?;
        if payload.len() > self.largest.saturating_add(HEADROOM) {
            let detail = format!("its decision would have {} bytes", payload.len());
            return Err(Unusable { reason: "too_large", detail });
        }
        Ok(Entry {
            subject: self.subjects.decision(event.decision, &event.action),
            message_id: format!("{UNCHECKED}-{}", event.id),
            id: event.id,
            payload: payload.into(),
        })
    }

    /// The request, and why it can't be evaluated where it can't: the call went on all the same, so it is
    /// recorded as far as it can be read.
    fn request_of(&self, report: &UncheckedEvent) -> (CheckRequest, Option<RequestFault>) {
        let body = serde_json::to_vec(&report.request).unwrap_or_default();
        match parse_check(&body, &self.bounds) {
            Ok(request) => (request, None),
            Err(fault) => (outline(&report.request), Some(fault)),
        }
    }
}

fn read(payload: &[u8]) -> Result<UncheckedEvent, Unusable> {
    use serde_json::error::Category;

    let report: UncheckedEvent = serde_json::from_slice(payload).map_err(|error| {
        let reason = match error.classify() {
            Category::Eof => "truncated",
            Category::Syntax | Category::Io => "not_json",
            Category::Data => "not_an_event",
        };
        Unusable { reason, detail: error.to_string() }
    })?;
    if report.schema > EVENT_SCHEMA {
        let detail = format!(
            "the report has shape {}, this program knows up to {EVENT_SCHEMA}; a newer worker can \
             take it up",
            report.schema
        );
        return Err(Unusable { reason: "newer_schema", detail });
    }
    if report.id.get_version_num() != 7 {
        let detail = format!("`id` is {}, which is no UUIDv7", report.id);
        return Err(Unusable { reason: "not_an_event", detail });
    }
    Ok(report)
}

fn unencodable(error: &serde_json::Error) -> Unusable {
    Unusable { reason: "unencodable", detail: error.to_string() }
}

/// The cause as it stands in columns and metrics: one of a few words, whatever the client says.
fn cause_of(report: &UncheckedEvent) -> &'static str {
    UNCHECKED_CAUSES.iter().find(|cause| **cause == report.cause).copied().unwrap_or(OTHER)
}

/// When the call was made. The client's clock counts only where it is plausible. Else it is the time at
/// which the stream took the report, and not that of this worker: who evaluates the report again must
/// come to the same time, or it would be another row.
fn time_of_call(
    claimed: DateTime<Utc>,
    published: DateTime<Utc>,
    max_age: TimeDelta,
) -> DateTime<Utc> {
    let ago = published.signed_duration_since(claimed);
    let plausible = ago >= TimeDelta::zero() && ago <= max_age;
    (if plausible { claimed } else { published }).trunc_subsecs(6)
}

/// What the report says beside the request, as a part of the input: also the time that the client
/// claims.
fn said_of(report: &UncheckedEvent) -> Value {
    json!({
        "cause": line(&report.cause),
        "message": line(&report.message),
        "client": line(&report.client),
        "timestamp": input::timestamp(report.timestamp),
        "allowed": report.allowed,
    })
}

/// Makes of what would have been decided what was decided: by the client, without the policies.
fn as_told(
    decision: &mut Decision,
    report: &UncheckedEvent,
    cause: &str,
    fault: Option<&RequestFault>,
) {
    if decision.verdict == Verdict::Deny {
        decision.would_deny = std::mem::take(&mut decision.deny_reasons);
    } else if decision.enforced {
        // Reasons of drafts: they would not have denied it either.
        decision.would_deny.clear();
    }
    let (verdict, told) =
        if report.allowed { (Verdict::Allow, "allowed") } else { (Verdict::Deny, "refused") };
    decision.verdict = verdict;
    decision.deny_reasons = if report.allowed { Vec::new() } else { vec![UNCHECKED.to_owned()] };
    decision.reason = format!("{told} by its client, unchecked: {cause}");
    // No policy decided it.
    decision.policy_name.clear();
    decision.policy_package.clear();
    decision.enforced = false;
    decision.error = true;
    let mut errors = vec![format!("{cause}: {}", line(&report.message))];
    if let Some(fault) = fault {
        errors.push(format!("the request can't be evaluated: {}", line(&fault.to_string())));
    }
    if !decision.error_message.is_empty() {
        errors.push(std::mem::take(&mut decision.error_message));
    }
    decision.error_message = errors.join("; ");
}

/// What can be read of a request that can't be evaluated.
fn outline(members: &Map<String, Value>) -> CheckRequest {
    let action = members.get("action").and_then(Value::as_str).unwrap_or_default();
    let end = action.floor_char_boundary(MAX_ACTION_BYTES);
    CheckRequest {
        action: action.get(..end).unwrap_or_default().to_owned(),
        resource: members.get("resource").cloned().unwrap_or_default(),
        context: members.get("context").and_then(Value::as_object).cloned().unwrap_or_default(),
        package: None,
        extra: Map::new(),
    }
}

/// The id of a violation: that of its decision's time, and else a digest of what it is.
fn violation_id(decision: &DecisionEvent, number: usize, policy: &str) -> Uuid {
    let digest = Sha256::digest(format!("{}/{number}/{policy}", decision.id));
    let mut random = [0; 10];
    for (to, from) in random.iter_mut().zip(digest.iter()) {
        *to = *from;
    }
    let millis = u64::try_from(decision.timestamp.timestamp_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
}

/// A text of somebody else's as one line, not too long.
fn line(text: &str) -> String {
    text.chars().take(LONGEST_TEXT).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(change: impl FnOnce(&mut Value)) -> Vec<u8> {
        let mut report = json!({
            "schema": 1, "id": Uuid::now_v7(), "timestamp": "2026-03-04T05:06:07Z",
            "cause": "timeout", "message": "m", "allowed": true, "client": "c/1",
            "request": {"action": "a", "resource": "r"},
        });
        change(&mut report);
        report.to_string().into_bytes()
    }

    #[test]
    fn what_is_no_report_says_why() {
        let reason = |payload: &[u8]| read(payload).map_err(|unusable| unusable.reason);
        assert!(reason(&report(|_| ())).is_ok());
        assert!(reason(&report(|report| report["new"] = json!([1]))).is_ok());
        assert_eq!(reason(b"").unwrap_err(), "truncated");
        assert_eq!(reason(b"hello").unwrap_err(), "not_json");
        assert_eq!(reason(b"[]").unwrap_err(), "not_an_event");
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(reason(deep.as_bytes()).is_err());
        for (member, value, why) in [
            ("schema", json!(2), "newer_schema"),
            ("id", json!("0b8a4a5e-2f0e-4f3c-9a53-94b1cbb5a1d0"), "not_an_event"),
            ("timestamp", json!("yesterday"), "not_an_event"),
            ("allowed", json!("yes"), "not_an_event"),
            ("request", json!("a"), "not_an_event"),
        ] {
            let bad = report(|report| report[member] = value.clone());
            assert_eq!(reason(&bad).unwrap_err(), why, "{member}");
        }
    }

    #[test]
    fn causes_are_words_that_we_know_and_never_empty() {
        for (said, shown) in [("timeout", "timeout"), ("", OTHER), ("'; DROP", OTHER)] {
            let report = read(&report(|report| report["cause"] = json!(said))).unwrap();
            assert_eq!(cause_of(&report), shown);
        }
    }

    #[test]
    fn a_clock_counts_only_where_it_is_plausible() {
        let published: DateTime<Utc> = "2026-03-04T05:06:07.123456Z".parse().unwrap();
        let day = TimeDelta::days(1);
        for (ago, expected) in [
            (TimeDelta::zero(), TimeDelta::zero()),
            (TimeDelta::hours(3), TimeDelta::hours(3)),
            (day, day),
            (day + TimeDelta::microseconds(1), TimeDelta::zero()),
            (TimeDelta::days(-9_000), TimeDelta::zero()),
            (TimeDelta::microseconds(-1), TimeDelta::zero()),
        ] {
            let found = time_of_call(published - ago, published, day);
            assert_eq!(published - found, expected, "{ago}");
        }
    }

    #[test]
    fn violations_of_one_report_have_the_same_ids_again() {
        let event = |id: Uuid| DecisionEvent {
            schema: 1,
            id,
            timestamp: "2026-03-04T05:06:07.123456Z".parse().unwrap(),
            ..serde_json::from_value(json!({
                "schema": 1, "id": id, "timestamp": "2026-03-04T05:06:07Z", "worker": "w",
                "decision": "allow", "action": "a", "resource": "r", "input": {},
                "policy_name": "", "policy_package": "", "policy_revision": "", "policies": [],
                "reason": "", "deny_reasons": [], "warnings": [], "would_deny": [],
                "enforced": false, "error": true, "error_message": "", "duration_us": 1,
            }))
            .unwrap()
        };
        let (a, b) = (event(Uuid::now_v7()), event(Uuid::now_v7()));
        assert_eq!(violation_id(&a, 0, "p"), violation_id(&a, 0, "p"));
        assert_ne!(violation_id(&a, 0, "p"), violation_id(&a, 1, "p"));
        assert_ne!(violation_id(&a, 0, "p"), violation_id(&b, 0, "p"));
        let (seconds, _) = violation_id(&a, 0, "p").get_timestamp().unwrap().to_unix();
        assert_eq!(i64::try_from(seconds).unwrap(), a.timestamp.timestamp());
    }
}

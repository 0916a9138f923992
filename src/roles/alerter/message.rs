//! The bodies of posts.

use std::time::Duration;

use chrono::SecondsFormat;
use serde_json::{Value, json};
use uuid::Uuid;

use super::gate::Summary;
use super::target::Channel;
use super::text::{clean, escape};
use crate::contract::ViolationEvent;

/// Characters of one field, and of the list of reasons.
const FIELD: usize = 300;
const REASONS: usize = 2_000;
/// Slack's own limit of a header is 150.
const HEADER: usize = 140;
/// Ids of violations in one summary.
const IDS: usize = 1_000;

/// What is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Told<'a, T> {
    /// One violation.
    Violation(&'a ViolationEvent),
    /// Violations that had no post of their own, and their ids.
    Summary(&'a Summary<T>, &'a [Uuid]),
}

/// What all bodies say alike.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    /// `source` of CloudEvents: with the id it names one event, whoever posts it.
    pub(super) source: String,
    pub(super) rate_limit: usize,
    pub(super) rate_window: Duration,
}

impl Sender {
    /// The body of a post.
    pub(super) fn body<T>(&self, channel: Channel, told: Told<'_, T>) -> Vec<u8> {
        let body = match (channel, told) {
            (Channel::Slack, Told::Violation(violation)) => slack_violation(violation),
            (Channel::Slack, Told::Summary(summary, _)) => self.slack_summary(summary),
            (Channel::CloudEvents, Told::Violation(violation)) => self.event(
                violation.id,
                "sluicegate.violation.v1",
                &violation.policy_name,
                &time(violation.timestamp),
                &serde_json::to_value(violation).unwrap_or_default(),
            ),
            (Channel::CloudEvents, Told::Summary(summary, ids)) => {
                let ids: Vec<&Uuid> = ids.iter().take(IDS).collect();
                let data = json!({
                    "policy_name": summary.policy,
                    "violations": summary.held.len(),
                    "duplicates": summary.duplicates(),
                    "rate_limited": summary.held.len() - summary.duplicates(),
                    "from": time(summary.from),
                    "to": time(summary.to),
                    "violation_ids": ids,
                    "examples": summary.examples,
                });
                let kind = "sluicegate.violations.suppressed.v1";
                self.event(summary.id, kind, &summary.policy, &time(summary.to), &data)
            }
        };
        body.to_string().into_bytes()
    }

    /// CloudEvents 1.0, JSON format, structured mode.
    fn event(&self, id: Uuid, kind: &str, subject: &str, time: &str, data: &Value) -> Value {
        let mut event = json!({
            "specversion": "1.0",
            "id": id,
            "source": self.source,
            "type": kind,
            "time": time,
            "datacontenttype": "application/json",
            "data": data,
        });
        // An attribute that is there must not be empty.
        if let (false, Some(event)) = (subject.is_empty(), event.as_object_mut()) {
            event.insert("subject".into(), subject.into());
        }
        event
    }

    fn slack_summary<T>(&self, summary: &Summary<T>) -> Value {
        let (all, duplicates) = (summary.held.len(), summary.duplicates());
        let policy = clean(&summary.policy, FIELD);
        let header = format!("{all} more of policy {policy}");
        let what = format!(
            "{duplicates} equal to ones posted before, {} above the limit of {} posts in {}, from {} to {}",
            all - duplicates,
            self.rate_limit,
            humantime::format_duration(self.rate_window),
            time(summary.from),
            time(summary.to),
        );
        let examples = summary.examples.iter().map(|example| {
            let who = &example.who.subject;
            format!("{} {} by {who}: {}", example.action, example.resource, reasons(example))
        });
        let examples: Vec<Value> =
            examples.map(|example| section(&clean(&example, FIELD))).collect();
        let mut blocks = vec![heading(&header), section(&what)];
        blocks.extend(examples);
        json!({"text": format!("{}: {}", escape(&header), escape(&what)), "blocks": blocks})
    }
}

fn slack_violation(violation: &ViolationEvent) -> Value {
    let who = &violation.who;
    let severity = violation.severity.as_str();
    let done = violation.action_taken.as_str();
    let policy = clean(&violation.policy_name, FIELD);
    let header = format!("{}: policy {policy} ({done})", severity.to_uppercase());
    let said = clean(&reasons(violation), REASONS);
    let fields: Vec<Value> = [
        ("Action", &violation.action),
        ("Resource", &violation.resource),
        ("Subject", &who.subject),
        ("User", &who.user),
        ("Session", &who.session_id),
        ("Run", &who.run_id),
        ("Project", &who.project_id),
    ]
    .into_iter()
    .filter(|(_, value)| !value.is_empty())
    .map(|(name, value)| plain(&format!("{name}: {}", clean(value, FIELD))))
    .collect();
    let ids = format!(
        "violation {} of decision {} at {}",
        violation.id,
        violation.decision_id,
        time(violation.timestamp)
    );
    let short = format!(
        "{header}: {} {} by {}: {}",
        clean(&violation.action, FIELD),
        clean(&violation.resource, FIELD),
        clean(&who.subject, FIELD),
        clean(&said, FIELD)
    );
    let mut blocks = vec![heading(&header)];
    if !said.trim().is_empty() {
        blocks.push(section(&said));
    }
    if !fields.is_empty() {
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    blocks.push(json!({"type": "context", "elements": [plain(&ids)]}));
    json!({"text": escape(&short), "blocks": blocks})
}

fn reasons(violation: &ViolationEvent) -> String {
    violation.reasons.join("; ")
}

fn heading(text: &str) -> Value {
    json!({"type": "header", "text": plain(&clean(text, HEADER))})
}

fn section(text: &str) -> Value {
    json!({"type": "section", "text": plain(text)})
}

/// Text that is shown as it is: no markup, no names of emoji.
fn plain(text: &str) -> Value {
    json!({"type": "plain_text", "text": text, "emoji": false})
}

fn time(time: chrono::DateTime<chrono::Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violation(text: &str) -> ViolationEvent {
        serde_json::from_value(json!({
            "schema": 1, "id": Uuid::now_v7(), "decision_id": Uuid::now_v7(),
            "timestamp": "2026-03-04T05:06:07Z", "worker": "w", "violation_type": "policy_denied",
            "severity": "critical", "policy_name": text, "policy_version": 1,
            "action_taken": "blocked", "reasons": [text, text], "decision": "deny", "action": text,
            "resource": text, "subject": text, "user": text, "session_id": text, "run_id": text,
            "project_id": text,
        }))
        .unwrap()
    }

    fn sender() -> Sender {
        Sender {
            source: "urn:sluicegate:policy".into(),
            rate_limit: 30,
            rate_window: Duration::from_secs(60),
        }
    }

    /// Slack refuses what is longer than it takes, whole.
    #[test]
    fn the_longest_texts_stay_within_slacks_bounds() {
        let violation = violation(&"<!channel>日本\n".repeat(10_000));
        let body = sender().body::<()>(Channel::Slack, Told::Violation(&violation));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(!body["text"].as_str().unwrap().contains('<'));
        assert!(body["text"].as_str().unwrap().chars().count() < 10_000);
        let blocks = body["blocks"].as_array().unwrap();
        assert!(blocks[0]["text"]["text"].as_str().unwrap().chars().count() <= 150);
        assert!(blocks[1]["text"]["text"].as_str().unwrap().chars().count() <= 3_000);
        let fields = blocks[2]["fields"].as_array().unwrap();
        assert!(fields.len() <= 10);
        for field in fields {
            assert_eq!(field["type"], "plain_text");
            assert!(field["text"].as_str().unwrap().chars().count() <= 2_000);
        }
    }

    #[test]
    fn an_empty_violation_has_no_empty_texts() {
        let body = sender().body::<()>(Channel::Slack, Told::Violation(&violation("")));
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert!(!body.to_string().contains("\"text\":\"\""), "{body}");
        assert!(!body.to_string().contains("\"fields\":[]"), "{body}");
    }

    #[test]
    fn cloudevents_have_what_the_standard_wants() {
        let violation = violation("p");
        let body = sender().body::<()>(Channel::CloudEvents, Told::Violation(&violation));
        let event: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["specversion"], "1.0");
        assert_eq!(event["id"], violation.id.to_string());
        assert_eq!(event["source"], "urn:sluicegate:policy");
        assert_eq!(event["type"], "sluicegate.violation.v1");
        assert_eq!(event["subject"], "p");
        assert_eq!(event["time"], "2026-03-04T05:06:07.000000Z");
        assert_eq!(event["data"], serde_json::to_value(&violation).unwrap());
    }
}

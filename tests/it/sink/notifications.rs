//! Who was told of violations: it comes into the violations' rows, whatever comes first.

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use serde_json::{Value, json};
use sluicegate::bus::deadletter;
use sluicegate::domain::Severity;
use sluicegate::store::{Store, Table, ViolationFilter, ViolationSummary};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

use super::{Hold, Rig, rig};
use crate::store::eventually;

impl Rig {
    async fn violate(&self, id: Uuid, timestamp: DateTime<Utc>) {
        let event = json!({
            "schema": 1, "id": id, "decision_id": Uuid::now_v7(), "timestamp": timestamp,
            "worker": "w", "worker_run": Uuid::now_v7(), "worker_sequence": 7,
            "violation_type": "policy_denied", "severity": "critical", "policy_name": "p",
            "policy_version": 3, "action_taken": "blocked", "reasons": ["r", "s"],
            "decision": "deny", "action": "a", "resource": "x", "agent": "planner",
        });
        let subject = self.subjects.violation(Severity::Critical, "p");
        self.publish(&subject, &Uuid::now_v7().to_string(), event.to_string().into_bytes()).await;
    }

    async fn say(&self, violation: Uuid, change: &Value) -> Uuid {
        let mut event = json!({
            "schema": 1, "id": Uuid::now_v7(), "violation_id": violation, "timestamp": Utc::now(),
            "notifier": "pager", "notified": true, "channel": "phone", "details": {"attempts": 2},
        });
        for (key, value) in change.as_object().unwrap() {
            event[key] = value.clone();
        }
        let id: Uuid = event["id"].as_str().unwrap().parse().unwrap();
        let message_id = Uuid::now_v7().to_string();
        let subject = self.subjects.notification();
        self.publish(&subject, &message_id, event.to_string().into_bytes()).await;
        id
    }

    async fn violation(&self, id: Uuid) -> Option<ViolationSummary> {
        let store = Store::connect(&self.config.clickhouse);
        let all = store.violations(&ViolationFilter::default()).await.unwrap_or_default();
        all.into_iter().find(|violation| violation.id == id)
    }

    /// What is said about a violation, once so much is.
    async fn said(&self, id: Uuid, times: usize) -> (bool, Vec<Value>) {
        let mut found = (false, Vec::new());
        eventually("it is said", async || {
            let Some(row) = self.violation(id).await else { return false };
            let details = serde_json::from_str(&row.notification_details).unwrap_or_default();
            found = (row.notified, details);
            found.1.len() >= times
        })
        .await;
        found
    }
}

/// All columns but those that notifications fill.
const REST: &str = "SELECT toString(cityHash64(* EXCEPT (notified, notification_details, version, \
                    inserted_at))) FROM violations";

#[tokio::test]
async fn what_was_said_comes_into_the_violation_in_order_of_time() {
    let rig = rig().await;
    let sink = rig.sink();
    let (id, now) = (Uuid::now_v7(), Utc::now());
    rig.violate(id, now).await;
    eventually("it is stored", async || rig.violation(id).await.is_some()).await;
    let rest = rig.clickhouse.query_raw(REST).fetch_one::<String>().await.unwrap();

    let late = json!({"notified": false, "timestamp": now, "details": {"error": "\"quoted\"\n"}});
    let second = rig.say(id, &late).await;
    assert!(!rig.said(id, 1).await.0);
    let early =
        json!({"timestamp": now - TimeDelta::hours(1), "notifier": "日本\"\\", "channel": ""});
    let first = rig.say(id, &early).await;
    let (notified, said) = rig.said(id, 2).await;
    assert!(notified);
    let ids: Vec<&str> = said.iter().map(|said| said["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [first.to_string(), second.to_string()]);
    assert_eq!(said[0]["notifier"], "日本\"\\");
    assert_eq!(said[1]["details"], json!({"error": "\"quoted\"\n"}));
    let time: DateTime<Utc> = said[1]["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(time.timestamp_micros(), now.timestamp_micros());

    // Once true it stays true, whatever is said and delivered later, and said again changes nothing.
    rig.say(id, &json!({"id": second, "notified": false, "timestamp": now})).await;
    rig.say(id, &json!({"id": second, "notified": true, "timestamp": now - TimeDelta::days(9)}))
        .await;
    rig.say(id, &json!({"notified": false})).await;
    rig.violate(id, now).await;
    let (notified, said) = rig.said(id, 3).await;
    assert!(notified);
    assert_eq!(said.len(), 3);
    rig.settled("notifications").await;
    rig.settled("violations").await;
    assert_eq!(rig.number("SELECT count() FROM policy_notifications").await, 3);
    assert_eq!(rig.number("SELECT count() FROM violations").await, 1);
    rig.clickhouse.query_raw("OPTIMIZE TABLE policy_violations FINAL").execute().await.unwrap();
    assert!(rig.said(id, 3).await.0);
    assert_eq!(rig.clickhouse.query_raw(REST).fetch_one::<String>().await.unwrap(), rest);
    sink.stopped().await;
}

#[tokio::test]
async fn a_notification_waits_for_its_violation_also_over_a_restart() {
    let rig = rig().await;
    let sink = rig.sink();
    let (early, old, never) = (Uuid::now_v7(), Uuid::new_v4(), Uuid::now_v7());
    for id in [early, old, never] {
        rig.say(id, &json!({})).await;
    }
    eventually("they are visible", async || {
        rig.clickhouse
            .query_raw("SELECT count() FROM unknown_notifications")
            .fetch_one::<u64>()
            .await
            .is_ok_and(|count| count == 3)
    })
    .await;
    rig.settled("notifications").await;
    sink.stopped().await;

    let sink = rig.sink();
    sink.ready().await;
    rig.violate(early, Utc::now()).await;
    rig.violate(old, Utc::now() - TimeDelta::days(40)).await;
    assert!(rig.said(early, 1).await.0);
    assert!(rig.said(old, 1).await.0);
    assert_eq!(rig.number("SELECT count() FROM unknown_notifications").await, 1);
    sink.stopped().await;
}

#[tokio::test]
async fn a_sink_killed_before_the_acknowledgement_says_it_once() {
    let rig = rig().await;
    let id = Uuid::now_v7();
    rig.violate(id, Utc::now()).await;
    rig.say(id, &json!({})).await;
    for _ in 0..2 {
        let hold = Arc::new(Hold::at(Table::Notifications));
        let sink = rig.observed(Arc::clone(&hold) as _);
        if tokio::time::timeout(Duration::from_secs(5), hold.reached.notified()).await.is_err() {
            // Stored already: nothing new is inserted.
            rig.settled("notifications").await;
        }
        sink.killed().await;
    }
    let sink = rig.sink();
    rig.settled("notifications").await;
    let (notified, said) = rig.said(id, 1).await;
    assert!(notified);
    assert_eq!(said.len(), 1);
    assert_eq!(rig.number("SELECT count() FROM policy_notifications").await, 1);
    sink.stopped().await;
}

#[tokio::test]
async fn what_others_say_is_bounded_and_put_aside() {
    let rig = rig().await;
    let sink = rig.sink();
    let id = Uuid::now_v7();
    rig.violate(id, Utc::now()).await;
    let subject = rig.subjects.notification();
    for body in ["{}", "nonsense", "{\"schema\": 1", "{\"schema\":1,\"id\":\"x\"}"] {
        rig.publish(&subject, &Uuid::now_v7().to_string(), body.as_bytes().to_vec()).await;
    }
    for change in [
        json!({"details": {"x": "y".repeat(5_000)}}),
        json!({"notifier": "x".repeat(129)}),
        json!({"timestamp": "2105-01-01T00:00:00Z"}),
        json!({"timestamp": "1970-01-01T00:00:00Z"}),
        json!({"schema": 2}),
        json!({"notified": "yes"}),
    ] {
        rig.say(id, &change).await;
    }
    for _ in 0..150 {
        rig.say(id, &json!({"notified": false})).await;
    }
    rig.settled("notifications").await;
    assert_eq!(rig.number("SELECT count() FROM policy_notifications").await, 150);
    let (notified, said) = rig.said(id, 100).await;
    assert_eq!((notified, said.len()), (false, 100));
    rig.say(id, &json!({})).await;
    eventually("beyond the bound it still counts", async || {
        rig.violation(id).await.is_some_and(|row| row.notified)
    })
    .await;

    let name = &rig.config.stream.dead_letter_name;
    let stream = rig.jetstream.get_stream(name).await.unwrap();
    let consumer = stream.create_consumer(async_nats::jetstream::consumer::pull::Config::default());
    let batch = consumer.await.unwrap();
    let batch = batch.fetch().max_messages(10).expires(Duration::from_secs(5));
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut messages = batch.messages().await.unwrap();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let reason = message.headers.as_ref().unwrap().get(deadletter::REASON).unwrap();
        *reasons.entry(reason.to_string()).or_default() += 1;
    }
    let expected = [
        ("newer_schema", 1),
        ("not_an_event", 3),
        ("not_json", 1),
        ("strange_time", 2),
        ("truncated", 1),
        ("unstorable", 2),
    ];
    assert_eq!(reasons, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    sink.stopped().await;
}

//! Nothing fails: what must be so anyway.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use sluicegate::domain::Severity;
use sluicegate::runtime::health::State;
use uuid::Uuid;

use super::{rig, rig_on, time};
use crate::store::eventually;
use crate::support::servers::ClickHouse;

#[tokio::test]
async fn each_event_becomes_one_row() {
    let rig = rig().await;
    let before = rig.decisions(120).await;
    let sink = rig.sink();
    sink.ready().await;
    let mut ids = rig.decisions(130).await;
    ids.extend(before);
    rig.stored_once(&ids).await;

    let decision_id = *ids.first().unwrap();
    for n in 0..20 {
        let id = Uuid::now_v7();
        let event = json!({
            "schema": 1, "id": id, "decision_id": decision_id, "timestamp": Utc::now(),
            "worker": "w", "violation_type": "policy_denied", "severity": "critical",
            "policy_name": "p", "policy_version": n, "action_taken": "blocked", "reasons": ["r"],
            "decision": "deny", "action": "a", "resource": "x",
        });
        let subject = rig.subjects.violation(Severity::Critical, "p");
        rig.publish(&subject, &id.to_string(), event.to_string().into_bytes()).await;
    }
    eventually("violations are stored", async || {
        rig.number("SELECT uniqExact(id) FROM policy_violations").await == 20
    })
    .await;
    rig.settled("violations").await;
    assert_eq!(rig.number("SELECT count() FROM policy_violations").await, 20);
    let joined = "SELECT count() FROM violations AS v JOIN decisions AS d ON v.decision_id = d.id";
    assert_eq!(rig.number(joined).await, 20);
    let sequences =
        "SELECT uniqExact(stream_sequence) FROM policy_decisions WHERE stream_sequence > 0";
    assert_eq!(rig.number(sequences).await, 250);
    assert!(sink.health.is_ready(), "{:?}", sink.health.snapshot());
    sink.stopped().await;
}

#[tokio::test]
async fn stopping_stores_what_is_held() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        config.sink.batch_age = Duration::from_secs(600);
        config.sink.batch_rows = 1_000;
    })
    .await;
    let sink = rig.sink();
    sink.ready().await;
    let ids = rig.decisions(30).await;
    eventually("the sink holds all", async || {
        rig.info("decisions").await.is_some_and(|info| info.num_ack_pending == 30)
    })
    .await;
    assert_eq!(rig.number("SELECT count() FROM policy_decisions").await, 0);
    sink.stopped().await;
    assert_eq!(rig.number("SELECT count() FROM policy_decisions").await, 30);
    rig.stored_once(&ids).await;
}

#[tokio::test]
async fn a_batch_that_spans_months_is_stored_by_month() {
    let rig = rig().await;
    let mut ids = BTreeSet::new();
    for n in 0..40 {
        let timestamp = if n % 2 == 0 {
            time("2026-01-31T23:59:59.999999Z")
        } else {
            time("2026-02-01T00:00:00Z")
        };
        ids.insert(rig.decide(&json!({"timestamp": timestamp})).await);
    }
    let sink = rig.sink();
    rig.stored_once(&ids).await;
    let months = "SELECT uniqExact(partition) FROM system.parts \
                  WHERE database = currentDatabase() AND table = 'policy_decisions' AND active";
    assert_eq!(rig.number(months).await, 2);
    sink.stopped().await;
}

#[tokio::test]
async fn events_larger_than_a_batch_go_alone() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        config.sink.batch_bytes = bytesize::ByteSize::kib(4);
    })
    .await;
    let large = "x".repeat(700 * 1_024);
    let mut ids = BTreeSet::new();
    for n in 0..12 {
        let input = if n % 2 == 0 { json!({"text": large}) } else { json!({}) };
        ids.insert(rig.decide(&json!({"timestamp": Utc::now(), "input": input})).await);
    }
    let sink = rig.sink();
    rig.stored_once(&ids).await;
    let bytes = "SELECT sum(length(input_data)) FROM policy_decisions";
    assert!(rig.number(bytes).await > 6 * 700 * 1_024);
    sink.stopped().await;
}

#[tokio::test]
async fn an_event_that_the_stream_holds_twice_is_one_row() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        config.stream.duplicate_window = Duration::from_millis(100);
    })
    .await;
    let sink = rig.sink();
    let mut ids = rig.decisions(10).await;
    rig.stored_once(&ids).await;
    // A worker that could not reach the stream for long sends again what it has.
    let late = json!({"timestamp": "2026-03-01T00:00:00Z"});
    let id = rig.decide(&late).await;
    ids.insert(id);
    rig.stored_once(&ids).await;
    tokio::time::sleep(Duration::from_millis(300)).await; // the window itself is what is tested
    let mut same = late.clone();
    same["id"] = json!(id);
    rig.decide(&same).await;
    rig.stored_once(&ids).await;
    let sequences = rig.info("decisions").await.unwrap().delivered.stream_sequence;
    assert_eq!(sequences, 12, "the stream does hold it twice");
    sink.stopped().await;
}

#[tokio::test]
async fn it_waits_for_clickhouse_at_the_start() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |_| ()).await;
    clickhouse.kill();
    let sink = rig.sink();
    sink.waits_for("clickhouse-tables", "ClickHouse at http://127.0.0.1:").await;
    let ids = rig.decisions(20).await;
    clickhouse.restart();
    rig.stored_once(&ids).await;
    sink.ready().await;
    assert_eq!(sink.health.snapshot()["clickhouse-tables"], State::Ready);
    sink.stopped().await;
}

#[tokio::test]
async fn a_sink_that_waits_can_be_stopped() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |_| ()).await;
    clickhouse.kill();
    let sink = rig.sink();
    sink.waits_for("clickhouse-tables", "ClickHouse at").await;
    sink.stopped().await;
}

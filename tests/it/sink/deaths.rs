//! Whatever dies, each event becomes one row.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use sluicegate::store::Table;

use super::proxy::Proxy;
use super::{Hold, rig, rig_on};
use crate::store::eventually;
use crate::support::servers::ClickHouse;

#[tokio::test]
async fn a_sink_killed_between_insert_and_acknowledgement() {
    let rig = rig().await;
    let ids = rig.decisions(130).await;
    for round in 1..=2_u64 {
        let hold = Arc::new(Hold::at(Table::Decisions));
        let sink = rig.observed(Arc::clone(&hold) as _);
        tokio::time::timeout(Duration::from_secs(30), hold.reached.notified()).await.unwrap();
        sink.killed().await;
        assert_eq!(rig.number("SELECT count() FROM policy_decisions").await, round * 50);
        let acknowledged = rig.info("decisions").await.unwrap().ack_floor.stream_sequence;
        assert_eq!(acknowledged, (round - 1) * 50, "stored, and nobody said so");
    }
    let sink = rig.sink();
    rig.stored_once(&ids).await;
    sink.stopped().await;
}

#[tokio::test]
async fn clickhouse_killed_under_load() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |_| ()).await;
    let sink = rig.sink();
    sink.ready().await;
    let mut ids = rig.decisions(60).await;
    eventually("something is stored", async || {
        rig.number("SELECT count() FROM policy_decisions").await > 0
    })
    .await;
    for _ in 0..2 {
        clickhouse.kill();
        ids.extend(rig.decisions(150).await);
        sink.waits_for("clickhouse-decisions", "ClickHouse at http://127.0.0.1:").await;
        // Longer than the stream waits for an acknowledgement.
        tokio::time::sleep(rig.config.sink.ack_wait + Duration::from_secs(1)).await;
        let info = rig.info("decisions").await.unwrap();
        assert_eq!(info.num_redelivered, 0, "progress keeps the server from delivering again");
        clickhouse.restart();
        ids.extend(rig.decisions(50).await);
        rig.stored_once(&ids).await;
    }
    sink.ready().await;
    sink.stopped().await;
}

#[tokio::test]
async fn clickhouse_falls_silent() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |config| {
        config.clickhouse.insert_timeout = Duration::from_secs(1);
    })
    .await;
    let sink = rig.sink();
    sink.ready().await;
    let mut ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    clickhouse.pause();
    ids.extend(rig.decisions(120).await);
    sink.waits_for("clickhouse-decisions", "did not answer within").await;
    clickhouse.resume();
    rig.stored_once(&ids).await;
    sink.stopped().await;
}

#[tokio::test]
async fn an_insert_whose_answer_is_lost() {
    let clickhouse = ClickHouse::shared();
    let proxy = Proxy::start(&clickhouse.url()).await;
    let rig = rig_on(clickhouse, |config| {
        config.clickhouse.url = format!("http://127.0.0.1:{}", proxy.port);
    })
    .await;
    let sink = rig.sink();
    sink.ready().await;
    let mut ids = rig.decisions(20).await;
    rig.stored_once(&ids).await;
    for _ in 0..3 {
        proxy.to_lose.store(2, Ordering::SeqCst);
        ids.extend(rig.decisions(70).await);
        rig.stored_once(&ids).await;
    }
    assert_eq!(proxy.lost.load(Ordering::SeqCst), 6);
    sink.stopped().await;
}

#[tokio::test]
async fn nats_killed_under_load() {
    let rig = rig().await;
    let sink = rig.sink();
    let mut ids = rig.decisions(120).await;
    for _ in 0..3 {
        rig.nats.kill();
        sink.waits_for("nats-sink", "connection lost").await;
        rig.nats.restart();
        ids.extend(rig.decisions(120).await);
    }
    rig.stored_once(&ids).await;
    sink.ready().await;
    sink.stopped().await;
}

#[tokio::test]
async fn nats_falls_silent() {
    let rig = rig().await;
    let sink = rig.sink();
    let mut ids = rig.decisions(120).await;
    rig.nats.pause();
    tokio::time::sleep(rig.config.sink.takeover * 2).await; // longer than anybody is waited for
    rig.nats.resume();
    ids.extend(rig.decisions(120).await);
    rig.stored_once(&ids).await;
    sink.stopped().await;
}

#[tokio::test]
async fn a_consumer_that_was_deleted() {
    let rig = rig().await;
    let sink = rig.sink();
    let mut ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    let stream = rig.jetstream.get_stream(&rig.config.stream.name).await.unwrap();
    stream.delete_consumer("sluicegate-sink-decisions").await.unwrap();
    ids.extend(rig.decisions(60).await);
    rig.stored_once(&ids).await;
    sink.stopped().await;
}

#[tokio::test]
async fn a_stream_made_anew() {
    let rig = rig().await;
    let sink = rig.sink();
    let mut ids = rig.decisions(80).await;
    rig.stored_once(&ids).await;
    for _ in 0..2 {
        rig.jetstream.delete_stream(&rig.config.stream.name).await.unwrap();
        eventually("the sink makes the stream again", async || {
            rig.info("decisions").await.is_some()
        })
        .await;
        // Events of the old stream come again, among new ones with the same sequences.
        for id in ids.clone().iter().take(10) {
            rig.decide(&json!({"id": id, "timestamp": timestamp_of(&rig, *id).await})).await;
        }
        ids.extend(rig.decisions(60).await);
        rig.stored_once(&ids).await;
    }
    assert_eq!(rig.number("SELECT uniqExact(stream_epoch) FROM policy_decisions").await, 3);
    sink.stopped().await;
}

async fn timestamp_of(rig: &super::Rig, id: uuid::Uuid) -> chrono::DateTime<chrono::Utc> {
    let micros = format!(
        "SELECT toUInt64(toUnixTimestamp64Micro(timestamp)) FROM policy_decisions WHERE id = '{id}'"
    );
    let micros = i64::try_from(rig.number(&micros).await).unwrap();
    chrono::DateTime::from_timestamp_micros(micros).unwrap()
}

#[tokio::test]
async fn tables_that_vanished() {
    let rig = rig().await;
    let sink = rig.sink();
    let ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    rig.clickhouse.query_raw("DROP TABLE policy_decisions SYNC").execute().await.unwrap();
    rig.clickhouse.query_raw("DROP TABLE schema_migrations SYNC").execute().await.unwrap();
    let ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    sink.stopped().await;
}

//! The history of policies and of the switch: every version in the bucket becomes one row.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::kv;
use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use sluicegate::bus::deadletter;
use sluicegate::domain::{EnforcementMode, EnforcementRecord, PolicyRecord};
use sluicegate::roles::sink::Observer;
use sluicegate::runtime::health::State;
use sluicegate::runtime::metrics;
use sluicegate::store::{Store, Table};
use uuid::Uuid;

use super::chaos::{how_long, random};
use super::{Hold, Rig, rig, rig_on};
use crate::store::eventually;
use crate::support::servers::ClickHouse;

/// What was written, by id and version.
#[derive(Default)]
struct Written {
    ids: BTreeMap<String, Uuid>,
    records: BTreeMap<(Uuid, u64), PolicyRecord>,
}

impl Written {
    /// The next version of a policy, written as a worker writes it.
    async fn put(&mut self, bucket: &kv::Store, name: &str, change: &Value) -> PolicyRecord {
        let id = *self.ids.entry(name.to_owned()).or_insert_with(Uuid::now_v7);
        let version = self.records.keys().filter(|(of, _)| *of == id).count() as u64 + 1;
        let record = record(name, id, version, change);
        write(bucket, &record).await;
        self.records.insert((id, version), record.clone());
        record
    }

    /// Waits until each is in, everything is acknowledged, and looks for copies; not even unmerged
    /// ones are there. Returns the rows' order by sequence.
    async fn stored_once(&self, rig: &Rig) -> Vec<(Uuid, u64)> {
        let expected: BTreeSet<(Uuid, u64)> = self.records.keys().copied().collect();
        eventually("every version is stored", async || {
            let rows = rows(rig).await;
            rows.iter().map(|row| (row.0, row.1)).collect::<BTreeSet<_>>().is_superset(&expected)
        })
        .await;
        rig.settled("rules").await;
        let rows = rows(rig).await;
        for (id, version, at, by, why) in &rows {
            let record = &self.records[&(*id, *version)];
            assert_eq!(*at, record.updated_at.timestamp_micros());
            assert_eq!((by, why), (&record.updated_by, &record.comment));
        }
        let order: Vec<(Uuid, u64)> = rows.iter().map(|row| (row.0, row.1)).collect();
        let found: BTreeSet<(Uuid, u64)> = order.iter().copied().collect();
        assert_eq!(found, expected);
        assert_eq!(order.len(), expected.len(), "copies");
        order
    }
}

fn record(name: &str, id: Uuid, version: u64, change: &Value) -> PolicyRecord {
    let now = Utc::now();
    let mut record = json!({
        "id": id, "name": name, "package": format!("p.{name}"), "version": version,
        "rego": format!("package p.{name}\nallow := {version} > 0\n"), "status": "active",
        "parameters": {"limit": version, "text": "ü'\\"}, "created_at": now, "updated_at": now,
        "created_by": "alice", "updated_by": format!("user-{}", version % 3),
        "comment": format!("change {version} of {name}"),
    });
    for (key, value) in change.as_object().unwrap() {
        record[key] = value.clone();
    }
    serde_json::from_value(record).unwrap()
}

async fn write(bucket: &kv::Store, record: &PolicyRecord) {
    let value = serde_json::to_vec(record).unwrap();
    bucket.put(record.name.as_str(), value.into()).await.unwrap();
}

async fn switch(bucket: &kv::Store, version: u64, mode: EnforcementMode) -> EnforcementRecord {
    let record = EnforcementRecord {
        mode,
        version,
        updated_at: Utc::now(),
        updated_by: "root".into(),
        comment: format!("switch {version}"),
    };
    let value = serde_json::to_vec(&record).unwrap();
    bucket.put("_enforcement", value.into()).await.unwrap();
    record
}

/// Rows as they lie there, unmerged copies included, in the bucket's order.
async fn rows(rig: &Rig) -> Vec<(Uuid, u64, i64, String, String)> {
    let sql = "SELECT toString(id), version, toUnixTimestamp64Micro(updated_at), updated_by, comment \
               FROM policy_rules ORDER BY stream_epoch, stream_sequence";
    let query = rig.clickhouse.query_raw(sql);
    let rows = query.fetch_all::<(String, u64, i64, String, String)>().await.unwrap_or_default();
    rows.into_iter().map(|(id, v, at, by, why)| (id.parse().unwrap(), v, at, by, why)).collect()
}

/// As a row keeps it.
fn micros(mut record: PolicyRecord) -> PolicyRecord {
    for time in [&mut record.created_at, &mut record.updated_at] {
        *time = DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap();
    }
    record
}

#[tokio::test]
async fn every_version_becomes_one_row_with_who_when_and_why() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let mut written = Written::default();
    let names: Vec<String> = (0..6).map(|n| format!("policy-{n}")).collect();
    for version in 1..=10 {
        for name in &names {
            written.put(&bucket, name, &json!({})).await;
        }
        switch(&bucket, version, EnforcementMode::Off).await;
    }
    let sink = rig.sink();
    sink.ready().await;
    for _ in 0..10 {
        for name in &names {
            written.put(&bucket, name, &json!({"mode": "warn", "severity": "critical"})).await;
        }
    }
    let gone = json!({"deleted": true, "rego": "", "comment": "no longer needed"});
    written.put(&bucket, "policy-0", &gone).await;
    let last = switch(&bucket, 11, EnforcementMode::Shadow).await;
    let order = written.stored_once(&rig).await;
    for name in &names {
        let id = written.ids[name];
        let versions: Vec<u64> = order.iter().filter(|v| v.0 == id).map(|v| v.1).collect();
        assert!(versions.is_sorted() && versions.len() >= 20, "{versions:?}");
    }
    rig.settled("enforcement").await;
    let switches = "SELECT count() FROM policy_enforcement WHERE updated_by = 'root'";
    assert_eq!(rig.number(switches).await, 11);

    let store = Store::connect(&rig.config.clickhouse);
    let newest = store.latest_enforcement().await.unwrap().unwrap();
    assert_eq!((newest.mode, newest.version), (EnforcementMode::Shadow, 11));
    assert_eq!(newest.comment, last.comment);
    let id = written.ids["policy-3"];
    let record = store.policy_version("policy-3", 7).await.unwrap().unwrap();
    assert_eq!(record, micros(written.records[&(id, 7)].clone()));
    let latest = store.latest_policies().await.unwrap();
    assert_eq!(latest.iter().map(|record| record.name.clone()).collect::<Vec<_>>(), names);
    assert!(latest[0].deleted && latest[0].version == 21 && latest[1].version == 20);
    sink.stopped().await;
}

#[tokio::test]
async fn a_sink_killed_between_insert_and_acknowledgement_leaves_no_copies() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let mut written = Written::default();
    for n in 0..130 {
        written.put(&bucket, &format!("p{}", n % 7), &json!({})).await;
    }
    for round in 1..=2_u64 {
        let hold = Arc::new(Hold::at(Table::Rules));
        let sink = rig.observed(Arc::clone(&hold) as _);
        tokio::time::timeout(Duration::from_secs(30), hold.reached.notified()).await.unwrap();
        sink.killed().await;
        assert_eq!(rig.number("SELECT count() FROM policy_rules").await, round * 50);
        let acknowledged = rig.info("rules").await.unwrap().ack_floor.stream_sequence;
        assert_eq!(acknowledged, (round - 1) * 50, "stored, and nobody said so");
    }
    let sink = rig.sink();
    written.stored_once(&rig).await;
    sink.stopped().await;
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Observer for Count {
    fn inserted(&self, table: Table, rows: usize) -> BoxFuture<'_, ()> {
        if table == Table::Rules {
            self.0.fetch_add(rows, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn one_of_two_sinks_reads_and_the_other_takes_over() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let mut written = Written::default();
    let counts: Vec<Arc<Count>> = (0..2).map(|_| Arc::default()).collect();
    let count = |n: usize| counts[n].0.load(Ordering::SeqCst);
    let first = rig.observed(Arc::clone(&counts[0]) as _);
    written.put(&bucket, "a", &json!({})).await;
    written.stored_once(&rig).await;
    let second = rig.observed(Arc::clone(&counts[1]) as _);
    second.ready().await;
    for _ in 0..40 {
        written.put(&bucket, "a", &json!({})).await;
    }
    written.stored_once(&rig).await;
    assert_eq!((count(0), count(1)), (41, 0), "only one of them reads");
    first.killed().await;
    for _ in 0..20 {
        written.put(&bucket, "a", &json!({})).await;
    }
    written.stored_once(&rig).await;
    assert_eq!(count(1), 20);
    second.stopped().await;
}

#[tokio::test]
async fn clickhouse_down_and_up_again() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |_| ()).await;
    let bucket = rig.bucket().await;
    let mut written = Written::default();
    let sink = rig.sink();
    written.put(&bucket, "a", &json!({})).await;
    written.stored_once(&rig).await;
    clickhouse.kill();
    for n in 0..30 {
        written.put(&bucket, &format!("p{}", n % 3), &json!({})).await;
    }
    switch(&bucket, 1, EnforcementMode::Off).await;
    sink.waits_for("clickhouse-rules", "ClickHouse at http://127.0.0.1:").await;
    sink.waits_for("clickhouse-enforcement", "ClickHouse at http://127.0.0.1:").await;
    clickhouse.restart();
    written.stored_once(&rig).await;
    rig.settled("enforcement").await;
    assert_eq!(rig.number("SELECT count() FROM policy_enforcement").await, 1);
    sink.ready().await;
    sink.stopped().await;
}

#[tokio::test]
async fn what_is_no_record_is_put_aside_and_the_others_go_on() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let mut written = Written::default();
    written.put(&bucket, "good", &json!({})).await;
    let put = async |key: &str, value: &str| {
        bucket.put(key, value.to_owned().into()).await.unwrap();
    };
    let of = |change: &Value| record("named", Uuid::now_v7(), 1, change);
    let text = |record: &PolicyRecord| serde_json::to_string(record).unwrap();
    put("garbage", "\u{0}hello").await;
    put("cut", &text(&of(&json!({})))[..40]).await;
    put("list", "[]").await;
    put("other-name", &text(&of(&json!({})))).await;
    put("named", &text(&of(&json!({"rego": ""})))).await;
    put("named", &text(&of(&json!({"updated_at": "1815-12-10T00:00:00Z"})))).await;
    put("_enforcement", "off").await;
    // Nothing that a version could be.
    put("_something", "anything").await;
    bucket.delete("garbage").await.unwrap();
    bucket.purge("list").await.unwrap();
    let mut expired = HeaderMap::new();
    expired.insert("Nats-Marker-Reason", "MaxAge");
    let subject = format!("$KV.{}.cut", rig.config.policies.bucket);
    let sent = rig.jetstream.publish_with_headers(subject, expired, "".into()).await;
    sent.unwrap().await.unwrap();
    bucket.delete("_enforcement").await.unwrap();
    written.put(&bucket, "good", &json!({})).await;
    switch(&bucket, 1, EnforcementMode::Off).await;

    let sink = rig.sink();
    written.stored_once(&rig).await;
    rig.settled("enforcement").await;
    assert_eq!(rig.number("SELECT count() FROM policy_enforcement").await, 1);
    // The list was purged from the bucket before anybody read it.
    let letters = dead_letters(&rig, 6).await;
    let expected = [
        ("cut", "rules truncated"),
        ("garbage", "rules not_json"),
        ("named", "rules invalid_record"),
        ("named", "rules unstorable"),
        ("other-name", "rules invalid_record"),
        ("_enforcement", "enforcement not_json"),
    ];
    let expected = expected.map(|(key, what)| (key.to_owned(), what.to_owned()));
    assert_eq!(letters, BTreeSet::from(expected));
    let State::Degraded(says) = sink.health.snapshot()["dead-letters-rules"].clone() else {
        panic!("{:?}", sink.health.snapshot());
    };
    assert!(says.starts_with("5 events"), "{says}");
    assert!(sink.health.is_ready());
    sink.stopped().await;
}

/// Dead letters: the key, and the table with the reason.
async fn dead_letters(rig: &Rig, expected: usize) -> BTreeSet<(String, String)> {
    let stream = rig.jetstream.get_stream(&rig.config.stream.dead_letter_name).await.unwrap();
    eventually("dead letters are written", async || {
        stream.get_info().await.unwrap().state.messages >= expected as u64
    })
    .await;
    assert_eq!(stream.get_info().await.unwrap().state.messages, expected as u64);
    let config = async_nats::jetstream::consumer::pull::Config::default();
    let consumer = stream.create_consumer(config).await.unwrap();
    let batch = consumer.fetch().max_messages(expected).expires(Duration::from_secs(5));
    let mut messages = batch.messages().await.unwrap();
    let mut letters = BTreeSet::new();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(header(deadletter::STREAM), format!("KV_{}", rig.config.policies.bucket));
        assert!(!header(deadletter::DETAIL).is_empty());
        let table = message.subject.strip_prefix("policy.deadletter.").unwrap();
        let key = header(deadletter::SUBJECT).rsplit('.').next().unwrap().to_owned();
        letters.insert((key, format!("{table} {}", header(deadletter::REASON))));
    }
    letters
}

#[tokio::test]
async fn a_bucket_that_comes_late_and_one_that_is_made_anew() {
    let rig = rig().await;
    let name = rig.config.policies.bucket.clone();
    rig.jetstream.delete_key_value(&name).await.unwrap();
    let sink = rig.sink();
    for part in ["sink-rules", "sink-enforcement"] {
        sink.waits_for(part, "which a worker makes").await;
    }
    // Nothing else waits.
    let ids = rig.decisions(20).await;
    rig.stored_once(&ids).await;

    let mut written = Written::default();
    let bucket = rig.bucket().await;
    for _ in 0..3 {
        written.put(&bucket, "a", &json!({})).await;
    }
    switch(&bucket, 1, EnforcementMode::Off).await;
    written.stored_once(&rig).await;
    rig.settled("enforcement").await;
    sink.ready().await;

    rig.jetstream.delete_key_value(&name).await.unwrap();
    sink.waits_for("sink-rules", "which a worker makes").await;
    let bucket = rig.bucket().await;
    // The newest version is restored; another policy begins under a name that was there.
    let store = Store::connect(&rig.config.clickhouse);
    let restored = store.latest_policies().await.unwrap();
    assert_eq!(restored.len(), 1);
    write(&bucket, &restored[0]).await;
    written.put(&bucket, "a", &json!({})).await;
    switch(&bucket, 1, EnforcementMode::Shadow).await;
    written.stored_once(&rig).await;
    eventually("the second bucket's switch is stored", async || {
        rig.number("SELECT uniqExact(stream_epoch) FROM policy_enforcement").await == 2
    })
    .await;
    let newest = store.latest_enforcement().await.unwrap().unwrap();
    assert_eq!((newest.mode, newest.version), (EnforcementMode::Shadow, 1));
    assert_eq!(store.latest_policies().await.unwrap()[0].version, 4);
    sink.stopped().await;
}

/// The count is the whole process': one test at a time looks at it.
static COUNTING: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn counted() -> u64 {
    let text = metrics::install().unwrap().render();
    let line = text.lines().find(|line| line.starts_with("sluicegate_policy_version_gaps_total "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn versions_that_left_the_bucket_unread_are_counted_once() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let _alone = COUNTING.lock().await;
    let before = counted();
    let sink = rig.sink();
    let mut written = Written::default();
    for _ in 0..3 {
        written.put(&bucket, "a", &json!({})).await;
    }
    written.stored_once(&rig).await;
    assert_eq!(counted(), before);
    sink.stopped().await;
    for _ in 4..=100 {
        written.put(&bucket, "a", &json!({})).await;
    }
    // The bucket has 64 of them: 37 to 100.
    written.records.retain(|(_, version), _| *version <= 3 || *version > 36);
    let sink = rig.sink();
    written.stored_once(&rig).await;
    eventually("the gap is counted", async || counted() == before + 33).await;
    sink.killed().await;
    let sink = rig.sink();
    let id = written.ids["a"];
    let next = record("a", id, 101, &json!({}));
    write(&bucket, &next).await;
    written.records.insert((id, 101), next);
    written.stored_once(&rig).await;
    assert_eq!(counted(), before + 33);
    sink.stopped().await;
}

#[tokio::test]
async fn a_version_written_again_with_other_words_changes_nothing_that_was_stored() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let sink = rig.sink();
    let mut written = Written::default();
    let first = written.put(&bucket, "a", &json!({})).await;
    written.stored_once(&rig).await;
    let other = PolicyRecord {
        comment: "never said".into(),
        updated_at: first.updated_at - TimeDelta::days(1),
        ..first.clone()
    };
    write(&bucket, &other).await;
    write(&bucket, &first).await;
    eventually("both are there", async || rows(&rig).await.len() >= 2).await;
    rig.settled("rules").await;
    rig.clickhouse.query_raw("OPTIMIZE TABLE policy_rules FINAL").execute().await.unwrap();
    let why: BTreeSet<String> = rows(&rig).await.into_iter().map(|row| row.4).collect();
    assert_eq!(why, BTreeSet::from([first.comment, other.comment]));
    assert_eq!(rig.number("SELECT count() FROM policy_versions").await, 2);
    sink.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_whenever() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |config| {
        config.clickhouse.insert_timeout = Duration::from_secs(2);
        config.clickhouse.query_timeout = Duration::from_secs(1);
    })
    .await;
    let bucket = rig.bucket().await;
    let _alone = COUNTING.lock().await;
    let before = counted();
    let mut sinks = vec![rig.sink(), rig.sink()];
    let mut written = Written::default();
    let end = Instant::now() + how_long();
    while Instant::now() < end {
        // Few enough for a policy that its versions are still in the bucket when they are read.
        for _ in 0..random(8) {
            let name = format!("p{}", random(40));
            written.put(&bucket, &name, &json!({})).await;
        }
        tokio::time::sleep(Duration::from_millis(random(200))).await;
        match random(8) {
            0 => {
                clickhouse.kill();
                written.put(&bucket, "p0", &json!({})).await;
                clickhouse.restart();
            }
            1 => {
                clickhouse.pause();
                tokio::time::sleep(Duration::from_millis(random(3_000))).await;
                clickhouse.resume();
            }
            2 => {
                rig.nats.kill();
                rig.nats.restart();
                eventually("the client is back", async || bucket.status().await.is_ok()).await;
            }
            _ => {
                let at = usize::try_from(random(2)).unwrap();
                sinks.swap_remove(at).killed().await;
                sinks.push(rig.sink());
            }
        }
    }
    written.put(&bucket, "last", &json!({})).await;
    let expected: Vec<String> =
        written.records.keys().map(|(id, version)| format!("{id}@{version}")).collect();
    let exact = "SELECT concat(toString(id), '@', toString(version)) FROM policy_versions";
    let stored = async || {
        let rows = rig.clickhouse.query_raw(exact).fetch_all::<String>().await;
        rows.unwrap_or_default()
    };
    eventually("every version is stored", async || stored().await.len() >= expected.len()).await;
    rig.settled("rules").await;
    let found = stored().await;
    assert_eq!(found.len(), expected.len(), "each exactly once");
    assert_eq!(
        found.into_iter().collect::<BTreeSet<_>>(),
        expected.into_iter().collect::<BTreeSet<_>>()
    );
    assert_eq!(counted(), before, "nothing is missing");
    for sink in sinks {
        sink.stopped().await;
    }
}

#[tokio::test]
async fn versions_that_come_late_are_not_missing() {
    let rig = rig().await;
    let bucket = rig.bucket().await;
    let _alone = COUNTING.lock().await;
    let before = counted();
    let sink = rig.sink();
    sink.ready().await;
    let id = Uuid::now_v7();
    // By hand, in a wrong order: as it looks when what a dead sink held is delivered again.
    for version in [1, 5, 2, 4] {
        write(&bucket, &record("a", id, version, &json!({}))).await;
    }
    let counted_one = async || counted() == before + 1;
    eventually("version 3 is missing, the others came late", counted_one).await;
    write(&bucket, &record("a", id, 6, &json!({}))).await;
    eventually("all are stored", async || rows(&rig).await.len() == 5).await;
    sink.stopped().await;
    assert_eq!(counted(), before + 1);
}

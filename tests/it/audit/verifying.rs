//! Verification: what is honest is verified, and whatever was changed is named.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use serde_json::{Value, json};
use sluicegate::config::Config;
use sluicegate::roles::verify::{Kind, Report, Scope, Verdict, verify};
use sluicegate::store::chain::{Chained, Link, Signer};
use sluicegate::store::{Store, Table};
use uuid::Uuid;

use super::sealing::{links, sealed};
use crate::sink::{Hold, Rig, rig_on};
use crate::store::decision;
use crate::support::servers::ClickHouse;

fn quick(config: &mut Config) {
    config.chain.interval = Duration::from_millis(200);
    config.chain.rows = 20;
}

/// Events of one run of a worker, each with its number.
pub(super) struct Worker {
    run: Uuid,
    given: u64,
    ids: BTreeSet<Uuid>,
}

impl Worker {
    fn begin() -> Self {
        Self { run: Uuid::now_v7(), given: 0, ids: BTreeSet::new() }
    }

    fn event(&mut self, change: &Value) -> Value {
        self.given += 1;
        let mut event = json!({
            "timestamp": Utc::now(), "worker_run": self.run, "worker_sequence": self.given,
        });
        for (key, value) in change.as_object().unwrap() {
            event[key] = value.clone();
        }
        event
    }

    async fn decide(&mut self, rig: &Rig, count: usize) {
        for _ in 0..count {
            let event = self.event(&json!({}));
            self.ids.insert(rig.decide(&event).await);
        }
    }

    pub(super) async fn violate(&mut self, rig: &Rig) -> Uuid {
        let id = Uuid::now_v7();
        let event = self.event(&json!({
            "schema": 1, "id": id, "decision_id": Uuid::now_v7(), "worker": "w-1",
            "violation_type": "policy_denied", "severity": "critical", "policy_name": "p",
            "policy_version": 7, "action_taken": "blocked", "reasons": ["a", "b"],
            "decision": "deny", "action": "x", "resource": "r", "subject": "s",
        }));
        rig.publish("policy.violation.critical.p", &id.to_string(), event.to_string().into()).await;
        id
    }

    pub(super) async fn checkpoint(&self, rig: &Rig, change: &Value) {
        let id = Uuid::now_v7();
        let mut event = json!({
            "schema": 1, "id": id, "timestamp": Utc::now(), "worker": "w-1",
            "worker_run": self.run, "numbered": self.given, "recorded": self.given, "kept": 0,
            "given_up": [], "last": false,
        });
        for (key, value) in change.as_object().unwrap() {
            event[key] = value.clone();
        }
        rig.publish("policy.checkpoint", &id.to_string(), event.to_string().into()).await;
        rig.settled("checkpoints").await;
    }
}

pub(super) async fn verified(rig: &Rig) -> Report {
    let contents = Scope { contents: true, ..Scope::default() };
    within(rig, contents).await
}

pub(super) async fn within(rig: &Rig, scope: Scope) -> Report {
    let store = Store::connect(&rig.config().clickhouse);
    verify(&rig.connection().await, &store, rig.config(), &scope, &|_| ()).await.unwrap()
}

fn kinds(report: &Report) -> Vec<Kind> {
    report.findings.counted.keys().copied().collect()
}

/// A rig with sealed rows and no sink: 50 decisions and 5 violations of one run, ended in order.
pub(super) async fn honest(change: impl FnOnce(&mut Config)) -> (Rig, Worker) {
    let rig = rig_on(ClickHouse::shared(), |config| {
        quick(config);
        change(config);
    })
    .await;
    let sink = rig.sink();
    let mut worker = Worker::begin();
    for _ in 0..5 {
        worker.decide(&rig, 10).await;
        worker.violate(&rig).await;
    }
    rig.stored_once(&worker.ids).await;
    rig.settled("violations").await;
    worker.checkpoint(&rig, &json!({"last": true})).await;
    sealed(&rig, 50).await;
    super::sealing::sealed_of(&rig, Chained::Violations, 5).await;
    sink.stopped().await;
    (rig, worker)
}

#[tokio::test]
async fn honest_traffic_is_verified() {
    let (rig, _) = honest(|_| ()).await;
    let report = verified(&rig).await;
    assert!(report.verified && report.findings.named.is_empty(), "{report:#?}");
    let decisions = &report.chains[0];
    assert_eq!((decisions.rows_sealed, decisions.rows_intact), (50, 50));
    assert_eq!((report.chains[1].rows_sealed, report.chains[1].rows_intact), (5, 5));
    assert!(decisions.links >= 3);
    let tables: Vec<_> = report.stream.tables.iter().map(|t| (t.events, t.stored)).collect();
    assert_eq!(tables, [(50, 50), (5, 5)]);
    let workers = &report.workers;
    assert_eq!((workers.runs, workers.ended, workers.numbers, workers.stored), (1, 1, 55, 55));
    assert_eq!((workers.reordered, workers.unsettled, workers.unnumbered), (0, 0, 0));
}

#[tokio::test]
async fn deaths_redelivery_dead_letters_and_late_repeats_are_honest_too() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        quick(config);
        config.stream.duplicate_window = Duration::from_secs(1);
    })
    .await;
    let mut worker = Worker::begin();
    worker.decide(&rig, 60).await;
    // The stream forgets ids after its window, and holds this event twice then.
    let late = worker.event(&json!({"id": Uuid::now_v7()}));
    worker.ids.insert(rig.decide(&late).await);
    let hold = Arc::new(Hold::at(Table::Decisions));
    let first = rig.observed(Arc::clone(&hold) as _);
    hold.reached().await;
    let second = rig.sink();
    first.killed().await;
    // A number whose event no table can hold, and one that a resending worker brings out of order.
    let mut broken = serde_json::to_value(decision(&worker.event(&json!({})))).unwrap();
    broken["timestamp"] = json!("1815-12-10T00:00:00Z");
    rig.publish("policy.decision.deny.x", "broken", broken.to_string().into()).await;
    let kept = worker.event(&json!({}));
    worker.decide(&rig, 20).await;
    worker.ids.insert(rig.decide(&kept).await);
    rig.stored_once(&worker.ids).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await; // longer than the stream remembers
    rig.decide(&late).await;
    worker.checkpoint(&rig, &json!({"last": true})).await;
    rig.stored_once(&worker.ids).await;
    sealed(&rig, 82).await;
    second.stopped().await;

    let report = verified(&rig).await;
    assert!(report.verified && report.findings.named.is_empty(), "{report:#?}");
    let decisions = &report.stream.tables[0];
    assert_eq!((decisions.events, decisions.stored), (84, 82));
    assert_eq!((decisions.dead_letters, decisions.resent), (1, 1));
    let workers = &report.workers;
    assert_eq!((workers.numbers, workers.stored, workers.dead_letters), (83, 82, 1));
    assert_eq!((workers.reordered, workers.largest_displacement), (1, 20));
}

/// Each column of both tables, altered by itself: one column a row, as many rows at once as there are.
#[tokio::test]
async fn every_column_that_is_altered_is_named() {
    let (rig, _) = honest(|_| ()).await;
    for chained in Chained::ALL {
        let table = chained.table().name();
        // A key column can't be updated: a row with another key is another row.
        let columns: Vec<_> =
            chained.digested().filter(|name| !["id", "timestamp"].contains(name)).collect();
        let ids = rig.ids(&format!("SELECT toString(id) FROM {table} ORDER BY id")).await;
        rig.execute(&format!("CREATE TABLE kept AS {table}")).await;
        rig.execute(&format!("INSERT INTO kept SELECT * FROM {table}")).await;
        for (round, columns) in columns.chunks(ids.len()).enumerate() {
            let mut altered = BTreeSet::new();
            for (id, column) in ids.iter().zip(columns) {
                let other = other_value(&rig, table, column).await;
                rig.execute(&format!(
                    "ALTER TABLE {table} UPDATE {column} = {other} WHERE id = '{id}' \
                     SETTINGS mutations_sync = 2"
                ))
                .await;
                altered.insert(*id);
            }
            let report = verified(&rig).await;
            for kind in [Kind::Altered, Kind::Contents] {
                let named: BTreeSet<_> = report.findings.of(kind).filter_map(|f| f.id).collect();
                assert_eq!(named, altered, "{table} {columns:?}: {:#?}", report.findings);
                assert_eq!(report.findings.count(kind), altered.len() as u64);
            }
            rig.execute(&format!("TRUNCATE TABLE {table} SYNC")).await;
            rig.execute(&format!(
                "INSERT INTO {table} SETTINGS insert_deduplication_token = 'back-{round}' \
                 SELECT * FROM kept"
            ))
            .await;
        }
        rig.execute("DROP TABLE kept SYNC").await;
    }
    assert!(verified(&rig).await.verified, "everything is back");
}

/// An expression for another value of a column.
async fn other_value(rig: &Rig, table: &str, column: &str) -> String {
    let kind = rig
        .text(&format!(
            "SELECT type FROM system.columns WHERE database = currentDatabase() \
             AND table = '{table}' AND name = '{column}'"
        ))
        .await;
    match kind.as_str() {
        "Bool" => format!("NOT {column}"),
        "UUID" => "generateUUIDv4()".to_owned(),
        "UInt64" => format!("{column} + 1"),
        kind if kind.starts_with("Array") => format!("arrayConcat({column}, [''])"),
        _ => format!("concat({column}::String, ' ')"),
    }
}

#[tokio::test]
async fn a_newer_copy_that_hides_a_row_is_named() {
    let (rig, _) = honest(|_| ()).await;
    let id = rig.ids("SELECT toString(id) FROM policy_decisions ORDER BY id LIMIT 1").await[0];
    rig.execute(&format!(
        "INSERT INTO policy_decisions SELECT * REPLACE ('allow' AS decision, now64(6) AS inserted_at) \
         FROM policy_decisions WHERE id = '{id}'"
    ))
    .await;
    let report = verified(&rig).await;
    assert_eq!(report.findings.of(Kind::Altered).map(|f| f.id).collect::<Vec<_>>(), [Some(id)]);
    // What is said of a violation later is no alteration.
    let report_before = report.findings.count(Kind::Altered);
    rig.execute(
        "INSERT INTO policy_violations SELECT * REPLACE (true AS notified, '{}' AS notification_details, \
         5 AS version) FROM policy_violations",
    )
    .await;
    assert_eq!(verified(&rig).await.findings.count(Kind::Altered), report_before);
}

#[tokio::test]
async fn rows_that_are_deleted_inserted_or_moved_are_named() {
    let (rig, _) = honest(|_| ()).await;
    let ids = rig.ids("SELECT toString(id) FROM policy_decisions ORDER BY stream_sequence").await;
    let delete = |id: Uuid| {
        format!("ALTER TABLE policy_decisions DELETE WHERE id = '{id}' SETTINGS mutations_sync = 2")
    };
    rig.execute(&delete(ids[3])).await;
    let report = verified(&rig).await;
    assert_eq!(report.findings.of(Kind::Deleted).map(|f| f.id).collect::<Vec<_>>(), [Some(ids[3])]);
    assert_eq!(report.findings.of(Kind::Missing).map(|f| f.id).collect::<Vec<_>>(), [Some(ids[3])]);
    assert_eq!(report.findings.count(Kind::NumberMissing), 1, "{:#?}", report.findings);

    let made_up = Uuid::now_v7();
    rig.execute(&format!(
        "INSERT INTO policy_decisions SELECT * REPLACE (toUUID('{made_up}') AS id) \
         FROM (SELECT * FROM policy_decisions WHERE id = '{}')",
        ids[7]
    ))
    .await;
    let report = verified(&rig).await;
    let inserted: BTreeSet<_> = report.findings.of(Kind::Inserted).map(|f| f.id).collect();
    assert_eq!(inserted, [Some(made_up)].into(), "{:#?}", report.findings);
    assert_eq!(report.findings.count(Kind::SharedSequence), 1);
    assert_eq!(report.findings.count(Kind::NumberTwice), 1);
    rig.execute(&delete(made_up)).await;

    // Two that change places, in one link and across links.
    for (a, b) in [(ids[10], ids[11]), (ids[12], ids[45])] {
        rig.execute(&format!(
            "ALTER TABLE policy_decisions UPDATE stream_sequence = if(id = '{a}', \
             (SELECT any(stream_sequence) FROM policy_decisions WHERE id = '{b}'), \
             (SELECT any(stream_sequence) FROM policy_decisions WHERE id = '{a}')) \
             WHERE id IN ('{a}', '{b}') SETTINGS mutations_sync = 2"
        ))
        .await;
    }
    let report = verified(&rig).await;
    let moved: BTreeSet<_> = report.findings.of(Kind::Moved).filter_map(|f| f.id).collect();
    assert_eq!(moved, [ids[10], ids[11], ids[12], ids[45]].into(), "{:#?}", report.findings);
}

#[tokio::test]
async fn rows_outside_of_every_link_are_named() {
    let (rig, _) = honest(|_| ()).await;
    let places = [
        ("stream_sequence", "toUInt64(1000000)"),
        ("stream_sequence", "toUInt64(0)"),
        ("stream_epoch", "toDateTime64('2020-01-01 00:00:00', 6, 'UTC')"),
    ];
    for (column, value) in places {
        let id = Uuid::now_v7();
        rig.execute(&format!(
            "INSERT INTO policy_decisions SELECT * REPLACE (toUUID('{id}') AS id, {value} AS {column}, \
             toUInt64(0) AS worker_sequence) FROM policy_decisions ORDER BY id LIMIT 1"
        ))
        .await;
        let report = verified(&rig).await;
        let named: Vec<_> = report.findings.of(Kind::Inserted).map(|f| f.id).collect();
        assert_eq!(named, [Some(id)], "{value}: {:#?}", report.findings);
        rig.execute(&format!(
            "ALTER TABLE policy_decisions DELETE WHERE id = '{id}' SETTINGS mutations_sync = 2"
        ))
        .await;
    }
}

#[tokio::test]
async fn links_that_are_deleted_edited_or_cut_off_are_named() {
    let (rig, _) = honest(|_| ()).await;
    let all = links(&rig).await;
    let newest = all.last().unwrap();
    rig.execute("CREATE TABLE kept AS audit_batches").await;
    rig.execute("INSERT INTO kept SELECT * FROM audit_batches").await;
    let restored = async || {
        rig.execute("TRUNCATE TABLE audit_batches SYNC").await;
        rig.execute(&format!(
            "INSERT INTO audit_batches SETTINGS insert_deduplication_token = '{}' SELECT * FROM kept",
            Uuid::now_v7()
        ))
        .await;
        assert!(verified(&rig).await.verified);
    };
    let of = "chain = 'decisions' AND number";
    for (change, kind, link) in [
        (format!("DELETE WHERE {of} = 2"), Kind::LinkDeleted, 2),
        (format!("DELETE WHERE {of} = 1"), Kind::LinkDeleted, 1),
        (format!("DELETE WHERE {of} >= {}", newest.number - 1), Kind::LinkDeleted, newest.number),
        (format!("UPDATE rows = rows + 1 WHERE {of} = 2"), Kind::LinkAltered, 2),
        (format!("UPDATE previous = concat('0', previous) WHERE {of} = 2"), Kind::LinkAltered, 2),
        (format!("UPDATE sealed_at = now64(6) WHERE {of} = 1"), Kind::LinkAltered, 1),
        (format!("UPDATE first_sequence = 0 WHERE {of} = 1"), Kind::LinkAltered, 1),
    ] {
        rig.execute(&format!("ALTER TABLE audit_batches {change} SETTINGS mutations_sync = 2"))
            .await;
        let report = verified(&rig).await;
        assert!(!report.verified, "{change}");
        let named: Vec<_> = report.findings.of(kind).map(|f| f.link).collect();
        assert!(named.contains(&Some(link)), "{change}: {:#?}", report.findings);
        restored().await;
    }
    // The list of names, and a row with it.
    rig.execute("ALTER TABLE audit_batches UPDATE prefixes = arrayMap(p -> p + 1, prefixes) WHERE chain = 'decisions' AND number = 1 SETTINGS mutations_sync = 2").await;
    assert!(verified(&rig).await.verified, "the list is only a help");
    rig.execute("ALTER TABLE policy_decisions UPDATE agent = 'x' WHERE stream_sequence = 1 SETTINGS mutations_sync = 2").await;
    assert!(kinds(&verified(&rig).await).contains(&Kind::RowsDiffer));
}

/// A key file as `audit keygen` leaves it.
pub(super) fn write_key(path: &std::path::Path, signer: &Signer) {
    use std::os::unix::fs::PermissionsExt as _;

    std::fs::write(path, signer.to_pem().unwrap().as_ref()).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Somebody with all rights in ClickHouse alters a row and makes the whole chain anew.
#[tokio::test]
async fn a_chain_that_is_rewritten_is_found_out_by_key_bucket_and_anchor() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    let signer = Signer::generate().unwrap();
    write_key(&key, &signer);
    let (rig, _) = honest(|config| config.chain.signing_key_file = key.clone()).await;
    let report = verified(&rig).await;
    assert!(report.verified, "{report:#?}");
    assert_eq!(report.public_keys, [signer.public_key()]);
    let store = Store::connect(&rig.config().clickhouse);
    let anchor = store.newest_link(Chained::Decisions).await.unwrap().unwrap();
    let anchored = Scope { anchors: vec![anchor.clone()], ..Scope::default() };
    assert!(within(&rig, anchored.clone()).await.verified);

    // Another key is believed.
    let mut other = rig.config().clone();
    other.chain.public_keys = vec![Signer::generate().unwrap().public_key()];
    let report =
        verify(&rig.connection().await, &store, &other, &Scope::default(), &|_| ()).await.unwrap();
    assert!(report.findings.count(Kind::Signature) >= 3, "{:#?}", report.findings);

    rig.execute("ALTER TABLE policy_decisions UPDATE agent = 'x' WHERE stream_sequence = 1 SETTINGS mutations_sync = 2").await;
    let forger = Signer::generate().unwrap();
    let mut before: Option<Link> = None;
    let old = links(&rig).await;
    rig.execute(
        "ALTER TABLE audit_batches DELETE WHERE chain = 'decisions' SETTINGS mutations_sync = 2",
    )
    .await;
    for link in old {
        let rows = store.sealed_rows(Chained::Decisions, link.range()).await.unwrap();
        let index = sluicegate::store::chain::Index::new(&rows);
        let range = link.range();
        let link = Link::seal(Chained::Decisions, before.as_ref(), range, &rows, Some(&forger));
        store.insert_link(&link, &index).await.unwrap();
        before = Some(link);
    }
    let report = within(&rig, anchored).await;
    for kind in [Kind::Signature, Kind::Head, Kind::Anchor] {
        assert!(report.findings.count(kind) > 0, "{kind:?}: {:#?}", report.findings);
    }
    assert_eq!(report.findings.count(Kind::Altered), 0, "the forged chain covers it");
}

#[tokio::test]
async fn retention_breaks_no_chain() {
    let (rig, _) = honest(|config| config.retention.decisions = Duration::ZERO).await;
    // Rows that were sealed long ago, and a month that is dropped.
    let sink = rig.sink();
    for day in 1..=9 {
        rig.decide(&json!({"timestamp": format!("2020-01-0{day}T00:00:00Z")})).await;
    }
    sealed(&rig, 59).await;
    sink.stopped().await;
    rig.execute("ALTER TABLE policy_decisions DROP PARTITION 202001").await;
    let store = Store::connect(&rig.config().clickhouse);
    let mut config = rig.config().clone();
    config.retention.decisions = Duration::from_secs(86_400 * 30);
    let connection = rig.connection().await;
    let scope = Scope::default();
    let report = verify(&connection, &store, &config, &scope, &|_| ()).await.unwrap();
    assert_eq!(report.chains[0].rows_expired, 9, "{report:#?}");
    assert_eq!(report.chains[0].rows_intact, 50);
    assert_eq!(report.findings.count(Kind::Deleted), 0);
    // Where rows are kept for ever, or are younger, dropping them is deleting them.
    assert_eq!(verified(&rig).await.findings.count(Kind::Deleted), 9);
    rig.execute("ALTER TABLE policy_decisions DROP PARTITION tuple(toYYYYMM(now()))").await;
    let report = verify(&connection, &store, &config, &scope, &|_| ()).await.unwrap();
    assert_eq!(report.findings.count(Kind::Deleted), 50);
}

#[tokio::test]
async fn numbers_of_workers_that_are_missing_are_named() {
    let (rig, _) = honest(|_| ()).await;
    let sink = rig.sink();
    let mut lost = Worker::begin();
    lost.decide(&rig, 5).await;
    lost.event(&json!({}));
    lost.decide(&rig, 2).await;
    lost.checkpoint(&rig, &json!({"recorded": 7, "last": true})).await;
    let mut killed = Worker::begin();
    killed.decide(&rig, 5).await;
    killed.given += 3;
    killed.checkpoint(&rig, &json!({"recorded": 5, "kept": 3})).await;
    let mut given_up = Worker::begin();
    given_up.decide(&rig, 3).await;
    given_up.given += 1;
    given_up.checkpoint(&rig, &json!({"recorded": 3, "given_up": [4], "last": true})).await;
    let mut acknowledged = Worker::begin();
    acknowledged.decide(&rig, 3).await;
    acknowledged.given += 2;
    acknowledged.checkpoint(&rig, &json!({})).await;
    rig.settled("decisions").await;
    sink.stopped().await;

    let report = verified(&rig).await;
    let named = |kind| {
        report
            .findings
            .of(kind)
            .map(|f| (f.worker_run.unwrap(), f.numbers.unwrap()))
            .collect::<BTreeSet<_>>()
    };
    let missing = [(lost.run, (6, 6)), (acknowledged.run, (4, 5))].into();
    assert_eq!(named(Kind::NumberMissing), missing, "{:#?}", report.findings);
    assert_eq!(named(Kind::Unaccounted), [(killed.run, (6, 8))].into());
    assert_eq!(named(Kind::GivenUp), [(given_up.run, (4, 4))].into());
    assert_eq!(report.workers.runs, 5);
}

#[tokio::test]
async fn a_span_is_verified_by_itself() {
    let (rig, _) = honest(|_| ()).await;
    let since = Some(Utc::now() + chrono::TimeDelta::hours(1));
    let report = within(&rig, Scope { since, ..Scope::default() }).await;
    assert_eq!((report.verified, report.verdict), (false, Verdict::Nothing), "{report:#?}");
    assert_eq!((report.chains[0].links_checked, report.workers.runs), (0, 0));
    let since = Some(Utc::now() - chrono::TimeDelta::hours(1));
    let report = within(&rig, Scope { since, until: Some(Utc::now()), ..Scope::default() }).await;
    assert!(report.verified, "{report:#?}");
    assert_eq!((report.chains[0].rows_intact, report.workers.numbers), (50, 55));
}

//! The store over ClickHouse's real engine.

mod rows;
mod versions;

use std::time::Duration;

use chrono::{DateTime, Utc};
use clickhouse::Client;
use serde_json::{Value, json};
use sluicegate::config::{self, Retention};
use sluicegate::contract::DecisionEvent;
use sluicegate::store::{
    DecisionFilter, DecisionRow, ErrorClass, MIGRATIONS, Store, StoreError, StreamPosition,
    apply_retention, migrate,
};
use uuid::Uuid;

use crate::support::servers::ClickHouse;

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A store on a database of its own, and a plain client to look at it from outside.
async fn store() -> (Store, Client) {
    let config = ClickHouse::shared().config();
    let store = Store::connect(&config);
    migrate(&store).await.unwrap();
    (store, outside(&config))
}

pub(crate) fn outside(config: &config::ClickHouse) -> Client {
    Client::default()
        .with_url(&config.url)
        .with_database(&config.database)
        .with_setting("async_insert", "0")
}

async fn number(client: &Client, sql: &str) -> u64 {
    client.query_raw(sql).fetch_one::<u64>().await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

async fn text(client: &Client, sql: &str) -> String {
    client.query_raw(sql).fetch_one::<String>().await.unwrap_or_else(|e| panic!("{sql}: {e}"))
}

/// An event as a worker writes it; `change` overrides members.
pub(crate) fn decision(change: &Value) -> DecisionEvent {
    let mut event = json!({
        "schema": 1, "id": Uuid::now_v7(), "timestamp": "2026-03-04T05:06:07.123456Z",
        "worker": "w-1", "decision": "deny", "action": "llm_call", "resource": "gpt-4",
        "subject": "planner", "agent": "planner", "user": "alice", "session_id": "s-1",
        "run_id": "r-1", "step_id": "st-1", "project_id": "p-1",
        "input": {"action": "llm_call", "estimated_cost_usd": 0.5, "budget": {"remaining_usd": 0.1}},
        "policy_name": "cost_control", "policy_package": "cmbagent.cost_control",
        "policy_revision": "abc", "reason": "budget_exceeded",
        "policies": [{"name": "cost_control", "package": "cmbagent.cost_control", "version": 3,
                      "scope": "global", "mode": "enforce", "decision": "deny",
                      "deny_reasons": ["budget_exceeded"], "warnings": []}],
        "deny_reasons": ["budget_exceeded"], "warnings": ["w"], "would_deny": ["later"],
        "enforced": true, "error": false, "error_message": "", "duration_us": 84,
    });
    for (key, value) in change.as_object().unwrap() {
        event[key] = value.clone();
    }
    serde_json::from_value(event).unwrap()
}

fn refs<R>(rows: &[R]) -> Vec<&R> {
    rows.iter().collect()
}

fn at(sequence: u64) -> StreamPosition {
    StreamPosition { epoch: time("2026-01-01T00:00:00.000001Z"), sequence }
}

fn row(sequence: u64, change: &Value) -> DecisionRow {
    DecisionRow::new(decision(change), at(sequence)).unwrap()
}

#[tokio::test]
async fn migrations_apply_once_and_again_change_nothing() {
    let config = ClickHouse::shared().config();
    let store = Store::connect(&config);
    let applied = migrate(&store).await.unwrap();
    let versions: Vec<u32> = applied.iter().map(|a| a.version).collect();
    assert_eq!(versions, MIGRATIONS.iter().map(|m| m.version).collect::<Vec<_>>());
    assert!(migrate(&store).await.unwrap().is_empty());
    let tables = "SELECT arrayStringConcat(arraySort(groupArray(name)), ' ') FROM system.tables \
                  WHERE database = currentDatabase()";
    assert_eq!(
        text(&outside(&config), tables).await,
        "audit_batches audit_workers decision_outcomes decisions enforcement_changes \
         enforcement_coverage notifications outcomes policy_changes policy_decisions \
         policy_enforcement policy_notifications policy_outcomes policy_rules policy_versions \
         policy_violations schema_migrations unknown_notifications unknown_outcomes violations"
    );
}

#[tokio::test]
async fn migrations_by_several_at_once_end_as_one() {
    let config = ClickHouse::shared().config();
    let work = (0..6).map(|_| {
        let store = Store::connect(&config);
        async move { migrate(&store).await }
    });
    for result in futures::future::join_all(work).await {
        result.unwrap();
    }
    let client = outside(&config);
    let records = number(&client, "SELECT count() FROM schema_migrations").await;
    assert_eq!(records, MIGRATIONS.len() as u64);
}

#[tokio::test]
async fn a_migration_that_changed_is_refused() {
    let (store, client) = store().await;
    client
        .query_raw(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES (2, 'x', 'other')",
        )
        .execute()
        .await
        .unwrap();
    let error = migrate(&store).await.unwrap_err();
    assert!(matches!(error, StoreError::MigrationChanged { version: 2, .. }), "{error}");
    assert!(!error.is_transient());
}

#[tokio::test]
async fn a_newer_database_is_refused() {
    let (store, client) = store().await;
    client
        .query_raw("INSERT INTO schema_migrations (version, name, checksum) VALUES (99, 'x', 'y')")
        .execute()
        .await
        .unwrap();
    let error = migrate(&store).await.unwrap_err();
    assert!(matches!(error, StoreError::DatabaseNewer { database: 99, .. }), "{error}");
}

#[tokio::test]
async fn retention_is_changed_only_when_it_differs() {
    let (store, client) = store().await;
    let day = Duration::from_secs(86_400);
    let retention =
        Retention { decisions: day * 400, violations: day * 1_826, outcomes: day * 400 };
    let ttl = "SELECT extract(engine_full, ' TTL (.*) SETTINGS') FROM system.tables \
               WHERE database = currentDatabase() AND name = 'policy_decisions'";

    let changes = apply_retention(&store, &retention).await.unwrap();
    assert_eq!(changes.len(), 4);
    assert_eq!(text(&client, ttl).await, "toDateTime(timestamp) + toIntervalSecond(34560000)");
    assert!(apply_retention(&store, &retention).await.unwrap().is_empty());

    let shorter = Retention { decisions: day * 30, ..retention.clone() };
    let changes = apply_retention(&store, &shorter).await.unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!((changes[0].table, changes[0].keep), ("policy_decisions", Some(day * 30)));
    assert_eq!(text(&client, ttl).await, "toDateTime(timestamp) + toIntervalSecond(2592000)");

    // A hundred years would wrap around into the past.
    let for_ever =
        Retention { decisions: day * 36_525, violations: Duration::ZERO, outcomes: Duration::ZERO };
    let changes = apply_retention(&store, &for_ever).await.unwrap();
    assert!(changes.iter().all(|change| change.keep.is_none()), "{changes:?}");
    assert_eq!(text(&client, ttl).await, "");
}

#[tokio::test]
async fn rows_that_expired_go() {
    let (store, client) = store().await;
    let old = row(1, &json!({"timestamp": "2020-01-01T00:00:00Z"}));
    let new = row(2, &json!({"timestamp": Utc::now()}));
    store.insert(&[&old], "old").await.unwrap();
    store.insert(&[&new], "new").await.unwrap();
    let retention = Retention::default();
    apply_retention(&store, &retention).await.unwrap();
    client.query_raw("OPTIMIZE TABLE policy_decisions FINAL").execute().await.unwrap();
    eventually("the old row goes", async || {
        number(&client, "SELECT count() FROM policy_decisions").await == 1
    })
    .await;
}

/// Waits for a condition; the only way tests here wait.
pub(crate) async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while !holds().await {
        assert!(tokio::time::Instant::now() < deadline, "still not: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn failures_say_what_they_are() {
    let (store, client) = store().await;
    assert!(store.ping().await.unwrap().starts_with(char::is_numeric));

    let nowhere =
        config::ClickHouse { url: "http://127.0.0.1:1".into(), ..ClickHouse::shared().config() };
    let error = Store::connect(&nowhere).ping().await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Transient, "{error}");

    let constraint = "ALTER TABLE policy_decisions ADD CONSTRAINT short CHECK length(action) < 20";
    client.query_raw(constraint).execute().await.unwrap();
    let refused = row(1, &json!({"action": "x".repeat(20)}));
    let error = store.insert(&[&refused], "t").await.unwrap_err();
    assert_eq!((error.class(), error.code()), (ErrorClass::Data, Some(469)), "{error}");

    // Changed under a program that remembers the columns: no fault of the rows.
    store.insert(&[&row(2, &json!({}))], "u").await.unwrap();
    for statement in ["RENAME COLUMN worker TO work", "DROP CONSTRAINT short"] {
        let sql = format!("ALTER TABLE policy_decisions {statement}");
        client.query_raw(&sql).execute().await.unwrap();
    }
    for attempt in 0..2 {
        let error = store.insert(&[&row(3, &json!({}))], "v").await.unwrap_err();
        assert_eq!(error.class(), ErrorClass::Schema, "attempt {attempt}: {error}");
    }

    client.query_raw("DROP TABLE policy_decisions").execute().await.unwrap();
    let error = store.insert(&[&row(4, &json!({}))], "w").await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Schema, "{error}");
    let error = store.recent_decisions(&DecisionFilter::default()).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Schema, "{error}");
}

//! What goes in and what comes out.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde_json::json;
use sluicegate::config;
use sluicegate::contract::ViolationEvent;
use sluicegate::store::{
    DecisionFilter, DecisionRow, Store, Table, ViolationFilter, ViolationRow, migrate,
};
use uuid::Uuid;

use super::{at, number, refs, row, store, text, time};
use crate::support::servers::ClickHouse;

#[tokio::test]
async fn a_decision_comes_back_as_it_was() {
    let (store, client) = store().await;
    let huge = "ü\u{1F600}".repeat(150_000);
    let rows = [
        row(1, &json!({})),
        row(
            u64::MAX,
            &json!({"input": {}, "policies": [], "deny_reasons": [], "warnings": [],
            "would_deny": [], "agent": "", "policy_name": "", "timestamp": "2026-03-31T23:59:59.999999999Z"}),
        ),
        row(
            3,
            &json!({"input": {"text": huge, "null": null, "quote": "'\"\\\u{0}\t\n"},
            "action": "日本 'x' ?", "decision": "allow", "error": true, "error_message": "é",
            "duration_us": u64::MAX, "timestamp": "2026-03-01T00:00:00.000001Z"}),
        ),
    ];
    store.insert(&refs(&rows), "t").await.unwrap();
    let mut back = client
        .query("SELECT ?fields FROM policy_decisions ORDER BY stream_sequence")
        .fetch_all::<DecisionRow>()
        .await
        .unwrap();
    back.sort_by_key(|r| r.id);
    assert_eq!(back, rows);
    let (shown, ms) = client
        .query_raw(
            "SELECT toString(timestamp), toString(duration_ms) FROM policy_decisions WHERE stream_sequence = 1",
        )
        .fetch_one::<(String, String)>()
        .await
        .unwrap();
    assert_eq!((shown.as_str(), ms.as_str()), ("2026-03-04 05:06:07.123456", "0.084"));
    assert_eq!(
        text(&client, "SELECT policies[1] FROM policy_decisions WHERE stream_sequence = 1").await,
        "cost_control@3"
    );
}

#[tokio::test]
async fn a_violation_comes_back_as_it_was() {
    let (store, client) = store().await;
    let event: ViolationEvent = serde_json::from_value(json!({
        "schema": 1, "id": Uuid::now_v7(), "decision_id": Uuid::now_v7(),
        "timestamp": "2026-03-04T05:06:07.000009Z", "worker": "w", "violation_type": "policy_denied",
        "severity": "critical", "policy_name": "p", "policy_version": 7, "action_taken": "blocked",
        "reasons": ["a", "b"], "decision": "deny", "action": "file_read", "resource": "/x/.env",
        "subject": "planner", "agent": "planner", "session_id": "s",
    }))
    .unwrap();
    let row = ViolationRow::new(event, at(5)).unwrap();
    store.insert(&[&row], "t").await.unwrap();
    let back = client
        .query("SELECT ?fields FROM policy_violations")
        .fetch_one::<ViolationRow>()
        .await
        .unwrap();
    assert_eq!(back, row);

    let filter = ViolationFilter {
        severity: Some("critical".into()),
        decision_id: Some(row.decision_id),
        ..ViolationFilter::default()
    };
    let found = store.violations(&filter).await.unwrap();
    assert_eq!((found.len(), found[0].id, found[0].notified), (1, row.id, false));
    let none = ViolationFilter { agent: Some("other".into()), ..ViolationFilter::default() };
    assert!(store.violations(&none).await.unwrap().is_empty());
}

#[tokio::test]
async fn analysts_read_the_input_by_path() {
    let (store, client) = store().await;
    let rows = [
        row(1, &json!({})),
        row(
            2,
            &json!({"decision": "allow", "input": {"budget": {"remaining_usd": 3}, "estimated_cost_usd": 1}}),
        ),
        // What the JSON type can't hold must not spoil the query for everybody.
        row(3, &json!({"decision": "allow", "input": {"a.b": 1, "a": {"b": 2}, "": {"": 1}}})),
        row(4, &json!({"decision": "allow", "input": {}})),
    ];
    store.insert(&refs(&rows), "t").await.unwrap();
    assert_eq!(
        text(
            &client,
            "SELECT input.budget.remaining_usd::String FROM decisions WHERE decision = 'deny'"
        )
        .await,
        "0.1"
    );
    assert_eq!(
        text(&client, "SELECT toString(sum(input.estimated_cost_usd::Float64)) FROM decisions")
            .await,
        "1.5"
    );
    assert_eq!(
        number(
            &client,
            "SELECT count() FROM decisions WHERE input.budget.remaining_usd::Float64 > 1"
        )
        .await,
        1
    );
    assert_eq!(
        number(&client, "SELECT count() FROM decisions WHERE isNull(input.budget.remaining_usd)")
            .await,
        2
    );
}

#[tokio::test]
async fn the_same_batch_twice_is_stored_once() {
    let (store, client) = store().await;
    let rows = [row(1, &json!({})), row(2, &json!({}))];
    for _ in 0..3 {
        store.insert(&refs(&rows), "token").await.unwrap();
    }
    assert_eq!(number(&client, "SELECT count() FROM policy_decisions").await, 2);
    // The danger of a token: other rows under it vanish, which is why it is made of the ids.
    store.insert(&[&row(3, &json!({}))], "token").await.unwrap();
    assert_eq!(number(&client, "SELECT count() FROM policy_decisions").await, 2);
}

#[tokio::test]
async fn copies_merge_even_under_different_tokens() {
    let (store, client) = store().await;
    let same = row(1, &json!({}));
    store.insert(&[&same], "a").await.unwrap();
    store.insert(&[&DecisionRow { stream_sequence: 9, ..same.clone() }], "b").await.unwrap();
    assert_eq!(number(&client, "SELECT count() FROM decisions").await, 1);
    assert_eq!(store.count_decisions(&DecisionFilter::default()).await.unwrap().decisions, 1);
    assert_eq!(store.recent_decisions(&DecisionFilter::default()).await.unwrap().len(), 1);
    client.query_raw("OPTIMIZE TABLE policy_decisions FINAL").execute().await.unwrap();
    assert_eq!(number(&client, "SELECT count() FROM policy_decisions").await, 1);
}

#[tokio::test]
async fn existing_ids_and_the_high_water_mark() {
    let (store, _) = store().await;
    let start = time("2026-03-04T05:06:07.123456Z");
    let rows: Vec<DecisionRow> = (1..=5_000)
        .map(|n| {
            let timestamp = start + TimeDelta::microseconds(i64::try_from(n).unwrap());
            row(n, &json!({"timestamp": timestamp}))
        })
        .collect();
    assert_eq!(store.high_water_mark(Table::Decisions, at(0).epoch, start).await.unwrap(), None);
    store.insert(&refs(&rows[..3_000]), "t").await.unwrap();

    let ids: Vec<Uuid> = rows.iter().map(|r| r.id).collect();
    let span = rows[0].timestamp..=rows[4_999].timestamp;
    let found = store.existing_ids(Table::Decisions, &ids, span).await.unwrap();
    assert_eq!(found.len(), 3_000);
    assert!(rows[..3_000].iter().all(|r| found.contains(&r.id)));
    let edge = rows[1].timestamp..=rows[1].timestamp;
    assert_eq!(store.existing_ids(Table::Decisions, &ids, edge).await.unwrap().len(), 1);

    let mark = |epoch, since| store.high_water_mark(Table::Decisions, epoch, since);
    assert_eq!(mark(at(0).epoch, start).await.unwrap(), Some(3_000));
    assert_eq!(mark(at(0).epoch, start + TimeDelta::days(1)).await.unwrap(), None);
    assert_eq!(mark(time("2026-02-01T00:00:00Z"), start).await.unwrap(), None);
}

#[tokio::test]
async fn questions_find_by_every_member() {
    let (store, _) = store().await;
    let base = time("2026-03-04T00:00:00Z");
    let mut rows = Vec::new();
    for n in 0..20_u64 {
        rows.push(row(
            n,
            &json!({
                "timestamp": base + TimeDelta::hours(i64::try_from(n).unwrap()),
                "decision": if n % 2 == 0 { "deny" } else { "allow" },
                "action": format!("action-{}", n % 4), "agent": format!("agent-{}", n % 5),
                "user": format!("o'user-{}", n % 3), "session_id": format!("s-{n}"),
                "deny_reasons": [format!("reason-{}", n % 2)], "error": n == 7,
            }),
        ));
    }
    store.insert(&refs(&rows), "t").await.unwrap();
    let all = DecisionFilter::default();
    let sequences = async |filter: DecisionFilter| -> Vec<u64> {
        let by_id: BTreeMap<Uuid, u64> = rows.iter().map(|r| (r.id, r.stream_sequence)).collect();
        let found = store.recent_decisions(&filter).await.unwrap();
        found.iter().map(|d| by_id[&d.id]).collect()
    };
    let some = |text: &str| Some(text.to_owned());

    assert_eq!(sequences(all.clone()).await, (0..20).rev().collect::<Vec<_>>());
    assert_eq!(sequences(DecisionFilter { limit: Some(3), ..all.clone() }).await, [19, 18, 17]);
    let span = DecisionFilter {
        since: Some(base + TimeDelta::hours(4)),
        until: Some(base + TimeDelta::hours(6)),
        ..all.clone()
    };
    assert_eq!(sequences(span).await, [5, 4]);
    assert_eq!(
        sequences(DecisionFilter {
            decision: some("deny"),
            action: some("action-2"),
            ..all.clone()
        })
        .await,
        [18, 14, 10, 6, 2]
    );
    assert_eq!(
        sequences(DecisionFilter { agent: some("agent-3"), user: some("o'user-0"), ..all.clone() })
            .await,
        [18, 3]
    );
    assert_eq!(sequences(DecisionFilter { session_id: some("s-11"), ..all.clone() }).await, [11]);
    assert_eq!(sequences(DecisionFilter { error_only: true, ..all.clone() }).await, [7]);
    let reason = DecisionFilter { reason: some("reason-1"), limit: Some(2), ..all.clone() };
    assert_eq!(sequences(reason).await, [19, 17]);
    let policy = |name| DecisionFilter { policy: some(name), ..all.clone() };
    assert_eq!(sequences(policy("cost_control")).await.len(), 20);
    assert_eq!(sequences(policy("cost")).await.len(), 0);
    let nobody = DecisionFilter { user: some("' OR 1=1 --"), ..all.clone() };
    assert!(sequences(nobody).await.is_empty());

    let counts = store.count_decisions(&all).await.unwrap();
    assert_eq!((counts.decisions, counts.denied, counts.errors), (20, 10, 1));
    let shown = serde_json::to_value(&store.recent_decisions(&all).await.unwrap()[0]).unwrap();
    assert_eq!(shown["timestamp"], "2026-03-04T19:00:00Z");
}

#[tokio::test]
async fn compression_is_a_choice() {
    for compression in [true, false] {
        let config = config::ClickHouse { compression, ..ClickHouse::shared().config() };
        let store = Store::connect(&config);
        migrate(&store).await.unwrap();
        store.insert(&[&row(1, &json!({}))], "t").await.unwrap();
        assert_eq!(store.recent_decisions(&DecisionFilter::default()).await.unwrap().len(), 1);
    }
}

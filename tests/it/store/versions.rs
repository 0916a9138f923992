//! The history of policies and of the switch, and one decision in full.

use chrono::{DateTime, TimeDelta, Utc};
use clickhouse::Client;
use serde_json::{Value, json};
use sluicegate::config;
use sluicegate::domain::{EnforcementMode, EnforcementRecord, PolicyRecord, Verdict};
use sluicegate::store::{
    EnforcementRow, ErrorClass, MAX_VERSIONS, RuleRow, Store, StreamPosition, Table,
};
use uuid::Uuid;

use super::{decision, number, refs, row, store, text, time};
use crate::support::servers::ClickHouse;

fn at(epoch: &str, sequence: u64) -> StreamPosition {
    StreamPosition { epoch: time(epoch), sequence }
}

const FIRST: &str = "2026-01-01T00:00:00Z";
const SECOND: &str = "2026-02-01T00:00:00Z";

fn record(name: &str, id: Uuid, version: u64, change: &Value) -> PolicyRecord {
    let mut record = json!({
        "id": id, "name": name, "package": "p", "rego": "package p", "version": version,
        "status": "draft", "created_at": FIRST, "updated_by": "bob",
        "updated_at": time(FIRST) + TimeDelta::hours(i64::try_from(version).unwrap()),
        "comment": format!("version {version}"),
    });
    for (key, value) in change.as_object().unwrap() {
        record[key] = value.clone();
    }
    serde_json::from_value(record).unwrap()
}

async fn insert(store: &Store, rows: &[RuleRow]) {
    store.insert(&refs(rows), &Uuid::new_v4().to_string()).await.unwrap();
}

fn version(record: PolicyRecord, at: StreamPosition) -> RuleRow {
    RuleRow::new(record, at).unwrap()
}

#[tokio::test]
async fn a_version_comes_back_as_it_was() {
    let (store, _) = store().await;
    let id = Uuid::now_v7();
    let hostile = "x' OR 1=1 -- {name:String} ?\\";
    let records = [
        record("a", id, 1, &json!({})),
        record(
            "a",
            id,
            2,
            &json!({
                "description": hostile, "rego": "ü\u{1F600}".repeat(50_000), "status": "active",
                "mode": "warn", "severity": "critical", "fail_mode": "closed", "scope": "user",
                "scope_id": hostile, "parameters": {"a": {"b": [1, 2.5, null, hostile]}},
                "created_by": hostile, "updated_by": hostile, "comment": hostile,
            }),
        ),
        record("a", id, 3, &json!({"rego": "", "template": "b"})),
        record("a", id, 4, &json!({"deleted": true, "rego": ""})),
    ];
    let rows: Vec<RuleRow> =
        (1..).zip(&records).map(|(n, r)| version(r.clone(), at(FIRST, n))).collect();
    insert(&store, &rows).await;
    // Copies change nothing, merged or not.
    insert(&store, &rows).await;
    for record in &records {
        let found = store.policy_version("a", record.version).await.unwrap();
        assert_eq!(found.as_ref(), Some(record));
    }
    assert_eq!(store.policy_version("a", 5).await.unwrap(), None);
    assert_eq!(store.policy_version(hostile, 1).await.unwrap(), None);
    let newest_first: Vec<PolicyRecord> = records.iter().rev().cloned().collect();
    assert_eq!(store.policy_versions("a", 10).await.unwrap(), newest_first);
    assert_eq!(store.policy_versions("a", 2).await.unwrap(), newest_first[..2]);
    assert!(store.policy_versions("b", u32::MAX).await.unwrap().is_empty());
    assert_eq!(store.latest_policies().await.unwrap(), newest_first[..1]);
}

#[tokio::test]
async fn more_versions_than_one_answer_holds() {
    let (store, _) = store().await;
    let id = Uuid::now_v7();
    let rows: Vec<RuleRow> = (1..=u64::from(MAX_VERSIONS) + 5)
        .map(|n| version(record("a", id, n, &json!({})), at(FIRST, n)))
        .collect();
    insert(&store, &rows).await;
    let found = store.policy_versions("a", u32::MAX).await.unwrap();
    assert_eq!(found.len(), MAX_VERSIONS as usize);
    assert_eq!(found[0].version, u64::from(MAX_VERSIONS) + 5);
}

#[tokio::test]
async fn the_newest_of_each_by_the_buckets_order() {
    let (store, _) = store().await;
    assert!(store.latest_policies().await.unwrap().is_empty());
    assert_eq!(store.latest_enforcement().await.unwrap(), None);
    let mut rows = Vec::new();
    // More policies than one page has, three versions each.
    for n in 0..1_003_u64 {
        let id = Uuid::now_v7();
        for v in 1..=3 {
            let record = record(&format!("policy-{n:04}"), id, v, &json!({}));
            rows.push(version(record, at(FIRST, n * 3 + v)));
        }
    }
    // In a bucket that was made anew a policy begins again, by a clock that is behind.
    let earlier = json!({"updated_at": "2025-12-01T00:00:00Z"});
    rows.push(version(record("policy-0007", Uuid::now_v7(), 1, &earlier), at(SECOND, 1)));
    insert(&store, &rows).await;
    let latest = store.latest_policies().await.unwrap();
    assert_eq!(latest.len(), 1_003);
    assert!(latest.is_sorted_by_key(|record| record.name.clone()));
    for record in &latest {
        assert_eq!(record.version, if record.name == "policy-0007" { 1 } else { 3 });
    }

    let switch = |version, mode, at| {
        let record = EnforcementRecord {
            mode,
            version,
            updated_at: time(FIRST),
            updated_by: "o'hara".into(),
            comment: "why".into(),
        };
        (record.clone(), EnforcementRow::new(record, at).unwrap())
    };
    let (_, old) = switch(9, EnforcementMode::Off, at(FIRST, 9));
    let (newest, new) = switch(1, EnforcementMode::Shadow, at(SECOND, 1));
    store.insert(&[&new, &old], "t").await.unwrap();
    assert_eq!(store.latest_enforcement().await.unwrap(), Some(newest));
}

#[tokio::test]
async fn what_is_stored_is_known_by_content_and_by_version() {
    let (store, _) = store().await;
    let id = Uuid::now_v7();
    let row = |v, change: &Value| version(record("a", id, v, change), at(FIRST, v));
    let stored = [row(1, &json!({})), row(5, &json!({}))];
    insert(&store, &stored).await;
    let other = row(1, &json!({"comment": "other words"}));
    let ids = [stored[0].content_id, other.content_id, stored[1].content_id];
    // The table is not sorted by time: a span that has nothing to do with it finds them.
    let never = DateTime::UNIX_EPOCH..=DateTime::UNIX_EPOCH;
    let found = store.existing_ids(Table::Rules, &ids, never).await.unwrap();
    assert_eq!(found, [stored[0].content_id, stored[1].content_id].into());
    let mark = store.high_water_mark(Table::Rules, time(FIRST), Utc::now()).await.unwrap();
    assert_eq!(mark, Some(5));

    let known = store.greatest_versions(&[&other]).await.unwrap();
    assert_eq!((known.len(), known[0].version, known[0].name.as_str()), (1, 5, "a"));
    let namesake = version(record("a", Uuid::now_v7(), 1, &json!({})), at(SECOND, 1));
    assert_eq!(store.greatest_versions(&[&namesake]).await.unwrap(), known);
    let stranger = version(record("b", Uuid::now_v7(), 1, &json!({})), at(SECOND, 1));
    assert!(store.greatest_versions(&[&stranger]).await.unwrap().is_empty());
    let decision = super::row(1, &json!({}));
    assert!(store.greatest_versions(&[&decision]).await.unwrap().is_empty());
}

async fn changes(client: &Client) -> Vec<String> {
    client
        .query_raw(
            "SELECT concat(toString(version), '<', toString(previous_version), ' ', change, ' ', \
                    arrayStringConcat(changed_fields, ','), ' ', updated_by) \
             FROM policy_changes ORDER BY stream_epoch, stream_sequence",
        )
        .fetch_all::<String>()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_view_says_what_changed() {
    let (store, client) = store().await;
    let id = Uuid::now_v7();
    let rows: Vec<RuleRow> = [
        json!({}),
        json!({"status": "active", "parameters": {"limit": 3}}),
        json!({"status": "active", "parameters": {"limit": 3}, "comment": "nothing but words"}),
        json!({"deleted": true, "rego": ""}),
        json!({"rego": "package p\n"}),
    ]
    .iter()
    .zip(1..)
    .map(|(change, n)| version(record("a", id, n, change), at(FIRST, n)))
    .collect();
    insert(&store, &rows).await;
    insert(&store, &rows[..2]).await;
    assert_eq!(
        changes(&client).await,
        [
            "1<0 created  bob",
            "2<1 changed status,parameters bob",
            "3<2 changed  bob",
            "4<3 deleted  bob",
            "5<4 created  bob",
        ]
    );
    assert_eq!(number(&client, "SELECT count() FROM policy_versions").await, 5);
    assert_eq!(number(&client, "SELECT count() FROM enforcement_changes").await, 0);
    let key = "SELECT sorting_key FROM system.tables \
               WHERE database = currentDatabase() AND name = 'policy_rules'";
    assert_eq!(text(&client, key).await, "id, version, content_id");
}

#[tokio::test]
async fn one_decision_in_full() {
    let (store, _) = store().await;
    let events = [
        decision(&json!({"timestamp": Utc::now()})),
        // An id that says nothing of the time, or the wrong one.
        decision(&json!({"id": Uuid::new_v4()})),
        decision(&json!({"timestamp": "2026-03-04T05:06:07.123456Z", "decision": "allow",
            "input": {"text": "'\"\\\u{0}", "deep": {"a": [1, {"b": null}]}}, "policies": []})),
    ];
    let rows: Vec<_> = (1..)
        .zip(&events)
        .map(|(n, event)| sluicegate::store::DecisionRow::new(event.clone(), super::at(n)).unwrap())
        .collect();
    for row in &rows {
        store.insert(&[row], &row.id.to_string()).await.unwrap();
        store.insert(&[row], &format!("copy of {}", row.id)).await.unwrap();
    }
    for (n, event) in (1..).zip(&events) {
        let found = store.decision_by_id(event.id).await.unwrap().unwrap();
        let mut expected = event.clone();
        expected.timestamp = rows[n - 1].timestamp;
        assert_eq!(found.event, expected);
        assert_eq!(found.at, super::at(n as u64));
    }
    let first = store.decision_by_id(events[0].id).await.unwrap().unwrap().event;
    assert_eq!(first.decision, Verdict::Deny);
    assert_eq!((first.policies[0].name.as_str(), first.policies[0].version), ("cost_control", 3));
    assert_eq!(first.input["budget"]["remaining_usd"], 0.1);
    assert_eq!(store.decision_by_id(Uuid::now_v7()).await.unwrap(), None);
    assert_eq!(store.decision_by_id(Uuid::nil()).await.unwrap(), None);

    let mut broken = row(9, &json!({}));
    broken.input_data = "{\"a\":".into();
    store.insert(&[&broken], "broken").await.unwrap();
    let error = store.decision_by_id(broken.id).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Data);
    assert!(error.to_string().contains("input_data"), "{error}");
}

#[tokio::test]
async fn questions_fail_as_the_others_do() {
    let nowhere =
        config::ClickHouse { url: "http://127.0.0.1:1".into(), ..ClickHouse::shared().config() };
    let store = Store::connect(&nowhere);
    assert!(store.latest_policies().await.unwrap_err().is_transient());
    assert!(store.latest_enforcement().await.unwrap_err().is_transient());
    assert!(store.decision_by_id(Uuid::now_v7()).await.unwrap_err().is_transient());
    let (store, client) = self::store().await;
    client.query_raw("DROP TABLE policy_rules SYNC").execute().await.unwrap();
    let error = store.policy_version("a", 1).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Schema, "{error}");
    let error = store.policy_versions("a", 1).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::Schema, "{error}");
}

/// The first query of a numbered recipe in docs/analytics.md.
fn recipe(number: u32) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/analytics.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, recipe) = text.split_once(&format!("\n### {number}. ")).unwrap();
    recipe.split("```sql\n").nth(1).unwrap().split("```").next().unwrap().to_owned()
}

#[tokio::test]
async fn the_recipes_about_changes_tell_the_truth() {
    let (store, client) = store().await;
    let id = Uuid::now_v7();
    let now = Utc::now();
    let minutes = |n: i64| (now - TimeDelta::minutes(n)).to_rfc3339();
    let mut rows = Vec::new();
    for (v, ago, by, status) in [(1, 50, "alice", "draft"), (2, 20, "bob", "active")] {
        let change = json!({"updated_at": minutes(ago), "updated_by": by, "status": status});
        rows.push(version(record("cost_control", id, v, &change), at(FIRST, v)));
    }
    insert(&store, &rows).await;
    let mut switches = Vec::new();
    for (v, ago, mode) in [(1, 40, "off"), (2, 15, "on")] {
        let change = json!({"version": v, "mode": mode, "updated_at": minutes(ago)});
        let record: EnforcementRecord = serde_json::from_value(change).unwrap();
        switches.push(EnforcementRow::new(record, at(FIRST, v)).unwrap());
    }
    store.insert(&refs(&switches), "t").await.unwrap();
    let mut decisions = Vec::new();
    for (n, ago, v, verdict, enforced) in [
        (1, 300, 1, "deny", true), // long before
        (2, 45, 1, "allow", true),
        (3, 30, 1, "allow", false),
        (4, 19, 1, "allow", false), // of a worker that has not taken it up yet
        (5, 10, 2, "deny", true),
        (6, 5, 2, "allow", true),
    ] {
        let reasons = if verdict == "deny" { json!(["budget_exceeded"]) } else { json!([]) };
        decisions.push(row(
            n,
            &json!({"timestamp": minutes(ago), "decision": verdict, "enforced": enforced, "policies": [
                {"name": "cost_control", "package": "p", "version": v, "scope": "global",
                 "mode": "enforce", "decision": verdict, "deny_reasons": reasons, "warnings": []},
                {"name": "other", "package": "q", "version": 7, "scope": "global",
                 "mode": "enforce", "decision": "deny", "deny_reasons": ["x"], "warnings": []}]}),
        ));
    }
    for decision in &decisions {
        store.insert(&[decision], &decision.id.to_string()).await.unwrap();
    }

    let told = async |columns: &str, number: u32| -> Vec<String> {
        let sql = format!("SELECT toString(tuple({columns})) FROM ({})", recipe(number));
        client.query_raw(&sql).fetch_all().await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    };
    assert_eq!(
        told("name, version, change, changed_fields, updated_by", 20).await,
        [
            "('cost_control',2,'changed',['status'],'bob')",
            "('cost_control',1,'created',[],'alice')"
        ]
    );
    assert_eq!(
        told("version, changed_by, why, checks, denied_by_it, percent, usual_reasons", 21).await,
        ["(1,'alice','version 1',3,0,0,[])", "(2,'bob','version 2',2,1,50,['budget_exceeded'])"]
    );
    assert!(told("name", 23).await.is_empty());
    let late = json!({"updated_at": minutes(1)});
    insert(&store, &[version(record("cost_control", id, 7, &late), at(FIRST, 7))]).await;
    let missing = told("name, missing_from, missing_to, missing", 23).await;
    assert_eq!(missing, ["('cost_control',3,6,4)"]);
    assert_eq!(told("mode, checks, not_enforced", 22).await, ["('off',2,2)", "('on',2,0)"]);
}

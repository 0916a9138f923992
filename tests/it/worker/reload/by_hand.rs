//! What somebody does to the bucket by hand: the last good policies stay in force, the health says
//! what is wrong, and it can be put right.

use async_nats::jetstream;
use serde_json::{Value, json};
use sluicegate::runtime::health::State;

use super::super::support::admin::bucket;
use super::super::support::{Admin, Agent, Fleet, Worker};

const GATE: &str = r#"allow := false  deny_reasons := ["gate"]"#;

async fn still_denies(agent: &Agent) {
    let reply = agent.act("x").await;
    assert_eq!(reply["deny_reasons"], json!(["gate"]), "{reply}");
}

async fn complains(worker: &Worker, problem: &str) {
    worker
        .part_is("policies", |state| matches!(state, State::Degraded(why) if why.contains(problem)))
        .await;
}

async fn is_well(worker: &Worker) {
    worker.part_is("policies", |state| *state == State::Ready).await;
}

#[tokio::test]
async fn what_is_written_by_hand_and_wrong_changes_nothing() {
    let fleet = Fleet::with_policies(&[("gate", GATE)]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let bucket = bucket(&agent).await;
    let good = bucket.get("gate").await.unwrap().unwrap();
    let record: Value = serde_json::from_slice(&good).unwrap();
    let with = |version: u64, change: &dyn Fn(&mut Value)| {
        let mut record = record.clone();
        record["version"] = json!(version);
        change(&mut record);
        record.to_string()
    };
    let cases: Vec<(String, &str)> = vec![
        ("not JSON {".into(), "no policy record"),
        ("{}".into(), "no policy record"),
        (String::new(), "no policy record"),
        (with(2, &|r| r["name"] = json!("other")), "the record of `other`"),
        (with(2, &|r| r["scope"] = json!("session")), "scope_id"),
        (with(2, &|r| r["rego"] = json!("package test.gate\nallow := if\n")), "gate.rego:2"),
        (
            with(3, &|r| r["rego"] = json!("package test.gate\nallow if http.send({})\n")),
            "http.send",
        ),
        (with(0, &|_| ()), "set back by hand"),
        (with(1, &|r| r["status"] = json!("inactive")), "set back by hand"),
        (
            with(4, &|r| {
                r["template"] = json!("gate");
                r["rego"] = json!("");
            }),
            "itself",
        ),
        (
            with(4, &|r| {
                r["template"] = json!("nowhere");
                r["rego"] = json!("");
            }),
            "`nowhere`",
        ),
    ];
    for (value, problem) in cases {
        bucket.put("gate", value.into()).await.unwrap();
        complains(&worker, problem).await;
        still_denies(&agent).await;
    }
    // A worker that starts now knows no better version: it takes what fails, and says so.
    let restored = admin.does("restore", json!({})).await;
    assert_eq!(
        restored["restored"],
        json!([]),
        "version 4 is in the bucket: nothing is overwritten"
    );
    let fixed = with(5, &|_| ());
    bucket.put("gate", fixed.into()).await.unwrap();
    is_well(&worker).await;
    still_denies(&agent).await;
}

#[tokio::test]
async fn keys_removed_by_hand_stay_in_force_until_they_are_restored_or_deleted() {
    let fleet = Fleet::with_policies(&[("gate", GATE), ("other", "allow := true")]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let bucket = bucket(&agent).await;
    let before = agent.act("x").await;
    for purge in [false, true] {
        if purge {
            bucket.purge("gate").await.unwrap();
        } else {
            bucket.delete("gate").await.unwrap();
        }
        complains(&worker, "gate: is in force, but was removed").await;
        still_denies(&agent).await;
        let restored = admin.does("restore", json!({})).await;
        assert_eq!(restored["restored"], json!(["gate"]));
        is_well(&worker).await;
        assert_eq!(agent.act("x").await["policy_revision"], before["policy_revision"]);
    }
    bucket.purge("gate").await.unwrap();
    complains(&worker, "gate: is in force").await;
    let deleted = admin.does("delete", json!({"policy": "gate"})).await;
    assert_eq!(deleted["policy"]["version"], json!(2));
    is_well(&worker).await;
    assert_eq!(agent.act("x").await["allowed"], json!(true));
}

#[tokio::test]
async fn a_bucket_that_is_purged_or_deleted_comes_back() {
    let mut fleet = Fleet::with_policies(&[("gate", GATE)]);
    fleet.config.policies.reconcile = std::time::Duration::from_millis(100);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    admin.patches("gate", json!({"comment": null, "severity": "critical"})).await;
    let before = admin.gets("gate").await;
    let context = jetstream::new(agent.client.clone());
    for delete in [false, true] {
        if delete {
            context.delete_stream("KV_policy_rules").await.unwrap();
        } else {
            context.get_stream("KV_policy_rules").await.unwrap().purge().await.unwrap();
        }
        complains(&worker, "gate: is in force, but was removed").await;
        still_denies(&agent).await;
        // Management goes on meanwhile.
        admin.puts(if delete { "more" } else { "new" }, "allow := true").await;
        still_denies(&agent).await;
        admin.does("restore", json!({})).await;
        is_well(&worker).await;
        assert_eq!(
            admin.gets("gate").await,
            before,
            "version, author and comment are as they were"
        );
    }
    // Who starts now finds all that is in force.
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let workers = admin.does("workers", json!({})).await["workers"].clone();
    assert_eq!(workers[0]["revision"], workers[1]["revision"], "{workers}");
}

#[tokio::test]
async fn a_worker_that_starts_on_an_emptied_bucket_says_so_and_does_not_fill_it() {
    let fleet = Fleet::with_policies(&[("gate", GATE)]);
    let (worker, agent, _) = fleet.start().await;
    worker.stop().await.unwrap();
    let context = jetstream::new(agent.client.clone());
    context.get_stream("KV_policy_rules").await.unwrap().purge().await.unwrap();
    let worker = fleet.worker().await;
    complains(&worker, "emptied by hand").await;
    assert_eq!(agent.act("x").await["reason"], json!("no policy applies"));
}

#[tokio::test]
async fn a_history_with_a_gap_says_which_versions_are_missing() {
    let mut fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    fleet.config.policies.history = 3;
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    for severity in ["info", "critical", "warning", "info", "critical"] {
        admin.patches("gate", json!({"severity": severity})).await;
    }
    let list = admin.does("versions", json!({"policy": "gate"})).await;
    let versions: Vec<u64> = list["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["version"].as_u64().unwrap())
        .collect();
    assert_eq!((versions, &list["missing"]), (vec![6, 5, 4], &json!([[1, 3]])));
    let refusal = admin.refused("rollback", json!({"policy": "gate", "version": 2})).await;
    let message = refusal.error["message"].as_str().unwrap();
    assert!(message.contains("6") && message.contains("ClickHouse"), "{message}");
}

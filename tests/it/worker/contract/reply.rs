//! The reply's members.

use serde_json::{Value, json};

use super::super::support::{Fleet, keys};

const REPLY: [&str; 14] = [
    "allowed",
    "audit",
    "decision",
    "decision_id",
    "deny_reasons",
    "duration_us",
    "enforced",
    "error",
    "policies",
    "policy_package",
    "policy_revision",
    "reason",
    "timestamp",
    "warnings",
];
const POLICY: [&str; 8] =
    ["decision", "deny_reasons", "mode", "name", "package", "scope", "version", "warnings"];

#[tokio::test]
async fn a_denial_has_exactly_the_members_of_the_contract() {
    let fleet = Fleet::new();
    fleet.policy("cost", r#"allow := false  deny_reasons := {"b", "a"}  warnings := {"w"}"#);
    fleet.settings("[cost]\nstatus = \"active\"\n");
    let (_worker, agent, _) = fleet.start().await;
    let before = chrono::Utc::now();
    let reply = agent.act("llm_call").await;
    assert_eq!(keys(&reply), REPLY);
    let id: uuid::Uuid = reply["decision_id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    let timestamp: chrono::DateTime<chrono::Utc> =
        reply["timestamp"].as_str().unwrap().parse().unwrap();
    let late = chrono::TimeDelta::milliseconds(1);
    assert!(before - late <= timestamp && timestamp <= chrono::Utc::now(), "{timestamp}");
    assert!(reply["duration_us"].as_u64() > Some(0), "{reply}");
    assert_eq!(reply["policy_revision"].as_str().unwrap().len(), 32);
    let fixed: Vec<(&str, Value)> = vec![
        ("allowed", json!(false)),
        ("decision", json!("deny")),
        ("reason", json!("a, b")),
        ("deny_reasons", json!(["a", "b"])),
        ("warnings", json!(["w"])),
        ("policy_package", json!("test.cost")),
        ("enforced", json!(true)),
        ("error", json!(false)),
        ("audit", json!("recorded")),
    ];
    for (key, expected) in fixed {
        assert_eq!(reply[key], expected, "{key}");
    }
    assert_eq!(keys(&reply["policies"][0]), POLICY);
    assert_eq!(
        reply["policies"],
        json!([{"name": "cost", "package": "test.cost", "version": 1, "scope": "global",
            "mode": "enforce", "decision": "deny", "deny_reasons": ["a", "b"], "warnings": ["w"]}])
    );
}

#[tokio::test]
async fn no_policy_applies() {
    let fleet = Fleet::new();
    fleet.policy("off", "allow := false");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.act("llm_call").await;
    assert_eq!(keys(&reply), REPLY);
    assert_eq!(reply["allowed"], json!(true));
    assert_eq!(reply["decision"], json!("allow"));
    assert_eq!(reply["reason"], json!("no policy applies"));
    assert_eq!(reply["policies"], json!([]));
    assert_eq!(reply["policy_package"], json!(""));
    assert_eq!(reply["audit"], json!("recorded"));
    assert_eq!(audit.of_reply(&reply).await.event["reason"], json!("no policy applies"));
}

#[tokio::test]
async fn every_decision_has_an_id_of_its_own_and_they_are_in_order() {
    let fleet = Fleet::new();
    let (_worker, agent, _) = fleet.start().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(agent.act("a").await["decision_id"].as_str().unwrap().to_owned());
        // UUIDv7 are ordered by the millisecond.
        let before = std::time::Instant::now();
        while before.elapsed().as_millis() < 2 {
            tokio::task::yield_now().await;
        }
    }
    let mut sorted = ids.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(ids, sorted);
}

//! `audit.on_unavailable = "deny"`: nothing that isn't recorded is allowed.

use serde_json::{Value, json};
use sluicegate::config::OnUnavailable;

use super::super::support::{AuditStream, Fleet};

fn strict(policies: &[(&str, &str)]) -> Fleet {
    let mut fleet = Fleet::with_policies(policies);
    fleet.config.audit.on_unavailable = OnUnavailable::Deny;
    fleet
}

fn assert_withheld(reply: &Value) {
    assert_eq!(
        [&reply["allowed"], &reply["decision"], &reply["reason"], &reply["audit"]],
        [&json!(false), &json!("deny"), &json!("audit_unavailable"), &json!("pending")],
        "{reply}"
    );
    assert_eq!(reply["deny_reasons"], json!(["audit_unavailable"]));
}

/// History has the decision as it was evaluated, and what the agent was told.
async fn assert_told(audit: &AuditStream, reply: &Value) {
    assert_eq!(audit.of_reply(reply).await.event["decision"], json!("allow"));
    let violations = audit.violations(reply).await;
    assert_eq!(violations.len(), 1);
    let violation = &violations[0];
    assert_eq!(violation.subject, "policy.violation.critical.audit_unavailable");
    for (member, value) in [
        ("violation_type", json!("audit_unavailable")),
        ("severity", json!("critical")),
        ("policy_name", json!("audit_unavailable")),
        ("action_taken", json!("blocked")),
        ("reasons", json!(["audit_unavailable"])),
        ("decision", json!("deny")),
        ("agent", json!("planner")),
    ] {
        assert_eq!(violation.event[member], value, "{member}");
    }
}

fn request(action: &str) -> Value {
    json!({"action": action, "resource": "r", "context": {"agent": "planner"}})
}

#[tokio::test]
async fn a_check_that_cannot_be_recorded_is_denied_and_history_says_so() {
    let fleet = strict(&[("kind", "allow := true")]);
    let (_worker, agent, audit) = fleet.start().await;
    assert_eq!(agent.check(request("before")).await["allowed"], json!(true));
    audit.limit(1).await;
    let first = agent.check(request("a")).await;
    let behind = agent.check(request("b")).await;
    assert_withheld(&first);
    assert_withheld(&behind);
    audit.limit(64 << 20).await;
    audit.holds(5).await;
    assert_told(&audit, &first).await;
    assert_told(&audit, &behind).await;
    let numbers: Vec<u64> = {
        let mut all: Vec<u64> = audit.all().await.iter().map(number).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(numbers, [1, 2, 3, 4, 5], "violations have numbers too, and none is left out");
    assert_eq!(agent.check(request("after")).await["allowed"], json!(true));
}

fn number(stored: &super::super::support::stream::Stored) -> u64 {
    stored.event["worker_sequence"].as_u64().unwrap()
}

#[tokio::test]
async fn what_the_policies_deny_is_denied_for_their_reasons() {
    let fleet = strict(&[("no", "allow := false\ndeny_reasons := [\"mine\"]")]);
    let (_worker, agent, audit) = fleet.start().await;
    audit.limit(1).await;
    let reply = agent.check(request("a")).await;
    assert_eq!((&reply["reason"], &reply["audit"]), (&json!("mine"), &json!("pending")));
    audit.limit(64 << 20).await;
    audit.holds(2).await;
    let violations = audit.violations(&reply).await;
    assert_eq!(violations[0].event["violation_type"], json!("policy_denied"));
}

#[tokio::test]
async fn batches_are_denied_check_by_check() {
    let fleet = strict(&[("kind", "allow := true")]);
    let (_worker, agent, audit) = fleet.start().await;
    audit.limit(1).await;
    let batch = json!({"checks": [request("a"), {"no": "check"}, request("b")]});
    let reply = agent.on("policy.check_batch").check(batch).await;
    let decisions = reply["decisions"].as_array().unwrap();
    assert_withheld(&decisions[0]);
    assert!(decisions[1]["error"].is_object(), "{reply}");
    assert_withheld(&decisions[2]);
    audit.limit(64 << 20).await;
    audit.holds(4).await;
    assert_told(&audit, &decisions[0]).await;
    assert_told(&audit, &decisions[2]).await;
}

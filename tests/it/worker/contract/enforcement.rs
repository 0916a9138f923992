//! The switch for the whole system.

use serde_json::{Value, json};

use super::super::support::{AuditStream, Fleet, Program, Running};

async fn assert_unenforced(reply: &Value, audit: &AuditStream) {
    assert_eq!(reply["allowed"], json!(true));
    assert_eq!(reply["reason"], json!("Policy enforcement disabled"));
    assert_eq!(reply["enforced"], json!(false));
    assert_eq!(reply["error"], json!(false));
    assert_eq!(reply["policies"], json!([]));
    assert_eq!(reply["audit"], json!("recorded"));
    let stored = audit.of_reply(reply).await;
    assert_eq!(stored.subject, "policy.decision.allow.llm_call");
    assert_eq!(stored.event["reason"], json!("Policy enforcement disabled"));
    assert_eq!(stored.event["enforced"], json!(false));
    assert_eq!(audit.violations(reply).await.len(), 0);
}

#[tokio::test]
async fn switched_off_by_the_configuration() {
    let mut fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    fleet.config.enforcement.enabled = false;
    let (worker, agent, audit) = fleet.start().await;
    assert_unenforced(&agent.act("llm_call").await, &audit).await;
    // Also where the check names a policy.
    let request = json!({"action": "llm_call", "resource": "r", "package": "test.strict"});
    assert_unenforced(&agent.check(request).await, &audit).await;
    worker.stop().await.unwrap();

    fleet.config.enforcement.enabled = true;
    let _worker = fleet.worker().await;
    assert_eq!(agent.act("llm_call").await["allowed"], json!(false));
}

#[tokio::test]
async fn switched_off_by_the_environment() {
    let fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    let url = fleet.nats.url();
    let folder = format!("policies.folder={}", fleet.policies().display());
    let worker = || Program::new(&["worker", "--nats-url", &url, "--set", &folder]);
    let agent = fleet.agent().await;

    let off = Running::worker(worker().env("POLICY_ENFORCEMENT_ENABLED", "false"));
    let reply = agent.act("llm_call").await;
    assert_unenforced(&reply, &fleet.audit().await).await;
    drop(off);

    let _on = Running::worker(worker().env("POLICY_ENFORCEMENT_ENABLED", "true"));
    let reply = agent.act("llm_call").await;
    assert_eq!((&reply["allowed"], &reply["enforced"]), (&json!(false), &json!(true)));
}

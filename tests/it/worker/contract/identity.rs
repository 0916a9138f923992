//! Who asks: bound by the NATS subject, whatever the body claims.

use serde_json::{Value, json};
use sluicegate::bus::subjects::token;

use super::super::support::Fleet;

const SEES: &str = r#"warnings contains sprintf("%s|%s", [input.agent, input.context.agent])"#;

fn request(context: Value) -> Value {
    json!({"action": "a", "resource": "r", "context": context})
}

#[tokio::test]
async fn the_subject_says_who_asks() {
    let fleet = Fleet::with_policies(&[("sees", SEES)]);
    let (_worker, agent, audit) = fleet.start().await;
    let bound = agent.on("policy.check.planner");
    for (context, warnings) in [
        (json!({}), json!(["planner|planner"])),
        (json!({"agent": "planner"}), json!(["planner|planner"])),
        (json!({"agent": "root"}), json!(["identity_mismatch", "planner|planner"])),
        (json!({"agent": 7}), json!(["identity_mismatch", "planner|planner"])),
    ] {
        let reply = bound.check(request(context.clone())).await;
        assert_eq!(reply["warnings"], warnings, "{context}");
        let event = audit.of_reply(&reply).await.event;
        assert_eq!((&event["agent"], &event["subject"]), (&json!("planner"), &json!("planner")));
        assert_eq!(event["warnings"], warnings, "{context}");
    }
    let reply = agent.check(request(json!({"agent": "root"}))).await;
    assert_eq!(reply["warnings"], json!(["root|root"]), "nothing binds it here");
}

#[tokio::test]
async fn any_name_is_bound() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    for name in ["a.b c*>", "ünïcode", "%", "100%"] {
        let bound = agent.on(&format!("policy.check.{}", token(name)));
        let reply = bound.check(request(json!({"agent": name}))).await;
        assert_eq!(reply["warnings"], json!([]), "{name}");
        assert_eq!(audit.of_reply(&reply).await.event["agent"], json!(name));
    }
}

#[tokio::test]
async fn a_token_that_is_no_name_binds_all_the_same() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    // One is too long to be read back, the other was never made by us.
    for token in [token(&"x".repeat(300)), "50%zz".to_owned()] {
        let bound = agent.on(&format!("policy.check.{token}"));
        let reply = bound.check(request(json!({"agent": "root"}))).await;
        assert_eq!(reply["warnings"], json!(["identity_mismatch"]), "{token}");
        assert_eq!(audit.of_reply(&reply).await.event["agent"], json!(token));
    }
}

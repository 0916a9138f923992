//! What the system itself knows of a caller, over all workers.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::support::{Admin, Agent, Fleet, until};

const SETTINGS: &str =
    "[rate_limiting]\nstatus = \"active\"\nparameters = {max_calls = 5, window_seconds = 3600}\n";

fn call(agent: &str) -> Value {
    json!({"action": "llm_call", "resource": {"model": "gpt-4"}, "context": {"agent": agent}})
}

/// Asks until it is denied; how often it was allowed before.
async fn allowed_before_denied(agent: &Agent, name: &str) -> usize {
    let mut allowed = 0;
    until("the limit holds", async || {
        let reply = agent.check(call(name)).await;
        assert_eq!(reply["error"], json!(false), "{reply}");
        if reply["allowed"] == false {
            assert_eq!(reply["deny_reasons"], json!(["rate_limit_exceeded"]));
            return Some(());
        }
        allowed += 1;
        None
    })
    .await;
    allowed
}

#[tokio::test]
async fn one_worker_counts_exactly() {
    let fleet = Fleet::with_shipped(SETTINGS);
    let (_worker, agent, _) = fleet.start().await;
    assert_eq!(allowed_before_denied(&agent, "planner").await, 5);
    assert_eq!(agent.check(call("planner")).await["allowed"], json!(false), "and stays denied");
    let mut other = call("planner");
    other["action"] = json!("file_read");
    assert_eq!(agent.check(other).await["allowed"], json!(true), "another action");
    assert_eq!(allowed_before_denied(&agent, "coder").await, 5, "another agent");
}

/// Says how many calls it knows of, and lets a look at that number not count as one.
const COUNTS: &str = r#"allow := false if input.resource == "look"
warnings contains sprintf("%d", [input.usage.calls_in_window])"#;

#[tokio::test]
async fn the_limit_holds_over_two_workers() {
    let fleet = Fleet::with_shipped(SETTINGS);
    fleet.policy("counts", COUNTS);
    fleet.settings_add("counts", "status = \"active\"");
    let (_one, agent, audit) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    for _ in 0..5 {
        assert_eq!(agent.check(call("planner")).await["allowed"], json!(true));
    }
    // Whoever allowed them, soon both know of all five: the next would be the sixth.
    let mut look = call("planner");
    look["resource"] = json!("look");
    let mut know = BTreeSet::new();
    until("both workers know of all calls", async || {
        let reply = agent.check(look.clone()).await;
        if reply["warnings"] == json!(["6"]) {
            know.insert(audit.of_reply(&reply).await.event["worker"].to_string());
        }
        (know.len() == 2).then_some(())
    })
    .await;
    let replies = futures::future::join_all((0..20).map(|_| agent.check(call("planner")))).await;
    for reply in replies {
        assert_eq!(reply["deny_reasons"], json!(["rate_limit_exceeded"]));
    }
    assert_eq!(agent.check(call("coder")).await["allowed"], json!(true), "another agent");
}

#[tokio::test]
async fn denied_calls_do_not_count() {
    let fleet = Fleet::with_policies(&[("counts", COUNTS)]);
    let (_worker, agent, _) = fleet.start().await;
    let calls = async |resource: &str| {
        let context = json!({"agent": "a"});
        agent.check(json!({"action": "x", "resource": resource, "context": context})).await
            ["warnings"]
            .clone()
    };
    assert_eq!(calls("fine").await, json!(["1"]));
    for _ in 0..3 {
        assert_eq!(calls("look").await, json!(["2"]));
    }
    assert_eq!(calls("fine").await, json!(["2"]));
    assert_eq!(calls("fine").await, json!(["3"]));
}

/// Twenty calls of a session, whoever of its agents makes them: no Rego is needed for that.
#[tokio::test]
async fn a_session_is_limited_as_a_whole() {
    let fleet = Fleet::with_shipped("");
    let (_one, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let limit = json!({"name": "limit-s-1", "template": "rate_limiting", "status": "active",
        "scope": "session", "scope_id": "s-1",
        "parameters": {"max_calls": 20, "window_seconds": 3600, "count": "scope"}});
    admin.does("put", json!({"policy": limit})).await;
    let mut allowed = 0;
    for n in 0..40 {
        // Some say who they are, some don't.
        let mut context = json!({"session_id": "s-1"});
        if n % 4 > 0 {
            context["agent"] = json!(format!("agent-{}", n % 4));
        }
        let call = json!({"action": "llm_call", "resource": "gpt-4", "context": context});
        allowed += usize::from(agent.check(call).await["allowed"] == true);
    }
    assert_eq!(allowed, 20);
    let elsewhere = json!({"action": "llm_call", "resource": "gpt-4",
        "context": {"session_id": "s-2", "agent": "agent-1"}});
    assert_eq!(agent.check(elsewhere).await["allowed"], json!(true));
    let other = json!({"action": "file_read", "resource": "x", "context": {"session_id": "s-1"}});
    assert_eq!(agent.check(other).await["allowed"], json!(true));
}

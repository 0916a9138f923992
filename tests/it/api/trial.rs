//! Trying policies over the REST API.

use serde_json::json;

use super::Stack;
use crate::doors::support::House;
use crate::worker::support::Fleet;

const TESTED: &str = r#"package team.tested

import rego.v1

allow := input.action != "act"

deny_reasons contains "no_acts" if input.action == "act"

test_acts if not allow with input as {"action": "act"}

test_others if allow with input as {"action": "x"}
"#;

#[tokio::test]
async fn rego_is_looked_at_without_being_stored() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let path = "/api/policies/validate";
    let good = house.post(path, json!({"rego": TESTED})).await.json(200);
    assert_eq!((&good["valid"], &good["policy"]["package"]), (&json!(true), &json!("team.tested")));
    let broken = TESTED.replace("allow := input", "allow := := input");
    let bad = house.post(path, json!({"rego": broken})).await.json(200);
    assert_eq!((&bad["valid"], &bad["findings"][0]["line"]), (&json!(false), &json!(5)), "{bad}");
    // As the next version of a policy that has the package.
    let own = house.get("/api/policies/cost_control").await.json(200)["content"].clone();
    let taken = house.post(path, json!({"rego": own})).await.json(200);
    assert_eq!(taken["valid"], false, "another policy has the package");
    let next = json!({"rego": own, "name": "cost_control"});
    assert_eq!(house.post(path, next).await.json(200)["valid"], true);
    let parameters = json!({"rego": own, "name": "cost_control", "parameters": {"x": 1}});
    let refused = house.post(path, parameters).await.json(200);
    assert!(refused["findings"][0]["message"].as_str().unwrap().contains('x'), "{refused}");
    assert_eq!(house.get("/api/policies").await.json(200)["policies"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn a_policy_is_tried_and_tested_in_place() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let path = "/api/policies/cost_control/test";
    let poor = json!({"action": "llm_call", "resource": {"model": "gpt-4"}, "explain": true,
        "context": {"estimated_cost_usd": 5.0, "budget": {"remaining_usd": 1.0}}});
    let said = house.post(path, poor.clone()).await.json(200);
    assert_eq!(
        (&said["allowed"], &said["deny_reasons"][0]),
        (&json!(false), &json!("budget_exceeded"))
    );
    assert!(!said["policies"][0]["rules"].as_array().unwrap().is_empty(), "which rules fired");
    let mut unsaved = poor.clone();
    unsaved["rego"] = json!(TESTED);
    assert_eq!(
        house.post(path, unsaved).await.json(200)["allowed"],
        true,
        "the text, not the stored"
    );
    for (body, status) in [
        (json!({}), 400),
        (json!({"version": "x"}), 400),
        (json!({"version": 9, "input": {}}), 404),
    ] {
        let problem = house.post(path, body.clone()).await;
        assert_eq!(problem.json(status)["status"], status, "{body}");
    }
    assert_eq!(audit.len().await, 0, "nothing of it is recorded");

    let report = house.post("/api/policies/default/suite", json!({"rego": TESTED})).await.json(200);
    assert_eq!((&report["passed"], &report["failed"]), (&json!(2), &json!(0)), "{report}");
    let wrong = TESTED.replace("not allow with", "allow with");
    let report = house.post("/api/policies/default/suite", json!({"rego": wrong})).await.json(200);
    assert_eq!((&report["passed"], &report["failed"]), (&json!(1), &json!(1)), "{report}");
    let none =
        house.post("/api/policies/default/suite", json!({"rego": "package"})).await.json(200);
    assert!(!none["findings"].as_array().unwrap().is_empty(), "{none}");
}

#[tokio::test]
async fn what_a_policy_would_have_denied() {
    let stack = Box::pin(Stack::start("")).await;
    let poor = || json!({"estimated_cost_usd": 5.0, "budget": {"remaining_usd": 1.0}});
    for agent in ["planner", "planner", "engineer"] {
        assert_eq!(stack.ask("llm_call", agent, poor()).await["allowed"], true);
    }
    stack.ask("llm_call", "planner", json!({"session_id": "s-2"})).await;
    stack.stored(4).await;
    let impact = async |name: &str, body| {
        stack.house.post(&format!("/api/policies/{name}/impact"), body).await.json(200)
    };
    let of = impact("cost_control", json!({})).await;
    assert_eq!(
        (&of["decisions"], &of["tried"], &of["complete"]),
        (&json!(4), &json!(4), &json!(true))
    );
    assert_eq!((&of["would_deny"], &of["newly_denied"]), (&json!(3), &json!(3)), "{of}");
    assert_eq!(of["reasons"][0], json!({"reason": "budget_exceeded", "count": 3}));
    assert_eq!(of["agents"][0], json!({"agent": "planner", "count": 2}));
    assert_eq!(of["examples"].as_array().unwrap().len(), 3);
    let scoped = impact("cost_control", json!({"scope": "session", "scope_id": "s-2"})).await;
    assert_eq!((&scoped["decisions"], &scoped["would_deny"]), (&json!(1), &json!(0)));
    let warns = impact("cost_control", json!({"mode": "warn"})).await;
    assert_eq!(warns["would_deny"], 0, "it would have warned");
    let rego = json!({"rego": "package other\n\nallow := input.agent != \"engineer\"\n"});
    assert_eq!(impact("default", rego).await["would_deny"], 1);
    for (body, words) in [
        (json!({"days": 0}), "days"),
        (json!({"rego": "package"}), "rego"),
        (json!({"parameters": {"x": 1}}), "parameters"),
        (json!({"colour": 1}), "colour"),
    ] {
        let said = stack.house.post("/api/policies/cost_control/impact", body).await;
        said.json(400);
        assert!(said.text.contains(words), "{said:?}");
    }
}

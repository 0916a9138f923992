//! `policy.evaluate`, and what a denied agent is told: nothing that is tried is enforced, counted or
//! recorded.

use serde_json::{Value, json};

use super::support::{Admin, Agent, Fleet};

async fn tries(agent: &Agent, request: Value) -> Value {
    agent.on("policy.evaluate").check(request).await
}

fn call(cost: f64) -> Value {
    json!({"action": "llm_call", "resource": {"model": "llama-local"},
        "context": {"agent": "planner", "estimated_cost": cost, "budget": {"remaining_usd": 0.5}}})
}

fn with(mut request: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        request[key] = value.clone();
    }
    request
}

#[tokio::test]
async fn a_stored_policy_says_which_rules_fired_and_what_they_read() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let before = audit.all().await.len();
    let request = with(call(1.0), json!({"policies": ["cost_control"], "explain": true}));
    let reply = tries(&agent, request).await;
    assert_eq!((&reply["decision"], &reply["error"]), (&json!("deny"), &json!(false)), "{reply}");
    assert_eq!(reply["deny_reasons"], json!(["budget_exceeded"]));
    let policy = &reply["policies"][0];
    let text = std::fs::read_to_string(fleet.policies().join("cost_control.rego")).unwrap();
    let fired = policy["rules"].as_array().unwrap();
    let rule = fired.iter().find(|rule| rule["value"] == "budget_exceeded").unwrap();
    let line = text.lines().nth(rule["line"].as_u64().unwrap() as usize - 1).unwrap();
    assert!(line.contains("budget_exceeded"), "{line}");
    let reads = policy["reads"].as_array().unwrap();
    let read = |path: &str| reads.iter().find(|read| read["path"] == path).map(|r| &r["value"]);
    assert_eq!(read("input.budget.remaining_usd"), Some(&json!(0.5)), "{reads:?}");
    assert_eq!(read("input.estimated_cost_usd"), Some(&json!(1.0)), "{reads:?}");
    assert!(policy["advice"][0]["text"].as_str().unwrap().contains("cheaper"), "{policy}");
    let change = &policy["remedy"][0];
    assert!(change["to"].as_f64().unwrap() <= 0.5, "{policy}");
    // The change that is named would have been enough.
    let cheaper = with(call(change["to"].as_f64().unwrap()), json!({"policies": ["cost_control"]}));
    assert_eq!(tries(&agent, cheaper).await["decision"], json!("allow"));
    assert_eq!(audit.all().await.len(), before, "nothing is recorded");
    assert_eq!(agent.check(call(1.0)).await["allowed"], json!(true), "nothing is enforced");
}

#[tokio::test]
async fn rego_a_version_a_whole_input_and_the_whole_set() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let rego = "package mine\n\nimport rego.v1\n\nallow := false if input.n > 3\n\
                deny_reasons contains \"much\" if input.n > 3\n";
    for (n, decision) in [(3, "allow"), (4, "deny")] {
        let request = json!({"rego": rego, "action": "a", "resource": "r", "context": {"n": n}});
        assert_eq!(tries(&agent, request).await["decision"], json!(decision));
    }
    // A version that is no longer in force, and what was in force before a change.
    let stricter = json!({"parameters": {"low_priorities": ["high"]}});
    admin.patches("cost_control", stricter).await;
    let asked = json!({"action": "llm_call", "resource": {"model": "gpt-4"},
        "context": {"task_priority": "low"}});
    for (version, decision) in [(1, "deny"), (2, "allow")] {
        let choice = json!({"policies": [{"policy": "cost_control", "version": version}]});
        let reply = tries(&agent, with(asked.clone(), choice)).await;
        assert_eq!(reply["decision"], json!(decision), "{reply}");
        assert_eq!(reply["policies"][0]["version"], json!(version));
    }
    // Time and usage as given, over a whole input; nobody's clock or counter.
    let usage = json!({"calls_in_window": 101, "window_seconds": 60});
    let limited = json!({"policies": [{"policy": "rate_limiting", "usage": usage}],
        "input": {"action": "llm_call", "resource": "gpt-4", "context": {}}});
    assert_eq!(tries(&agent, limited).await["deny_reasons"], json!(["rate_limit_exceeded"]));
    let hours = |now: &str| {
        json!({"policies": ["time_restrictions"], "now": now, "action": "a", "resource": "r"})
    };
    assert_eq!(tries(&agent, hours("2026-11-23T12:00:00Z")).await["decision"], json!("allow"));
    assert_eq!(tries(&agent, hours("2026-11-22T12:00:00Z")).await["decision"], json!("deny"));
    // Without a choice: what would apply to such a check.
    let all = tries(&agent, json!({"action": "file_delete", "resource": "x"})).await;
    assert_eq!(all["warnings"], json!(["file_delete"]));
    assert_eq!(all["policies"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, _) = fleet.start().await;
    let agent = agent.on("policy.evaluate");
    let cases = [
        (json!({}), "400", "action"),
        (json!({"action": "a"}), "400", "resource"),
        (json!({"action": "a", "resource": 7}), "400", "resource"),
        (json!({"action": "a", "resource": "r", "input": {}}), "400", "input"),
        (json!({"action": "a", "resource": "r", "regos": ""}), "400", "regos"),
        (json!({"action": "a", "resource": "r", "rego": "package x\nallow := if"}), "422", "rego"),
        (json!({"action": "a", "resource": "r", "policies": ["cost_contro"]}), "404", "policy"),
        (
            json!({"action": "a", "resource": "r", "policies": ["cost_control"],
                "parameters": {"no_such": 1}}),
            "422",
            "parameters",
        ),
    ];
    for (request, code, field) in cases {
        let refusal = agent.refused(request.to_string()).await;
        assert_eq!(refusal.code, code, "{request}: {refusal:?}");
        assert_eq!(refusal.error["field"], json!(field), "{request}: {refusal:?}");
    }
    let broken = json!({"action": "a", "resource": "r", "rego": "package x\n\nallow := if\n"});
    let refusal = agent.refused(broken.to_string()).await;
    assert_eq!(refusal.error["findings"][0]["line"], json!(3), "{refusal:?}");
}

/// A denied agent is told what would have been allowed, and it is true.
#[tokio::test]
async fn a_denial_carries_its_remedy() {
    let mut fleet = Fleet::with_shipped("[cost_control]\nstatus = \"active\"\n");
    fleet.config.worker.remedies_per_second = 1_000;
    let (worker, agent, _) = fleet.start().await;
    let denied = agent.check(call(1.0)).await;
    let remedy = &denied["remedy"][0];
    assert_eq!(remedy["policy"], json!("cost_control"), "{denied}");
    assert!(remedy["advice"][0]["text"].as_str().unwrap().contains("cheaper"), "{denied}");
    let enough = remedy["changes"][0]["to"].as_f64().unwrap();
    assert!(agent.check(call(enough)).await["allowed"] == true, "{denied}");
    assert!(agent.check(call(0.1)).await.get("remedy").is_none());
    worker.stop().await.unwrap();
    fleet.config.worker.remedies_per_second = 0;
    let _worker = fleet.worker().await;
    let denied = agent.check(call(1.0)).await;
    let remedy = &denied["remedy"][0];
    assert!(remedy.get("changes").is_none() && remedy["advice"][0].is_object(), "{denied}");
}

/// What a policy was told of the caller is part of the record, so that it can be explained later.
#[tokio::test]
async fn the_usage_that_a_policy_saw_is_recorded() {
    let fleet = Fleet::with_shipped(
        "[rate_limiting]\nstatus = \"active\"\nparameters = {max_calls = 2}\n[default]\nstatus = \"active\"\n",
    );
    let (_worker, agent, audit) = fleet.start().await;
    for n in 1..=3 {
        let reply = agent.check(call(0.1)).await;
        let usage = json!({"calls_in_window": n, "window_seconds": 60});
        assert_eq!(reply["policies"][1]["usage"], usage, "{reply}");
        assert!(reply["policies"][0].get("usage").is_none(), "only who asks is told");
        let event = audit.of_reply(&reply).await.event;
        assert_eq!(event["policies"], reply["policies"]);
    }
}

//! Trying policies over the REST API.

use serde_json::{Value, json};

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
}

/// Cases about the policy `tested`, whose text is in none of the folders.
const CASES: &str = r"policy: tested
tests:
  - name: act
    action: act
    resource: x
    expected: {decision: deny, deny_reasons: [no_acts]}
  - name: others
    action: look
    resource: x
    expected: {decision: allow}
";

#[tokio::test]
async fn suites_are_run_in_place() {
    let mut fleet = Fleet::with_policies(&[("tested", "allow := true")]);
    let suites = fleet.folder().join("suites");
    std::fs::create_dir(&suites).unwrap();
    fleet.config.policies.suites = suites.clone();
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let run = async |body| house.post("/api/policies/tested/suite", body).await.json(200);
    let counts = |report: &Value| {
        ["passed", "failed", "skipped"].map(|which| report[which].as_u64().unwrap())
    };
    let none = run(json!({})).await;
    assert_eq!((counts(&none), &none["suites"]), ([0, 0, 0], &json!([])), "{none}");
    assert_eq!(none["looked"][0], suites.display().to_string());

    // Its own test_ rules.
    let report = run(json!({"rego": TESTED})).await;
    assert_eq!(counts(&report), [2, 0, 0], "{report}");
    let wrong = TESTED.replace("not allow with", "allow with");
    let report = run(json!({"rego": wrong})).await;
    assert_eq!(counts(&report), [1, 1, 0], "{report}");

    // Cases and test_ rules of the folder; what is about others is left alone, well-formed or not.
    let below = suites.join("deeper");
    std::fs::create_dir(&below).unwrap();
    std::fs::write(below.join("tested_tests.yaml"), CASES).unwrap();
    std::fs::write(suites.join("others_tests.yaml"), CASES.replace("tested", "others")).unwrap();
    std::fs::write(suites.join("broken_tests.yaml"), "policy: [").unwrap();
    let rules = "package team.tested_test\n\nimport rego.v1\n\ntest_it if not data.team.tested.allow \
                 with input as {\"action\": \"act\"}\n";
    std::fs::write(suites.join("tested_test.rego"), rules).unwrap();
    let of_others = rules.replace("team.tested", "team.others");
    std::fs::write(suites.join("others_test.rego"), of_others).unwrap();
    let report = run(json!({"rego": TESTED})).await;
    assert_eq!((counts(&report), &report["invalid"]), ([5, 0, 0], &json!([])), "{report}");
    // The stored text denies nothing.
    let report = run(json!({})).await;
    assert_eq!(counts(&report), [1, 1, 0], "{report}");
    let case = &report["suites"][0]["cases"][0];
    assert_eq!(
        (&case["name"], &case["outcome"], &case["line"]),
        (&json!("act"), &json!("failed"), &json!(3))
    );
    assert_eq!(
        case["differences"][0],
        json!({"field": "decision", "expected": "deny", "got": "allow"})
    );

    // Those of the policy whose Rego another one uses are about that one too.
    let scoped =
        json!({"name": "scoped", "template": "tested", "scope": "session", "scope_id": "s"});
    house.post("/api/policies", scoped).await.json(201);
    let of_template = json!({"rego": TESTED});
    let report = house.post("/api/policies/scoped/suite", of_template).await.json(200);
    assert_eq!(counts(&report), [5, 0, 0], "{report}");

    // One that comes with the request, alone, whatever it calls the policy.
    let report = run(json!({"rego": TESTED, "suite": CASES.replace("tested", "any")})).await;
    assert_eq!(counts(&report), [2, 0, 0], "{report}");
    let report = run(json!({"suite": "policy: tested\ntests:\n  - nam: x\n"})).await;
    assert_eq!(
        (counts(&report), &report["invalid"][0]["line"]),
        ([0, 0, 0], &json!(3)),
        "{report}"
    );
    // One that is about it and can't be read is said.
    std::fs::write(suites.join("tested_tests.yaml"), "policy: tested\ntests: 1\n").unwrap();
    let report = run(json!({"rego": TESTED})).await;
    assert_eq!(
        (counts(&report), &report["invalid"][0]["line"]),
        ([5, 0, 0], &json!(2)),
        "{report}"
    );
    // Tests that would take longer than a request may are ended, and the others say that they weren't run.
    let loops = ["a", "b", "c", "d", "e", "f", "g"].map(|name| format!("some {name} in digits"));
    let body = format!("count([1 | {}; a + g > 99]) > 0", loops.join("; "));
    let slow: String = (0..9).map(|n| format!("test_slow_{n} if {body}\n")).collect();
    let rego = format!("{TESTED}\ndigits := [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]\n\n{slow}");
    let report = run(json!({"rego": rego})).await;
    assert!(counts(&report)[1] == 9, "{report}");
    assert!(report.to_string().contains("not run: "), "{report}");
    let broken = run(json!({"rego": "package"})).await;
    assert!(!broken["findings"].as_array().unwrap().is_empty(), "{broken}");
    let large = format!("{TESTED}#{}", "x".repeat(300 << 10));
    let refused = house.post("/api/policies/tested/suite", json!({"rego": large})).await.json(400);
    assert!(refused["detail"].as_str().unwrap().contains("limits.policy_bytes"), "{refused}");
    assert_eq!(audit.len().await, 0, "nothing of it is recorded");
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

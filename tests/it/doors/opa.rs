//! OPA's data: questions are checks, with OPA's answers.

use serde_json::{Value, json};

use super::support::House;
use crate::worker::support::Fleet;

fn expensive() -> Value {
    json!({"action": "llm_call", "resource": {"model": "gpt-4"},
        "context": {"agent": "planner", "task_priority": "low", "run_id": "r-7",
            "estimated_cost_usd": 0.5, "budget": {"remaining_usd": 0.1}}})
}

#[tokio::test]
async fn a_package_answers_with_the_combined_decision_and_it_is_audited() {
    let fleet = Fleet::with_shipped("[data_privacy]\nstatus = \"active\"\n");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;

    let said = house.data("cmbagent/cost_control", expensive()).await.json(200);
    let result = &said["result"];
    assert_eq!(
        [&result["allow"], &result["deny_reasons"], &result["warnings"]],
        [
            &json!(false),
            &json!(["budget_exceeded", "expensive_model_for_low_priority"]),
            &json!([])
        ]
    );
    assert_eq!(result["remaining_usd"], 0.1, "the package's other rules are there too");
    let event = audit.last("policy.decision.deny.llm_call").await.unwrap().event;
    assert_eq!(event["id"], said["decision_id"]);
    assert_eq!((&event["agent"], &event["run_id"]), (&json!("planner"), &json!("r-7")));
    assert_eq!(event["input"]["opa"]["path"], "data.cmbagent.cost_control");

    // What the package allows and another active policy denies is denied: the decision is combined.
    let secret = json!({"action": "file_read", "resource": {"path": "/home/a/.env"}});
    let said = house.data("cmbagent/cost_control", secret).await.json(200);
    assert_eq!(said["result"]["allow"], false);
    assert_eq!(said["result"]["deny_reasons"], json!(["sensitive_file_access"]));
    // Who doesn't name the package is not bound by an inactive policy.
    let said = house.data("cmbagent/default", expensive()).await.json(200);
    assert_eq!(said["result"]["allow"], true);
}

#[tokio::test]
async fn rules_places_in_them_and_paths_that_name_nothing() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;

    for (path, result) in [
        ("cmbagent/cost_control/allow", json!(false)),
        ("cmbagent/cost_control/allow/", json!(false)),
        ("cmbagent/cost_control/warnings", json!([])),
        ("cmbagent/cost_control/deny_reasons/0", json!("budget_exceeded")),
    ] {
        let said = house.data(path, expensive()).await.json(200);
        assert_eq!(said["result"], result, "{path}");
        assert!(said["decision_id"].is_string());
    }
    // A rule that there isn't is undefined; the decision was made all the same.
    let said = house.data("cmbagent/cost_control/no_such_rule", expensive()).await.json(200);
    assert!(said.get("result").is_none() && said["decision_id"].is_string(), "{said}");

    let before = audit.len().await;
    for path in ["nowhere", "cmbagent/cost", "nowhere/allow"] {
        assert_eq!(house.data(path, expensive()).await.json(200), json!({}), "{path}");
    }
    assert_eq!(audit.len().await, before, "nothing was asked, so nothing was decided");
}

const RULES_OF_ALL_KINDS: &str = r#"# METADATA
# custom:
#   parameters:
#     properties:
#       limit: {type: integer}
package team.kinds

import rego.v1

default allow := true

deny_reasons contains "combined" if input.cost > 100

warnings contains "mine"

limit := input.parameters.limit

limits.daily := 5

limits.hourly.planner := 1

reached contains name if some name in ["b", "a"]

prices[model] := price if some model, price in {"small": 1, "large": 3}

calls := input.usage.calls_in_window

undefined_here if input.cost > 100

double(x) := x * 2

doubled := double(input.cost)

test_nothing if true
"#;

#[tokio::test]
async fn a_package_holds_its_other_rules_too() {
    let fleet =
        Fleet::with_policies(&[("denies", "allow := false\n\ndeny_reasons contains \"no\"")]);
    fleet.rego("kinds", RULES_OF_ALL_KINDS);
    fleet.settings_add("kinds", "status = \"inactive\"\nparameters = { limit = 7 }");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let input = json!({"action": "llm_call", "resource": "r", "cost": 3, "agent": "planner"});

    let said = house.data("team/kinds", input.clone()).await.json(200);
    assert_eq!(
        said["result"],
        json!({"allow": false, "deny_reasons": ["no"], "warnings": ["mine"],
            "limit": 7, "limits": {"daily": 5, "hourly": {"planner": 1}}, "reached": ["a", "b"],
            "prices": {"small": 1, "large": 3}, "calls": 1, "doubled": 6})
    );
    assert!(said.get("warning").is_none(), "{said}");
    for (path, result) in [
        ("doubled", Some(json!(6))),
        ("limits/daily", Some(json!(5))),
        ("reached/1", Some(json!("b"))),
        ("undefined_here", None),
        ("double", None),
        ("test_nothing", None),
    ] {
        let said = house.data(&format!("team/kinds/{path}"), input.clone()).await.json(200);
        assert_eq!(said.get("result"), result.as_ref(), "{path}: {said}");
    }
    let get = house.get("/v1/data/team/kinds/limits").await.json(200);
    assert_eq!(get["result"]["hourly"]["planner"], 1);
    // They are told, not recorded: the audit holds what decided.
    let event = audit.last("policy.decision.deny.llm_call").await.unwrap().event;
    assert!(!event.to_string().contains("doubled"), "{event}");
}

#[tokio::test]
async fn other_rules_that_fail_or_dont_fit_cost_only_themselves() {
    let fleet = Fleet::with_policies(&[]);
    fleet.policy("broken", "allow := true\n\nratio := strings.count(input.resource, \"\")");
    fleet.policy("large", "allow := true\n\ncopies := [input.resource | some i in input.many]");
    let (_worker, _agent, _audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let input = json!({"action": "a", "resource": "x".repeat(50_000),
        "many": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23]});
    for (name, words) in [("broken", "builtin"), ("large", "at most")] {
        let said = house.data(&format!("test/{name}"), input.clone()).await.json(200);
        let rules = json!({"allow": true, "deny_reasons": [], "warnings": []});
        assert_eq!(said["result"], rules, "{name}: {said}");
        assert_eq!(said["warning"]["code"], "rules_unavailable", "{name}: {said}");
        let message = said["warning"]["message"].as_str().unwrap();
        assert!(message.contains(words), "{name}: {message}");
        // What decides needs none of them.
        let said = house.data(&format!("test/{name}/allow"), input.clone()).await.json(200);
        assert!(said["result"] == true && said.get("warning").is_none(), "{name}: {said}");
    }
}

#[tokio::test]
async fn above_packages_each_policy_that_applies_speaks_for_itself() {
    let fleet = Fleet::with_shipped(
        "[cost_control]\nstatus = \"active\"\n[default]\nstatus = \"active\"\n",
    );
    let (_worker, _agent, _audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    for (path, pointer) in [("", "/cmbagent/cost_control"), ("cmbagent", "/cost_control")] {
        let said = house.data(path, expensive()).await.json(200);
        let rules = said["result"].pointer(pointer).unwrap_or_else(|| panic!("{said}"));
        assert_eq!(rules["allow"], false);
        let default = pointer.replace("cost_control", "default");
        assert_eq!(said["result"].pointer(&default).unwrap()["allow"], true, "{said}");
    }
}

#[tokio::test]
async fn every_way_to_ask() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let path = "/v1/data/cmbagent/cost_control";

    // Without a body, without an input, with null: a question without an input.
    for body in ["", "{}", r#"{"input": null}"#, "null"] {
        let said = house.send("POST", path, body).await.json(200);
        assert_eq!(said["result"]["allow"], true, "{body}");
    }
    let event = audit.last("policy.decision.allow.opa_query").await.unwrap().event;
    assert_eq!(event["resource"], "data.cmbagent.cost_control");

    assert_eq!(house.get(path).await.json(200)["result"]["allow"], true);
    let query = format!("{path}?input={}", expensive().to_string().replace('"', "%22"));
    assert_eq!(house.get(&query).await.json(200)["result"]["allow"], false);
    let pretty = house.post(&format!("{path}?pretty=true"), json!({"input": expensive()})).await;
    assert!(pretty.is(200).contains("\n  \"result\": {\n"), "{pretty:?}");

    let v0 = "/v0/data/cmbagent/cost_control/allow";
    assert_eq!(house.post(v0, expensive()).await.json(200), json!(false));
    let undefined = house.post("/v0/data/nowhere", expensive()).await;
    assert_eq!(undefined.opa_code(404), "undefined_document");
}

#[tokio::test]
async fn an_input_of_another_shape_reaches_the_policy_whole() {
    let fleet = Fleet::with_policies(&[]);
    fleet.rego(
        "salaries",
        r#"package httpapi.authz

import rego.v1

default allow := false

allow if {
	input.method == "GET"
	input.path == ["finance", "salary", input.user]
}

allow if input.opa.input == [1, 2]
"#,
    );
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let asked = async |input: Value| {
        house.data("httpapi/authz/allow", input).await.json(200)["result"].clone()
    };
    let own = json!({"method": "GET", "path": ["finance", "salary", "alice"], "user": "alice"});
    assert_eq!(asked(own).await, true);
    let other = json!({"method": "GET", "path": ["finance", "salary", "bob"], "user": "alice"});
    assert_eq!(asked(other).await, false);
    assert_eq!(asked(json!([1, 2])).await, true);
    let event = audit.last("policy.decision.deny.opa_query").await.unwrap().event;
    assert_eq!(event["user"], "alice", "{event}");
    assert_eq!(event["input"]["path"], json!(["finance", "salary", "bob"]));
}

#[tokio::test]
async fn what_is_wrong_is_said_as_opa_says_it() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let path = "/v1/data/cmbagent/cost_control";
    for body in ["{\"input\":", "[1]", "\"x\"", "\u{0}"] {
        let said = house.send("POST", path, body).await;
        assert_eq!(said.opa_code(400), "invalid_parameter", "{body}");
    }
    assert_eq!(house.get(&format!("{path}?input=%7B")).await.opa_code(400), "invalid_parameter");
    assert_eq!(house.get("/v1/data/%ff").await.opa_code(400), "invalid_parameter");
    // Larger than a worker takes: its reason, as OPA's error, and nothing is let through for it.
    let large = json!({"action": "a", "resource": "x".repeat(300 << 10)});
    let said = house.data("cmbagent/cost_control", large).await;
    assert_eq!(said.opa_code(400), "invalid_parameter");
    assert!(said.text.contains("worker.max_request_bytes"), "{said:?}");
    let huge = json!({"action": "a", "resource": "x".repeat(2 << 20)});
    let said = house.data("cmbagent/cost_control", huge).await;
    assert_eq!(said.opa_code(413), "invalid_parameter");
    assert!(said.text.contains("http.max_body"), "{said:?}");
    let deep = format!("{{\"input\": {}1{}}}", "[".repeat(100), "]".repeat(100));
    assert_eq!(house.send("POST", path, deep).await.opa_code(400), "invalid_parameter");
    assert_eq!(audit.len().await, 0, "nothing of it was a check");

    for (method, path) in [
        ("POST", "/v1/query"),
        ("GET", "/v1/query?q=data"),
        ("POST", "/v1/compile"),
        ("PUT", "/v1/data/a"),
        ("PATCH", "/v1/data/a"),
        ("DELETE", "/v1/data/a"),
        ("GET", "/v1/config"),
    ] {
        let said = house.send(method, path, "{}").await;
        assert_eq!(said.opa_code(501), "invalid_operation", "{method} {path}");
        assert!(said.text.contains("not supported"), "{said:?}");
    }
    assert_eq!(house.get("/v1/other").await.opa_code(404), "resource_not_found");
    assert_eq!(house.send("PATCH", "/v1/policies/a", "").await.opa_code(405), "invalid_operation");
}

#[tokio::test]
async fn health_says_whether_anybody_would_answer() {
    let fleet = Fleet::with_shipped("");
    let house = House::open(&fleet.config).await;
    let all = ["/health", "/health?bundles", "/health?plugins=true", "/health?bundles=false"];
    let asked = async || {
        let mut codes = Vec::new();
        for path in all {
            codes.push(house.get(path).await.status);
        }
        codes
    };
    assert_eq!(asked().await, [200, 500, 500, 200], "there is no worker yet");
    assert!(house.get("/health?bundles").await.json(500)["error"].is_string());
    let _worker = fleet.worker().await;
    assert_eq!(asked().await, [200; 4]);
    assert_eq!(house.get("/health").await.json(200), json!({}));
}

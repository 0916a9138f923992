//! The input that policies see.

use serde_json::{Map, Value, json};

use super::super::support::{Agent, Fleet};

/// Says every member of its input in a warning: `name=JSON`.
const TELLTALE: &str = r#"warnings contains sprintf("%s=%s", [name, json.marshal(value)]) if {
	some name, value in input
}"#;

/// What the telltale saw.
async fn seen(agent: &Agent, request: Value) -> Map<String, Value> {
    let reply = agent.check(request).await;
    assert_eq!(reply["error"], json!(false), "{reply}");
    let mut members = Map::new();
    for warning in reply["warnings"].as_array().unwrap() {
        let (name, value) = warning.as_str().unwrap().split_once('=').unwrap();
        members.insert(name.to_owned(), serde_json::from_str(value).unwrap());
    }
    assert_eq!(members.remove("timestamp"), Some(micros(reply["timestamp"].clone())));
    members
}

/// A reply drops the zeros at the end of a second's fraction; the input always has six digits.
fn micros(timestamp: Value) -> Value {
    let time: chrono::DateTime<chrono::Utc> = timestamp.as_str().unwrap().parse().unwrap();
    json!(time.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

async fn telltale() -> (Fleet, super::super::support::Worker, Agent) {
    let fleet = Fleet::with_policies(&[("telltale", TELLTALE)]);
    let (worker, agent, _) = fleet.start().await;
    (fleet, worker, agent)
}

#[tokio::test]
async fn the_context_is_lifted_and_stays() {
    let (_fleet, _worker, agent) = telltale().await;
    let context = json!({"agent": "planner", "estimated_cost": 1.5, "task_priority": "low",
        "budget": {"remaining_usd": 0.1}});
    let request = json!({"action": "llm_call", "context": context, "trace": [1, null],
        "resource": {"model": "gpt-4", "prompt_length": 1234}});
    assert_eq!(
        Value::Object(seen(&agent, request).await),
        json!({
            "action": "llm_call",
            "resource": {"model": "gpt-4", "prompt_length": 1234},
            "context": context,
            "agent": "planner",
            "budget": {"remaining_usd": 0.1},
            "task_priority": "low",
            "estimated_cost": 1.5,
            "estimated_cost_usd": 1.5,
            "model": "gpt-4",
            "trace": [1, null],
            "parameters": {},
            "usage": {"calls_in_window": 1, "window_seconds": 60},
        })
    );
}

#[tokio::test]
async fn reserved_names_are_the_systems_whatever_the_caller_says() {
    let (_fleet, _worker, agent) = telltale().await;
    let lies = json!({"action": "x", "resource": "x", "context": "x", "timestamp": "x",
        "parameters": {"limit": 9}, "usage": {"calls_in_window": 0}, "agent": "a"});
    let mut request = json!({"action": "llm_call", "resource": "gpt-4", "context": lies});
    for name in ["timestamp", "parameters", "usage"] {
        request[name] = lies[name].clone();
    }
    assert_eq!(
        Value::Object(seen(&agent, request).await),
        json!({
            "action": "llm_call",
            "resource": "gpt-4",
            "context": lies,
            "agent": "a",
            "parameters": {},
            "usage": {"calls_in_window": 1, "window_seconds": 60},
        })
    );
}

#[tokio::test]
async fn conveniences_never_replace_what_the_caller_says() {
    let (_fleet, _worker, agent) = telltale().await;
    let request = json!({"action": "llm_call", "resource": {"model": "gpt-4"},
        "context": {"estimated_cost": 1, "estimated_cost_usd": 2, "model": "local", "user": "u"}});
    let seen = seen(&agent, request).await;
    assert_eq!(seen["estimated_cost_usd"], json!(2));
    assert_eq!(seen["model"], json!("local"));
    assert_eq!(seen["usage"]["calls_in_window"], json!(1), "the user counts where no agent asks");
}

#[tokio::test]
async fn who_does_not_say_who_it_is_has_no_usage() {
    let (_fleet, _worker, agent) = telltale().await;
    let request = json!({"action": "a", "resource": "r", "context": null});
    let seen = seen(&agent, request).await;
    assert!(!seen.contains_key("usage"), "{seen:?}");
    assert_eq!(seen["context"], json!({}));
}

#[tokio::test]
async fn the_event_holds_what_the_policies_saw() {
    let (fleet, _worker, agent) = telltale().await;
    let request = json!({"action": "llm_call", "resource": {"model": "m"},
        "context": {"agent": "a", "run_id": 42, "estimated_cost": 1}});
    let reply = agent.check(request).await;
    let event = fleet.audit().await.of_reply(&reply).await.event;
    let mut input = event["input"].clone();
    assert_eq!(input["timestamp"].take(), micros(reply["timestamp"].clone()));
    assert_eq!(
        input,
        json!({"action": "llm_call", "resource": {"model": "m"}, "agent": "a", "run_id": 42,
            "context": {"agent": "a", "run_id": 42, "estimated_cost": 1}, "model": "m",
            "estimated_cost": 1, "estimated_cost_usd": 1, "timestamp": null})
    );
    assert_eq!(event["run_id"], json!("42"), "callers may number their runs");
}

#[tokio::test]
async fn a_policy_reads_its_parameters_with_defaults_filled_in() {
    let fleet = Fleet::new();
    let rego = "# METADATA\n# custom:\n#   parameters:\n#     type: object\n#     properties:\n\
                #       limit: {type: number, default: 7}\n#       window_seconds: {type: integer}\n\
                package test.telltale\n\nimport rego.v1\n\n";
    fleet.rego("telltale", &format!("{rego}{TELLTALE}\n"));
    fleet.settings("[telltale]\nstatus = \"active\"\nparameters = {window_seconds = 5}\n");
    let (_worker, agent, _) = fleet.start().await;
    let request = json!({"action": "a", "resource": "r", "context": {"agent": "a"}});
    let seen = seen(&agent, request).await;
    assert_eq!(seen["parameters"], json!({"limit": 7, "window_seconds": 5}));
    assert_eq!(seen["usage"], json!({"calls_in_window": 1, "window_seconds": 5}));
}

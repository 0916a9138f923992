//! `schemas/*.json`: generated from the wire types, and true of what goes over the wire. Run with
//! `UPDATE_SCHEMAS=1` to write them anew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};
use sluicegate::contract::schema;

use crate::worker::support::Fleet;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas")
}

fn validators() -> BTreeMap<&'static str, Validator> {
    schema::all()
        .into_iter()
        .map(|(name, schema)| (name, jsonschema::validator_for(&schema).unwrap()))
        .collect()
}

#[track_caller]
fn assert_valid(validator: &Validator, value: &Value) {
    let problems: Vec<String> = validator
        .iter_errors(value)
        .map(|problem| format!("{}: {problem}", problem.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{problems:?} in {value}");
}

#[test]
fn the_files_are_what_the_types_say() {
    let update = std::env::var_os("UPDATE_SCHEMAS").is_some_and(|value| value == "1");
    let mut expected = BTreeSet::new();
    for (name, schema) in schema::all() {
        expected.insert(name.to_owned());
        let text = format!("{}\n", serde_json::to_string_pretty(&schema).unwrap());
        let path = folder().join(name);
        if update {
            std::fs::write(&path, &text).unwrap();
        }
        let written = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(
            written, text,
            "schemas/{name} is not what the type says; UPDATE_SCHEMAS=1 writes it"
        );
    }
    let written: BTreeSet<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(written, expected, "files that no type stands behind");
}

#[test]
fn requests_of_the_contract_are_valid_and_others_are_not() {
    let all = validators();
    let request = &all["check_request.json"];
    let whole = json!({"action": "llm_call",
        "resource": {"model": "gpt-4", "prompt_length": 1234},
        "context": {"agent": "planner", "user": "alice", "session_id": "s-1", "run_id": "r-1",
            "step_id": "st-1", "project_id": "p-1", "estimated_cost_usd": 0.5,
            "budget": {"remaining_usd": 0.1}, "task_priority": "low"},
        "package": "cmbagent.cost_control", "anything": ["else"]});
    assert_valid(request, &whole);
    assert_valid(request, &json!({"action": "a", "resource": "r"}));
    assert_valid(
        &all["check_batch_request.json"],
        &json!({"checks": [whole, {"action": "a", "resource": "r"}]}),
    );
    for bad in [
        json!({"resource": "r"}),
        json!({"action": "a"}),
        json!({"action": "", "resource": "r"}),
        json!({"action": "a".repeat(257), "resource": "r"}),
        json!({"action": "a", "resource": ["r"]}),
        json!({"action": "a", "resource": "r", "context": "c"}),
        json!({"action": "a", "resource": "r", "package": 7}),
        json!([]),
    ] {
        assert!(!request.is_valid(&bad), "{bad}");
    }
}

#[tokio::test]
async fn what_goes_over_the_wire_is_valid() {
    let fleet = Fleet::with_policies(&[
        ("bad", "allow := count(input.action)"),
        ("kind", r#"allow := true  warnings := ["w"]"#),
        ("strict", "allow := false if input.action == \"forbidden\"\ndeny_reasons := [\"d\"]"),
    ]);
    fleet.policy("draft", "allow := false");
    fleet.settings_add("draft", "status = \"draft\"");
    let (_worker, agent, audit) = fleet.start().await;
    let all = validators();
    for request in [
        json!({"action": "a", "resource": "r"}),
        json!({"action": "forbidden", "resource": {"x": 1}, "context": {"agent": "a", "n": 1.5}}),
        json!({"action": "a", "resource": "r", "package": "no.such"}),
    ] {
        assert_valid(&all["check_request.json"], &request);
        assert_valid(&all["check_reply.json"], &agent.check(request).await);
    }
    let batch = json!({"checks": [{"action": "forbidden", "resource": "r"}, 7]});
    let reply = agent.on("policy.check_batch").check(batch).await;
    assert_valid(&all["check_batch_reply.json"], &reply);
    let fault = agent.ask("{}").await;
    let fault: Value = serde_json::from_slice(&fault.payload).unwrap();
    assert_valid(&all["service_error.json"], &fault);
    let (mut decisions, mut violations) = (0, 0);
    for stored in audit.all().await {
        if stored.subject.starts_with("policy.decision.") {
            decisions += 1;
            assert_valid(&all["decision_event.json"], &stored.event);
        } else {
            violations += 1;
            assert_valid(&all["violation_event.json"], &stored.event);
        }
    }
    assert_eq!((decisions, violations), (4, 7));
    // The validators see differences at all.
    assert!(!all["check_reply.json"].is_valid(&fault));
    assert!(!all["decision_event.json"].is_valid(&json!({})));
}

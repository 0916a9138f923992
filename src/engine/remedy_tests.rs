use std::time::Duration;

use serde_json::json;

use super::super::compile::{CompileLimits, compile};
use super::super::{trace, with_defaults};
use super::*;
use crate::domain::{CheckRequest, input};

const LIMITS: EvaluationLimits = EvaluationLimits {
    instructions: 25_000,
    time: Duration::from_secs(10),
    memory: 32 << 20,
    reasons: 100,
    reason_bytes: 512,
};
const MOST: usize = 400;

/// What is said of a request that a policy denies.
fn later() -> std::time::Instant {
    std::time::Instant::now() + std::time::Duration::from_secs(60)
}

fn said(rego: &str, request: &Value, parameters: Value) -> Vec<String> {
    let compiled = compile("p.rego", rego, &CompileLimits { bytes: 1 << 18, nesting: 16 }).unwrap();
    let request = CheckRequest {
        action: request["action"].as_str().unwrap().into(),
        resource: request["resource"].clone(),
        context: request["context"].as_object().cloned().unwrap_or_default(),
        ..CheckRequest::default()
    };
    let mut input = input::build(&request, chrono::DateTime::UNIX_EPOCH);
    let parameters = parameters.as_object().cloned().unwrap();
    let parameters = with_defaults(&compiled.metadata.parameters, &parameters).unwrap();
    input.insert("parameters".into(), parameters.into());
    input.insert("usage".into(), json!({"calls_in_window": 101, "window_seconds": 60}));
    let trace = trace(&compiled, rego, &input, &LIMITS);
    assert_eq!(trace.verdict, Verdict::Deny, "{trace:?}");
    let changes = remedy(&compiled, rego, &input, &LIMITS, &trace, MOST, later());
    assert_eq!(
        changes,
        remedy(&compiled, rego, &input, &LIMITS, &trace, MOST, later()),
        "always the same"
    );
    assert_eq!(
        remedy(&compiled, rego, &input, &LIMITS, &trace, 0, later()),
        [],
        "nothing may be tried"
    );
    changes.into_iter().map(|change| change.text).collect()
}

fn shipped(name: &str, request: Value, parameters: Value) -> Vec<String> {
    let rego = std::fs::read_to_string(format!("policies/{name}.rego")).unwrap();
    said(&rego, &request, parameters)
}

fn denied(body: &str, request: Value) -> Vec<String> {
    let rego = format!(
        "package p\n\ndefault allow := true\n\nallow := false if count(deny_reasons) > 0\n\n{body}\n"
    );
    said(&rego, &request, json!({}))
}

#[test]
fn budgets() {
    let call = |context: Value| json!({"action": "llm_call", "resource": {"model": "gpt-5"}, "context": context});
    let cost = call(json!({"estimated_cost_usd": 1.0, "budget": {"remaining_usd": 0.5}}));
    assert_eq!(
        shipped("cost_control", cost, json!({})),
        ["lower `estimated_cost_usd` from 1.0 to at most 0.5"]
    );
    let alias = call(json!({"estimated_cost": 1.0, "budget": {"remaining_usd": 0.5}}));
    assert_eq!(
        shipped("cost_control", alias, json!({})),
        ["lower `estimated_cost` from 1.0 to at most 0.5"]
    );
    let both =
        call(json!({"estimated_cost": 2, "estimated_cost_usd": 3, "budget": {"remaining_usd": 1}}));
    assert_eq!(
        shipped("cost_control", both, json!({})),
        [
            "lower `estimated_cost_usd` from 3 to at most 1",
            "lower `estimated_cost` from 2 to at most 1"
        ]
    );
}

#[test]
fn expensive_models() {
    let call = json!({"action": "llm_call", "resource": {"model": "openai/gpt-4"}, "context": {"task_priority": "low"}});
    assert_eq!(
        shipped("cost_control", call, json!({})),
        ["use another `resource.model` than \"openai/gpt-4\""]
    );
}

#[test]
fn sensitive_files() {
    let path = json!({"action": "file_read", "resource": {"path": "/srv/.env"}});
    assert_eq!(
        shipped("data_privacy", path, json!({})),
        ["use another `resource.path` than \"/srv/.env\""]
    );
    let bare = json!({"action": "file_read", "resource": "/srv/a.pem"});
    assert_eq!(
        shipped("data_privacy", bare, json!({})),
        ["use another `resource` than \"/srv/a.pem\""]
    );
}

#[test]
fn compliance() {
    let model = json!({"action": "llm_call", "resource": {"model": "llama"}});
    assert_eq!(
        shipped("compliance", model, json!({"approved_models": ["gpt-4o", "claude-*"]})),
        ["change `resource.model` from \"llama\" to \"gpt-4o\""]
    );
    let region = json!({"action": "llm_call", "resource": {"region": "us-1"}});
    assert_eq!(
        shipped("compliance", region, json!({"allowed_regions": ["eu-1"]})),
        ["change `resource.region` from \"us-1\" to \"eu-1\""]
    );
    let unstated = json!({"action": "llm_call", "resource": {"model": "x"}});
    let found = shipped(
        "compliance",
        unstated,
        json!({"allowed_regions": ["eu-1"], "deny_not_stated": true}),
    );
    assert_eq!(found, ["set `resource.region` to \"eu-1\""]);
    let review = json!({"action": "deploy", "resource": "x", "context": {"agent": "a"}});
    let mut found = shipped("compliance", review, json!({"review_actions": ["deploy"]}));
    found.sort();
    assert_eq!(found, ["give `review.reviewer` a value", "set `review.approved` to true"]);
    let tag = json!({"action": "file_write", "resource": {"path": "x"}});
    let found = shipped("compliance", tag, json!({"retention_tags": ["short", "long"]}));
    assert_eq!(found, ["set `resource.retention_tag` to \"short\""]);
}

#[test]
fn none_where_only_the_system_or_the_clock_could_change() {
    let call = json!({"action": "llm_call", "resource": {"model": "x"}, "context": {"agent": "a"}});
    assert_eq!(shipped("rate_limiting", call, json!({})), [""; 0]);
    let work = json!({"action": "work", "resource": "x", "context": {"agent": "a"}});
    assert_eq!(shipped("time_restrictions", work, json!({"weekdays": ["Mon"]})), [""; 0]);
    let identity = denied(
        "deny_reasons contains \"x\" if input.user == \"mallory\"",
        json!({"action": "a", "resource": "r", "context": {"user": "mallory"}}),
    );
    assert_eq!(identity, [""; 0], "nobody is told to be somebody else");
}

#[test]
fn strict_bounds_booleans_and_missing_values() {
    let request = |context: Value| json!({"action": "a", "resource": "r", "context": context});
    let strict = "deny_reasons contains \"x\" if input.rows >= 100";
    assert_eq!(
        denied(strict, request(json!({"rows": 500}))),
        ["lower `rows` from 500 to at most 99"]
    );
    let least = "deny_reasons contains \"x\" if not input.samples >= 30";
    assert_eq!(
        denied(least, request(json!({"samples": 3}))),
        ["raise `samples` from 3 to at least 30"]
    );
    let flag = "deny_reasons contains \"x\" if input.dry_run == false";
    assert_eq!(
        denied(flag, request(json!({"dry_run": false}))),
        ["change `dry_run` from false to true"]
    );
    let missing = "deny_reasons contains \"x\" if not input.license == \"MIT\"";
    assert_eq!(denied(missing, request(json!({}))), ["set `license` to \"MIT\""]);
    let wrong = json!({"license": "none"});
    assert_eq!(denied(missing, request(wrong)), ["change `license` from \"none\" to \"MIT\""]);
    let always = "deny_reasons contains \"x\" if input.action == \"a\"";
    assert_eq!(denied(always, request(json!({"rows": 1}))), [""; 0], "the action stays");
}

#[test]
fn an_allowed_or_failed_check_has_no_remedy() {
    let rego = "package p\n\nallow := input.n > 1\n";
    let compiled = compile("p.rego", rego, &CompileLimits { bytes: 1_000, nesting: 8 }).unwrap();
    let input = json!({"action": "a", "resource": "r", "context": {"n": 5}, "n": 5});
    let input = input.as_object().unwrap();
    let allowed = trace(&compiled, rego, input, &LIMITS);
    assert_eq!(remedy(&compiled, rego, input, &LIMITS, &allowed, MOST, later()), []);
    let failed = Trace { verdict: Verdict::Deny, error: Some("limit".into()), ..allowed };
    assert_eq!(remedy(&compiled, rego, input, &LIMITS, &failed, MOST, later()), []);
}

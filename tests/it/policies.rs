//! The shipped policies, by the suites in `tests/policy_tests`, through the engine as a worker runs
//! them.

mod metadata;
mod suite;
mod worked;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use sluicegate::domain::{
    CheckRequest, FailMode, Identity, Policy, PolicyMode, Scope, Severity, Status, Verdict, input,
};
use sluicegate::engine::{
    Check, CompileLimits, Compiled, Entry, EvaluationLimits, Evaluator, PolicySet, compile,
    with_defaults,
};

use self::suite::{Case, Expected, Suite};

const LIMITS: EvaluationLimits = EvaluationLimits {
    instructions: 25_000,
    // A debug build on a busy machine; the instructions are what bounds a policy here.
    time: Duration::from_secs(10),
    memory: 32 << 20,
    reasons: 100,
    reason_bytes: 512,
};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Names of the shipped policies.
fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rego"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn rego(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.rego"))).unwrap()
}

fn compiled(name: &str) -> Compiled {
    compile(name, &rego(name), &CompileLimits { bytes: 256 << 10, nesting: 16 })
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn entry(name: &str, compiled: &Compiled, parameters: Map<String, Value>) -> Entry {
    let policy = Policy {
        name: name.into(),
        title: String::new(),
        description: String::new(),
        package: compiled.package.clone(),
        rego: "".into(),
        template: None,
        status: Status::Active,
        mode: PolicyMode::Enforce,
        severity: Severity::Warning,
        fail_mode: FailMode::Open,
        scope: Scope::default(),
        parameters,
        version: 1,
    };
    Entry::new(policy, Ok(compiled.clone()))
}

/// The input of a case, as the worker builds it. A suite may also give what no check could hold.
fn input_of(case: &Case) -> Map<String, Value> {
    let context = case.context.clone().unwrap_or_else(|| Value::Object(Map::new()));
    let request = CheckRequest {
        action: case.action.clone(),
        resource: case.resource.clone(),
        context: context.as_object().cloned().unwrap_or_default(),
        ..CheckRequest::default()
    };
    let mut input = input::build(&request, chrono::Utc::now());
    input.insert("context".into(), context);
    if let Some(now) = &case.now {
        input.insert("timestamp".into(), now.clone());
    }
    if let Some(usage) = &case.usage {
        input.insert("usage".into(), usage.clone());
    }
    input
}

/// What the engine says.
fn engine_says(entry: Entry, input: &Map<String, Value>) -> Expected {
    let set = PolicySet::new(vec![entry]).unwrap();
    let check = Check {
        request: &CheckRequest::default(),
        identity: &Identity::default(),
        input,
        usage: None,
        fail_mode: FailMode::Open,
        shadow: false,
    };
    let mut outcomes = Evaluator::new(LIMITS).evaluate(&set, &check);
    let outcome = outcomes.remove(0);
    assert_eq!(outcome.error, None);
    Expected {
        decision: outcome.verdict,
        deny_reasons: outcome.deny_reasons,
        warnings: outcome.warnings,
    }
}

/// What regorus' interpreter says, of inputs that the engine's types don't hold.
fn interpreter_says(
    name: &str,
    package: &str,
    input: &Map<String, Value>,
) -> anyhow::Result<Expected> {
    let mut engine = regorus::Engine::new();
    // As OPA does: a builtin that can't do its work is undefined.
    engine.set_strict_builtin_errors(false);
    engine.add_policy(name.into(), rego(name)).unwrap();
    engine.set_input(regorus::Value::from(Value::Object(input.clone())));
    let mut rule = |rule: &str| -> anyhow::Result<Value> {
        let value = engine.eval_rule(format!("data.{package}.{rule}"))?;
        Ok(serde_json::to_value(value)?)
    };
    let denied = rule("allow")? == Value::Bool(false);
    Ok(Expected {
        decision: if denied { Verdict::Deny } else { Verdict::Allow },
        deny_reasons: serde_json::from_value(rule("deny_reasons")?)?,
        warnings: serde_json::from_value(rule("warnings")?)?,
    })
}

/// Runs a suite whole, and shows every case that differs.
fn run(name: &str) {
    let suite = Suite::read(name);
    assert_eq!(suite.policy, name, "the suite names its policy");
    let compiled = compiled(name);
    let mut wrong = Vec::new();
    for case in &suite.tests {
        let mut input = input_of(case);
        let given = case.parameters.clone().unwrap_or_else(|| Value::Object(Map::new()));
        let mut said = Vec::new();
        if let Value::Object(parameters) = &given {
            let raw = engine_says(entry(name, &compiled, parameters.clone()), &input);
            said.push(("the engine", raw));
            if let Ok(filled) = with_defaults(&compiled.metadata.parameters, parameters) {
                let filled = engine_says(entry(name, &compiled, filled), &input);
                said.push(("the engine with defaults", filled));
            }
        } else {
            // Parameters that are no object can't reach the engine: its types don't hold them.
            input.insert("parameters".into(), given);
            let says = interpreter_says(name, &compiled.package, &input);
            said.push(("the interpreter", says.unwrap()));
        }
        for (who, said) in said {
            if said != case.expected {
                let (case, expected) = (&case.name, &case.expected);
                wrong.push(format!("{case}: {who} says {said:?}, expected {expected:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

#[test]
fn default_policy() {
    run("default");
}

#[test]
fn cost_control() {
    run("cost_control");
}

#[test]
fn data_privacy() {
    run("data_privacy");
}

#[test]
fn rate_limiting() {
    run("rate_limiting");
}

#[test]
fn time_restrictions() {
    run("time_restrictions");
}

#[test]
fn compliance() {
    run("compliance");
}

use std::time::Duration;

use serde_json::json;

use super::super::{
    Check, CompileLimits, EvaluationLimits, Evaluator, PolicySet, compile, mutants, with_defaults,
};
use super::*;
use crate::contract::{RequestBounds, parse_check};
use crate::domain::{FailMode, Policy, PolicyMode, PolicyOutcome, Scope, Severity, Status, input};

const LIMITS: EvaluationLimits = EvaluationLimits {
    instructions: 50_000,
    time: Duration::from_secs(10),
    memory: 32 << 20,
    reasons: 100,
    reason_bytes: 256,
};
const SHIPPED: [(&str, &str); 6] = [
    ("default", include_str!("../../policies/default.rego")),
    ("cost_control", include_str!("../../policies/cost_control.rego")),
    ("data_privacy", include_str!("../../policies/data_privacy.rego")),
    ("rate_limiting", include_str!("../../policies/rate_limiting.rego")),
    ("compliance", include_str!("../../policies/compliance.rego")),
    ("time_restrictions", include_str!("../../policies/time_restrictions.rego")),
];

fn entry(name: &str, rego: &str) -> Option<Entry> {
    let compiled = compile(name, rego, &CompileLimits { bytes: 65_536, nesting: 16 }).ok()?;
    let parameters = with_defaults(&compiled.metadata.parameters, &Map::new()).ok()?;
    let policy = Policy {
        name: name.into(),
        title: String::new(),
        description: String::new(),
        package: compiled.package.clone(),
        rego: rego.into(),
        template: None,
        status: Status::Active,
        mode: PolicyMode::Enforce,
        severity: Severity::Warning,
        fail_mode: FailMode::Open,
        scope: Scope::default(),
        parameters,
        version: 1,
    };
    Some(Entry::new(policy, Ok(compiled)))
}

fn say(evaluator: &mut Evaluator, set: &PolicySet, body: &Value, calls: u64) -> Vec<PolicyOutcome> {
    let bounds = RequestBounds { bytes: 1 << 20, nesting: 64, batch: 1 };
    let request = parse_check(body.to_string().as_bytes(), &bounds).unwrap();
    let at = "2026-03-02T23:30:00Z".parse().unwrap();
    let check = Check {
        request: &request,
        identity: &request.identity(),
        input: &input::build(&request, at),
        usage: Some(&move |_, _| Some(calls)),
        fail_mode: FailMode::Open,
        shadow: false,
    };
    evaluator.evaluate(set, &check)
}

/// Values by chance, always the same.
struct Choice(oorandom::Rand64);

impl Choice {
    fn of(&mut self, values: &[Value]) -> Value {
        values[self.0.rand_range(0..values.len() as u64) as usize].clone()
    }

    fn request(&mut self) -> Value {
        let mut request = json!({
            "action": self.of(&[json!("llm_call"), json!("file_read"), json!("code_execution"),
                json!("external_api_call"), json!("file_delete"), json!("other")]),
            "resource": self.of(&[json!({"model": "gpt-4"}), json!({"model": "o3-mini"}), json!({}),
                json!({"path": "a/.env"}), json!({"path": ["a.md", "b.pem"]}), json!("x.key"),
                json!({"url": "http://x.example"}), json!({"url": " HTTPS://y.example"}),
                json!({"language": "python", "code": "import os"}), json!("")]),
        });
        let context = json!({
            "agent": self.of(&[json!("planner"), json!("engineer")]),
            "estimated_cost_usd": self.of(&[json!(0), json!(0.0), json!(-0.0), json!(1), json!(1.0),
                json!("1"), json!(null), json!("x"), json!(true)]),
            "budget": self.of(&[json!({"remaining_usd": 0.5}), json!({"remaining_usd": "2"}), json!({}),
                json!(null), json!({"remaining_usd": null}), json!([1])]),
            "task_priority": self.of(&[json!("low"), json!("high"), json!(1)]),
        });
        let left_out = self.of(&[json!(""), json!("estimated_cost_usd"), json!("budget")]);
        let mut context = context.as_object().cloned().unwrap();
        context.remove(left_out.as_str().unwrap());
        request["context"] = Value::Object(context);
        request
    }
}

/// The promise: remembering changes nothing but the time. Also of policies that nobody wrote.
#[test]
fn what_is_remembered_is_what_would_be_said() {
    let mut remembered = 0;
    let mut choice = Choice(oorandom::Rand64::new(1));
    for (name, rego) in SHIPPED {
        let mut texts = vec![rego.to_owned()];
        texts.extend(mutants(name, rego).into_iter().map(|mutant| mutant.rego).step_by(7));
        for text in texts {
            let Some(entry) = entry(name, &text) else { continue };
            let set = PolicySet::new([entry]).unwrap();
            let mut fresh = Evaluator::new(LIMITS);
            // One that forgets all the time, and one that never has to.
            for most in [20, 100_000] {
                let mut evaluator = Evaluator::remembering(LIMITS, most);
                for _ in 0..150 {
                    let (request, calls) = (choice.request(), choice.0.rand_range(0..3) * 90);
                    let expected = say(&mut fresh, &set, &request, calls);
                    let said = say(&mut evaluator, &set, &request, calls);
                    assert_eq!(said, expected, "{request}\n{text}");
                }
                remembered += evaluator.remembered();
            }
        }
    }
    assert!(remembered > 2_000, "{remembered} were remembered");
}

fn custom(body: &str) -> PolicySet {
    PolicySet::new([entry("p", &format!("package p\n\n{body}\n")).unwrap()]).unwrap()
}

#[test]
fn values_that_are_equal_and_not_the_same_are_told_apart() {
    let set = custom("warnings contains sprintf(\"%v\", [input.n])");
    let values = [
        json!(1),
        json!(1.0),
        json!("1"),
        json!(true),
        json!("true"),
        json!(null),
        json!("null"),
        json!(-1),
        json!(0.0),
        json!([1]),
        json!([1.0]),
        json!("[1]"),
        json!({"a": 1}),
        json!("{\"a\":1}"),
        json!(18_446_744_073_709_551_615_u64),
    ];
    let mut evaluator = Evaluator::remembering(LIMITS, 1_000);
    for _ in 0..3 {
        for value in &values {
            let body = json!({"action": "a", "resource": "r", "context": {"n": value}});
            let expected = say(&mut Evaluator::new(LIMITS), &set, &body, 1);
            assert_eq!(say(&mut evaluator, &set, &body, 1), expected, "{value}");
        }
    }
    assert_eq!(evaluator.remembered(), 2 * values.len() as u64);
}

#[test]
fn an_action_that_a_policy_is_not_about_needs_no_run() {
    let set = PolicySet::new([entry(SHIPPED[3].0, SHIPPED[3].1).unwrap()]).unwrap();
    let mut evaluator = Evaluator::remembering(LIMITS, 1_000);
    for n in 0..100 {
        let body = json!({"action": "file_read", "resource": format!("{n}.md"),
            "context": {"agent": format!("agent-{n}")}});
        assert!(say(&mut evaluator, &set, &body, n)[0].warnings.is_empty());
    }
    assert_eq!(evaluator.remembered(), 99, "but for the first");
}

#[test]
fn what_never_repeats_is_given_up_and_what_is_held_is_bounded() {
    let set = custom("deny_reasons contains \"x\" if { input.action == \"a\"; input.n > 10000 }");
    let mut evaluator = Evaluator::remembering(LIMITS, 2_000);
    for n in 0..1_000 {
        let body = json!({"action": "a", "resource": "r", "context": {"n": n}});
        say(&mut evaluator, &set, &body, 1);
    }
    assert_eq!(evaluator.remembered(), 0);
    let tree = evaluator.memo().trees.values().next().unwrap();
    assert!(tree.size() < 10, "{} values are held", tree.size());
    // Large texts are never held.
    for _ in 0..10 {
        let body = json!({"action": "a", "resource": "r", "context": {"n": "x".repeat(10_000)}});
        say(&mut evaluator, &set, &body, 1);
    }
    let mut evaluator = Evaluator::remembering(LIMITS, 50);
    for n in 0..500 {
        let body = json!({"action": format!("a{}", n % 200), "resource": "r", "context": {"n": n}});
        say(&mut evaluator, &set, &body, 1);
        let memo = evaluator.memo();
        let held: usize = memo.trees.values().map(Node::size).sum();
        assert_eq!(memo.size, held);
        assert!(held <= 50 + MOST_READ_HERE, "{held}");
    }
}

/// Places that the policy above reads.
const MOST_READ_HERE: usize = 2;

#[test]
fn a_policy_that_looks_at_everything_is_always_run() {
    let set = custom("warnings contains k if some k, _ in input");
    let mut evaluator = Evaluator::remembering(LIMITS, 1_000);
    for _ in 0..3 {
        let body = json!({"action": "a", "resource": "r", "context": {"n": 1}});
        assert!(say(&mut evaluator, &set, &body, 1)[0].warnings.contains(&"usage".to_owned()));
    }
    assert_eq!(evaluator.remembered(), 0);
}

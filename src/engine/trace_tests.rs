use std::time::Duration;

use serde_json::json;

use super::super::compile::{CompileLimits, compile};
use super::*;

const LIMITS: EvaluationLimits = EvaluationLimits {
    instructions: 25_000,
    time: Duration::from_secs(10),
    memory: 32 << 20,
    reasons: 100,
    reason_bytes: 512,
};

fn traced(rego: &str, input: Value) -> Trace {
    let compiled = compile("p.rego", rego, &CompileLimits { bytes: 65_536, nesting: 16 })
        .unwrap_or_else(|error| panic!("{rego}: {error}"));
    trace(&compiled, rego, input.as_object().unwrap(), &LIMITS)
}

fn fired(trace: &Trace) -> Vec<(&str, Value, usize)> {
    trace.rules.iter().map(|r| (r.rule.as_str(), r.value.clone(), r.line)).collect()
}

const BUDGET: &str = r#"package p

default allow := true

allow := false if count(deny_reasons) > 0

deny_reasons contains "over" if {
	some cost in costs
	cost > input.budget.remaining_usd
}

deny_reasons contains "never" if {
	input.action == "other"
	input.late == 1
}

costs contains input.cost

costs contains input.estimate if is_number(input.estimate)

nobody_asks if {
	input.unused
}
"#;

#[test]
fn tells_which_definitions_held_with_line_and_value() {
    let trace = traced(BUDGET, json!({"action": "a", "cost": 2, "budget": {"remaining_usd": 1}}));
    assert_eq!(trace.verdict, Verdict::Deny);
    assert_eq!(trace.deny_reasons, ["over"]);
    assert_eq!(trace.error, None);
    assert_eq!(
        fired(&trace),
        [("allow", json!(false), 5), ("deny_reasons", json!("over"), 7), ("costs", json!(2), 17),]
    );
}

#[test]
fn tells_the_input_that_was_read() {
    let trace = traced(BUDGET, json!({"action": "a", "cost": 2, "budget": {"remaining_usd": 1}}));
    let reads: Vec<_> =
        trace.reads.iter().map(|r| (r.path.as_str(), r.value.clone(), r.lines.clone())).collect();
    assert_eq!(
        reads,
        [
            ("input.action", Some(json!("a")), vec![13]),
            ("input.budget.remaining_usd", Some(json!(1)), vec![9]),
            ("input.cost", Some(json!(2)), vec![17]),
            ("input.estimate", None, vec![19]),
        ]
    );
}

#[test]
fn tells_the_lines_that_ran_and_those_that_could() {
    let trace = traced(BUDGET, json!({"action": "a", "cost": 2, "budget": {"remaining_usd": 1}}));
    assert_eq!(trace.lines.covered, BTreeSet::from([5, 7, 8, 9, 13, 17, 19]));
    assert_eq!(trace.lines.missed().collect::<Vec<_>>(), [12, 14, 21, 22]);
    let less = traced(BUDGET, json!({"action": "other", "cost": 0, "budget": {}}));
    assert_eq!(less.verdict, Verdict::Allow);
    let mut both = trace.lines.clone();
    both.add(&less.lines);
    assert_eq!(both.missed().collect::<Vec<_>>(), [12, 21, 22]);
    assert!(both.percent() > trace.lines.percent() && both.percent() < 100.0);
}

#[test]
fn else_partial_objects_comprehensions_and_functions() {
    let rego = r#"package p

level := "high" if {
	input.n > 10
} else := "middle" if {
	input.n > 5
} else := "low"

by_name[name] := cost if {
	some name, cost in input.costs
	cost > 1
}

names := [name |
	some name, _ in by_name
	startswith(name, "a")
]

short(text) if count(text) < 3

short(text) if text == "abc"

warnings contains level
warnings contains name if {
	some name in names
	short(name)
}
warnings contains "all" if {
	every name in names {
		short(name)
	}
}
"#;
    let trace = traced(rego, json!({"n": 7, "costs": {"ab": 2, "abcd": 3, "b": 9, "ac": 1}}));
    assert_eq!(trace.error, None, "{trace:?}");
    assert_eq!(trace.warnings, ["ab", "middle"]);
    assert_eq!(
        fired(&trace),
        [
            ("level", json!("middle"), 5),
            ("by_name", json!({"ab": 2}), 9),
            ("by_name", json!({"abcd": 3}), 9),
            ("by_name", json!({"b": 9}), 9),
            ("names", json!(["ab", "abcd"]), 14),
            ("warnings", json!("middle"), 23),
            ("warnings", json!("ab"), 24),
        ]
    );
    assert!(!trace.lines.covered.contains(&28), "`all` did not hold");
    assert!(trace.lines.covered.contains(&30), "its inside was tried");
}

#[test]
fn a_failing_builtin_in_a_loop_ends_its_body_as_in_the_deciding_vm() {
    let rego = r#"package p

warnings contains "number" if {
	some text in ["x", "7"]
	to_number(text) > 1
}
warnings contains "reached" if count(input.list) >= 0
"#;
    let trace = traced(rego, json!({"list": []}));
    assert_eq!((trace.error.clone(), trace.warnings.clone()), (None, vec!["reached".to_owned()]));
    assert_eq!(fired(&trace), [("warnings", json!("reached"), 7)]);
}

#[test]
fn a_limit_is_an_error_and_what_ran_until_then_is_shown() {
    let rego = r#"package p

allow := false

warnings contains "slow" if {
	some a in input.list
	some b in input.list
	some c in input.list
	a + b + c > 9999
}
"#;
    let list: Vec<u32> = (0..100).collect();
    let trace = traced(rego, json!({"list": list}));
    assert!(trace.error.as_deref().unwrap().contains("xceeded"), "{trace:?}");
    assert_eq!(trace.verdict, Verdict::Allow);
    assert!(trace.lines.covered.contains(&9));
    assert!(!trace.lines.covered.contains(&5));
}

#[test]
fn large_values_are_described_and_imports_are_followed() {
    let rego = r#"package p

import input.budget as b
import input.context.agent

warnings contains text if text := input.text
warnings contains agent if b["remaining usd"] > input.list[0][agent]
"#;
    let input = json!({"text": "x".repeat(300), "budget": {"remaining usd": 2},
        "list": [{"a": 1}], "context": {"agent": "a", "more": "y".repeat(3_000)}});
    let trace = traced(rego, input.clone());
    assert_eq!(trace.warnings.len(), 2);
    let paths: Vec<&str> = trace.reads.iter().map(|r| r.path.as_str()).collect();
    assert_eq!(
        paths,
        ["input.budget[\"remaining usd\"]", "input.context.agent", "input.list[0]", "input.text"]
    );
    let big = "package p\nwarnings contains \"big\" if count(input.context) > 0\n";
    let trace = traced(big, input);
    let described = trace.reads[0].value.as_ref().unwrap().as_str().unwrap();
    assert!(described.starts_with("(an object of 2 members"), "{described}");
}

/// A value of sixty lines whose JSON would fill every disk there is.
#[test]
fn values_that_share_their_parts_are_described() {
    let doubled: String = (1..60).map(|n| format!("a{n} := [a{0}, a{0}]\n", n - 1)).collect();
    let rego = format!(
        "package p\n\na0 := \"x\"\n{doubled}\nwarnings contains \"deep\" if count(a59) == 2\n"
    );
    let trace = traced(&rego, json!({}));
    assert_eq!((trace.error.clone(), trace.warnings.clone()), (None, vec!["deep".to_owned()]));
    let last = trace.rules.iter().find(|rule| rule.rule == "a59").unwrap();
    assert_eq!(last.value, "(a list of 2 items)");
}

#[test]
fn a_trace_survives_json() {
    let trace = traced(BUDGET, json!({"action": "a", "cost": 2, "budget": {"remaining_usd": 1}}));
    let json = serde_json::to_string(&trace).unwrap();
    assert_eq!(serde_json::from_str::<Trace>(&json).unwrap(), trace);
}

/// The program with probes says exactly what the one that decides says.
mod agreement {
    use proptest::prelude::*;

    use super::*;

    fn policies() -> Vec<(String, String, Compiled)> {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        let mut found = Vec::new();
        for item in std::fs::read_dir(folder).unwrap() {
            let path = item.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rego") {
                let rego = std::fs::read_to_string(&path).unwrap();
                let limits = CompileLimits { bytes: 1 << 18, nesting: 16 };
                let name = path.file_stem().unwrap().to_string_lossy().into_owned();
                let compiled = compile(&name, &rego, &limits).unwrap();
                found.push((name, rego, compiled));
            }
        }
        found
    }

    fn word() -> impl Strategy<Value = Value> {
        proptest::sample::select(vec![
            json!("gpt-4"),
            json!("openai/gpt-4"),
            json!("llm_call"),
            json!("file_read"),
            json!("low"),
            json!("/srv/.env"),
            json!("https://x"),
            json!("http://x"),
            json!(0),
            json!(0.5),
            json!(2),
            json!("2.5"),
            json!("zz"),
            json!(null),
            json!(true),
            json!([]),
            json!(["gpt-4", 7]),
            json!({}),
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        #[test]
        fn shipped_policies(
            action in proptest::sample::select(vec!["llm_call", "file_read", "file_delete", "external_api_call"]),
            words in proptest::collection::vec(word(), 9),
        ) {
            for (name, rego, compiled) in policies() {
                let parameters = super::super::super::with_defaults(&compiled.metadata.parameters, &Map::new()).unwrap();
                let input = json!({
                    "action": action, "timestamp": "2024-01-01T12:00:00Z",
                    "resource": {"model": words[0], "path": words[1], "url": words[2], "region": words[8]},
                    "budget": {"remaining_usd": words[3]}, "estimated_cost_usd": words[4],
                    "estimated_cost": words[5], "task_priority": words[6], "model": words[7],
                    "usage": {"calls_in_window": words[4]}, "parameters": parameters,
                });
                let input = input.as_object().unwrap();
                let probed = Probed::new(&compiled.program);
                let more = EvaluationLimits { instructions: 200_000, ..LIMITS };
                let value = regorus::Value::from(Value::Object(input.clone()));
                let plain = say(&mut limited(compiled.program.clone(), &more), value.clone(), &more);
                let (with, noted) =
                    probed.record(|| say(&mut limited(probed.program.clone(), &more), value, &more));
                prop_assert_eq!(&plain, &with, "{}", name);
                prop_assert!(noted.lines.is_subset(&probed.lines));
                let trace = trace(&compiled, &rego, input, &LIMITS);
                let plain = plain.unwrap();
                prop_assert_eq!(trace.verdict, plain.verdict);
                let given: BTreeSet<&str> = trace.rules.iter()
                    .filter(|r| r.rule == "deny_reasons").filter_map(|r| r.value.as_str()).collect();
                prop_assert!(plain.deny_reasons.iter().all(|r| given.contains(r.as_str())), "{}: {:?}", name, trace);
            }
        }
    }
}

use serde_json::json;

use super::super::compile::{CompileLimits, compile};
use super::*;
use crate::domain::{Policy, PolicyMode, Scope, ScopeKind, Status, Verdict};

const LIMITS: EvaluationLimits = EvaluationLimits {
    instructions: 25_000,
    time: Duration::from_millis(50),
    memory: 32 << 20,
    reasons: 10,
    reason_bytes: 64,
};

fn entry(name: &str, rego: &str) -> Entry {
    let rego = format!("package p.{name}\n\n{rego}\n");
    let limits = CompileLimits { bytes: 65_536, nesting: 16 };
    let compiled = compile(name, &rego, &limits).unwrap_or_else(|e| panic!("{name}: {e}"));
    let policy = Policy {
        name: name.into(),
        title: String::new(),
        description: String::new(),
        package: format!("p.{name}"),
        rego: rego.into(),
        template: None,
        status: Status::Active,
        mode: PolicyMode::Enforce,
        severity: Severity::Warning,
        fail_mode: FailMode::Open,
        scope: Scope::default(),
        parameters: Map::new(),
        version: 1,
    };
    Entry::new(policy, Ok(compiled))
}

/// The same policy with other settings.
fn with(entry: Entry, change: impl FnOnce(&mut Policy)) -> Entry {
    let mut policy = entry.policy().clone();
    change(&mut policy);
    Entry::new(policy, entry.compiled().clone())
}

fn parameters(value: serde_json::Value) -> Map<String, serde_json::Value> {
    value.as_object().cloned().unwrap()
}

fn evaluate(entries: Vec<Entry>, body: serde_json::Value) -> Vec<PolicyOutcome> {
    let set = PolicySet::new(entries).unwrap();
    let mut evaluator = Evaluator::new(LIMITS);
    let once = evaluate_with(&mut evaluator, &set, &body);
    let again = evaluate_with(&mut evaluator, &set, &body);
    // Which limit a hostile policy meets first may differ; that it fails may not.
    let said = |outcomes: &[PolicyOutcome]| -> Vec<PolicyOutcome> {
        let blank = |o: &PolicyOutcome| o.error.as_ref().map(|_| String::new());
        outcomes.iter().map(|o| PolicyOutcome { error: blank(o), ..o.clone() }).collect()
    };
    assert_eq!(said(&once), said(&again), "a warmed VM says the same");
    once
}

fn evaluate_with(
    evaluator: &mut Evaluator,
    set: &PolicySet,
    body: &serde_json::Value,
) -> Vec<PolicyOutcome> {
    let bounds = crate::contract::RequestBounds { bytes: 1 << 20, nesting: 64, batch: 1 };
    let request = crate::contract::parse_check(body.to_string().as_bytes(), &bounds).unwrap();
    let input = crate::domain::input::build(&request, chrono::DateTime::UNIX_EPOCH);
    evaluator.evaluate(
        set,
        &Check {
            request: &request,
            identity: &request.identity(),
            input: &input,
            usage: Some(&|scope, window| match scope {
                Some(_) => Some(window + 1_000),
                None => Some(window + 1),
            }),
            fail_mode: FailMode::Open,
            shadow: false,
        },
    )
}

fn one(rego: &str) -> PolicyOutcome {
    evaluate(
        vec![entry("one", rego)],
        json!({"action": "act", "resource": {"model": "gpt-4"},
        "context": {"agent": "a", "cost": 2}}),
    )
    .remove(0)
}

#[test]
fn reasons_as_set_array_and_object_keys() {
    for reasons in ["{\"b\", \"a\"}", "[\"b\", \"a\", \"b\"]", "{\"b\": 1, \"a\": 2}"] {
        let said =
            one(&format!("allow := false\ndeny_reasons := {reasons}\nwarnings := {reasons}"));
        assert_eq!(said.verdict, Verdict::Deny, "{reasons}");
        assert_eq!(said.deny_reasons, ["a", "b"], "{reasons}");
        assert_eq!(said.warnings, ["a", "b"], "{reasons}");
        assert_eq!(said.error, None);
    }
}

#[test]
fn partial_rules_gather_and_undefined_allow_allows() {
    let said = one("allow if input.cost > 5\ndeny_reasons contains \"x\" if input.cost > 1\n\
                    warnings contains w if { w := sprintf(\"cost %v\", [input.cost]) }");
    assert_eq!(said.verdict, Verdict::Allow);
    assert_eq!(said.deny_reasons, ["x"]);
    assert_eq!(said.warnings, ["cost 2"]);
}

#[test]
fn wrong_types_are_errors_that_name_the_rule() {
    for (rego, expected) in [
        ("allow := \"no\"", "`allow` must be true or false, not a string"),
        ("allow := false\ndeny_reasons := \"x\"", "`deny_reasons` must be a set"),
        ("warnings := [1]", "`warnings` must hold strings, not a number"),
        ("warnings := [\"w\" | some i in [1,2]]\nallow := {}", "`allow`"),
    ] {
        let said = one(rego);
        assert!(said.error.as_deref().unwrap_or_default().contains(expected), "{rego}: {said:?}");
        assert_eq!(said.verdict, Verdict::Allow);
    }
}

#[test]
fn a_failing_builtin_ends_its_rule_also_under_not() {
    let said = one("default allow := true\nallow := false if not to_number(\"zz\")\n\
                    warnings contains \"reached\" if not to_number(input.agent)");
    assert_eq!((said.verdict, said.warnings.len()), (Verdict::Allow, 0), "{said:?}");
}

#[test]
fn a_builtin_that_panics_costs_one_policy_its_say() {
    let outcomes = evaluate(
        vec![
            entry("odd", "allow if strings.count(input.agent, \"\") > 0"),
            entry("sound", "allow := false\ndeny_reasons := {\"no\"}"),
        ],
        json!({"action": "a", "resource": "r", "context": {"agent": "x"}}),
    );
    assert!(outcomes[0].error.is_some(), "{outcomes:?}");
    assert_eq!(outcomes[1].deny_reasons, ["no"]);
}

#[test]
fn what_it_may_say_is_bounded() {
    let many =
        one("warnings contains w if { some i in input.context.list; w := sprintf(\"%v\", [i]) }\n\
                    allow := true");
    assert_eq!(many.error, None);
    let long = one(&format!("allow := true\nwarnings := {{\"{}\"}}", "x".repeat(65)));
    assert!(long.error.unwrap().contains("limits.reason_bytes"));
    let body = json!({"action": "a", "resource": "r",
        "context": {"list": (0..11).collect::<Vec<_>>()}});
    let many = evaluate(
        vec![entry(
            "one",
            "warnings contains w if { some i in input.list; w := sprintf(\"%v\", [i]) }",
        )],
        body,
    );
    assert!(many[0].error.as_deref().unwrap().contains("limits.reasons"), "{many:?}");
}

#[test]
fn loops_and_memory_are_bounded_and_harm_nobody_else() {
    let list: Vec<u32> = (0..200).collect();
    let body = json!({"action": "a", "resource": "r", "context": {"list": list}});
    let hostile = [
        (
            "slow",
            "allow if { count([1 | some a in input.list; some b in input.list; some c in input.list]) > 0 }",
        ),
        (
            "fat",
            "d(s) := concat(\"\", [s, s, s, s, s, s, s, s, s, s])\n\
                 allow if { count(d(d(d(d(d(d(d(\"0123456789\")))))))) > 0 }",
        ),
    ];
    for (name, rego) in hostile {
        let start = std::time::Instant::now();
        let outcomes = evaluate(
            vec![entry(name, rego), entry("zz_good", "allow := false\ndeny_reasons := {\"no\"}")],
            body.clone(),
        );
        assert!(outcomes[0].error.as_deref().unwrap().contains("xceeded"), "{outcomes:?}");
        assert_eq!(outcomes[1].deny_reasons, ["no"]);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

/// The deepest chain of calls that the instructions allow must fit the stack that the worker
/// gives its evaluation threads.
#[test]
fn a_long_chain_of_calls_fits_the_stack() {
    let chain: String = (0..2_000).map(|i| format!("f{i}(x) := f{}(x)\n", i + 1)).collect();
    let entry = entry("chain", &format!("allow := f0(false)\n{chain}f2000(x) := x"));
    let body = json!({"action": "a", "resource": "r"});
    let outcome = std::thread::Builder::new()
        .stack_size(stack_bytes(LIMITS.instructions))
        .spawn(move || {
            // Time enough: what is tested is the stack.
            let limits = EvaluationLimits { time: Duration::from_secs(60), ..LIMITS };
            let set = PolicySet::new(vec![entry]).unwrap();
            evaluate_with(&mut Evaluator::new(limits), &set, &body).remove(0)
        })
        .unwrap()
        .join()
        .unwrap();
    assert!(outcome.verdict == Verdict::Deny || outcome.error.is_some(), "{outcome:?}");
}

#[test]
fn parameters_are_each_policys_own() {
    let rego = "allow := input.cost <= input.parameters.limit";
    let strict = with(entry("strict", rego), |p| p.parameters = parameters(json!({"limit": 1})));
    let loose = with(entry("loose", rego), |p| p.parameters = parameters(json!({"limit": 9})));
    let outcomes = evaluate(
        vec![strict, loose],
        json!({"action": "a", "resource": "r", "context": {"cost": 2, "parameters": {"limit": 99}}}),
    );
    let verdicts: Vec<_> = outcomes.iter().map(|o| (o.name.as_str(), o.verdict)).collect();
    assert_eq!(verdicts, [("loose", Verdict::Allow), ("strict", Verdict::Deny)]);
}

#[test]
fn usage_is_counted_over_each_policys_own_window() {
    let rego = "warnings := {sprintf(\"%d in %d\", [input.usage.calls_in_window, input.usage.window_seconds])}";
    let window = parameters(json!({"window_seconds": 300}));
    let own = with(entry("own", rego), |p| p.parameters = window);
    let outcomes = evaluate(
        vec![entry("default", rego), own],
        json!({"action": "a", "resource": "r", "context": {"usage": {"calls_in_window": 0}}}),
    );
    assert_eq!(outcomes[0].warnings, ["61 in 60"]);
    assert_eq!(outcomes[1].warnings, ["301 in 300"]);
}

#[test]
fn scope_and_package_select() {
    let deny = "allow := false";
    let scope = Scope { kind: ScopeKind::Session, id: "s-1".into() };
    let session = with(entry("session", deny), |p| p.scope = scope);
    let inactive = with(entry("inactive", deny), |p| p.status = Status::Inactive);
    let draft = with(entry("draft", deny), |p| p.status = Status::Draft);
    let global = entry("global", "allow := true");
    let names = |context: serde_json::Value, package: Option<&str>| {
        let mut body = json!({"action": "a", "resource": "r", "context": context});
        if let Some(package) = package {
            body["package"] = package.into();
        }
        evaluate(vec![session.clone(), inactive.clone(), draft.clone(), global.clone()], body)
            .into_iter()
            .map(|o| (o.name, o.mode))
            .collect::<Vec<_>>()
    };
    let (shadow, enforce) = (Mode::Shadow, Mode::Enforce);
    let base = vec![("draft".to_owned(), shadow), ("global".to_owned(), enforce)];
    assert_eq!(names(json!({"session_id": "s-2"}), None), base);
    let and = |name: &str| [base.clone(), vec![(name.to_owned(), enforce)]].concat();
    assert_eq!(names(json!({"session_id": "s-1"}), None), and("session"));
    assert_eq!(names(json!({}), Some("p.inactive")), and("inactive"));
    assert_eq!(names(json!({}), Some("p.global")), base, "naming one adds it once");
}

#[test]
fn an_unknown_package_is_an_error_and_frees_nobody() {
    let outcomes = evaluate(
        vec![entry("cost", "allow := false")],
        json!({"action": "a", "resource": "r", "package": "p.cots"}),
    );
    assert_eq!(outcomes[0].verdict, Verdict::Deny);
    assert!(
        outcomes[1].error.as_deref().unwrap().contains("did you mean `p.cost`"),
        "{outcomes:?}"
    );
}

#[test]
fn in_shadow_every_policy_takes_part_as_a_draft() {
    let set = PolicySet::new([
        entry("enforced", "allow := false\ndeny_reasons := {\"no\"}"),
        with(entry("warned", "allow := false"), |p| p.mode = PolicyMode::Warn),
    ])
    .unwrap();
    let request = CheckRequest { package: Some("p.missing".into()), ..CheckRequest::default() };
    let check = Check {
        request: &request,
        identity: &request.identity(),
        input: &Map::new(),
        usage: None,
        fail_mode: FailMode::Closed,
        shadow: true,
    };
    let outcomes = Evaluator::new(LIMITS).evaluate(&set, &check);
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|outcome| outcome.mode == Mode::Shadow), "{outcomes:?}");
    let decision = crate::domain::combine::combine_shadow(outcomes);
    assert_eq!(decision.verdict, Verdict::Allow);
    assert_eq!(decision.would_deny, ["denied_by_warned", "no", "policy_error"]);
}

/// A policy keeps its VM over a change of the set, and never speaks with another's Rego.
#[test]
fn warm_vms_follow_the_rego_over_changes_of_the_set() {
    let mut evaluator = Evaluator::new(LIMITS);
    let body = json!({"action": "a", "resource": "r"});
    let mut verdicts = |entries: Vec<Entry>| -> Vec<Verdict> {
        let set = PolicySet::new(entries).unwrap();
        evaluate_with(&mut evaluator, &set, &body).into_iter().map(|o| o.verdict).collect()
    };
    let (allow, deny) = ("allow := true", "allow := false");
    for _ in 0..2 {
        assert_eq!(
            verdicts(vec![entry("a", allow), entry("b", deny)]),
            [Verdict::Allow, Verdict::Deny]
        );
        assert_eq!(
            verdicts(vec![entry("a", deny), entry("b", deny)]),
            [Verdict::Deny, Verdict::Deny]
        );
        assert_eq!(verdicts(vec![entry("b", allow)]), [Verdict::Allow]);
    }
}

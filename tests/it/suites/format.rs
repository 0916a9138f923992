//! The format of suites: what is read, what is refused, and that a table is a list of cases.

use std::fmt::Write as _;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};
use sluicegate::contract::RequestBounds;
use sluicegate::domain::Verdict;
use sluicegate::suites::{Case, ExpectedError, Suite, SuiteError, parse};

const BOUNDS: RequestBounds = RequestBounds { bytes: 262_144, nesting: 64, batch: 1_000 };

fn read(text: &str) -> Result<Suite, Vec<SuiteError>> {
    parse(Path::new("s_tests.yaml"), text, &BOUNDS)
}

fn cases(text: &str) -> Vec<Case> {
    read(text).unwrap_or_else(|errors| panic!("{errors:?}\n{text}")).cases
}

/// The one complaint about a suite.
fn refused(text: &str) -> SuiteError {
    let mut errors = read(text).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

const GOOD: &str = "\
policy: p
tests:
  - name: n
    description: d
    action: a
    resource: r
    context: {c: 1}
    parameters: {p: 1}
    usage: {calls_in_window: 3}
    now: 2026-03-02T10:00:00Z
    expected: {decision: deny, deny_reasons: [b, a, b], warnings: [], error: false}
";

#[test]
fn every_member_is_read() {
    let suite = read(GOOD).unwrap();
    assert_eq!((suite.policy.as_str(), suite.policy_line), ("p", 1));
    let case = &suite.cases[0];
    assert_eq!((case.name.as_str(), case.description.as_str(), case.line), ("n", "d", 3));
    assert_eq!(case.input(chrono::Utc::now())["timestamp"], json!("2026-03-02T10:00:00Z"));
    assert_eq!(case.input(chrono::Utc::now())["usage"], json!({"calls_in_window": 3}));
    assert_eq!(case.input(chrono::Utc::now())["c"], json!(1), "lifted, as a worker does");
    assert_eq!(case.parameters, json!({"p": 1}));
    assert_eq!(case.expected.decision, Some(Verdict::Deny));
    let reasons: Vec<String> = case.expected.deny_reasons.clone().unwrap().into_iter().collect();
    assert_eq!(reasons, ["a", "b"], "a set");
    assert_eq!(case.expected.error, Some(ExpectedError::Any(false)));
}

#[test]
fn what_is_unknown_is_refused_with_its_line() {
    for (place, with, line, word) in [
        ("policy: p\n", "policy: p\nother: 1\n", 2, "other"),
        ("name: n\n", "name: n\n    contxt: {}\n", 4, "contxt"),
        ("warnings: []", "warning: []", 11, "warning"),
        ("decision: deny", "decision: maybe", 11, "maybe"),
        ("error: false", "error: [1]", 11, "true, false, or a part of the error's text"),
        ("tests:\n", "defaults: {agent: x}\ntests:\n", 2, "agent"),
        ("name: n\n", "name: n\n    name: m\n", 4, "name"),
        ("policy: p\n", "", 1, "policy"),
        ("tests:\n", "tests: [\n", 2, ""),
    ] {
        let bad = GOOD.replacen(place, with, 1);
        assert_ne!(bad, GOOD);
        let error = refused(&bad);
        assert!(error.message.contains(word), "{error}\n{bad}");
        assert!(error.line.is_some_and(|at| at.abs_diff(line) <= 1), "{error}, not {line}\n{bad}");
        assert!(error.to_string().starts_with("s_tests.yaml:"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

#[test]
fn what_could_not_fail_or_could_not_be_sent_is_refused() {
    for (place, with, word) in [
        (
            "expected: {decision: deny, deny_reasons: [b, a, b], warnings: [], error: false}",
            "expected: {}",
            "could not fail",
        ),
        ("    action: a\n", "", "`action` is missing"),
        ("    resource: r\n", "", "`resource` is missing"),
        ("resource: r", "resource: [r]", "resource: must be an object or a string"),
        ("action: a", "action: \"\"", "action: must not be empty"),
        ("context: {c: 1}", "context: c", "context: must be an object"),
        ("parameters: {p: 1}", "parameters: [p]", "`parameters` must be an object"),
        ("usage: {calls_in_window: 3}", "usage: 3", "`usage` must be an object"),
        ("now: 2026-03-02T10:00:00Z", "now: tomorrow", "RFC 3339"),
        ("name: n", "name: \" \"", "`name` is empty"),
    ] {
        let bad = GOOD.replacen(place, with, 1);
        assert_ne!(bad, GOOD, "{place}");
        let error = refused(&bad);
        assert!(error.message.contains(word), "{error}");
        assert_eq!(error.line, Some(3));
    }
    // What no worker takes can be tried all the same.
    let raw = GOOD.replacen("context: {c: 1}", "context: c\n    raw: true", 1);
    assert_eq!(cases(&raw)[0].input(chrono::Utc::now())["context"], json!("c"));
}

#[test]
fn an_empty_suite_and_names_given_twice_are_refused() {
    assert!(refused("policy: p\n").message.contains("no cases"));
    assert!(refused("policy: p\ntests: []\n").message.contains("no cases"));
    let twice =
        format!("{GOOD}  - {{name: n, action: a, resource: r, expected: {{decision: allow}}}}\n");
    let error = refused(&twice);
    assert!(error.message.contains("`n`") && error.message.contains("line 3"), "{error}");
    assert_eq!(error.line, Some(12));
    // All that is wrong is said at once, in the order of the text.
    let many = "policy: p\ntests:\n  - {name: a, action: a, resource: 1, expected: {}}\n  - {name: b, resource: r, expected: {decision: deny}}\n";
    let lines: Vec<_> = read(many).unwrap_err().iter().map(|error| error.line).collect();
    assert_eq!(lines, [Some(3), Some(4)]);
}

#[test]
fn defaults_lie_under_every_case() {
    let suite = "\
policy: p
defaults:
  action: a
  resource: {model: m, size: 1}
  context: {agent: x}
  parameters: {p: 1}
  now: 2026-03-02T10:00:00Z
tests:
  - name: first
    resource: {size: 2}
    expected: {decision: allow}
table:
  columns: [name, resource.model, context.agent, decision]
  rows:
    - [second, n, _, deny]
";
    let cases = cases(suite);
    assert_eq!(cases[0].resource, json!({"model": "m", "size": 2}));
    assert_eq!(cases[1].resource, json!({"model": "n", "size": 1}));
    for case in &cases {
        assert_eq!((case.action.as_str(), &case.context), ("a", &json!({"agent": "x"})));
        assert_eq!((&case.parameters, case.moment().is_some()), (&json!({"p": 1}), true));
    }
}

#[test]
fn tables_that_say_nothing_clear_are_refused() {
    let table = |columns: &str, rows: &str| {
        format!("policy: p\ntable:\n  columns: [{columns}]\n  rows:\n{rows}")
    };
    for (columns, rows, line, word) in [
        ("action, resource", "    - [a, r]\n", 3, "could fail"),
        ("action, resource, decision", "    - [a, r]\n", 5, "2 cells and the table 3 columns"),
        ("action, resource, decison", "    - [a, r, allow]\n", 3, "`decison`"),
        (
            "action, resource, resource.path, decision",
            "    - [a, r, p, allow]\n",
            3,
            "set the same",
        ),
        ("action, action, resource, decision", "    - [a, r, p, allow]\n", 3, "set the same"),
        ("action, resource., decision", "    - [a, r, allow]\n", 3, "`resource.`"),
        ("action, resource, decision", "    - [a, r, maybe]\n", 5, "`decision`"),
        ("action, resource, deny_reasons", "    - [a, r, x]\n", 5, "`deny_reasons`"),
        ("action, resource, decision", "    - [a, _, allow]\n", 5, "`resource` is missing"),
        ("action, resource, decision", "    - [a, r, _]\n", 5, "could not fail"),
        ("action, resource, decision", "    []\n", 3, "no rows"),
    ] {
        let suite = table(columns, rows);
        let errors = read(&suite).unwrap_err();
        let hit = errors.iter().any(|e| e.line == Some(line) && e.message.contains(word));
        assert!(hit, "{word}: {errors:?}\n{suite}");
    }
    let unnamed = table("action, resource, decision", "    - [a, r, allow]\n    - [a, r, deny]\n");
    let names: Vec<String> = cases(&unnamed).into_iter().map(|case| case.name).collect();
    assert_eq!(names, ["row 1: a, r", "row 2: a, r"]);
}

/// Any value that a cell may hold and that is not the mark for one left out.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~]{0,12}".prop_filter("left out", |text| text != "_").prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z]{1,4}", inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A row is the case that the list would hold.
    #[test]
    fn a_table_is_a_list_of_cases(
        rows in proptest::collection::vec(
            (value(), value(), any::<bool>(), proptest::collection::vec("[a-z_]{2,8}", 0..3)), 1..6),
    ) {
        let mut list = "policy: p\ntests:\n".to_owned();
        let mut table = "policy: p\ntable:\n  columns: [name, action, resource.deep.er, context, \
            usage.calls_in_window, decision, deny_reasons]\n  rows:\n".to_owned();
        for (number, (inner, context, deny, reasons)) in rows.iter().enumerate() {
            let decision = if *deny { "deny" } else { "allow" };
            // JSON is YAML.
            let expected = json!({"decision": decision, "deny_reasons": reasons});
            let case = json!({"name": format!("n{number}"), "action": "a", "raw": false,
                "resource": {"deep": {"er": inner}}, "context": {"c": context},
                "usage": {"calls_in_window": number}, "expected": expected});
            writeln!(list, "  - {case}").unwrap();
            let row = json!([format!("n{number}"), "a", inner, {"c": context}, number, decision,
                reasons]);
            writeln!(table, "    - {row}").unwrap();
        }
        let without_lines = |text: &str| -> Vec<Case> {
            cases(text).into_iter().map(|case| Case { line: 0, ..case }).collect()
        };
        prop_assert_eq!(without_lines(&list), without_lines(&table));
    }

    /// Whatever the text: an answer, no panic.
    #[test]
    fn any_text_is_read_or_refused(text in "(policy|tests|table|- |name|: |\\[|\\{|\\n|  |[a-z]){0,60}") {
        let _ = read(&text);
    }
}

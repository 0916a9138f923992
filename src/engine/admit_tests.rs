use std::time::{Duration, Instant};

use super::*;

pub(super) const LIMITS: CompileLimits = CompileLimits { bytes: 65_536, nesting: 16 };
pub(super) const EVALUATION: EvaluationLimits = EvaluationLimits {
    instructions: 25_000,
    time: Duration::from_millis(50),
    memory: 32 << 20,
    reasons: 100,
    reason_bytes: 512,
};

fn refused(rego: &str) -> Vec<Finding> {
    match admit("p.rego", rego, &LIMITS, &EVALUATION) {
        Ok(_) => panic!("taken: {rego}"),
        Err(findings) => findings,
    }
}

#[test]
fn shipped_policies_come_in_without_a_word() {
    for item in std::fs::read_dir("policies").unwrap() {
        let path = item.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rego") {
            let rego = std::fs::read_to_string(&path).unwrap();
            let limits = CompileLimits { bytes: 1 << 18, nesting: 16 };
            let admitted = admit("p.rego", &rego, &limits, &EVALUATION);
            let admitted = admitted.unwrap_or_else(|found| panic!("{path:?}: {found:?}"));
            assert_eq!(admitted.warnings, [], "{path:?}");
        }
    }
}

#[test]
fn entry_rules_must_give_what_the_system_can_read() {
    let cases = [
        ("allow contains \"x\" if input.a", 3, "not a set"),
        ("allow(x) := x", 3, "not a function"),
        ("allow[x] := true if some x in input.a", 3, "not an object"),
        ("allow := \"no\" if input.a", 3, "not a string"),
        ("default allow := 1", 3, "not a number"),
        ("allow := true if {\n\tinput.a\n} else := {}", 5, "not an object"),
        ("warnings if input.a", 3, "is true where this holds"),
        ("allow := true\n\ndeny_reasons := \"x\"", 5, "not a string"),
        ("deny_reasons(x) := x\n\nallow := true", 3, "not a function"),
        ("warnings contains 1 if input.a", 3, "not a number"),
        ("warnings := [\"x\",\n\t{}]", 4, "not an object"),
    ];
    for (body, line, expected) in cases {
        let findings = refused(&format!("package p\n\n{body}\n"));
        let found = findings.iter().find(|f| f.code == "entry-type");
        let found = found.unwrap_or_else(|| panic!("{body}: {findings:?}"));
        assert_eq!(found.line, Some(line), "{body}: {found:?}");
        assert!(found.message.contains(expected), "{body}: {found:?}");
        assert!(found.to_string().starts_with(&format!("p.rego:{line}:")), "{found}");
    }
}

#[test]
fn forbidden_builtins_are_named_where_they_are_called() {
    let findings = refused(
        "package p\n\nallow if {\n\tinput.a\n\ttime.now_ns() > 5\n}\n\n\
         unused if count(numbers.range(1, 9)) > 0\n\nalso if http.send({})\n",
    );
    let found: Vec<_> = findings.iter().map(|f| (f.code.as_str(), f.line, f.column)).collect();
    let builtin = "builtin";
    assert_eq!(
        found,
        [(builtin, Some(5), Some(2)), (builtin, Some(8), Some(17)), (builtin, Some(10), Some(9))]
    );
    assert!(findings[0].help.contains("input.timestamp"));
}

#[test]
fn refusals_of_the_compiler_have_a_place_too() {
    let findings = refused("package p\n\nallow if f(1)\n\nf(x) := f(x)\n");
    assert_eq!((findings[0].code.as_str(), findings[0].line), ("recursion", Some(5)));
    let findings = refused("# x\npackage p\n\nx := 1\n");
    assert_eq!((findings[0].code.as_str(), findings[0].line), ("no-entry", Some(2)));
    let findings = refused("package sluicegate.p\n\nallow := true\n");
    assert_eq!((findings[0].code.as_str(), findings[0].line), ("package", Some(1)));
}

#[test]
fn size_and_complexity_are_bounded_in_time() {
    let start = Instant::now();
    let lines = format!("package p\nallow := true\n{}", "# x\n".repeat(6_000));
    assert!(refused(&lines)[0].message.contains("lines"));
    let rules: String = (0..1_100).map(|n| format!("r{n} := {n}\n")).collect();
    assert!(refused(&format!("package p\nallow := true\n{rules}"))[0].message.contains("1101"));
    let sum = format!("package p\nallow := true\nx := 0 {}\n", "+ 1\n".repeat(4_500));
    let findings = refused(&sum);
    assert_eq!((findings[0].code.as_str(), findings[0].line), ("too-complex", Some(3)));
    assert_eq!(refused(&"x".repeat(70_000))[0].code, "too-large");
    assert_eq!(refused(&format!("package p\nallow := {}", "[".repeat(40)))[0].code, "too-deep");
    let slow = "package p\nallow := true\nlist := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]\n\
                test_slow if count([1 | some a in list; some b in list; some c in list; \
                some d in list; some e in list; some f in list; a+b+c+d+e+f > 999]) > 0\n";
    let findings = refused(slow);
    assert_eq!(findings[0].code, "test-failed");
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn parameters_must_be_a_schema_that_its_defaults_satisfy() {
    let policy = |parameters: &str| {
        format!(
            "# METADATA\n# custom:\n#   parameters:\n{parameters}package p\n\n\
             allow := input.parameters.limit > 1\n"
        )
    };
    let cases = [
        ("#     type: array\n", Some(3), "type object"),
        ("#     type: 7\n", Some(3), "type object"),
        ("#     properties: {limit: {type: 7}}\n", Some(3), "no JSON Schema"),
        (
            "#     properties:\n#       limit:\n#         type: integer\n#         default: many\n",
            Some(5),
            "the default of `limit`",
        ),
    ];
    for (parameters, line, expected) in cases {
        let findings = refused(&policy(parameters));
        assert_eq!(findings[0].code, "parameters", "{findings:?}");
        assert_eq!(findings[0].line, line, "{findings:?}");
        assert!(findings[0].message.contains(expected), "{findings:?}");
    }
    let required = "#     required: [limit]\n#     properties: {limit: {type: integer}}\n";
    assert!(admit("p.rego", &policy(required), &LIMITS, &EVALUATION).is_ok(), "must be given");
}

#[test]
fn its_own_tests_must_pass_and_do_not_disturb_the_program() {
    let policy = "package p\n\ndefault allow := true\n\nallow := false if input.cost > 1\n\n";
    let good = format!("{policy}test_dear if not allow with input as {{\"cost\": 2}}\n");
    let admitted = admit("p.rego", &good, &LIMITS, &EVALUATION).unwrap();
    assert_eq!(admitted.warnings, []);
    let input = Map::from_iter([("cost".to_owned(), Value::from(2))]);
    let trace = super::super::trace(&admitted.compiled, &good, &input, &EVALUATION);
    assert_eq!(trace.verdict, crate::domain::Verdict::Deny);
    assert!(!trace.lines.coverable.contains(&7), "tests are not covered");

    let bad = format!("{policy}test_dear if {{\n\tallow with input as {{\"cost\": 2}}\n}}\n");
    let findings = refused(&bad);
    assert_eq!((findings[0].code.as_str(), findings[0].line), ("test-failed", Some(7)));
    assert!(findings[0].message.contains("`test_dear`"));
}

#[test]
fn all_errors_come_at_once_and_in_order() {
    let findings = refused(
        "package p\n\nwarnings contains 1 if input.a\n\nallow if time.now_ns() > 1\n\ndeny_reasons := 5\n",
    );
    let found: Vec<_> = findings.iter().map(|f| (f.line.unwrap(), f.code.as_str())).collect();
    assert_eq!(found, [(3, "entry-type"), (5, "builtin"), (7, "entry-type")]);
}

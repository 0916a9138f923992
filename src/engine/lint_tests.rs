use super::super::admit::admit;
use super::super::compile::CompileLimits;
use super::super::evaluate::EvaluationLimits;
use super::*;

fn warned(rego: &str) -> Vec<(String, usize, String)> {
    let limits = CompileLimits { bytes: 65_536, nesting: 16 };
    let evaluation = EvaluationLimits {
        instructions: 25_000,
        time: std::time::Duration::from_millis(50),
        memory: 32 << 20,
        reasons: 100,
        reason_bytes: 512,
    };
    let admitted = admit("p.rego", rego, &limits, &evaluation);
    let admitted = admitted.unwrap_or_else(|found| panic!("{rego}: {found:?}"));
    let shown = |f: Finding| (f.code, f.line.unwrap_or(0), format!("{} {}", f.message, f.help));
    admitted.warnings.into_iter().map(shown).collect()
}

fn codes(body: &str) -> Vec<(String, usize)> {
    let rego = format!("package p\n\n{body}\n");
    warned(&rego).into_iter().map(|(code, line, _)| (code, line)).collect()
}

fn one(code: &str, line: usize) -> Vec<(String, usize)> {
    vec![(code.to_owned(), line)]
}

const DENY: &str = "default allow := true\nallow := false if count(deny_reasons) > 0\n";

#[test]
fn reasons_that_can_never_deny() {
    let reasons = "deny_reasons contains \"x\" if input.action == \"a\"\n";
    assert_eq!(codes(reasons), one("deny-reasons-without-allow", 3));
    assert_eq!(codes(&format!("allow := true\n{reasons}")), one("never-denies", 3));
    assert_eq!(codes(&format!("allow if input.user\n{reasons}")), one("never-denies", 3));
    assert_eq!(codes(&format!("{DENY}{reasons}")), []);
    assert_eq!(codes(&format!("default allow := false\nallow if input.user\n{reasons}")), []);
    assert_eq!(codes("allow := true\ndeny_reasons := set()"), [], "nothing to deny is meant");
    assert_eq!(codes(&format!("allow := count(deny_reasons) == 0\n{reasons}")), []);
}

#[test]
fn rules_that_nothing_uses() {
    let found = codes(
        "allow := a\na if input.user\nb if c\nc if input.user\nf(x) := x\nf(1) := 1\ntest_b if not c",
    );
    let unused = |line| ("unused-rule".to_owned(), line);
    assert_eq!(found, [unused(5), unused(6), unused(7)]);
}

#[test]
fn conditions_that_do_not_depend_on_the_input() {
    assert_eq!(
        codes("warnings contains \"x\" if {\n\tinput.user\n\t1 > 2\n}"),
        one("never-fires", 5)
    );
    assert_eq!(
        codes("warnings contains \"x\" if {\n\ttrue\n\tinput.user\n}"),
        one("constant-condition", 4)
    );
    assert_eq!(codes("warnings contains \"x\" if false"), one("never-fires", 3));
    assert_eq!(codes("warnings contains \"x\" if not \"a\" == \"a\""), one("never-fires", 3));
    let both = "warnings contains \"x\" if {\n\tinput.action == \"a\"\n\t\"b\" == input.action\n}";
    assert_eq!(codes(both), one("never-fires", 5));
    let loops = "warnings contains \"x\" if {\n\tinput.list[_] == 1\n\tinput.list[_] == 2\n}";
    assert_eq!(codes(loops), [], "two members may differ");
}

#[test]
fn members_of_the_input_that_look_misspelled() {
    let read = |path: &str| codes(&format!("warnings contains \"x\" if {path} == 1"));
    for path in [
        "input.paramters.x",
        "input.bugdet.remaining_usd",
        "input.context.sesion_id",
        "input.usr",
        "input.usage.calls",
    ] {
        assert_eq!(read(path), one("unknown-input", 3), "{path}");
    }
    for path in [
        "input.users",
        "input.models",
        "input.experiment",
        "input.context.dataset",
        "input.resource.modle",
        "input.usage.calls_in_window",
    ] {
        assert_eq!(read(path), [], "{path}");
    }
    let found = warned("package p\n\nwarnings contains \"x\" if input.bugdet == 1\n");
    assert!(found[0].2.contains("did you mean `budget`"), "{found:?}");
}

#[test]
fn parameters_declared_and_read() {
    let with = |body: &str| {
        warned(&format!(
            "# METADATA\n# custom:\n#   parameters:\n#     properties:\n#       limit: {{type: integer}}\n\
             #       window_seconds: {{type: integer}}\npackage p\n\n{body}\n"
        ))
    };
    assert_eq!(with("allow := input.parameters.limit > 1"), []);
    assert_eq!(with("allow := object.get(input.parameters, \"limit\", 1) > 1"), []);
    let found = with("allow := input.parameters.limt > 1");
    assert_eq!((found[0].0.as_str(), found[0].1), ("unused-parameter", 5));
    assert_eq!((found[1].0.as_str(), found[1].1), ("unknown-parameter", 9));
    assert!(found[1].2.contains("did you mean `limit`"));
    let found = warned("package p\n\nallow := input.parameters.anything > 1\n");
    assert!(found[0].2.contains("declare it"), "{found:?}");
}

#[test]
fn complete_rules_with_two_values_at_once() {
    let conflict = |bodies: [&str; 2]| {
        codes(&format!("allow := true if {}\nallow := false if {}", bodies[0], bodies[1]))
    };
    assert_eq!(conflict(["input.user", "input.agent"]), one("conflicting-rules", 4));
    for bodies in [
        ["input.user", "not input.user"],
        ["input.action == \"a\"", "input.action == \"b\""],
        ["input.n > 1", "input.n <= 1"],
    ] {
        assert_eq!(conflict(bodies), [], "{bodies:?}");
    }
    assert_eq!(codes("allow := false if input.user\nallow := false if input.agent"), []);
    let overlap = ["input.n >= 1", "input.n <= 1"];
    assert_eq!(conflict(overlap), one("conflicting-rules", 4));
}

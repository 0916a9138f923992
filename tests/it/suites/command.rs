//! `sluicegate test`, as people run it.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::worker::support::Program;
use crate::worker::support::program::Said;

pub(super) const POLICY: &str = r#"# METADATA
# custom:
#   parameters:
#     type: object
#     additionalProperties: false
#     properties:
#       max: {type: number, default: 100}
package lab.uploads

default allow := true

allow := false if count(deny_reasons) > 0

deny_reasons contains "too_large" if {
	input.action == "upload"
	input.resource.megabytes > input.parameters.max
}

deny_reasons contains "at_night" if {
	time.clock(time.parse_rfc3339_ns(input.timestamp))[0] < 6
}

warnings contains "size_not_stated" if {
	input.action == "upload"
	not is_number(input.resource.megabytes)
}
"#;

const SUITE: &str = "\
policy: uploads
defaults:
  action: upload
  now: 2026-03-02T10:00:00Z
tests:
  - name: at_the_limit
    resource: {megabytes: 100}
    expected: {decision: allow, deny_reasons: [], warnings: []}
  - name: above_the_limit
    resource: {megabytes: 101}
    expected: {decision: deny, deny_reasons: [too_large]}
  - name: another_limit
    resource: {megabytes: 101}
    parameters: {max: 200}
    expected: {decision: allow}
  - name: not_stated
    resource: a-file
    expected: {decision: allow, warnings: [size_not_stated]}
";

/// `sluicegate test` in a folder with a policy and a suite.
fn test(suite: &str, arguments: &[&str]) -> Program {
    Program::new(&[&["test"], arguments].concat())
        .file("policies/uploads.rego", POLICY)
        .file("tests/policy_tests/uploads_tests.yaml", suite)
}

fn run(suite: &str, arguments: &[&str]) -> Said {
    test(suite, arguments).run()
}

fn cases(said: &Said) -> Vec<Value> {
    said.json()["suites"][0]["cases"].as_array().unwrap().clone()
}

#[test]
fn a_good_suite() {
    let said = run(SUITE, &[]).ended_with(0);
    assert!(said.out.contains("ok  uploads  4 passed"), "{said:?}");
    assert!(said.out.contains("4 passed  1 suite in "), "{said:?}");
    assert!(!said.out.contains("at_the_limit"), "only with --verbose");
    assert!(!said.out.contains('\u{1b}') && said.err.is_empty(), "{said:?}");
    let said = run(SUITE, &["--verbose"]).ended_with(0);
    assert!(said.out.contains("  ok  at_the_limit"), "{said:?}");
    // The same by name of the file, of the folder, and with the policies elsewhere.
    for paths in [&["tests/policy_tests/uploads_tests.yaml"][..], &["tests"], &["tests", "tests"]] {
        let said = run(SUITE, paths).ended_with(0);
        assert!(said.out.contains("4 passed  1 suite"), "{paths:?}: {said:?}");
    }
    let moved = Program::new(&["test", "s", "--policies", "rego"])
        .file("rego/uploads.rego", POLICY)
        .file("s/a/uploads_test.yml", SUITE);
    assert!(moved.run().ended_with(0).out.contains("4 passed"));
    // Beside the suite, by its path, and without a folder of tests.
    let beside = Program::new(&["test"])
        .file("policies/uploads.rego", POLICY)
        .file("policies/uploads_tests.yaml", &SUITE.replacen("uploads", "./uploads.rego", 1));
    assert!(beside.run().ended_with(0).out.contains("4 passed"));
}

#[test]
fn a_failing_suite_shows_what_was_expected_read_and_fired() {
    let suite = SUITE.replacen("[too_large]}", "[too_big]}", 1).replacen("max: 200", "max: 100", 1);
    let said = run(&suite, &[]).ended_with(1);
    for part in [
        "FAILED  uploads  2 passed, 2 failed",
        "FAILED  above_the_limit  tests/policy_tests/uploads_tests.yaml:9",
        "    deny_reasons\n",
        "      - too_big  expected, not given",
        "      + too_large  given, not expected",
        "    decision\n      - allow  expected\n      + deny  given",
        "fired  deny_reasons = \"too_large\"  line 14",
        "read   input.resource.megabytes = 101",
        "read   input.parameters.max = 100",
        "2 passed, 2 failed",
    ] {
        assert!(said.out.contains(part), "{part}:\n{}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
}

#[test]
fn json_for_programs() {
    let suite = SUITE.replacen("decision: deny, deny_reasons: [too_large]", "decision: allow", 1);
    let said = run(&suite, &["--json"]).ended_with(1);
    assert_eq!(said.out.lines().count(), 1, "one line");
    let report = said.json();
    assert_eq!((&report["passed"], &report["failed"]), (&json!(3), &json!(1)));
    assert_eq!((&report["skipped"], &report["invalid"]), (&json!(0), &json!([])));
    assert!(report["duration_ms"].is_number());
    let suite = &report["suites"][0];
    assert_eq!(suite["policy"], json!("uploads"));
    assert_eq!(suite["file"], json!("tests/policy_tests/uploads_tests.yaml"));
    assert_eq!(suite["policy_file"], json!("policies/uploads.rego"));
    let case = &suite["cases"][1];
    assert_eq!((&case["name"], &case["line"]), (&json!("above_the_limit"), &json!(9)));
    assert_eq!(case["outcome"], json!("failed"));
    let differences = json!([{"field": "decision", "expected": "allow", "got": "deny"}]);
    assert_eq!(case["differences"], differences);
    assert_eq!(
        case["got"],
        json!({"decision": "deny", "deny_reasons": ["too_large"], "warnings": []})
    );
    let rules = case["rules"].as_array().unwrap();
    assert!(rules.contains(&json!({"rule": "deny_reasons", "value": "too_large", "line": 14})));
    let reads = case["reads"].as_array().unwrap();
    let read = reads.iter().find(|read| read["path"] == "input.resource.megabytes").unwrap();
    assert_eq!(read["value"], json!(101));
    assert_eq!(suite["cases"][0]["outcome"], json!("passed"));
    assert!(suite["cases"][0].get("rules").is_none(), "only of what failed");
}

#[test]
fn invalid_suites_end_with_3_and_the_others_are_run() {
    let two = test(SUITE, &[])
        .file("tests/policy_tests/bad_tests.yaml", "policy: uploads\ntests:\n  - nam: x\n");
    let said = two.run().ended_with(3);
    assert!(said.out.contains("INVALID  tests/policy_tests/bad_tests.yaml:3:"), "{said:?}");
    assert!(said.out.contains("`nam`") && said.out.contains("4 passed, 1 invalid"), "{said:?}");

    for (from, to, part) in [
        (
            "policy: uploads",
            "policy: upload",
            "uploads_tests.yaml:1: the policy `upload` is not there: looked for",
        ),
        ("policy: uploads", "policy: upload", "did you mean `uploads`?"),
        ("policy: uploads", "policy: nowhere", "--policies"),
        ("policy: uploads", "policy: ../x.rego", "tests/policy_tests/../x.rego"),
        ("{max: 200}", "{mx: 200}", "uploads_tests.yaml:12: another_limit:"),
        ("{max: 200}", "{mx: 200}", "`raw: true`"),
        ("{max: 200}", "{max: many}", "`max`"),
        ("not_stated\n", "at_the_limit\n", "line 6"),
    ] {
        let suite = SUITE.replacen(from, to, 1);
        assert_ne!(suite, SUITE);
        let said = run(&suite, &[]).ended_with(3);
        assert!(said.out.contains(part), "{part}: {said:?}");
        let report = run(&suite, &["--json"]).ended_with(3).json();
        assert!(report["invalid"][0]["line"].is_number(), "{report}");
    }
    let broken =
        test(SUITE, &[]).file("policies/uploads.rego", "package lab.uploads\nallow = if\n");
    let said = broken.run().ended_with(3);
    assert!(said.out.contains("policies/uploads.rego") && said.out.contains(":2:"), "{said:?}");

    for (arguments, part) in [
        (&["nowhere"][..], "nowhere: can't be read"),
        (&["policies/uploads.rego"], "rules whose names begin with test_"),
        (&["policies"], "holds no tests"),
        (&["--filter", "no_such_name"], "no test's name matches --filter"),
    ] {
        let said = run(SUITE, arguments).ended_with(3);
        assert!(said.out.contains(part), "{part}: {said:?}");
    }
    let said = run(SUITE, &["--filter", "[x"]).ended_with(1);
    assert!(said.err.contains("--filter"), "{said:?}");
}

#[test]
fn a_failing_policy_fails_its_cases_unless_that_is_expected() {
    let policy = "package lab.uploads\nallow := input.context.answer\n";
    let suite = |expected: &str| {
        format!(
            "policy: uploads\ntests:\n  - name: n\n    action: upload\n    resource: r\n    \
             context: {{answer: maybe}}\n    expected: {{{expected}}}\n"
        )
    };
    let ask =
        |expected| test(&suite(expected), &["--json"]).file("policies/uploads.rego", policy).run();
    let report = ask("decision: allow").ended_with(1);
    let differences = cases(&report)[0]["differences"].clone();
    assert_eq!(differences[0]["field"], json!("error"));
    assert!(differences[0]["got"].as_str().unwrap().contains("`allow` must be true or false"));
    ask("error: true").ended_with(0);
    ask("error: must be true or false").ended_with(0);
    ask("error: something else").ended_with(1);
}

#[test]
fn what_the_author_should_look_at_is_a_hint() {
    let policy = "package lab.uploads\n\ndeny_reasons contains \"x\" if input.action == \"a\"\n";
    let suite = "policy: uploads\ntests:\n  - {name: n, action: b, resource: r, expected: {decision: allow}}\n";
    let said = test(suite, &[]).file("policies/uploads.rego", policy).run().ended_with(0);
    assert!(said.out.contains("hint  policies/uploads.rego:3"), "{said:?}");
    let report = test(suite, &["--json"]).file("policies/uploads.rego", policy).run().json();
    assert!(report["hints"][0]["message"].as_str().unwrap().contains("allow"), "{report}");
    assert!(run(SUITE, &["--json"]).json().get("hints").is_none());
}

#[test]
fn a_filter_picks_by_text_or_pattern() {
    for (filter, count) in [
        ("limit", 3),
        ("*_the_limit", 2),
        ("uploads/not_*", 1),
        ("uploads/", 4),
        ("at_the_limit", 1),
    ] {
        let report = run(SUITE, &["--json", "--filter", filter]).ended_with(0);
        assert_eq!(cases(&report).len(), count, "{filter}");
    }
}

#[test]
fn coverage_names_lines_and_has_a_threshold() {
    let said = run(SUITE, &["--coverage"]).ended_with(0);
    assert!(said.out.contains("policies/uploads.rego  not covered: "), "{said:?}");
    let report = run(SUITE, &["--coverage", "--json"]).ended_with(0).json();
    let coverage = &report["coverage"][0];
    assert_eq!(coverage["file"], json!("policies/uploads.rego"));
    let percent = coverage["percent"].as_f64().unwrap();
    assert!(percent > 50.0 && percent < 100.0, "{coverage}");
    let below = format!("{}", percent.floor());
    run(SUITE, &["--coverage-threshold", &below]).ended_with(0);
    let said = run(SUITE, &["--coverage-threshold", "100"]).ended_with(1);
    assert!(said.out.contains("below --coverage-threshold 100"), "{said:?}");

    let night = "  - name: night\n    resource: r\n    now: 2026-03-02T05:00:00Z\n    expected: {deny_reasons: [at_night]}\n";
    let whole = format!("{SUITE}{night}");
    let said = run(&whole, &["--coverage-threshold", "100%"]).ended_with(0);
    assert!(said.out.contains("100.0%"), "{said:?}");
    for wrong in ["101", "-1", "much"] {
        run(SUITE, &[&format!("--coverage-threshold={wrong}")]).ended_with(64);
    }
}

#[test]
fn junit_is_xml_that_readers_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("out.xml");
    let suite = SUITE.replacen("[too_large]}", "[\"<&\\\"'>\"]}", 1);
    let two = test(&suite, &["--junit", file.to_str().unwrap()])
        .file("tests/policy_tests/bad_tests.yaml", "policy: uploads\n");
    two.run().ended_with(3);
    let xml = fs::read_to_string(&file).unwrap();
    let report = quick_junit::Report::deserialize_from_str(&xml)
        .unwrap_or_else(|error| panic!("{error}\n{xml}"));
    assert_eq!((report.tests, report.failures, report.errors), (5, 1, 1), "{xml}");
    let suite = &report.test_suites[0];
    assert_eq!((suite.name.as_str(), suite.tests, suite.failures), ("uploads", 4, 1));
    let case = &suite.test_cases[1];
    assert_eq!(case.name.as_str(), "above_the_limit");
    assert!(xml.contains("&lt;&amp;"), "what is markup is escaped: {xml}");
    assert!(xml.contains("line=\"9\""), "{xml}");
    let nowhere = folder.path().join("no/such/folder.xml");
    let said = run(SUITE, &["--junit", nowhere.to_str().unwrap()]).ended_with(1);
    assert!(said.err.contains("--junit") && said.err.contains("can't be written"), "{said:?}");
}

#[test]
fn hostile_files_are_refused_in_time() {
    let bomb: String = (0..30).fold("a0: &a0 [x]\n".to_owned(), |text, n| {
        format!("{text}a{}: &a{} [*a{n}, *a{n}, *a{n}]\n", n + 1, n + 1)
    });
    let deep = format!("policy: {}x{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in [bomb.as_str(), deep.as_str(), "\u{0}", "policy: uploads\ntests: *nobody\n"] {
        let said = run(text, &[]).ended_with(3);
        assert!(said.out.contains("INVALID") && said.out.len() < 10_000, "{}", said.out.len());
    }
    let huge = format!("policy: uploads # {}\n", "x".repeat(5 << 20));
    let said = run(&huge, &[]).ended_with(3);
    assert!(said.out.contains("split it"), "{said:?}");
}

/// The suites that come with the program.
#[test]
fn the_shipped_suites_pass_with_full_coverage() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = Program::new(&[
        "test",
        root.join("tests/policy_tests").to_str().unwrap(),
        "--policies",
        root.join("policies").to_str().unwrap(),
        "--coverage-threshold",
        "100",
        "--json",
    ])
    .run()
    .ended_with(0);
    let report = said.json();
    assert_eq!(report["suites"].as_array().unwrap().len(), 6);
    assert_eq!(report["coverage"].as_array().unwrap().len(), 6);
    for policy in report["coverage"].as_array().unwrap() {
        assert_eq!(policy["uncovered"], json!([]), "{policy}");
    }
}

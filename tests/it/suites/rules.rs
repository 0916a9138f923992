//! `test_` rules in Rego.

use serde_json::json;

use super::command::POLICY;
use crate::worker::support::Program;

const RULES: &str = r#"package lab.uploads_test

import rego.v1

import data.lab.uploads

at(size) := {
	"action": "upload",
	"resource": {"megabytes": size},
	"parameters": {"max": 100},
	"timestamp": "2026-03-02T10:00:00Z",
}

test_large if not uploads.allow with input as at(101)

test_small if uploads.allow with input as at(100)

todo_test_later if false
"#;

fn test(rules: &str, arguments: &[&str]) -> Program {
    Program::new(&[&["test"], arguments].concat())
        .file("policies/uploads.rego", POLICY)
        .file("policies/broken.rego", "package lab.broken\nallow = if\n")
        .file("policies/uploads_test.rego", rules)
}

#[test]
fn they_are_run_with_the_policies_that_they_name() {
    for paths in [&[][..], &["policies"], &["policies/uploads_test.rego"]] {
        let said = test(RULES, paths).run().ended_with(0);
        assert!(said.out.contains("lab.uploads_test  2 passed, 1 skipped"), "{said:?}");
    }
    // Away from the policy.
    let away = Program::new(&["test", "t"])
        .file("policies/uploads.rego", POLICY)
        .file("t/uploads_test.rego", RULES);
    assert!(away.run().ended_with(0).out.contains("2 passed, 1 skipped"));
    let said = test(RULES, &["--filter", "test_sm*", "--json"]).run().ended_with(0);
    let cases = said.json()["suites"][0]["cases"].clone();
    assert_eq!((cases.as_array().unwrap().len(), &cases[0]["name"]), (1, &json!("test_small")));
}

#[test]
fn one_that_is_not_true_fails_with_its_line() {
    let wrong = RULES.replacen("at(100)", "at(200)", 1);
    let said = test(&wrong, &[]).run().ended_with(1);
    assert!(said.out.contains("FAILED  test_small  policies/uploads_test.rego:16"), "{said:?}");
    assert!(said.out.contains("undefined"), "{said:?}");
}

#[test]
fn they_may_stand_in_the_policy_itself() {
    let with = format!(
        "{POLICY}\ntest_large if \"too_large\" in deny_reasons with input as {{\"action\": \
         \"upload\", \"resource\": {{\"megabytes\": 9}}, \"parameters\": {{\"max\": 1}}}}\n"
    );
    let program =
        Program::new(&["test", "--mutate", "--json"]).file("policies/uploads.rego", &with);
    let report = program.run().ended_with(0).json();
    assert_eq!(report["passed"], json!(1));
    let mutation = &report["mutation"][0];
    assert_eq!(mutation["file"], json!("policies/uploads.rego"));
    let caught = mutation["caught"].as_u64().unwrap();
    assert!(caught >= 1 && caught < mutation["mutants"].as_u64().unwrap(), "{mutation}");
}

#[test]
fn what_can_not_be_read_is_invalid_with_its_place() {
    let said = test("package lab.x\n\ntest_a if {\n", &[]).run().ended_with(3);
    assert!(said.out.contains("INVALID  policies/uploads_test.rego:"), "{said:?}");
    let named = RULES.replacen("data.lab.uploads", "data.lab.broken", 1);
    let said = test(&named, &[]).run().ended_with(3);
    assert!(said.out.contains("INVALID  policies/broken.rego:2"), "{said:?}");
}

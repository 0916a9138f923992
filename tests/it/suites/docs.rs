//! The examples of docs/testing.md are run.

use crate::support::documents::{document, fences};
use crate::worker::support::Program;

/// The blocks of docs/testing.md in a language.
fn examples(language: &str) -> Vec<String> {
    fences(&document("docs/testing.md"), language)
}

/// The policy that the examples are about.
fn policy() -> String {
    let policies = fences(&document("docs/policies.md"), "rego");
    policies.into_iter().find(|rego| rego.contains("package lab.large_uploads")).unwrap()
}

#[test]
fn every_suite_in_the_guide_passes() {
    let suites = examples("yaml");
    assert!(suites.len() >= 2);
    for suite in suites {
        let program = Program::new(&["test"])
            .file("policies/large_uploads.rego", &policy())
            .file("policies/large_uploads_tests.yaml", &suite);
        let said = program.run().ended_with(0);
        assert!(said.out.contains(" 4 passed"), "{said:?}\n{suite}");
    }
}

#[test]
fn the_tests_in_rego_pass_and_the_suite_covers_the_policy() {
    let rules = &examples("rego")[0];
    let suite = &examples("yaml")[0];
    let program = Program::new(&["test", "--coverage-threshold", "100"])
        .file("policies/large_uploads.rego", &policy())
        .file("policies/large_uploads_tests.yaml", suite)
        .file("policies/large_uploads_test.rego", rules);
    let said = program.run().ended_with(0);
    assert!(said.out.contains("5 passed  2 suites"), "{said:?}");
}

#[test]
fn a_failure_looks_as_the_guide_says() {
    let suite = examples("yaml")[0].replacen(
        "{decision: deny, deny_reasons: [upload_too_large], warnings: []}",
        "{decision: allow}",
        1,
    );
    let program = Program::new(&["test"])
        .file("policies/large_uploads.rego", &policy())
        .file("policies/large_uploads_tests.yaml", &suite);
    let said = program.run().ended_with(1);
    let shown = examples("text").remove(0);
    let without_time = |text: &str| text.trim().rsplit_once(" in ").unwrap().0.to_owned();
    assert_eq!(without_time(&said.out), without_time(&shown), "{}", said.out);
}

#[test]
fn the_commands_of_the_guide_are_understood() {
    let mut tried = 0;
    for line in examples("sh").join("\n").lines() {
        let command = line.split('#').next().unwrap().trim();
        let Some(rest) = command.strip_prefix("sluicegate ") else { continue };
        let arguments: Vec<&str> = rest.split_whitespace().map(|a| a.trim_matches('\'')).collect();
        let arguments: Vec<&str> =
            arguments.into_iter().filter(|argument| *argument != "--watch").collect();
        let said = Program::new(&arguments)
            .file("policies/large_uploads.rego", &policy())
            .file("policies/large_uploads_tests.yaml", &examples("yaml")[0])
            .file("target/keep", "")
            .run();
        assert!([0, 3].contains(&said.code), "{line}: {said:?}");
        tried += 1;
    }
    assert!(tried >= 5);
}

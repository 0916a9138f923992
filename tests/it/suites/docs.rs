//! The examples of docs/testing.md are run.

use std::fs;
use std::path::Path;

use crate::worker::support::Program;

/// The fenced blocks of a language in a document.
fn fences(document: &str, language: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(path).unwrap();
    let begin = format!("```{language}\n");
    let blocks = text.split(&begin).skip(1).filter_map(|rest| rest.split("\n```").next());
    blocks.map(str::to_owned).collect()
}

/// The policy that the examples are about.
fn policy() -> String {
    let policies = fences("docs/policies.md", "rego");
    policies.into_iter().find(|rego| rego.contains("package lab.large_uploads")).unwrap()
}

#[test]
fn every_suite_in_the_guide_passes() {
    let suites = fences("docs/testing.md", "yaml");
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
    let rules = &fences("docs/testing.md", "rego")[0];
    let suite = &fences("docs/testing.md", "yaml")[0];
    let program = Program::new(&["test", "--coverage-threshold", "100"])
        .file("policies/large_uploads.rego", &policy())
        .file("policies/large_uploads_tests.yaml", suite)
        .file("policies/large_uploads_test.rego", rules);
    let said = program.run().ended_with(0);
    assert!(said.out.contains("5 passed  2 suites"), "{said:?}");
}

#[test]
fn a_failure_looks_as_the_guide_says() {
    let suite = fences("docs/testing.md", "yaml")[0].replacen(
        "{decision: deny, deny_reasons: [upload_too_large], warnings: []}",
        "{decision: allow}",
        1,
    );
    let program = Program::new(&["test"])
        .file("policies/large_uploads.rego", &policy())
        .file("policies/large_uploads_tests.yaml", &suite);
    let said = program.run().ended_with(1);
    let shown = fences("docs/testing.md", "text").remove(0);
    let without_time = |text: &str| text.trim().rsplit_once(" in ").unwrap().0.to_owned();
    assert_eq!(without_time(&said.out), without_time(&shown), "{}", said.out);
}

#[test]
fn the_commands_of_the_guide_are_understood() {
    let mut tried = 0;
    for line in fences("docs/testing.md", "sh").join("\n").lines() {
        let command = line.split('#').next().unwrap().trim();
        let Some(rest) = command.strip_prefix("sluicegate ") else { continue };
        let arguments: Vec<&str> = rest.split_whitespace().map(|a| a.trim_matches('\'')).collect();
        let arguments: Vec<&str> =
            arguments.into_iter().filter(|argument| *argument != "--watch").collect();
        let said = Program::new(&arguments)
            .file("policies/large_uploads.rego", &policy())
            .file("policies/large_uploads_tests.yaml", &fences("docs/testing.md", "yaml")[0])
            .file("target/keep", "")
            .run();
        assert!([0, 3].contains(&said.code), "{line}: {said:?}");
        tried += 1;
    }
    assert!(tried >= 5);
}

//! The suites: one YAML file for each policy.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use sluicegate::domain::Verdict;

/// One file of `tests/policy_tests`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Suite {
    pub(super) policy: String,
    pub(super) tests: Vec<Case>,
}

/// One test.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) action: String,
    pub(super) resource: Value,
    pub(super) context: Option<Value>,
    pub(super) parameters: Option<Value>,
    pub(super) usage: Option<Value>,
    pub(super) now: Option<Value>,
    pub(super) expected: Expected,
}

/// What a policy says, whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expected {
    pub(super) decision: Verdict,
    pub(super) deny_reasons: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Suite {
    pub(super) fn read(policy: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/policy_tests");
        let text = std::fs::read_to_string(folder.join(format!("{policy}_tests.yaml"))).unwrap();
        Self::parse(&text).unwrap_or_else(|error| panic!("{policy}_tests.yaml: {error}"))
    }

    fn parse(text: &str) -> Result<Self, serde_saphyr::Error> {
        serde_saphyr::from_str(text)
    }
}

#[test]
fn unknown_keys_fail() {
    let case = "name: n\n    description: d\n    action: a\n    resource: r\n    expected: {decision: allow, deny_reasons: [], warnings: []}";
    let good = format!("policy: p\ntests:\n  - {case}\n");
    assert_eq!(Suite::parse(&good).unwrap().tests.len(), 1);
    for (place, with) in [
        ("policy: p\n", "policy: p\nother: 1\n"),
        ("name: n\n", "name: n\n    contxt: {}\n"),
        ("warnings: []", "warnings: [], warning: []"),
        ("decision: allow", "decision: maybe"),
    ] {
        let bad = good.replacen(place, with, 1);
        assert_ne!(bad, good);
        assert!(Suite::parse(&bad).is_err(), "{bad}");
    }
}

#[test]
fn every_shipped_policy_has_a_suite_that_says_something() {
    for policy in super::names() {
        let suite = Suite::read(&policy);
        let names: BTreeSet<&str> = suite.tests.iter().map(|case| case.name.as_str()).collect();
        assert_eq!(names.len(), suite.tests.len(), "{policy}: names are unique");
        for case in &suite.tests {
            assert!(!case.description.trim().is_empty(), "{policy}: {}", case.name);
        }
        let decisions = |verdict| suite.tests.iter().any(|c| c.expected.decision == verdict);
        assert!(decisions(Verdict::Allow), "{policy}: nothing is allowed");
        assert_eq!(decisions(Verdict::Deny), policy != "default", "{policy}: denials");
    }
}

#[test]
fn every_reason_and_warning_of_a_policy_is_in_its_suite() {
    for policy in super::names() {
        let suite = Suite::read(&policy);
        let told = super::metadata::documented(&policy);
        let all = |pick: fn(&Expected) -> &Vec<String>| -> BTreeSet<String> {
            suite.tests.iter().flat_map(|case| pick(&case.expected)).cloned().collect()
        };
        assert_eq!(all(|e| &e.deny_reasons), told.reasons, "{policy}: reasons");
        assert_eq!(all(|e| &e.warnings), told.warnings, "{policy}: warnings");
    }
}

//! The suites: one YAML file for each policy, which says all there is to say.

use std::collections::BTreeSet;

use sluicegate::domain::Verdict;
use sluicegate::suites::{Case, Expected};

fn cases(policy: &str) -> Vec<Case> {
    super::job(policy).cases.into_iter().map(|prepared| prepared.case).collect()
}

#[test]
fn every_shipped_policy_has_a_suite_that_says_something() {
    for policy in super::names() {
        let cases = cases(&policy);
        for case in &cases {
            assert!(!case.description.trim().is_empty(), "{policy}: {}", case.name);
            let Expected { decision, deny_reasons, warnings, .. } = &case.expected;
            let all = decision.is_some() && deny_reasons.is_some() && warnings.is_some();
            assert!(all, "{policy}: {} expects something of everything", case.name);
        }
        let decisions = |verdict| cases.iter().any(|c| c.expected.decision == Some(verdict));
        assert!(decisions(Verdict::Allow), "{policy}: nothing is allowed");
        assert_eq!(decisions(Verdict::Deny), policy != "default", "{policy}: denials");
    }
}

#[test]
fn every_reason_and_warning_of_a_policy_is_in_its_suite() {
    for policy in super::names() {
        let cases = cases(&policy);
        let told = super::metadata::documented(&policy);
        let all = |pick: fn(&Expected) -> &Option<BTreeSet<String>>| -> BTreeSet<String> {
            cases.iter().flat_map(|case| pick(&case.expected)).flatten().cloned().collect()
        };
        assert_eq!(all(|e| &e.deny_reasons), told.reasons, "{policy}: reasons");
        assert_eq!(all(|e| &e.warnings), told.warnings, "{policy}: warnings");
    }
}

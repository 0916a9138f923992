use proptest::prelude::*;
use serde_json::json;

use super::gate::{Gate, Limits, Why};
use crate::contract::ViolationEvent;
use crate::domain::ViolationType;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

fn violation(policy: &str, resource: &str) -> ViolationEvent {
    serde_json::from_value(json!({
        "schema": 1, "id": Uuid::now_v7(), "decision_id": Uuid::now_v7(),
        "timestamp": "2026-03-04T05:06:07Z", "worker": "w", "violation_type": "policy_denied",
        "severity": "critical", "policy_name": policy, "policy_version": 1,
        "action_taken": "blocked", "reasons": ["r"], "decision": "deny", "action": "a",
        "resource": resource, "subject": "planner",
    }))
    .unwrap()
}

const MINUTE: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits { dedup_window: MINUTE * 5, rate_limit: 3, rate_window: MINUTE, most_held: 1_000 }
}

#[test]
fn equal_ones_are_posted_once_and_summed_up_when_the_window_ends() {
    let (mut gate, start) = (Gate::new(limits()), Instant::now());
    let first = violation("p", "x");
    assert_eq!(gate.pass(&first, 0, start), Ok(0));
    for n in 1..=4 {
        let now = start + Duration::from_secs(n);
        assert_eq!(gate.pass(&violation("p", "x"), n, now), Err(Why::Duplicate(first.id)));
    }
    assert_eq!(gate.pass(&violation("q", "x"), 5, start), Ok(5), "another policy");
    let end = start + MINUTE * 5;
    assert_eq!(gate.next_due(), Some(end));
    assert!(gate.due(end - Duration::from_millis(1)).is_empty());
    let summaries = gate.due(end);
    assert_eq!(summaries.len(), 1);
    assert_eq!((summaries[0].held.len(), summaries[0].duplicates()), (4, 4));
    assert_eq!(summaries[0].examples.len(), 1);
    assert_eq!(gate.next_due(), None);
    assert_eq!(gate.pass(&violation("p", "x"), 6, end), Ok(6), "the window is over");
}

#[test]
fn beyond_the_limit_one_post_tells_of_the_rest() {
    let (mut gate, start) = (Gate::new(limits()), Instant::now());
    let at = |n: u64| start + Duration::from_secs(n);
    for n in 0..10_u64 {
        let passed = gate.pass(&violation("p", &n.to_string()), n, at(n));
        assert_eq!(passed.is_ok(), n < 3, "{n}");
    }
    assert_eq!(gate.pass(&violation("q", "y"), 99, at(9)), Ok(99), "each policy has its own");
    assert_eq!(gate.next_due(), Some(start + MINUTE));
    let summary = gate.due(start + MINUTE).pop().unwrap();
    assert_eq!((summary.held.len(), summary.duplicates(), summary.examples.len()), (7, 0, 5));
    assert!(gate.pass(&violation("p", "new"), 1, start + MINUTE).is_ok(), "a new window");
}

#[test]
fn what_is_held_is_bounded() {
    let limits = Limits { most_held: 10, ..limits() };
    let (mut gate, now) = (Gate::new(limits), Instant::now());
    let mut summed = 0;
    for n in 0..103 {
        let _ = gate.pass(&violation("p", "x"), n, now);
        let held: usize = gate.due(now).iter().map(|summary| summary.held.len()).sum();
        assert!(held <= 10);
        summed += held;
    }
    assert_eq!(summed, 100);
    assert_eq!(gate.flush().iter().map(|summary| summary.held.len()).sum::<usize>(), 2);
    assert_eq!(gate.next_due(), None);
}

proptest! {
    /// Whatever comes when: each is posted or in one summary, and no policy has more posts than it may.
    #[test]
    fn none_is_forgotten_and_none_told_twice(
        steps in prop::collection::vec((0..3_usize, 0..4_u8, 0..40_u64), 0..200),
    ) {
        let (mut gate, mut now) = (Gate::new(limits()), Instant::now());
        let mut told = vec![0; steps.len()];
        let mut posts: BTreeMap<usize, Vec<Instant>> = BTreeMap::new();
        for (n, (policy, resource, seconds)) in steps.iter().enumerate() {
            now += Duration::from_secs(*seconds);
            for held in gate.due(now).into_iter().flat_map(|summary| summary.held) {
                told[held.item] += 1;
            }
            let violation = violation(&policy.to_string(), &resource.to_string());
            if let Ok(n) = gate.pass(&violation, n, now) {
                told[n] += 1;
                posts.entry(*policy).or_default().push(now);
            }
        }
        for held in gate.flush().into_iter().flat_map(|summary| summary.held) {
            told[held.item] += 1;
        }
        prop_assert!(told.iter().all(|times| *times == 1), "{told:?}");
        for times in posts.values() {
            // Windows follow each other: two of them may meet within the time of one.
            for (at, time) in times.iter().enumerate() {
                let within = times[at..].iter().take_while(|t| **t < *time + MINUTE).count();
                prop_assert!(within <= 6, "{within}");
            }
        }
    }
}

#[test]
fn packages_that_no_policy_has_share_one_limit_whatever_they_are_called() {
    let (mut gate, start) = (Gate::new(limits()), Instant::now());
    for n in 0..100_u64 {
        let mut unknown = violation(&format!("made-up-{n}"), &n.to_string());
        unknown.violation_type = ViolationType::PolicyError;
        unknown.policy_version = 0;
        unknown.reasons = vec![format!("no policy has the package `made-up-{n}`")];
        assert_eq!(gate.pass(&unknown, n, start).is_ok(), n < 3, "{n}");
        let mut again = unknown.clone();
        again.policy_name.push('x');
        again.reasons = vec!["another text".into()];
        if n < 3 {
            let passed = gate.pass(&again, 1_000 + n, start);
            assert_eq!(passed, Err(Why::Duplicate(unknown.id)), "the same but for its name");
        }
    }
    let summaries = gate.flush();
    assert_eq!(summaries.len(), 1);
    assert_eq!((summaries[0].policy.as_str(), summaries[0].held.len()), ("unknown", 100));
}

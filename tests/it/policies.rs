//! The shipped policies, by the suites in `tests/policy_tests`, through the engine as a worker runs
//! them.

mod metadata;
mod suite;
mod worked;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::Utc;
use sluicegate::contract::RequestBounds;
use sluicegate::engine::{CompileLimits, Compiled, EvaluationLimits};
use sluicegate::suites::run::{Tester, on_deep_stack};
use sluicegate::suites::{Job, Plan, Reading, differences};

const LIMITS: EvaluationLimits = EvaluationLimits {
    instructions: 25_000,
    // A debug build on a busy machine; the instructions are what bounds a policy here.
    time: Duration::from_secs(10),
    memory: 32 << 20,
    reasons: 100,
    reason_bytes: 512,
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn folder() -> PathBuf {
    root().join("policies")
}

/// Names of the shipped policies.
fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|item| item.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rego"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

fn rego(name: &str) -> String {
    std::fs::read_to_string(folder().join(format!("{name}.rego"))).unwrap()
}

fn compiled(name: &str) -> Compiled {
    job(name).policy.compiled
}

/// The suite of a policy, ready to run.
fn job(name: &str) -> Job {
    let mut plan = Plan::make(&Reading {
        paths: vec![root().join(format!("tests/policy_tests/{name}_tests.yaml"))],
        policies: folder(),
        filter: None,
        bounds: RequestBounds { bytes: 256 << 10, nesting: 64, batch: 1_000 },
        limits: CompileLimits { bytes: 256 << 10, nesting: 16 },
        at: Utc::now(),
    });
    assert_eq!(plan.invalid, [], "{name}");
    plan.jobs.remove(0)
}

/// Runs a suite whole, and shows every case that differs: as it is written, and with the settings
/// as they are given, since a policy must not rely on its schema's defaults.
fn run(name: &str) {
    let job = job(name);
    assert_eq!(job.policy.name, name, "the suite names its policy");
    let work = || {
        let mut tester = Tester::new(LIMITS);
        let mut wrong = Vec::new();
        for case in &job.cases {
            let mut unfilled = case.clone();
            unfilled.parameters = case.case.parameters.clone();
            for (how, case) in [("as written", case), ("without defaults", &unfilled)] {
                let policy = &job.policy;
                let said = tester.ask(&policy.name, &policy.compiled, &policy.rego, case);
                let found = differences(&case.case.expected, &said);
                if !found.is_empty() {
                    wrong.push(format!("{} {how}: {found:?}", case.case.name));
                }
            }
        }
        wrong
    };
    let wrong = on_deep_stack(&LIMITS, work).unwrap();
    assert!(wrong.is_empty(), "{name}:\n{}", wrong.join("\n"));
}

#[test]
fn default_policy() {
    run("default");
}

#[test]
fn cost_control() {
    run("cost_control");
}

#[test]
fn data_privacy() {
    run("data_privacy");
}

#[test]
fn rate_limiting() {
    run("rate_limiting");
}

#[test]
fn time_restrictions() {
    run("time_restrictions");
}

#[test]
fn compliance() {
    run("compliance");
}

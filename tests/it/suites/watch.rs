//! `sluicegate test --watch`.

use std::fs;

use nix::sys::signal::Signal;

use super::command::POLICY;
use crate::support::servers::poll;
use crate::worker::support::{Program, Running};

const SUITE: &str = "\
policy: uploads
tests:
  - name: large
    action: upload
    resource: {megabytes: 101}
    now: 2026-03-02T10:00:00Z
    expected: {decision: deny}
";

fn shows(running: &Running, text: &str, times: usize) {
    poll(&format!("{text:?}, {times} times"), || {
        let lines = running.lines();
        let found = lines.iter().filter(|line| line.contains(text)).count();
        (found >= times).then_some(())
    });
}

#[test]
fn runs_again_on_every_change_until_it_is_told_to_end() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("suites/more")).unwrap();
    fs::create_dir(at("policies")).unwrap();
    fs::write(at("policies/uploads.rego"), POLICY).unwrap();
    fs::write(at("suites/uploads_tests.yaml"), SUITE).unwrap();
    let (suites, policies) = (at("suites"), at("policies"));
    let mut running = Program::new(&[
        "test",
        suites.to_str().unwrap(),
        "--policies",
        policies.to_str().unwrap(),
        "--watch",
    ])
    .start();
    shows(&running, "watching 1 suite and 1 policy", 1);
    shows(&running, "1 passed  1 suite", 1);

    // A policy, replaced as editors do.
    fs::write(at("policies/.new"), POLICY.replacen("default: 100", "default: 200", 1)).unwrap();
    fs::rename(at("policies/.new"), at("policies/uploads.rego")).unwrap();
    shows(&running, "0 passed, 1 failed", 1);
    shows(&running, "uploads.rego changed", 1);
    // A suite that can't be run ends nothing.
    fs::write(at("suites/uploads_tests.yaml"), "policy: [").unwrap();
    shows(&running, "INVALID", 1);
    shows(&running, "watching", 3);
    fs::write(at("suites/uploads_tests.yaml"), SUITE.replacen("101", "201", 1)).unwrap();
    shows(&running, "1 passed  1 suite", 2);
    // A new suite in a folder below.
    fs::write(at("suites/more/new_tests.yaml"), SUITE.replacen("101", "300", 1)).unwrap();
    shows(&running, "2 passed  2 suites", 1);

    running.signal(Signal::SIGINT);
    assert_eq!(running.wait().code(), Some(0), "{:?}", running.lines());
}

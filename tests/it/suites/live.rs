//! `sluicegate test --live`: the same cases, answered by a worker.

use std::path::Path;

use serde_json::{Value, json};

use super::command::POLICY;
use crate::worker::support::program::Said;
use crate::worker::support::{Fleet, Program};

const SUITE: &str = "\
policy: uploads
defaults: {action: upload, now: 2026-03-02T10:00:00Z}
tests:
  - {name: small, resource: {megabytes: 100}, expected: {decision: allow, deny_reasons: []}}
  - {name: large, resource: {megabytes: 101}, expected: {decision: deny, deny_reasons: [too_large]}}
  - {name: other, resource: {megabytes: 101}, parameters: {max: 200}, expected: {decision: allow}}
  - {name: odd, resource: [1], raw: true, expected: {warnings: [size_not_stated]}}
";

async fn run(program: Program) -> Said {
    tokio::task::spawn_blocking(|| program.run()).await.unwrap()
}

fn live(fleet: &Fleet, arguments: &[&str], suite: &str) -> Program {
    Program::new(&[&["test", "--nats-url", &fleet.nats.url()], arguments].concat())
        .file("policies/uploads.rego", POLICY)
        .file("policies/uploads_tests.yaml", suite)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stored_policy_or_the_files_text() {
    let fleet = Fleet::new();
    // What is deployed has another limit, is inactive, and is stricter than the file.
    let stricter = POLICY.replacen("megabytes > ", "megabytes >= ", 1);
    fleet.rego("uploads", &stricter);
    fleet.settings_add("uploads", "status = \"inactive\"\nparameters = {max = 5}");
    let _worker = fleet.worker().await;

    let said = run(live(&fleet, &["--live", "--json"], SUITE)).await.ended_with(1);
    let cases = said.json()["suites"][0]["cases"].clone();
    let outcomes: Vec<&str> =
        cases.as_array().unwrap().iter().map(|c| c["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["failed", "passed", "passed", "skipped"], "{cases}");
    assert_eq!(cases[0]["got"]["deny_reasons"], json!(["too_large"]));
    let said = run(live(&fleet, &["--live"], SUITE)).await.ended_with(1);
    assert!(
        said.out.contains("FAILED  small") && said.out.contains("2 passed, 1 failed, 1 skipped"),
        "{said:?}"
    );

    let said = run(live(&fleet, &["--live=file"], SUITE)).await.ended_with(0);
    assert!(said.out.contains("3 passed, 1 skipped"), "{said:?}");
    // The same cases here.
    let said = run(live(&fleet, &[], SUITE)).await.ended_with(0);
    assert!(said.out.contains("4 passed"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_worker_refuses_is_invalid_and_nobody_is_4() {
    let fleet = Fleet::new();
    let said = run(live(&fleet, &["--live"], SUITE)).await.ended_with(4);
    assert!(said.err.contains("worker"), "{said:?}");
    let _worker = fleet.worker().await;
    let said = run(live(&fleet, &["--live"], SUITE)).await.ended_with(3);
    assert!(said.out.contains("uploads_tests.yaml:4: small: the worker refuses it"), "{said:?}");
    assert!(said.out.contains("uploads"), "{said:?}");
    for flag in ["--mutate", "--coverage"] {
        run(live(&fleet, &["--live", flag], SUITE)).await.ended_with(64);
    }
}

/// The shipped suites hold on a worker too.
#[tokio::test(flavor = "multi_thread")]
async fn the_shipped_suites_on_a_worker() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let _worker = fleet.worker().await;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (suites, policies) = (root.join("tests/policy_tests"), root.join("policies"));
    let url = fleet.nats.url();
    let arguments = ["test", suites.to_str().unwrap(), "--policies", policies.to_str().unwrap()];
    let more = ["--live", "--json", "--nats-url", &url];
    let said = run(Program::new(&[&arguments[..], &more].concat())).await.ended_with(0);
    let report: Value = said.json();
    assert!(report["passed"].as_u64().unwrap() > 250, "{}", report["passed"]);
    assert_eq!(report["failed"], json!(0));
}

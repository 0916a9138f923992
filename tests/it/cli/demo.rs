//! `sluicegate demo`, and `up --demo`: a fleet to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::manage::{command, json, run, says};
use crate::store::outside;
use crate::support::servers::{chdb_server, free_port, poll, tools};
use crate::worker::support::fleet::shipped_policies;
use crate::worker::support::{Fleet, Program};

const POLICIES: [&str; 3] = ["demo-budgets", "demo-calls", "demo-privacy"];

/// Half a second of a fleet that works fast.
const SHORT: [&str; 8] = ["demo", "--minutes", "0.025", "--rate", "400", "--agents", "9", "--json"];

/// The operations of a run, and its tally.
async fn ran(fleet: &Fleet, arguments: &[&str]) -> (Vec<Value>, Value) {
    let folder = tempfile::tempdir().unwrap();
    let temporary = folder.path().to_str().unwrap().to_owned();
    let program = command(fleet, arguments).env("TMPDIR", &temporary);
    let said = run(program).await.ended_with(0);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
    let mut lines: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tally = lines.pop().unwrap()["tally"].clone();
    (lines, tally)
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_work_and_run_into_policies_of_their_own() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, audit) = fleet.start().await;
    let (done, tally) = ran(&fleet, &SHORT).await;

    let of = |key: &str| -> BTreeSet<&str> {
        done.iter().map(|happening| happening[key].as_str().unwrap()).collect()
    };
    assert!(of("action").contains("llm_call") && of("action").len() >= 4, "{:?}", of("action"));
    assert!(of("agent").len() >= 6, "{:?}", of("agent"));
    assert!(done.iter().all(|happening| happening["checked"] == true), "{done:?}");
    assert!(done.iter().any(|happening| happening["allowed"] == false), "{done:?}");
    assert!(done.iter().any(|happening| happening["cost_usd"].as_f64().unwrap() > 0.0));
    let asked: u64 = tally["agents"]
        .as_object()
        .unwrap()
        .values()
        .map(|row| row["asked"].as_u64().unwrap())
        .sum();
    assert_eq!(asked, done.len() as u64);
    assert_eq!(tally["unreported"], 0);
    assert!(!tally["reasons"].as_object().unwrap().is_empty(), "{tally}");

    // What it did is in the audit, under the ids that it was told, in the project demo.
    let stored: BTreeMap<String, Value> =
        audit.all().await.into_iter().map(|stored| (stored.id, stored.event)).collect();
    for happening in &done {
        let event = &stored[happening["decision_id"].as_str().unwrap()];
        assert_eq!(event["project_id"], "demo");
        assert_eq!(event["decision"], if happening["allowed"] == true { "allow" } else { "deny" });
    }

    // Its policies are for its project only.
    let list = json(&fleet, &["policy", "list"]).await;
    let made: Vec<&Value> = list["policies"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|policy| POLICIES.contains(&policy["name"].as_str().unwrap()))
        .collect();
    assert_eq!(made.len(), 3, "{list}");
    for policy in made {
        assert_eq!((&policy["scope"], &policy["scope_id"]), (&json!("project"), &json!("demo")));
        assert_eq!(policy["status"], "active");
    }
    let other = json!({"action": "file_read", "resource": {"path": ".env"}});
    assert_eq!(agent.check(other).await["allowed"], true, "outside of the project");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_changed_stays_and_none_are_made_if_not_wanted() {
    let fleet = Fleet::with_shipped("");
    let (_worker, ..) = fleet.start().await;
    let (_, tally) = ran(&fleet, &[&SHORT[..], &["--no-policies"]].concat()).await;
    assert_eq!(tally["reasons"], json!({}), "nothing is denied");
    let list = says(&fleet, &["policy", "list"]).await.ended_with(0);
    assert!(!list.out.contains("demo-"), "{list:?}");

    ran(&fleet, &SHORT).await;
    says(&fleet, &["policy", "disable", "demo-privacy"]).await.ended_with(0);
    ran(&fleet, &SHORT).await;
    let shown = json(&fleet, &["policy", "show", "demo-privacy"]).await;
    assert_eq!((&shown["status"], &shown["version"]), (&json!("inactive"), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn for_people_there_are_lines_of_denials_and_a_table() {
    let fleet = Fleet::with_shipped("");
    let (_worker, ..) = fleet.start().await;
    let said = says(&fleet, &SHORT[..7]).await.ended_with(0);
    assert!(said.out.contains("made demo-budgets\n"), "{said:?}");
    assert!(said.out.lines().any(|line| line.starts_with("denied ")), "{said:?}");
    assert!(said.out.lines().any(|line| line.trim().starts_with("all ")), "{said:?}");
    assert!(said.out.contains("sluicegate audit --project demo"), "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_worker_it_says_so() {
    let fleet = Fleet::with_shipped("");
    let said = says(&fleet, &["demo"]).await.ended_with(4);
    assert!(said.err.contains("worker"), "{said:?}");
    says(&fleet, &["demo", "--rate", "0"]).await.ended_with(64);
    says(&fleet, &["demo", "--minutes", "-1"]).await.ended_with(64);
    says(&fleet, &["demo", "--agents", "0"]).await.ended_with(64);
}

/// `sluicegate up --demo` on free ports, with data here.
fn up(folder: &Path, clickhouse: &str) -> Program {
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    Program::new(&["up", "--demo"])
        .env("TMPDIR", &path(folder))
        .env("SLUICEGATE_NATS_URL", &format!("nats://127.0.0.1:{}", free_port()))
        .env("SLUICEGATE_CLICKHOUSE_URL", clickhouse)
        .env("SLUICEGATE_HTTP_LISTEN", &format!("127.0.0.1:{}", free_port()))
        .env("SLUICEGATE_EMBEDDED_DATA", &path(&folder.join("data")))
        .env("SLUICEGATE_EMBEDDED_TOOLS", &path(&tools()))
        .env("SLUICEGATE_EMBEDDED_CHDB_SERVER", &path(&chdb_server()))
        .env("SLUICEGATE_POLICIES_FOLDER", &path(&shipped_policies()))
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_are_alive_from_the_first_minute() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://127.0.0.1:{}", free_port());
    let mut running = up(folder.path(), &url).start();
    let config = sluicegate::config::ClickHouse { url, ..Default::default() };
    let client = outside(&config);
    crate::store::eventually("decisions and outcomes are rows", async || {
        let rows: Result<(u64, u64, u64), _> = client
            .query_raw(
                "SELECT countIf(decision = 'allow'), countIf(decision = 'deny'), \
                 countIf(id IN (SELECT decision_id FROM policy_outcomes \
                 WHERE outcome = 'ok' AND cost_usd > 0)) \
                 FROM policy_decisions WHERE project_id = 'demo'",
            )
            .fetch_one()
            .await;
        matches!(rows, Ok((allowed, denied, paid)) if allowed > 20 && denied > 0 && paid > 0)
    })
    .await;
    running.logs("ready");
    assert!(running.lines().iter().any(|line| line.contains("12 agents")), "{:?}", running.lines());
    running.signal(Signal::SIGTERM);
    assert!(running.wait().success(), "{}", running.log());
    let demo = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().contains("demo");
    let left = || std::fs::read_dir(folder.path()).unwrap().flatten().filter(demo).count();
    poll("the fleet's folder is gone", || (left() == 0).then_some(()));
}

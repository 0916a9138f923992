//! Everything at once, at random, through the command that users have; and that its proofs can fail.

use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use sluicegate::chaos::{self, FaultKind, Finished, Run, Settings};
use sluicegate::config::Embedded;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::store::outside;
use crate::support::servers::{chdb_server, tools};

#[test]
fn nothing_is_lost_and_nothing_doubled_whatever_happens() {
    let output = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
        .args(["--json", "chaos", "--minutes", "0.35"])
        .env("SLUICEGATE_EMBEDDED_TOOLS", tools())
        .env("SLUICEGATE_EMBEDDED_CHDB_SERVER", chdb_server())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    // Shown when the test fails: the seed, and what happened.
    println!("{said}{}", String::from_utf8_lossy(&output.stderr));
    let last: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    let report = &last["report"];
    assert!(output.status.success(), "{:?}", output.status);
    assert!(report["checks"]["recorded"].as_u64().unwrap() > 100, "{report}");
    assert!(report["decision_rows"].as_u64().unwrap() > 100, "{report}");
    assert!(report["violation_rows"].as_u64().unwrap() > 30, "{report}");
    assert!(report["faults"].as_object().unwrap().len() >= 4, "{report}");
    assert_eq!(report["folder"], Value::Null, "nothing is left");
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.iter().any(|line| line["fault"] == "kill" || line["fault"] == "cut"), "{said}");
}

/// A run without faults, whose data somebody meddles with before the proof.
async fn calm(seconds: u64) -> (Finished, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let servers = Embedded { tools: tools(), chdb_server: chdb_server(), ..Embedded::default() };
    let settings = Settings {
        program: env!("CARGO_BIN_EXE_sluicegate").into(),
        folder: folder.path().to_owned(),
        servers,
        length: Duration::from_secs(seconds),
        seed: 1,
        clients: 4,
        workers: 1,
        sinks: 1,
        only: Vec::<FaultKind>::new(),
        patience: Duration::from_secs(60),
    };
    let stop = CancellationToken::new();
    let mut run = Box::pin(Run::start(settings, chaos::nobody(), &stop)).await.unwrap();
    Box::pin(run.assault(|_, _| (), &stop)).await.unwrap();
    (Box::pin(run.finish()).await.unwrap(), folder)
}

/// The promises that are broken, each with what is named.
fn broken(finished: &Finished) -> Vec<(&'static str, Vec<String>)> {
    let broken = finished.report().verdict.broken;
    broken.into_iter().map(|finding| (finding.promise, finding.named)).collect()
}

/// Whether a promise is broken, and this id named for it.
fn names(found: &[(&'static str, Vec<String>)], promise: &str, id: Uuid) -> bool {
    let id = id.to_string();
    let mut of_promise = found.iter().filter(|(broken, _)| *broken == promise);
    of_promise.any(|(_, named)| named.iter().any(|what| what.contains(&id)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_proof_finds_what_is_taken_away_and_what_is_put_in() {
    let (mut finished, _folder) = Box::pin(calm(2)).await;
    assert_eq!(broken(&finished), [], "untouched it holds");
    let rows = finished.evidence.rows.decisions.clone();
    assert!(rows.len() > 20, "{}", rows.len());
    let client = outside(&finished.config().clickhouse);
    let change = async |sql: String| client.query_raw(&sql).execute().await.unwrap();

    // A row is taken away.
    let gone = rows.iter().find(|row| row.decision == "allow").unwrap().id;
    change(format!("DELETE FROM policy_decisions WHERE id = '{gone}'")).await;
    finished.gather_again().await.unwrap();
    let found = broken(&finished);
    let named = |promise: &str, id: Uuid| names(&found, promise, id);
    assert!(named("every answer has exactly one row, with its verdict", gone), "{found:?}");
    assert!(named("the stream and ClickHouse hold the same events", gone), "{found:?}");
    let certificate = "the chains hold, and `audit verify` gives its certificate";
    assert!(names(&found, certificate, gone), "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");

    // A row is there twice, in a way that no merge mends: at another time.
    let twice = rows.iter().find(|row| row.decision == "deny").unwrap().id;
    change(format!(
        "INSERT INTO policy_decisions (* EXCEPT (inserted_at)) \
         SELECT * EXCEPT (inserted_at) REPLACE (timestamp + INTERVAL 1 SECOND AS timestamp) \
         FROM policy_decisions WHERE id = '{twice}'"
    ))
    .await;
    // A violation is taken away.
    let bare = rows.iter().filter(|row| row.decision == "deny").nth(1).unwrap().id;
    change(format!("DELETE FROM policy_violations WHERE decision_id = '{bare}'")).await;
    // A row is there that nobody asked for.
    let stranger = Uuid::now_v7();
    change(format!(
        "INSERT INTO policy_decisions (* EXCEPT (inserted_at)) \
         SELECT * EXCEPT (inserted_at) REPLACE (toUUID('{stranger}') AS id, 'x' AS step_id) \
         FROM policy_decisions AS other WHERE other.id = '{bare}'"
    ))
    .await;
    finished.gather_again().await.unwrap();
    let found = broken(&finished);
    let named = |promise: &str, id: Uuid| names(&found, promise, id);
    assert!(named("no id has two rows", twice), "{found:?}");
    assert!(named("no request has more rows than attempts", twice), "{found:?}");
    assert!(named("no row without a request", stranger), "{found:?}");
    assert!(named("every denial has its violation exactly once", bare), "{found:?}");
    finished.stop().await;
}

//! `sluicegate audit export`: everything, once, in files of other tools.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use sluicegate::config;
use sluicegate::store::{DecisionRow, OutcomeRow, Store, StreamPosition, migrate};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::store::decision;
use crate::support::servers::{ClickHouse, python};
use crate::worker::support::Program;

const HOSTILE: &str = "a \"quoted\", 'single'\r\nsecond line\tand\u{0}nul ünïcödé =1+1";

/// A database with so many decisions, one of them denied; each is there twice, as after a repeated
/// insert.
async fn filled(rows: u64) -> config::ClickHouse {
    let config = ClickHouse::shared().config();
    let store = Store::connect(&config);
    migrate(&store).await.unwrap();
    let epoch = "2026-01-01T00:00:00Z".parse().unwrap();
    let row = |sequence: u64| {
        let change = json!({
            "decision": if sequence == 1 { "deny" } else { "allow" },
            "resource": if sequence == 1 { HOSTILE.to_owned() } else { format!("r-{sequence}") },
        });
        DecisionRow::new(decision(&change), StreamPosition { epoch, sequence }).unwrap()
    };
    let rows: Vec<DecisionRow> = (1..=rows).map(row).collect();
    let rows: Vec<&DecisionRow> = rows.iter().collect();
    store.insert(&rows, "a").await.unwrap();
    store.insert(&rows, "b").await.unwrap();
    config
}

fn export(config: &config::ClickHouse, arguments: &[&str]) -> Program {
    let database = format!("clickhouse.database={}", config.database);
    let servers = ["--clickhouse-url", &config.url, "--set", &database];
    Program::new(&[&["audit", "export"], arguments, &servers].concat())
}

#[tokio::test]
async fn every_row_once_in_every_format() {
    let config = filled(500).await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();

    let (lines, parquet, csv) = (file("d.jsonl"), file("d.parquet"), file("d.csv"));
    let said = export(&config, &["--format", "jsonl", "-o", &lines, "--json"]).run();
    assert_eq!(said.code, 0, "{said:?}");
    let told: Value = serde_json::from_str(&said.out).unwrap();
    let text = std::fs::read_to_string(&lines).unwrap();
    assert_eq!(told["rows"], 500);
    assert_eq!(told["bytes"], text.len());
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 500);
    let denied = rows.iter().find(|row| row["decision"] == "deny").unwrap();
    assert_eq!(denied["resource"], HOSTILE);
    assert_eq!(denied["timestamp"], "2026-03-04T05:06:07.123456Z");
    let digest = Command::new("sha256sum").arg(&lines).output().unwrap();
    assert!(
        String::from_utf8(digest.stdout).unwrap().starts_with(told["sha256"].as_str().unwrap())
    );

    for (format, path) in [("parquet", &parquet), ("csv", &csv)] {
        let said = export(&config, &["--format", format, "-o", path]).run();
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("500 rows"), "{said:?}");
    }
    // Read back by a reader that isn't ours: the standard library's for CSV, the engine's for Parquet.
    let script = "import csv,sys; rows=list(csv.DictReader(open(sys.argv[1],newline='')));\
                  print(len(rows), len({r['id'] for r in rows}));\
                  print(ascii([r['resource'] for r in rows if r['decision']=='deny'][0]))";
    let read = Command::new(python()).args(["-c", script, &csv]).output().unwrap();
    let read = String::from_utf8(read.stdout).unwrap();
    assert!(read.starts_with("500 500\n"), "{read}");
    assert!(read.contains(r#"second line\tand\x00nul \xfcn\xefc\xf6d\xe9 =1+1"#), "{read}");

    let script = "import sys; from chdb import query; \
                  print(query(\"SELECT count(), uniqExact(id), countIf(decision='deny'), \
                  any(toTypeName(id)) FROM file('\" + sys.argv[1] + \"')\"))";
    let read = Command::new(python()).args(["-c", script, &parquet]).output().unwrap();
    let read = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.starts_with("500,500,1,"), "{read}");
    assert!(read.contains("String"), "{read}");
}

#[tokio::test]
async fn filters_standard_output_and_files_that_are_there() {
    let config = filled(20).await;
    let said = export(&config, &["--decision", "deny", "--format", "jsonl", "-o", "-"]).run();
    assert_eq!((said.code, said.out.lines().count()), (0, 1), "{said:?}");
    let said = export(&config, &["--violations", "--format", "csv", "-o", "-"]).run();
    assert_eq!((said.code, said.out.lines().count()), (0, 1), "the names of columns: {said:?}");
    assert!(said.out.contains("\"notified\""), "{said:?}");
    let said =
        export(&config, &["--since", "2027-01-01T00:00:00Z", "-f", "jsonl", "-o", "-"]).run();
    assert_eq!((said.code, said.out.as_str()), (0, ""), "{said:?}");

    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there.csv");
    std::fs::write(&there, "precious").unwrap();
    let path = there.to_str().unwrap();
    let said = export(&config, &["--format", "csv", "-o", path]).run();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.err.contains("--force"), "{said:?}");
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "precious");
    let said = export(&config, &["--format", "csv", "-o", path, "--force"]).run();
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(std::fs::read_to_string(&there).unwrap().matches("allow").count(), 19);

    let nowhere = folder.path().join("no/such/folder.csv");
    let said = export(&config, &["--format", "csv", "-o", nowhere.to_str().unwrap()]).run();
    assert!(said.code == 1 && said.err.contains("no/such/folder.csv"), "{said:?}");
    // Violations have no action to filter by that decisions have: clap says so.
    let said = export(&config, &["--violations", "--reason", "x", "-f", "csv", "-o", "-"]).run();
    assert_eq!(said.code, 64, "{said:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "nothing half done is left: {left:?}");
}

#[tokio::test]
async fn a_clickhouse_that_is_away_leaves_no_file() {
    let mut config = filled(3).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    config.database = "no_such_database".into();
    let said = export(&config, &["--format", "jsonl", "-o", path.to_str().unwrap()]).run();
    assert_eq!(said.code, 1, "{said:?}");
    config.url = "http://127.0.0.1:1".into();
    let said = export(&config, &["--format", "jsonl", "-o", path.to_str().unwrap()]).run();
    assert_eq!(said.code, 4, "{said:?}");
    assert!(!path.exists());
}

/// A way to ClickHouse that breaks when the rows of an export have begun to come. Tells that it did.
async fn breaking(upstream: &str) -> (String, Arc<AtomicBool>) {
    let upstream = upstream.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let broke = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&broke);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (upstream, told) = (upstream.clone(), Arc::clone(&told));
            tokio::spawn(async move {
                let mut server = TcpStream::connect(upstream).await.unwrap();
                let (mut up, mut down) = (vec![0; 65_536], vec![0; 4_096]);
                let mut exports = false;
                loop {
                    tokio::select! {
                        read = client.read(&mut up) => {
                            let Ok(read @ 1..) = read else { return };
                            exports |= String::from_utf8_lossy(&up[..read]).contains("SELECT * REPLACE");
                            server.write_all(&up[..read]).await.unwrap();
                        }
                        read = server.read(&mut down) => {
                            let Ok(read @ 1..) = read else { return };
                            client.write_all(&down[..read]).await.ok();
                            if exports && String::from_utf8_lossy(&down[..read]).contains("\"resource\"") {
                                told.store(true, Ordering::SeqCst);
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    (url, broke)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_breaks_off_leaves_no_file_and_says_so() {
    let mut config = filled(5_000).await;
    let whole = tempfile::tempdir().unwrap();
    let path = whole.path().join("d.jsonl");
    let said = export(&config, &["--format", "jsonl", "-o", path.to_str().unwrap()]).run();
    assert_eq!(said.code, 0, "{said:?}");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "what agents were about to do is for nobody else");

    let (url, broke) = breaking(&config.url).await;
    config.url = url;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.jsonl");
    let said = export(&config, &["--format", "jsonl", "-o", path.to_str().unwrap()]).run();
    assert!(broke.load(Ordering::SeqCst), "it began: {said:?}");
    assert_ne!(said.code, 0, "{said:?}");
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "nothing that looks whole is left: {left:?}");
}

#[tokio::test]
async fn outcomes_are_exported_by_what_they_have() {
    let config = filled(3).await;
    let store = Store::connect(&config);
    let at = StreamPosition { epoch: chrono::Utc::now(), sequence: 1 };
    let rows: Vec<OutcomeRow> = ["planner", "engineer"]
        .map(|agent| {
            let event = json!({
                "schema": 1, "id": uuid::Uuid::now_v7(), "decision_id": uuid::Uuid::now_v7(),
                "timestamp": chrono::Utc::now(), "outcome": "error", "exception_type": HOSTILE,
                "duration_seconds": 0.5, "cost_usd": null, "action": "llm_call", "agent": agent,
            });
            OutcomeRow::new(serde_json::from_value(event).unwrap(), at).unwrap()
        })
        .into();
    let rows: Vec<&OutcomeRow> = rows.iter().collect();
    store.insert(&rows, "a").await.unwrap();
    store.insert(&rows, "b").await.unwrap();
    let arguments = ["--outcomes", "--agent", "planner", "--format", "jsonl", "-o", "-"];
    let said = export(&config, &arguments).run().ended_with(0);
    let row: Value = serde_json::from_str(said.out.trim()).unwrap();
    assert_eq!((&row["agent"], &row["outcome"]), (&json!("planner"), &json!("error")));
    assert_eq!(row["exception_type"], json!(HOSTILE));
    assert_eq!(row["cost_usd"], Value::Null);
    assert_eq!(row["id"].as_str().unwrap().len(), 36);
    let wrong = ["--outcomes", "--decision", "deny", "--format", "jsonl", "-o", "-"];
    export(&config, &wrong).run().ended_with(64);
}

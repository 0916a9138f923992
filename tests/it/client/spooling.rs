//! Unchecked calls outlive the process that saw them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use sluicegate::client::{Check, Settings};
use sluicegate::contract::{RequestBounds, parse_check};

use super::example::Example;
use super::support::{Reports, client, hasty, patient};
use crate::support::servers::{NatsServer, poll};

fn files(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap_or_default()).collect()
}

#[tokio::test]
async fn a_report_says_what_was_asked_and_told() {
    let nats = NatsServer::start();
    let reports = Reports::open(&nats.url()).await;
    let client = client(patient(&nats.url())).await;
    let check = Check::new("llm_call", json!({"model": "m"})).agent("planner").package("x.y");
    let decision = client.check(&check).await;
    let large = Check::new("llm_call", "x".repeat(1 << 20)).agent("planner");
    let outline = client.check(&large).await;
    assert_eq!(client.close().await, 0);
    let all = reports.holds(2).await;
    let find = |id: &str| all.iter().find(|report| report.id == id).unwrap();
    let report = find(&decision.id.to_string());
    assert_eq!(report.event["id"], decision.id.to_string());
    assert_eq!(report.event["schema"], 1);
    assert_eq!(report.event["cause"], "no_responders");
    assert_eq!(report.event["allowed"], true);
    assert!(report.event["client"].as_str().unwrap().starts_with("sluicegate-rust/"));
    assert!(report.event["message"].as_str().unwrap().contains("policy.check"));
    chrono::DateTime::parse_from_rfc3339(report.event["timestamp"].as_str().unwrap()).unwrap();
    let bounds = RequestBounds { bytes: 1 << 20, nesting: 64, batch: 1 };
    let request = parse_check(report.event["request"].to_string().as_bytes(), &bounds).unwrap();
    assert_eq!((request.action.as_str(), request.package.as_deref()), ("llm_call", Some("x.y")));
    assert_eq!(request.identity().agent, "planner");
    let report = find(&outline.id.to_string());
    assert_eq!(report.event["cause"], "unserializable");
    assert!(report.event.to_string().len() < 2_000, "what can't be sent is not sent in a report");
}

/// A process is killed while it waits for NATS; the next one with the same folder reports for it.
#[tokio::test]
async fn what_a_killed_process_saw_is_reported_by_the_next() {
    let nats = NatsServer::start();
    nats.kill();
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().to_str().unwrap();
    let mut example = Example::new(&nats.url())
        .env("POLICY_CLIENT_SPOOL_FOLDER", spool)
        .env("POLICY_CLIENT_TIMEOUT", "0.2")
        .start();
    let written = poll("the call is in the file", || {
        files(folder.path()).into_iter().find(|text| text.ends_with("}\n"))
    });
    example.kill();
    assert_eq!(files(folder.path()), std::slice::from_ref(&written));
    nats.restart();
    let reports = Reports::open(&nats.url()).await;
    let settings = Settings { spool_folder: Some(folder.path().into()), ..patient(&nats.url()) };
    let next = client(settings).await;
    let report = reports.holds(1).await.remove(0);
    assert!(written.contains(&report.id), "{written}");
    assert_eq!(report.event["request"]["context"]["agent"], "planner");
    tokio::task::spawn_blocking({
        let folder = folder.path().to_owned();
        move || {
            poll("only the living process has a file", || (files(&folder) == [""]).then_some(()))
        }
    })
    .await
    .unwrap();
    assert_eq!(next.stats().reported, 1);
    next.close().await;
    drop(next);
    assert_eq!(files(folder.path()), Vec::<String>::new());
}

/// The same, by clients that end as they should.
#[tokio::test]
async fn what_could_not_be_reported_in_time_stays_in_the_file() {
    let nats = NatsServer::start();
    let folder = tempfile::tempdir().unwrap();
    let with =
        |settings: Settings| Settings { spool_folder: Some(folder.path().into()), ..settings };
    // Nothing takes reports yet: there is no stream.
    let first = client(with(hasty(&nats.url()))).await;
    for n in 0..100 {
        first.check(&Check::new("a", n.to_string())).await;
    }
    assert_eq!(first.close().await, 100);
    drop(first);
    let reports = Reports::open(&nats.url()).await;
    let second = client(with(patient(&nats.url()))).await;
    assert_eq!(reports.holds(100).await.len(), 100);
    assert_eq!(second.stats().lost + second.stats().corrupt, 0);
}

#[tokio::test]
async fn memory_is_bounded_and_what_is_lost_is_counted() {
    let settings = Settings { spool_bytes: 10_000, ..hasty("nats://127.0.0.1:1") };
    let client = client(settings).await;
    for _ in 0..50 {
        client.check(&Check::new("a", "x".repeat(1_000))).await;
    }
    let stats = client.stats();
    assert_eq!(stats.unchecked_total(), 50);
    assert!((5..10).contains(&stats.waiting), "{stats:?}");
    assert_eq!(stats.lost, 50 - u64::try_from(stats.waiting).unwrap());
    assert!(tokio::time::timeout(Duration::from_secs(20), client.close()).await.is_ok());
}

//! Events that outlive the worker: kept in files while the stream takes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluicegate::config::Acknowledge;
use sluicegate::runtime::health::State;

use super::super::support::agent::{decided, refusal};
use super::super::support::{Agent, AuditStream, Fleet, Running, until};

fn ids(replies: &[Value]) -> BTreeSet<String> {
    replies.iter().map(|reply| reply["decision_id"].as_str().unwrap().to_owned()).collect()
}

/// Every decision is in the stream exactly once, and nothing else.
async fn holds_exactly(audit: &AuditStream, replies: &[Value]) {
    audit.holds(u64::try_from(replies.len()).unwrap()).await;
    let stored: BTreeSet<String> = audit.all().await.into_iter().map(|s| s.id).collect();
    assert_eq!(stored, ids(replies));
}

/// So many checks, all of them answered without the stream.
async fn pending(agent: &Agent, count: usize) -> Vec<Value> {
    let asking = (0..count).map(|i| {
        let agent = agent.clone();
        async move { agent.act(&format!("a-{i}")).await }
    });
    let replies = futures::future::join_all(asking).await;
    assert!(replies.iter().all(|r| r["allowed"] == true && r["audit"] == "pending"));
    replies
}

/// Files below a folder with this ending.
fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found
}

/// Takes the stream away and gives what it takes to bring it back.
async fn no_stream(audit: &AuditStream) -> async_nats::jetstream::stream::Config {
    let config = audit.config().await;
    audit.jetstream.delete_stream("POLICY_AUDIT").await.unwrap();
    config
}

/// Settings of a program that doesn't bring the stream back by itself.
const ALONE: &str = "backoff.max=1h";

#[tokio::test]
async fn after_a_kill_the_next_worker_sends_what_replies_called_pending() {
    let fleet = Fleet::new();
    let worker = Running::worker(fleet.program(&[ALONE]));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let config = no_stream(&audit).await;
    let mut replies = pending(&agent, 1).await;
    replies.extend(pending(&agent, 300).await);
    worker.signal(Signal::SIGKILL);
    drop(worker);
    assert_eq!(files(&fleet.config.audit.spill_folder, "spill").len(), 1);

    audit.jetstream.create_stream(config).await.unwrap();
    let (heir, _agent, audit) = fleet.start().await;
    holds_exactly(&audit, &replies).await;
    heir.part_is("audit", |state| *state == State::Ready).await;
    until("the files are gone", async || {
        files(&fleet.config.audit.spill_folder, "spill").is_empty().then_some(())
    })
    .await;
    heir.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_lives_takes_over_what_another_left() {
    let fleet = Fleet::new();
    let worker = Running::worker(fleet.program(&[ALONE]));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let config = no_stream(&audit).await;
    let mut replies = pending(&agent, 20).await;
    // The other one starts, finds the files locked, and brings the stream back.
    let other = fleet.worker().await;
    assert_eq!(audit.config().await, config);
    assert_eq!(files(&fleet.config.audit.spill_folder, "spill").len(), 1, "they aren't its own");
    worker.signal(Signal::SIGKILL);
    drop(worker);
    replies.sort_by_key(|reply| reply["decision_id"].to_string());
    holds_exactly(&audit, &replies).await;
    let reply = agent.act("after").await;
    assert_eq!(reply["audit"], json!("recorded"), "{reply}");
    other.stop().await.unwrap();
}

#[tokio::test]
async fn a_drain_without_a_stream_leaves_the_events_to_the_next_start() {
    let fleet = Fleet::new();
    let settings = [ALONE, "audit.acknowledge_timeout=200ms", "shutdown.drain=10m"];
    let mut worker = Running::worker(fleet.program(&settings));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let config = no_stream(&audit).await;
    let replies = pending(&agent, 5).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait().success(), "{}", worker.log());
    // With the last checkpoint.
    let log = worker.log();
    assert!(log.contains("wait in files") && log.contains("events=6"), "{log}");
    audit.jetstream.create_stream(config).await.unwrap();
    let _heir = fleet.worker().await;
    holds_exactly(&audit, &replies).await;
    let checkpoints = until("the last checkpoint", async || {
        let all = audit.checkpoints().await;
        all.iter().any(|checkpoint| checkpoint["last"] == true).then_some(all)
    })
    .await;
    let last = checkpoints.iter().find(|checkpoint| checkpoint["last"] == true).unwrap();
    assert_eq!((&last["numbered"], &last["kept"]), (&json!(5), &json!(5)));
}

#[tokio::test]
async fn a_long_outage_takes_little_memory_and_loses_nothing() {
    let mut fleet = Fleet::new();
    fleet.config.audit.retry_queue = 10;
    fleet.config.backoff.max = Duration::from_secs(3_600);
    let (worker, agent, audit) = fleet.start().await;
    let config = no_stream(&audit).await;
    let mut replies = pending(&agent, 1).await;
    for _ in 0..10 {
        replies.extend(pending(&agent, 100).await);
    }
    let kept = files(&fleet.config.audit.spill_folder, "spill");
    let size: u64 = kept.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(size > 300 * 1_001, "all of them are in files: {size}");
    audit.jetstream.create_stream(config).await.unwrap();
    holds_exactly(&audit, &replies).await;
    worker.stop().await.unwrap();
    assert!(files(&fleet.config.audit.spill_folder, "spill").is_empty());
}

#[tokio::test]
async fn full_files_refuse_checks_and_lose_nothing() {
    let mut fleet = Fleet::new();
    // Far below what the configuration allows, so that the test is quick.
    fleet.config.audit.spill_max_bytes = bytesize::ByteSize::kib(8);
    fleet.config.backoff.max = Duration::from_secs(3_600);
    let (_worker, agent, audit) = fleet.start().await;
    let config = no_stream(&audit).await;
    let mut replies = Vec::new();
    let refused = loop {
        let message = agent.ask(json!({"action": "a", "resource": "r"}).to_string()).await;
        if super::super::support::agent::header(&message, "Nats-Service-Error-Code").is_some() {
            break refusal(&message);
        }
        replies.push(decided(&message));
        assert!(replies.len() < 30, "8 KiB hold fewer");
    };
    assert!(replies.len() > 3);
    assert_eq!(refused.code, "503");
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("no more events can be kept"), "{message}");
    audit.jetstream.create_stream(config).await.unwrap();
    holds_exactly(&audit, &replies).await;
    let reply = until("checks are taken again", async || {
        let message = agent.ask(json!({"action": "a", "resource": "r"}).to_string()).await;
        let reply: Value = serde_json::from_slice(&message.payload).unwrap();
        reply["audit"].is_string().then_some(reply)
    })
    .await;
    assert_eq!(reply["audit"], json!("recorded"));
}

#[tokio::test]
async fn a_folder_that_cannot_be_written_is_named_and_memory_takes_its_place() {
    let mut fleet = Fleet::new();
    let file = fleet.folder().join("a-file");
    fs::write(&file, "").unwrap();
    fleet.config.audit.spill_folder = file.join("spill");
    let (worker, agent, audit) = fleet.start().await;
    let named = |state: &State| matches!(state, State::Degraded(why) if why.contains("audit.spill_folder") && why.contains("/a-file/spill"));
    worker.part_is("spill", named).await;
    let config = audit.config().await;
    audit.limit(1).await;
    let mut replies = pending(&agent, 10).await;
    audit.jetstream.update_stream(config).await.unwrap();
    holds_exactly(&audit, &replies).await;
    // The way out, without a restart.
    fs::remove_file(&file).unwrap();
    worker.part_is("spill", |state| *state == State::Ready).await;
    replies.push(agent.act("after").await);
    holds_exactly(&audit, &replies).await;
}

#[tokio::test]
async fn a_damaged_file_costs_what_is_damaged_and_is_kept() {
    let fleet = Fleet::new();
    let worker = Running::worker(fleet.program(&[ALONE]));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let config = no_stream(&audit).await;
    let mut replies = Vec::new();
    for i in 0..3 {
        replies.push(agent.act(&format!("a-{i}")).await);
    }
    worker.signal(Signal::SIGKILL);
    drop(worker);
    let path = files(&fleet.config.audit.spill_folder, "spill").remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xFF;
    fs::write(&path, bytes).unwrap();

    audit.jetstream.create_stream(config).await.unwrap();
    let (heir, _agent, audit) = fleet.start().await;
    replies.remove(1);
    holds_exactly(&audit, &replies).await;
    let damaged = |state: &State| matches!(state, State::Degraded(why) if why.contains("was altered") && why.contains(".damaged"));
    heir.part_is("spill", damaged).await;
    until("the file is kept beside", async || {
        (files(&fleet.config.audit.spill_folder, "damaged").len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_event_that_the_stream_never_takes_holds_up_no_other_one() {
    let mut fleet =
        Fleet::with_policies(&[("strict", "allow := false if input.action == \"bad\"")]);
    // So long that only what is published at once is recorded.
    fleet.config.backoff.initial = Duration::from_secs(60);
    fleet.config.backoff.max = Duration::from_secs(60);
    let (_worker, agent, audit) = fleet.start().await;
    let config = audit.config().await;
    let mut narrow = config.clone();
    narrow.subjects.retain(|subject| !subject.starts_with("policy.violation"));
    assert!(narrow.subjects.len() < config.subjects.len());
    audit.jetstream.update_stream(narrow).await.unwrap();
    for round in 0..3 {
        let reply = agent.act("bad").await;
        assert_eq!(reply["audit"], json!("pending"), "its violation waits: {reply}");
        for _ in 0..20 {
            let reply = agent.act("good").await;
            assert_eq!(reply["audit"], json!("recorded"), "round {round}: {reply}");
        }
    }
}

#[tokio::test]
async fn events_of_another_system_are_named_and_left_alone() {
    let (fleet, mut neighbour) = (Fleet::new(), Fleet::new());
    neighbour.config.audit.spill_folder.clone_from(&fleet.config.audit.spill_folder);
    let worker = Running::worker(fleet.program(&[ALONE]));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let config = no_stream(&audit).await;
    let replies = pending(&agent, 5).await;
    worker.signal(Signal::SIGKILL);
    drop(worker);
    audit.jetstream.create_stream(config).await.unwrap();

    let (other, _, others) = neighbour.start().await;
    let theirs = fleet.config.nats.url.trim_start_matches("nats://").to_owned();
    let named = |state: &State| matches!(state, State::Degraded(why) if why.contains("holds 5 events") && why.contains(&theirs));
    other.part_is("spill", named).await;
    assert_eq!(others.len().await, 0, "it sends none of them");
    let _heir = fleet.worker().await;
    holds_exactly(&audit, &replies).await;
    other.part_is("spill", |state| *state == State::Ready).await;
}

#[tokio::test]
async fn a_file_that_was_cut_as_its_first_event_was_written_is_removed() {
    let fleet = Fleet::new();
    let worker = Running::worker(fleet.program(&[ALONE]));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let config = no_stream(&audit).await;
    pending(&agent, 1).await;
    worker.signal(Signal::SIGKILL);
    drop(worker);
    let path = files(&fleet.config.audit.spill_folder, "spill").remove(0);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    audit.jetstream.create_stream(config).await.unwrap();
    let _heir = fleet.worker().await;
    until("the file is gone", async || {
        files(&fleet.config.audit.spill_folder, "spill").is_empty().then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_recording_there_are_no_files() {
    let mut fleet = Fleet::new();
    fleet.config.audit.acknowledge = Acknowledge::Off;
    let (worker, agent, audit) = fleet.start().await;
    agent.act("a").await;
    worker.stop().await.unwrap();
    assert!(!fleet.config.audit.spill_folder.exists());
    assert!(audit.checkpoints().await.is_empty(), "and no checkpoints");
}

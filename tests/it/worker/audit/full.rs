//! A stream that refuses: full, or gone. Work goes on, nothing is lost, nothing comes twice.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use serde_json::{Value, json};
use sluicegate::runtime::health::State;

use super::super::support::agent::{decided, refusal};
use super::super::support::{Agent, AuditStream, Fleet, Worker, until};

/// Asks until the stream is full; gives all replies, the last of which is the first pending one.
async fn until_full(agent: &Agent) -> Vec<Value> {
    let mut replies = Vec::new();
    for i in 0..500 {
        let reply = agent.act(&format!("a-{i}")).await;
        let pending = reply["audit"] == "pending";
        replies.push(reply);
        if pending {
            return replies;
        }
    }
    panic!("the stream never filled");
}

/// Every decision is in the stream exactly once, and nothing else.
async fn assert_holds_exactly(audit: &AuditStream, replies: &[Value]) {
    audit.holds(u64::try_from(replies.len()).unwrap()).await;
    let stored: BTreeSet<String> = audit.all().await.into_iter().map(|s| s.id).collect();
    let answered: BTreeSet<String> =
        replies.iter().map(|r| r["decision_id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(stored, answered);
}

async fn waits_for_stream(worker: &Worker) {
    worker
        .part_is("audit", |state| matches!(state, State::Waiting(why) if why.contains("kept")))
        .await;
}

fn small() -> Fleet {
    let mut fleet = Fleet::new();
    fleet.config.stream.max_bytes = ByteSize::kib(8);
    fleet
}

#[tokio::test]
async fn a_full_stream_is_answered_pending_and_caught_up_exactly_once() {
    let fleet = small();
    let (worker, agent, audit) = fleet.start().await;
    let start = Instant::now();
    let mut replies = until_full(&agent).await;
    assert!(replies.len() > 2, "the first ones fit");
    assert!(replies.iter().all(|reply| reply["allowed"] == true), "work goes on");
    replies.push(agent.act("behind").await);
    assert_eq!(replies.last().unwrap()["audit"], json!("pending"));
    assert!(start.elapsed() < fleet.config.audit.acknowledge_timeout, "it waits for nothing");
    waits_for_stream(&worker).await;

    audit.limit(64 << 20).await;
    assert_holds_exactly(&audit, &replies).await;
    worker.part_is("audit", |state| *state == State::Ready).await;
    let reply = agent.act("after").await;
    assert_eq!(reply["audit"], json!("recorded"));
    replies.push(reply);
    worker.stop().await.unwrap();
    assert_holds_exactly(&audit, &replies).await;
}

#[tokio::test]
async fn a_worker_with_another_limit_makes_room_for_all() {
    let fleet = small();
    let (worker, agent, audit) = fleet.start().await;
    let replies = until_full(&agent).await;
    let mut config = fleet.config.clone();
    config.stream.max_bytes = ByteSize::mib(64);
    let _second = fleet.spawn("worker-2", config);
    assert_holds_exactly(&audit, &replies).await;
    worker.part_is("audit", |state| *state == State::Ready).await;
}

#[tokio::test]
async fn a_worker_that_stops_first_sends_what_it_kept() {
    let mut fleet = small();
    // With files it would leave them to the next worker.
    fleet.config.audit.spill_folder = std::path::PathBuf::new();
    let (worker, agent, audit) = fleet.start().await;
    let replies = until_full(&agent).await;
    let stopping = tokio::spawn(worker.stop());
    // It takes no more checks, and waits.
    until("the worker leaves", async || {
        agent.try_ask(&json!({}), Duration::from_secs(5)).await.err()
    })
    .await;
    assert!(!stopping.is_finished(), "what it kept is not lost in silence");
    audit.limit(64 << 20).await;
    stopping.await.unwrap().unwrap();
    assert_holds_exactly(&audit, &replies).await;
}

#[tokio::test]
async fn checks_keep_their_pace_while_the_stream_is_full() {
    let fleet = small();
    let (_worker, agent, audit) = fleet.start().await;
    let mut replies = until_full(&agent).await;
    let start = Instant::now();
    let asking = (0..500).map(|i| {
        let agent = agent.clone();
        async move { agent.act(&format!("b-{i}")).await }
    });
    let more = futures::future::join_all(asking).await;
    // Waiting for a single acknowledgement would take as long.
    assert!(start.elapsed() < fleet.config.audit.acknowledge_timeout, "{:?}", start.elapsed());
    assert!(more.iter().all(|reply| reply["allowed"] == true && reply["audit"] == "pending"));
    replies.extend(more);
    audit.limit(64 << 20).await;
    assert_holds_exactly(&audit, &replies).await;
}

#[tokio::test]
async fn a_deleted_stream_is_brought_back_and_gets_what_was_kept() {
    let fleet = Fleet::new();
    let (worker, agent, audit) = fleet.start().await;
    let config = audit.config().await;
    assert_eq!(agent.act("before").await["audit"], json!("recorded"));
    audit.jetstream.delete_stream("POLICY_AUDIT").await.unwrap();
    let mut replies = vec![agent.act("kept").await];
    assert_eq!((&replies[0]["allowed"], &replies[0]["audit"]), (&json!(true), &json!("pending")));
    until("the stream is back", async || {
        audit.jetstream.get_stream("POLICY_AUDIT").await.ok().map(drop)
    })
    .await;
    assert_eq!(audit.config().await, config);
    assert_holds_exactly(&audit, &replies).await;
    worker.part_is("audit", |state| *state == State::Ready).await;
    replies.push(agent.act("after").await);
    assert_eq!(replies[1]["audit"], json!("recorded"));
    assert_holds_exactly(&audit, &replies).await;
}

#[tokio::test]
async fn when_no_more_can_be_kept_checks_are_refused_not_lost() {
    let mut fleet = Fleet::new();
    fleet.config.audit.retry_queue = 5;
    fleet.config.audit.spill_folder = "".into();
    // Nobody but this test brings the stream back.
    fleet.config.backoff.max = Duration::from_secs(3_600);
    let (_worker, agent, audit) = fleet.start().await;
    let config = audit.config().await;
    audit.jetstream.delete_stream("POLICY_AUDIT").await.unwrap();
    let mut replies = Vec::new();
    let refused = loop {
        let message = agent.ask(json!({"action": "a", "resource": "r"}).to_string()).await;
        let headers = message.headers.as_ref();
        if headers.is_some_and(|headers| headers.get("Nats-Service-Error-Code").is_some()) {
            break refusal(&message);
        }
        replies.push(decided(&message));
        assert!(replies.len() <= 5, "at most what can be kept");
    };
    assert_eq!(replies.len(), 5);
    assert_eq!((refused.code.as_str(), &refused.error["code"]), ("503", &json!(503)));
    let message = refused.error["message"].as_str().unwrap();
    assert!(message.contains("overloaded") && message.contains("audit stream"), "{message}");

    audit.jetstream.create_stream(config).await.unwrap();
    assert_holds_exactly(&audit, &replies).await;
    until("checks are taken again", async || {
        let message = agent.ask(json!({"action": "a", "resource": "r"}).to_string()).await;
        let reply: Value = serde_json::from_slice(&message.payload).unwrap();
        (reply["audit"] == "recorded").then_some(())
    })
    .await;
}

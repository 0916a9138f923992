//! Acknowledgements that are slow or never come: a stand-in answers in the stream's place.

use std::time::{Duration, Instant};

use async_nats::Client;
use futures::StreamExt as _;
use serde_json::{Value, json};
use sluicegate::config::Acknowledge;
use tokio::sync::mpsc;

use super::super::support::Fleet;

/// Takes the stream's place: acknowledges every event at once, except those of the action `slow`,
/// which it never does. Tells the ids of those that it leaves waiting.
async fn stand_in(client: &Client) -> mpsc::UnboundedReceiver<String> {
    let mut events = client.subscribe("policy.decision.>").await.unwrap();
    client.flush().await.unwrap();
    let (tell, told) = mpsc::unbounded_channel();
    let client = client.clone();
    tokio::spawn(async move {
        let mut sequence = 0;
        while let Some(message) = events.next().await {
            if message.subject.ends_with(".slow") {
                let headers = message.headers.unwrap();
                _ = tell.send(headers.get("Nats-Msg-Id").unwrap().as_str().to_owned());
                continue;
            }
            sequence += 1;
            let ack = json!({"stream": "POLICY_AUDIT", "seq": sequence}).to_string();
            client.publish(message.reply.unwrap(), ack.into()).await.unwrap();
        }
    });
    told
}

/// A fleet whose stream is replaced by the stand-in.
async fn started(
    fleet: &Fleet,
) -> (super::super::support::Worker, super::super::support::Agent, mpsc::UnboundedReceiver<String>)
{
    let (worker, agent, audit) = fleet.start().await;
    audit.jetstream.delete_stream("POLICY_AUDIT").await.unwrap();
    let told = stand_in(&fleet.agent().await.client).await;
    // Once one is acknowledged, the server knows the stand-in.
    assert_eq!(agent.act("first").await["audit"], json!("recorded"));
    (worker, agent, told)
}

#[tokio::test]
async fn one_slow_acknowledgement_blocks_nobody_else() {
    let fleet = Fleet::new();
    let (_worker, agent, mut told) = started(&fleet).await;
    let slow = tokio::spawn({
        let agent = agent.clone();
        async move { agent.act("slow").await }
    });
    let waiting = told.recv().await.unwrap();
    let others: Vec<Value> = futures::future::join_all((0..200).map(|i| {
        let agent = agent.clone();
        async move { agent.act(&format!("quick-{i}")).await }
    }))
    .await;
    assert!(!slow.is_finished(), "it still waits for its acknowledgement");
    assert!(others.iter().all(|reply| reply["audit"] == "recorded"));
    assert!(others.iter().all(|reply| reply["decision_id"] != json!(waiting)));
}

#[tokio::test]
async fn an_acknowledgement_that_never_comes_is_waited_for_within_the_bound() {
    let mut fleet = Fleet::new();
    fleet.config.audit.acknowledge_timeout = Duration::from_millis(500);
    // The worker must not bring the real stream back.
    fleet.config.backoff.max = Duration::from_secs(3_600);
    let (_worker, agent, mut told) = started(&fleet).await;
    let start = Instant::now();
    let reply = agent.act("slow").await;
    let waited = start.elapsed();
    assert_eq!((&reply["allowed"], &reply["audit"]), (&json!(true), &json!("pending")));
    assert!(waited >= Duration::from_millis(500), "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
    // It is sent again and again, under the same id.
    for _ in 0..3 {
        assert_eq!(json!(told.recv().await.unwrap()), reply["decision_id"]);
    }
}

#[tokio::test]
async fn after_reply_waits_for_no_acknowledgement() {
    let mut fleet = Fleet::new();
    fleet.config.audit.acknowledge = Acknowledge::AfterReply;
    fleet.config.audit.acknowledge_timeout = Duration::from_secs(60);
    let (worker, agent, audit) = fleet.start().await;
    audit.jetstream.delete_stream("POLICY_AUDIT").await.unwrap();
    let mut told = stand_in(&fleet.agent().await.client).await;
    let start = Instant::now();
    let reply = agent.act("slow").await;
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert_eq!(reply["audit"], json!("pending"));
    assert_eq!(json!(told.recv().await.unwrap()), reply["decision_id"]);
    drop(worker);
}

//! The NATS side of a check: service registration, reply subjects, trace context.

use std::time::Duration;

use async_nats::HeaderMap;
use futures::StreamExt as _;
use serde_json::{Value, json};

use super::super::support::agent::{decided, header};
use super::super::support::{Agent, Fleet, until};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn service(agent: &Agent, verb: &str) -> Value {
    let message = agent.client.request(format!("$SRV.{verb}.sluicegate"), "".into()).await.unwrap();
    serde_json::from_slice(&message.payload).unwrap()
}

#[tokio::test]
async fn the_standard_tools_see_the_service() {
    let fleet = Fleet::new();
    let (_worker, agent, _) = fleet.start().await;
    let ping = service(&agent, "PING").await;
    assert_eq!(ping["name"], json!("sluicegate"));
    assert_eq!(ping["version"], json!(env!("CARGO_PKG_VERSION")));
    assert_eq!(ping["metadata"]["worker"], json!("worker-1"));
    let info = service(&agent, "INFO").await;
    let mut endpoints: Vec<(String, String, String)> = info["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| ["name", "subject", "queue_group"].map(|k| e[k].as_str().unwrap().to_owned()))
        .map(|[name, subject, group]| (name, subject, group))
        .collect();
    endpoints.sort();
    let expected = [
        ("admin", "policy.admin.*"),
        ("check", "policy.check"),
        ("check-agent", "policy.check.*"),
        ("check_batch", "policy.check_batch"),
        ("check_batch-agent", "policy.check_batch.*"),
        ("evaluate", "policy.evaluate"),
    ];
    let expected =
        expected.map(|(name, subject)| (name.into(), subject.into(), "sluicegate".into()));
    assert_eq!(endpoints, expected);

    for _ in 0..3 {
        agent.act("a").await;
    }
    agent.refused("nonsense").await;
    // Statistics are written after the reply.
    until("the statistics", async || {
        let stats = service(&agent, "STATS").await;
        let endpoints = stats["endpoints"].as_array().unwrap().clone();
        let check = endpoints.into_iter().find(|e| e["name"] == "check").unwrap();
        (check["num_requests"] == json!(4)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn other_prefixes_and_queue_groups() {
    let mut fleet = Fleet::new();
    fleet.config.nats.subject_prefix = "lab.gate".into();
    fleet.config.nats.queue_group = "lab".into();
    fleet.config.stream.name = "LAB_AUDIT".into();
    fleet.config.stream.dead_letter_name = "LAB_DEADLETTER".into();
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.on("lab.gate.check").act("a").await;
    assert_eq!(audit.of_reply(&reply).await.subject, "lab.gate.decision.allow.a");
    let none = agent.try_ask(&json!({}), Duration::from_secs(10)).await.unwrap_err();
    assert_eq!(none.kind(), async_nats::RequestErrorKind::NoResponders);
}

#[tokio::test]
async fn an_answer_goes_to_inboxes_only() {
    let fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    let (_worker, agent, audit) = fleet.start().await;
    let mut everything = agent.client.subscribe(">").await.unwrap();
    agent.client.flush().await.unwrap();
    let body = || json!({"action": "forged", "resource": "r"}).to_string().into();
    for reply in [
        "policy.decision.allow.forged",
        "policy.violation.critical.forged",
        "$JS.API.STREAM.DELETE.POLICY_AUDIT",
        "somewhere.else",
        "_INBOX",
    ] {
        agent.client.publish_with_reply("policy.check", reply, body()).await.unwrap();
        agent.client.publish_with_reply("policy.check", reply, "{".into()).await.unwrap();
    }
    // Without a reply subject at all.
    agent.client.publish("policy.check", body()).await.unwrap();
    // The same connection's messages come in order: once this one is answered, those are settled.
    let reply = agent.act("honest").await;
    assert_eq!(reply["decision"], json!("deny"));
    agent.client.publish("the.end", "".into()).await.unwrap();
    let mut answers = Vec::new();
    while let Some(message) = everything.next().await {
        match message.subject.as_str() {
            "the.end" => break,
            "policy.check" | "policy.usage" => (),
            subject => answers.push(subject.to_owned()),
        }
    }
    let forged: Vec<&String> = answers
        .iter()
        .filter(|s| !s.starts_with("_INBOX.") && !s.contains(".deny.honest"))
        .filter(|s| *s != "policy.violation.warning.strict")
        .collect();
    assert_eq!(forged, Vec::<&String>::new());
    let stored = audit.all().await;
    assert_eq!(stored.len(), 2, "the honest decision and its violation: {stored:?}");
    assert!(stored.iter().all(|s| s.event["action"] == "honest"), "{stored:?}");
}

#[tokio::test]
async fn a_configured_prefix_is_an_inbox_too() {
    let mut fleet = Fleet::new();
    fleet.config.nats.reply_prefixes = vec!["my.inbox.".into()];
    let (_worker, agent, audit) = fleet.start().await;
    let mut inbox = agent.client.subscribe("my.inbox.1").await.unwrap();
    let body = json!({"action": "a", "resource": "r"}).to_string();
    agent.client.publish_with_reply("policy.check", "my.inbox.1", body.into()).await.unwrap();
    let reply = decided(&inbox.next().await.unwrap());
    assert_eq!(audit.of_reply(&reply).await.event["action"], json!("a"));
}

#[tokio::test]
async fn the_trace_context_goes_into_the_events() {
    let fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    let (_worker, agent, audit) = fleet.start().await;
    let request = json!({"action": "a", "resource": "r"});
    let reply = decided(&agent.ask_with_header(request.clone(), "traceparent", TRACE).await);
    assert_eq!(audit.of_reply(&reply).await.traceparent.as_deref(), Some(TRACE));
    let violations = audit.violations(&reply).await;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0].traceparent.as_deref(), Some(TRACE));
    let message = agent.ask_with_header(request, "traceparent", "00-nonsense").await;
    assert_eq!(audit.of_reply(&decided(&message)).await.traceparent, None);
    assert_eq!(header(&message, "traceparent"), None);
}

#[tokio::test]
async fn a_caller_cannot_choose_the_message_id() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", "mine");
    let body = json!({"action": "a", "resource": "r", "decision_id": "mine", "id": "mine"});
    for _ in 0..2 {
        let message = agent
            .client
            .request_with_headers("policy.check", headers.clone(), body.to_string().into())
            .await
            .unwrap();
        let reply = decided(&message);
        assert_eq!(reply["audit"], json!("recorded"));
        assert_eq!(audit.of_reply(&reply).await.event["id"], reply["decision_id"]);
    }
    assert_eq!(audit.len().await, 2);
}

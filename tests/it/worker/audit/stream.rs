//! The streams: created and reconciled at start.

use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use bytesize::ByteSize;
use sluicegate::roles::worker::WorkerError;

use super::super::support::{AuditStream, Fleet};

#[tokio::test]
async fn created_as_configured() {
    let mut fleet = Fleet::new();
    fleet.config.stream.max_bytes = ByteSize::mib(64);
    fleet.config.stream.max_age = Duration::from_secs(86_400);
    fleet.config.stream.max_message_size = ByteSize::kib(512);
    fleet.config.stream.duplicate_window = Duration::from_secs(300);
    fleet.config.stream.dead_letter_max_bytes = ByteSize::mib(8);
    let (_worker, _, audit) = fleet.start().await;
    let config = audit.config().await;
    assert_eq!(config.name, "POLICY_AUDIT");
    assert_eq!(
        config.subjects,
        [
            "policy.decision.>",
            "policy.violation.>",
            "policy.unchecked",
            "policy.outcome",
            "policy.notification",
            "policy.checkpoint",
        ]
    );
    assert_eq!(config.retention, RetentionPolicy::Limits);
    assert_eq!(config.discard, DiscardPolicy::New, "a full stream forgets nothing");
    assert_eq!(config.storage, StorageType::File);
    assert_eq!(config.num_replicas, 1);
    assert_eq!(config.max_bytes, 64 << 20);
    assert_eq!(config.max_age, Duration::from_secs(86_400));
    assert_eq!(config.max_message_size, 512 << 10);
    assert_eq!(config.duplicate_window, Duration::from_secs(300));
    assert_eq!((config.max_messages, config.max_messages_per_subject), (-1, -1));
    let dead = AuditStream::open(&fleet.nats.url(), "POLICY_DEADLETTER").await.config().await;
    assert_eq!(dead.subjects, ["policy.deadletter.>"]);
    assert_eq!((dead.discard, dead.max_bytes), (DiscardPolicy::New, 8 << 20));
}

#[tokio::test]
async fn an_existing_stream_is_brought_to_the_configuration_and_keeps_its_events() {
    let fleet = Fleet::new();
    let agent = fleet.agent().await;
    let before = async_nats::jetstream::new(agent.client.clone());
    let other = Config {
        name: "POLICY_AUDIT".into(),
        subjects: vec!["policy.decision.>".into()],
        max_bytes: 1 << 20,
        max_age: Duration::from_secs(3_600),
        discard: DiscardPolicy::Old,
        duplicate_window: Duration::from_secs(60),
        ..Config::default()
    };
    before.create_stream(other).await.unwrap();
    before.publish("policy.decision.allow.earlier", "{}".into()).await.unwrap().await.unwrap();

    let (_worker, _, audit) = fleet.start().await;
    let config = audit.config().await;
    assert_eq!(config.subjects.len(), 6);
    assert_eq!(config.discard, DiscardPolicy::New);
    assert_eq!(config.max_bytes, 256 << 20);
    assert_eq!(config.max_age, Duration::from_secs(14 * 86_400));
    assert_eq!(config.duplicate_window, Duration::from_secs(600));
    agent.act("later").await;
    let subjects: Vec<String> = audit.all().await.into_iter().map(|s| s.subject).collect();
    assert_eq!(subjects, ["policy.decision.allow.earlier", "policy.decision.allow.later"]);
}

#[tokio::test]
async fn a_stream_that_cannot_be_reconciled_is_named() {
    let fleet = Fleet::new();
    let agent = fleet.agent().await;
    let other = Config {
        name: "POLICY_AUDIT".into(),
        subjects: vec!["policy.decision.>".into()],
        storage: StorageType::Memory,
        ..Config::default()
    };
    async_nats::jetstream::new(agent.client).create_stream(other).await.unwrap();
    let error = fleet.spawn("w", fleet.config.clone()).ended().await.unwrap_err();
    assert!(!error.is_transient(), "only a person can help: {error}");
    let text = error.to_string();
    assert!(text.contains("stream POLICY_AUDIT") && text.contains("storage"), "{text}");
    assert!(matches!(error, WorkerError::Bus(_)));
}

#[tokio::test]
async fn a_server_without_jetstream_is_named_with_the_way_out() {
    let fleet = Fleet::with_server("jetstream: disabled");
    let error = fleet.spawn("w", fleet.config.clone()).ended().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("has no JetStream") && text.contains("nats-server -js"), "{text}");
}

//! Several workers share the checks.

use std::collections::{BTreeMap, BTreeSet};

use futures::StreamExt as _;
use serde_json::{Value, json};

use super::super::support::Fleet;

#[tokio::test]
async fn each_check_is_answered_once_and_every_worker_has_its_share() {
    const CHECKS: usize = 300;
    let fleet = Fleet::new();
    let (_one, agent, audit) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let inbox = agent.client.new_inbox();
    let mut replies = agent.client.subscribe(inbox.clone()).await.unwrap();
    for i in 0..CHECKS {
        let body = json!({"action": format!("a-{i}"), "resource": "r"}).to_string().into();
        agent.client.publish_with_reply("policy.check", inbox.clone(), body).await.unwrap();
    }
    let mut ids = BTreeSet::new();
    for _ in 0..CHECKS {
        let reply: Value = serde_json::from_slice(&replies.next().await.unwrap().payload).unwrap();
        assert_eq!(reply["audit"], json!("recorded"));
        ids.insert(reply["decision_id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), CHECKS);
    // Whoever answered twice would have been heard, or recorded, by the time both have finished.
    two.stop().await.unwrap();
    _one.stop().await.unwrap();
    agent.client.publish(inbox, "the end".into()).await.unwrap();
    assert_eq!(replies.next().await.unwrap().payload, "the end");
    let mut share: BTreeMap<String, usize> = BTreeMap::new();
    let stored = audit.all().await;
    assert_eq!(stored.len(), CHECKS);
    for stored in stored {
        assert!(ids.contains(&stored.id));
        *share.entry(stored.event["worker"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let workers: Vec<&str> = share.keys().map(String::as_str).collect();
    assert_eq!(workers, ["worker-1", "worker-2"], "{share:?}");
}

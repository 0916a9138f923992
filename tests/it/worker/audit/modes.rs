//! `audit.acknowledge`: when the reply leaves.

use serde_json::json;
use sluicegate::config::Acknowledge;

use super::super::support::Fleet;

#[tokio::test]
async fn after_reply_records_behind_the_reply() {
    let mut fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    fleet.config.audit.acknowledge = Acknowledge::AfterReply;
    let (worker, agent, audit) = fleet.start().await;
    let mut ids = Vec::new();
    for i in 0..20 {
        let reply = agent.act(&format!("a-{i}")).await;
        assert_eq!((&reply["allowed"], &reply["audit"]), (&json!(false), &json!("pending")));
        ids.push(reply["decision_id"].as_str().unwrap().to_owned());
    }
    let batch = json!({"checks": [{"action": "a", "resource": "r"}]});
    let reply = agent.on("policy.check_batch").check(batch).await;
    assert_eq!(reply["decisions"][0]["audit"], json!("pending"));
    ids.push(reply["decisions"][0]["decision_id"].as_str().unwrap().to_owned());
    worker.stop().await.unwrap();
    assert_eq!(audit.len().await, 42, "each decision and its violation, once");
    for id in ids {
        audit.only(&id).await;
    }
}

#[tokio::test]
async fn off_records_nothing_and_says_so() {
    let mut fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    fleet.config.audit.acknowledge = Acknowledge::Off;
    let (worker, agent, audit) = fleet.start().await;
    for i in 0..20 {
        let reply = agent.act(&format!("a-{i}")).await;
        assert_eq!((&reply["allowed"], &reply["audit"]), (&json!(false), &json!("off")));
    }
    let batch = json!({"checks": [{"action": "a", "resource": "r"}]});
    let reply = agent.on("policy.check_batch").check(batch).await;
    assert_eq!(reply["decisions"][0]["audit"], json!("off"));
    worker.stop().await.unwrap();
    assert_eq!(audit.len().await, 0);
}

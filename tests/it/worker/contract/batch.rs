//! Many checks in one message.

use serde_json::{Value, json};

use super::super::support::Fleet;

const STRICT: &str = r#"allow := false if input.action == "bad"
deny_reasons := ["d"] if input.action == "bad""#;

#[tokio::test]
async fn a_bad_item_fails_alone_and_the_order_stays() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (_worker, agent, audit) = fleet.start().await;
    let batch = agent.on("policy.check_batch");
    let reply = batch
        .check(json!({"checks": [
            {"action": "a-0", "resource": "r"},
            {"action": "bad", "resource": "r"},
            {"action": "a-2"},
            17,
            {"action": "a-4", "resource": "r", "context": {"agent": "x"}},
        ]}))
        .await;
    let decisions = reply["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), 5);
    let allowed: Vec<Value> = decisions.iter().map(|d| d["allowed"].clone()).collect();
    assert_eq!(json!(allowed), json!([true, false, null, null, true]));
    assert_eq!(decisions[1]["deny_reasons"], json!(["d"]));
    assert_eq!(decisions[2]["error"]["field"], json!("checks[2].resource"));
    assert_eq!(decisions[2]["error"]["code"], json!(400));
    assert_eq!(decisions[3]["error"]["field"], json!("checks[3]"));
    for (place, action) in [(0, "a-0"), (1, "bad"), (4, "a-4")] {
        assert_eq!(decisions[place]["audit"], json!("recorded"));
        let event = audit.of_reply(&decisions[place]).await.event;
        assert_eq!(event["action"], json!(action), "in order, and recorded before answered");
    }
    let decided = audit.all().await.iter().filter(|s| s.subject.contains("decision")).count();
    assert_eq!(decided, 3, "what could not be read was not decided");
}

#[tokio::test]
async fn a_batch_that_is_none() {
    let mut fleet = Fleet::new();
    fleet.config.worker.max_batch = 3;
    let (_worker, agent, audit) = fleet.start().await;
    let batch = agent.on("policy.check_batch");
    let check = json!({"action": "a", "resource": "r"});
    for (body, field, message) in [
        (json!([check]), "", "a batch is an object"),
        (json!({}), "checks", "is required"),
        (json!({"checks": {}}), "checks", "must be an array"),
        (json!({"checks": [check, check, check, check]}), "checks", "worker.max_batch"),
    ] {
        let refusal = batch.refused(body.to_string()).await;
        assert_eq!((refusal.code.as_str(), &refusal.error["field"]), ("400", &json!(field)));
        assert!(refusal.error["message"].as_str().unwrap().contains(message), "{refusal:?}");
    }
    let reply = batch.check(json!({"checks": [check, check, check]})).await;
    assert_eq!(reply["decisions"].as_array().unwrap().len(), 3);
    assert_eq!(batch.check(json!({"checks": []})).await, json!({"decisions": []}));
    assert_eq!(audit.len().await, 3);
}

#[tokio::test]
async fn the_largest_batch_is_answered_whole() {
    let names = ["a", "b", "c", "d", "e", "f"];
    let rules = r#"allow := false  deny_reasons := ["one_reason_of_some_length", "and_another"]"#;
    let fleet = Fleet::with_policies(&names.map(|name| (name, rules)));
    let (_worker, agent, audit) = fleet.start().await;
    let most = fleet.config.worker.max_batch;
    let checks: Vec<Value> =
        (0..most).map(|i| json!({"action": format!("a-{i}"), "resource": "r"})).collect();
    let reply = agent.on("policy.check_batch").check(json!({"checks": checks})).await;
    let decisions = reply["decisions"].as_array().unwrap();
    assert_eq!(decisions.len(), most);
    for decision in decisions {
        assert_eq!(decision["allowed"], json!(false));
        assert_eq!(decision["audit"], json!("recorded"));
        assert_eq!(
            decision["deny_reasons"],
            json!(["and_another", "one_reason_of_some_length"]),
            "an agent needs to know what to change"
        );
    }
    let each = u64::try_from(1 + names.len()).unwrap();
    assert_eq!(audit.len().await, u64::try_from(most).unwrap() * each);
}

#[tokio::test]
async fn the_identity_of_a_batch_is_bound_by_its_subject() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent
        .on("policy.check_batch.planner")
        .check(json!({"checks": [
            {"action": "a", "resource": "r"},
            {"action": "a", "resource": "r", "context": {"agent": "impostor"}},
        ]}))
        .await;
    assert_eq!(reply["decisions"][0]["warnings"], json!([]));
    assert_eq!(reply["decisions"][1]["warnings"], json!(["identity_mismatch"]));
    for decision in reply["decisions"].as_array().unwrap() {
        assert_eq!(audit.of_reply(decision).await.event["agent"], json!("planner"));
    }
}

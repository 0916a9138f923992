//! The switch for enforcement acts on all workers, is kept, and shows.

use serde_json::json;

use super::super::support::{Admin, Fleet, until};

const DENIES: &str = r#"allow := false  deny_reasons := ["gate"]"#;

#[tokio::test]
async fn it_acts_on_all_workers_and_on_those_that_start_later() {
    let fleet = Fleet::with_policies(&[("gate", DENIES)]);
    let (_one, agent, audit) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let admin = Admin::new(&agent, "alice");
    let all = async |mode: &str| {
        until("all workers have switched", async || {
            let workers = admin.does("workers", json!({})).await["workers"].clone();
            let workers = workers.as_array().unwrap();
            workers.iter().all(|worker| worker["enforcement"] == mode).then_some(())
        })
        .await;
    };
    let off = json!({"mode": "off", "change": admin.change()});
    let switched = admin.does("enforcement", off.clone()).await;
    assert_eq!(switched["enforcement"]["mode"], json!("off"));
    assert_eq!(switched["enforcement"]["updated_by"], json!("alice"));
    assert_eq!(admin.does("enforcement", off).await["changed"], json!(false));
    all("off").await;
    for _ in 0..10 {
        let reply = agent.act("x").await;
        assert_eq!((&reply["allowed"], &reply["enforced"]), (&json!(true), &json!(false)));
        assert_eq!(reply["reason"], json!("Policy enforcement disabled"));
    }

    admin.does("enforcement", json!({"mode": "shadow"})).await;
    all("shadow").await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["enforced"]), (&json!(true), &json!(false)));
    assert_eq!(reply["reason"], json!("Policy enforcement in shadow"));
    assert_eq!(reply["policies"][0]["mode"], json!("shadow"));
    let event = audit.of_reply(&reply).await.event;
    assert_eq!(event["would_deny"], json!(["gate"]), "what it would have done is recorded");
    let three = fleet.spawn("worker-3", fleet.config.clone());
    three.taking_checks().await;
    all("shadow").await;

    let on = admin.does("enforcement", json!({"mode": "on"})).await;
    assert_eq!(on["enforcement"]["version"], json!(3));
    all("on").await;
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["gate"]));
    assert_eq!(admin.does("list", json!({})).await["enforcement"], json!("on"));
}

#[tokio::test]
async fn a_worker_whose_configuration_says_off_stays_off() {
    let mut fleet = Fleet::with_policies(&[("gate", DENIES)]);
    fleet.config.enforcement.enabled = false;
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    assert_eq!(admin.does("enforcement", json!({})).await["enforcement"]["mode"], json!("on"));
    assert_eq!(agent.act("x").await["reason"], json!("Policy enforcement disabled"));
    let workers = admin.does("workers", json!({})).await;
    assert_eq!(workers["workers"][0]["enforcement"], json!("off"), "and it says so");
}

#[tokio::test]
async fn a_lost_update_and_nonsense_are_refused() {
    let fleet = Fleet::with_policies(&[]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    admin.does("enforcement", json!({"mode": "shadow", "change": {"if_version": 0}})).await;
    let refusal =
        admin.refused("enforcement", json!({"mode": "off", "change": {"if_version": 0}})).await;
    assert_eq!((refusal.code.as_str(), &refusal.error["current_version"]), ("409", &json!(1)));
    let refusal = admin.refused("enforcement", json!({"mode": "of"})).await;
    assert_eq!((refusal.code.as_str(), &refusal.error["field"]), ("400", &json!("mode")));
    let refusal = admin.refused("enforce", json!({})).await;
    assert_eq!(refusal.code, "404");
    assert!(refusal.error["message"].as_str().unwrap().contains("enforcement"), "{refusal:?}");
}

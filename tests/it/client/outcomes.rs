//! How guarded operations ended.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate::client::{Check, Guard, Outcome, Settings};

use super::support::{client, hasty, patient};
use crate::worker::support::{AuditStream, Fleet, until};

async fn outcomes(audit: &AuditStream, count: usize) -> Vec<Value> {
    until(&format!("{count} outcomes"), async || {
        let all = audit.all().await.into_iter();
        let outcomes = all.filter(|stored| stored.subject == "policy.outcome");
        let outcomes: Vec<Value> = outcomes.map(|stored| stored.event).collect();
        (outcomes.len() >= count).then_some(outcomes)
    })
    .await
}

#[tokio::test]
async fn every_guard_says_how_its_operation_ended() {
    let fleet = Fleet::with_policies(&[("strict", "allow := input.action != \"forbidden\"")]);
    let (_worker, _, audit) = fleet.start().await;
    let client = client(patient(&fleet.nats.url())).await;
    let check = Check::new("act", "r").agent("planner").run("r-7");
    let guard = async || client.guard(&check).await.unwrap();
    let mut ids = Vec::new();
    let mut noted = |guard: Guard| {
        ids.push(guard.decision().id.to_string());
        guard
    };

    let mut spending = noted(guard().await);
    spending.cost_usd(0.25);
    spending.finish(Outcome::Ok);
    let failing = noted(guard().await).run(async { "x".parse::<u8>() }).await;
    failing.unwrap_err();
    drop(noted(guard().await));
    let given_up = noted(guard().await);
    let endless = given_up.run(std::future::pending::<Result<(), ()>>());
    tokio::time::timeout(Duration::from_millis(5), endless).await.unwrap_err();
    let mut nonsense = noted(guard().await);
    nonsense.cost_usd(f64::NAN);
    let panicking = tokio::spawn(async move {
        let _guard = nonsense;
        panic!("the operation");
    });
    assert!(panicking.await.unwrap_err().is_panic());
    client.guard(&Check::new("forbidden", "r")).await.unwrap_err();
    client.close().await;

    let told = outcomes(&audit, ids.len()).await;
    assert_eq!(told.len(), 5, "{told:?}");
    let expected = [
        ("ok", "", json!(0.25)),
        ("error", "core::num::error::ParseIntError", Value::Null),
        ("cancelled", "", Value::Null),
        ("cancelled", "", Value::Null),
        ("error", "panic", Value::Null),
    ];
    for ((event, id), (outcome, exception, cost)) in told.iter().zip(&ids).zip(expected) {
        assert_eq!(event["decision_id"], *id);
        assert_eq!(
            (&event["outcome"], &event["exception_type"]),
            (&json!(outcome), &json!(exception))
        );
        assert_eq!(event["cost_usd"], cost);
        assert_eq!((&event["agent"], &event["run_id"]), (&json!("planner"), &json!("r-7")));
        assert_eq!((&event["action"], &event["user"]), (&json!("act"), &json!("")));
        assert!(event["duration_seconds"].as_f64().unwrap() >= 0.0);
    }
    assert!(told[3]["duration_seconds"].as_f64().unwrap() >= 0.005);
    assert_eq!((client.stats().outcomes, client.stats().outcomes_lost), (5, 0));
}

#[tokio::test]
async fn outcomes_wait_for_nobody_and_are_lost_beyond_the_queue() {
    let settings = Settings { outcome_queue: 10, ..hasty("nats://127.0.0.1:1") };
    let client = client(settings).await;
    for _ in 0..100 {
        client.guard(&Check::new("a", "r")).await.unwrap().finish(Outcome::Ok);
    }
    let stats = client.stats();
    assert_eq!(stats.outcomes, 0);
    assert!((89..=90).contains(&stats.outcomes_lost), "{stats:?}");
    client.close().await;
}

#[tokio::test]
async fn outcomes_can_be_switched_off() {
    let fleet = Fleet::with_policies(&[("strict", "allow := true")]);
    let (_worker, _, audit) = fleet.start().await;
    let client = client(Settings { outcomes: false, ..patient(&fleet.nats.url()) }).await;
    client.guard(&Check::new("a", "r")).await.unwrap().finish(Outcome::Ok);
    client.close().await;
    assert_eq!(client.stats().outcomes, 0);
    assert!(outcomes(&audit, 0).await.is_empty());
}

//! Checkpoints: with them the end of a run can be told from a loss.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::{Admin, Fleet, until};

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}

#[tokio::test]
async fn checkpoints_count_up_and_the_last_covers_all_numbers() {
    let mut fleet = Fleet::with_policies(&[("no", "allow := false")]);
    fleet.config.audit.checkpoint = Duration::from_millis(20);
    let (worker, agent, audit) = fleet.start().await;
    until("the first checkpoint", async || audit.checkpoints().await.first().cloned()).await;
    for _ in 0..5 {
        let asking = (0..20).map(|i| {
            let agent = agent.clone();
            async move { agent.act(&format!("a-{i}")).await }
        });
        futures::future::join_all(asking).await;
        let seen = audit.len().await;
        until("a checkpoint of all that was seen", async || {
            let all = audit.checkpoints().await;
            (number(&all.last().unwrap()["numbered"]) >= seen).then_some(())
        })
        .await;
    }
    worker.stop().await.unwrap();
    let checkpoints = audit.checkpoints().await;
    let numbered: Vec<u64> = checkpoints.iter().map(|c| number(&c["numbered"])).collect();
    assert!(numbered.is_sorted(), "{numbered:?}");
    let (last, others) = checkpoints.split_last().unwrap();
    assert!(others.iter().all(|checkpoint| checkpoint["last"] == false));
    assert_eq!(last["last"], json!(true));
    assert_eq!((&last["numbered"], &last["recorded"]), (&json!(200), &json!(200)));
    assert_eq!((&last["kept"], &last["given_up"]), (&json!(0), &json!([])));
    let events = audit.all().await;
    let numbers: BTreeSet<u64> =
        events.iter().map(|stored| number(&stored.event["worker_sequence"])).collect();
    assert_eq!(numbers, (1..=200).collect());
    assert!(events.iter().all(|stored| stored.event["worker_run"] == last["worker_run"]));
}

#[tokio::test]
async fn nothing_is_said_while_nothing_changes() {
    let mut fleet = Fleet::new();
    fleet.config.audit.checkpoint = Duration::from_millis(10);
    let (worker, agent, audit) = fleet.start().await;
    agent.act("a").await;
    until("a checkpoint of it", async || {
        let all = audit.checkpoints().await;
        all.last().filter(|last| last["recorded"] == 1).map(drop)
    })
    .await;
    let before = audit.checkpoints().await.len();
    // Twenty times the pace.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(audit.checkpoints().await.len(), before);
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn an_event_that_can_never_be_stored_is_named() {
    let mut fleet = Fleet::new();
    fleet.config.audit.checkpoint = Duration::from_millis(20);
    let (_worker, agent, audit) = fleet.start().await;
    // Somebody made the stream's messages smaller than a large event.
    let config =
        async_nats::jetstream::stream::Config { max_message_size: 4_000, ..audit.config().await };
    audit.jetstream.update_stream(config).await.unwrap();
    let large = json!({"action": "a", "resource": "r", "context": {"x": "x".repeat(5_000)}});
    assert_eq!(agent.check(large).await["audit"], json!("pending"));
    agent.act("small").await;
    let named = until("the checkpoint that names it", async || {
        let all = audit.checkpoints().await;
        all.into_iter().find(|checkpoint| checkpoint["given_up"] != json!([]))
    })
    .await;
    assert_eq!(named["given_up"], json!([1]));
}

#[tokio::test]
async fn the_workers_report_says_how_recording_goes() {
    let mut fleet = Fleet::new();
    fleet.config.policies.report = Duration::from_millis(50);
    let (_worker, agent, audit) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    audit.limit(1).await;
    let reply = agent.act("kept").await;
    assert_eq!(reply["audit"], json!("pending"));
    let status = until("the report says it", async || {
        let list = admin.does("workers", json!({})).await;
        let status = list["workers"][0]["audit"].clone();
        (status["waiting"] == 1).then_some(status)
    })
    .await;
    assert_eq!(
        (&status["acknowledge"], &status["on_unavailable"]),
        (&json!("before_reply"), &json!("allow"))
    );
    assert_eq!(
        (&status["stuck"], &status["memory_only"], &status["numbered"]),
        (&json!(true), &json!(false), &json!(1))
    );
    assert!(number(&status["spilled_bytes"]) > 100, "{status}");
}

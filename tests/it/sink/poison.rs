//! Events that can never be stored block nobody and are not lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use serde_json::json;
use sluicegate::bus::deadletter;
use sluicegate::domain::Verdict;
use sluicegate::runtime::health::State;

use super::{Rig, rig, rig_on};
use crate::store::{decision, eventually};
use crate::support::servers::ClickHouse;

/// Dead letters by reason: bodies and sequences.
async fn dead_letters(rig: &Rig, expected: u64) -> BTreeMap<String, Vec<(Vec<u8>, String)>> {
    let name = &rig.config.stream.dead_letter_name;
    let stream = rig.jetstream.get_stream(name).await.unwrap();
    eventually("dead letters are written", async || {
        stream.get_info().await.unwrap().state.messages >= expected
    })
    .await;
    assert_eq!(stream.get_info().await.unwrap().state.messages, expected);
    let consumer = stream
        .create_consumer(async_nats::jetstream::consumer::pull::Config::default())
        .await
        .unwrap();
    let mut letters: BTreeMap<String, Vec<(Vec<u8>, String)>> = BTreeMap::new();
    let batch = consumer.fetch().max_messages(expected as usize).expires(Duration::from_secs(5));
    let mut messages = batch.messages().await.unwrap();
    while let Some(message) = messages.next().await {
        let message = message.unwrap();
        assert_eq!(message.subject.as_str(), "policy.deadletter.decisions");
        let headers = message.headers.clone().unwrap();
        let header = |name: &str| headers.get(name).unwrap().as_str().to_owned();
        assert_eq!(header(deadletter::STREAM), "POLICY_AUDIT");
        assert!(!header(deadletter::DETAIL).is_empty());
        assert!(header(deadletter::SUBJECT).starts_with("policy.decision."));
        let letter = (message.payload.to_vec(), header(deadletter::SEQUENCE));
        letters.entry(header(deadletter::REASON)).or_default().push(letter);
    }
    letters
}

#[tokio::test]
async fn what_is_no_event_is_put_aside() {
    let rig = rig().await;
    let subject = rig.subjects.decision(Verdict::Allow, "x");
    let good = serde_json::to_vec(&decision(&json!({}))).unwrap();
    let mut newer = serde_json::to_value(decision(&json!({}))).unwrap();
    newer["schema"] = json!(2);
    let mut old = serde_json::to_value(decision(&json!({}))).unwrap();
    old["timestamp"] = json!("1815-12-10T00:00:00Z");
    let bad: Vec<(&str, Vec<u8>)> = vec![
        ("truncated", good[..good.len() / 2].to_vec()),
        ("not_json", b"\xff\xfe\0hello".to_vec()),
        ("not_an_event", b"{\"schema\": 1}".to_vec()),
        ("newer_schema", newer.to_string().into_bytes()),
        ("unstorable", old.to_string().into_bytes()),
    ];
    let mut ids = BTreeSet::new();
    for (n, (_, payload)) in bad.iter().enumerate() {
        ids.extend(rig.decisions(15).await);
        rig.publish(&subject, &format!("bad-{n}"), payload.clone()).await;
    }
    ids.extend(rig.decisions(15).await);
    let sink = rig.sink();
    rig.stored_once(&ids).await;
    let letters = dead_letters(&rig, 5).await;
    for (n, (reason, payload)) in bad.iter().enumerate() {
        let sequence = ((n + 1) * 16).to_string();
        assert_eq!(letters[*reason], [(payload.clone(), sequence)], "{reason}");
    }
    let State::Degraded(says) = sink.health.snapshot()["dead-letters-decisions"].clone() else {
        panic!("{:?}", sink.health.snapshot());
    };
    assert!(says.starts_with("5 events"), "{says}");
    assert!(sink.health.is_ready());
    sink.stopped().await;
}

#[tokio::test]
async fn a_dead_letter_too_large_for_its_headers_keeps_its_beginning() {
    let rig = rig().await;
    let subject = rig.subjects.decision(Verdict::Allow, "x");
    // As large as the server takes, so that there is no room for the reason beside it.
    let largest = 1_024 * 1_024 - 200;
    rig.publish(&subject, "huge", vec![b'['; largest]).await;
    let ids = rig.decisions(3).await;
    let sink = rig.sink();
    rig.stored_once(&ids).await;
    let letters = dead_letters(&rig, 1).await;
    let (body, sequence) = letters.values().flatten().next().unwrap();
    assert!(body.len() < largest && body.len() > largest - 8_192, "{}", body.len());
    assert_eq!(sequence, "1");
    sink.stopped().await;
}

#[tokio::test]
async fn rows_that_clickhouse_refuses_are_put_aside_alone() {
    let rig = rig().await;
    let first = rig.sink();
    let mut ids = rig.decisions(5).await;
    rig.stored_once(&ids).await;
    first.stopped().await;
    let constraint = "ALTER TABLE policy_decisions ADD CONSTRAINT c CHECK worker != 'bad'";
    rig.clickhouse.query_raw(constraint).execute().await.unwrap();

    let mut refused = BTreeSet::new();
    for n in 0..120 {
        let bad = n % 40 == 7;
        let id = rig.decide(&json!({"worker": if bad { "bad" } else { "good" }})).await;
        if bad { &mut refused } else { &mut ids }.insert(id);
    }
    let sink = rig.sink();
    rig.stored_once(&ids).await;
    let letters = dead_letters(&rig, 3).await;
    let put_aside: BTreeSet<_> = letters["refused_by_clickhouse"]
        .iter()
        .map(|(body, _)| {
            let event: serde_json::Value = serde_json::from_slice(body).unwrap();
            event["id"].as_str().unwrap().parse().unwrap()
        })
        .collect();
    assert_eq!(put_aside, refused);
    sink.stopped().await;
}

#[tokio::test]
async fn when_clickhouse_refuses_everything_it_is_not_the_events() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        // All in one batch, however slow the machine: few refusals may well be the events' fault.
        config.sink.batch_age = Duration::from_secs(3);
    })
    .await;
    let first = rig.sink();
    let mut ids = rig.decisions(5).await;
    rig.stored_once(&ids).await;
    first.stopped().await;
    let alter = async |what: &str| {
        let sql = format!("ALTER TABLE policy_decisions {what}");
        rig.clickhouse.query_raw(&sql).execute().await.unwrap();
    };
    alter("ADD CONSTRAINT c CHECK worker = 'nobody'").await;
    ids.extend(rig.decisions(50).await);
    let sink = rig.sink();
    sink.waits_for("clickhouse-decisions", "is violated").await;
    alter("DROP CONSTRAINT c").await;
    rig.stored_once(&ids).await;
    assert_eq!(dead_letters(&rig, 0).await.len(), 0);
    sink.stopped().await;
}

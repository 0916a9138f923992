//! Verification that had nothing to compare with must not say that all is well.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use serde_json::json;
use sluicegate::roles::verify::{Kind, Scope, Verdict};
use uuid::Uuid;

use super::verifying::{honest, verified, within};
use crate::sink::rig_on;
use crate::support::servers::ClickHouse;

#[tokio::test]
async fn events_without_a_consumer_are_not_verified() {
    let (rig, _) = honest(|_| ()).await;
    let consumer = format!("{}-decisions", rig.config().sink.consumer);
    let stream = rig.jetstream.get_stream(&rig.config().stream.name).await.unwrap();
    stream.delete_consumer(&consumer).await.unwrap();
    let report = verified(&rig).await;
    assert!(!report.verified);
    let named: Vec<_> = report.findings.of(Kind::NoConsumer).collect();
    assert_eq!(named.len(), 1, "{:#?}", report.findings);
    assert!(named[0].detail.contains(&consumer) && named[0].detail.contains("sink.consumer"));
}

#[tokio::test]
async fn a_stream_that_is_gone_is_not_verified() {
    let (rig, _) = honest(|_| ()).await;
    rig.delete_stream(&rig.config().stream.name).await;
    let report = verified(&rig).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(report.findings.count(Kind::StreamMissing), 1, "{:#?}", report.findings);
}

#[tokio::test]
async fn rows_that_nobody_seals_are_not_verified_and_fail_in_time() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        config.chain.interval = Duration::from_secs(3_600);
    })
    .await;
    let sink = rig.sink();
    sink.ready().await;
    let ids = rig.decisions(5).await;
    rig.stored_once(&ids).await;
    sink.stopped().await;
    // Nothing is wrong with a system that was just started, and nothing is proven.
    let report = verified(&rig).await;
    assert!(report.findings.named.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.verdict, report.chains[0].rows_waiting), (Verdict::Nothing, 5));
    // As if they had been stored long ago.
    rig.execute(
        "INSERT INTO policy_decisions SELECT * REPLACE (inserted_at - INTERVAL 2 DAY AS inserted_at) \
         FROM policy_decisions",
    )
    .await;
    let report = verified(&rig).await;
    assert_eq!(report.verdict, Verdict::Failed);
    assert_eq!(report.findings.count(Kind::Unsealed), 1, "{:#?}", report.findings);
}

#[tokio::test]
async fn a_row_put_into_an_older_link_is_found_by_the_span_it_pretends_to_be_of() {
    let (rig, _) = honest(|_| ()).await;
    let made_up = Uuid::now_v7();
    let since = Utc::now() + TimeDelta::hours(1);
    rig.execute(&format!(
        "INSERT INTO policy_decisions SELECT * REPLACE (toUUID('{made_up}') AS id, \
         timestamp + INTERVAL 2 HOUR AS timestamp, toUInt64(0) AS worker_sequence) \
         FROM policy_decisions WHERE stream_sequence = 3"
    ))
    .await;
    let report = within(&rig, Scope { since: Some(since), ..Scope::default() }).await;
    let found: Vec<_> = report.findings.of(Kind::Inserted).filter_map(|f| f.id).collect();
    assert!(found.contains(&made_up), "{:#?}", report.findings);
    assert_eq!(json!(report.verdict), json!("failed"));
}

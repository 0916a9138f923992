//! Chains that somebody takes back to an earlier link, or makes longer, to have altered rows sealed.

use std::time::Duration;

use chrono::Utc;
use serde_json::json;
use sluicegate::roles::verify::Kind;
use sluicegate::store::Store;
use sluicegate::store::chain::{Chained, Index, Link, Range, Signer};

use super::sealing::{links, sealed, sealed_of};
use super::verifying::{honest, verified, write_key};
use crate::sink::Rig;
use crate::store::eventually;

const CHAIN: &str = "chain-decisions";

impl Rig {
    /// Writes to the bucket of chains past every sink.
    async fn write_head(&self, link: &Link) {
        let subject = format!("$KV.{}.decisions", self.config.chain.bucket);
        let value = serde_json::to_vec(link).unwrap();
        self.jetstream.publish(subject, value.into()).await.unwrap().await.unwrap();
    }

    /// Deletes every link from there on in ClickHouse, and alters the newest row.
    async fn cut_off(&self, number: u64) {
        self.execute(&format!(
            "ALTER TABLE audit_batches DELETE WHERE chain = 'decisions' AND number >= {number} \
             SETTINGS mutations_sync = 2"
        ))
        .await;
        self.execute(
            "ALTER TABLE policy_decisions UPDATE agent = 'x' WHERE stream_sequence = \
             (SELECT max(stream_sequence) FROM policy_decisions) SETTINGS mutations_sync = 2",
        )
        .await;
    }
}

#[tokio::test]
async fn a_chain_taken_back_in_both_stores_is_not_gone_on_with_and_verify_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    write_key(&key, &Signer::generate().unwrap());
    let (rig, _) = honest(|config| config.chain.signing_key_file = key.clone()).await;
    let old = links(&rig).await;
    let end = &old[old.len() - 2];
    rig.cut_off(end.number + 1).await;
    rig.write_head(end).await;

    let report = verified(&rig).await;
    assert_eq!(report.findings.count(Kind::RolledBack), 1, "{:#?}", report.findings);
    // A sink that is only started now has the key, and must not sign the altered row.
    let sink = rig.sink();
    sink.says(CHAIN, "was taken back to link").await;
    assert_eq!(links(&rig).await.last().unwrap().number, end.number);
    sink.stopped().await;
}

#[tokio::test]
async fn a_sink_that_lives_remembers_how_far_the_chain_had_come() {
    let (rig, _) = honest(|_| ()).await;
    let old = links(&rig).await;
    let sink = rig.sink();
    rig.decisions(10).await;
    let old_number = old.last().unwrap().number;
    let all = sealed(&rig, 60).await;
    assert!(all.last().unwrap().number > old_number);
    // Without a trace in the bucket: nothing is left there but the old link.
    let bucket = format!("KV_{}", rig.config().chain.bucket);
    rig.cut_off(old_number).await;
    rig.jetstream.get_stream(bucket).await.unwrap().purge().await.unwrap();
    rig.write_head(&old[old.len() - 2]).await;
    sink.says(CHAIN, "was taken back").await;
    assert!(links(&rig).await.last().unwrap().number < old_number, "nothing was sealed again");
    sink.stopped().await;
}

#[tokio::test]
async fn a_bucket_deleted_under_a_living_sink_is_made_again_with_a_complaint() {
    let (rig, _) = honest(|_| ()).await;
    let sink = rig.sink();
    rig.decisions(5).await;
    sealed(&rig, 55).await;
    rig.delete_stream(&format!("KV_{}", rig.config().chain.bucket)).await;
    sink.says(CHAIN, "the bucket of chains lost the newest link").await;
    rig.decisions(5).await;
    sealed(&rig, 60).await;
    sink.stopped().await;
}

#[tokio::test]
async fn a_link_beyond_what_is_settled_or_with_a_gap_is_never_followed() {
    let (rig, _) = honest(|_| ()).await;
    let store = Store::connect(&rig.config().clickhouse);
    let end = store.newest_link(Chained::Decisions).await.unwrap().unwrap();
    let first = end.last_sequence + 1;
    for range in [(first, first + 1_000_000), (first + 1, first + 1)] {
        let range = Range { epoch: end.epoch, first: range.0, last: range.1 };
        let forged = Link::seal(Chained::Decisions, Some(&end), range, &[], None);
        store.insert_link(&forged, &Index::default()).await.unwrap();
        let sink = rig.sink();
        sink.says(CHAIN, "that no sink wrote").await;
        sink.stopped().await;
        let bucket = rig.jetstream.get_key_value(&rig.config().chain.bucket).await.unwrap();
        let head = bucket.get("decisions").await.unwrap().unwrap();
        let head: Link = serde_json::from_slice(&head).unwrap();
        assert_ne!(head.digest, forged.digest);
        rig.execute(&format!(
            "ALTER TABLE audit_batches DELETE WHERE digest = '{}' SETTINGS mutations_sync = 2",
            forged.digest
        ))
        .await;
    }
}

#[tokio::test]
async fn a_key_that_comes_later_vouches_for_the_links_before() {
    let (mut rig, mut worker) = honest(|_| ()).await;
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key.pem");
    write_key(&key, &Signer::generate().unwrap());
    rig.config.chain.signing_key_file = key;
    let sink = rig.sink();
    rig.decisions(10).await;
    worker.violate(&rig).await;
    worker.checkpoint(&rig, &json!({"last": true})).await;
    sealed(&rig, 60).await;
    sealed_of(&rig, Chained::Violations, 6).await;
    sink.stopped().await;
    let report = verified(&rig).await;
    assert!(report.verified, "{:#?}", report.findings);
    let note = report.notes.iter().find(|note| note.contains("before there was a key"));
    assert!(note.is_some(), "{:?}", report.notes);
    // Where no signed one follows, nobody vouches for anything: signatures can be taken away.
    rig.execute(
        "ALTER TABLE audit_batches UPDATE signature = '' WHERE chain = 'decisions' \
         SETTINGS mutations_sync = 2",
    )
    .await;
    let report = verified(&rig).await;
    let of_decisions = report.findings.of(Kind::Signature).any(|f| f.chain == Some("decisions"));
    assert!(of_decisions && !report.verified, "{:#?}", report.findings);
}

#[tokio::test]
async fn a_link_of_the_greatest_number_ends_verification_too() {
    let (rig, _) = honest(|_| ()).await;
    let store = Store::connect(&rig.config().clickhouse);
    let end = store.newest_link(Chained::Decisions).await.unwrap().unwrap();
    let range = Range { epoch: end.epoch, first: 1, last: u64::MAX };
    let mut forged = Link::seal(Chained::Decisions, Some(&end), range, &[], None);
    (forged.number, forged.rows) = (u64::MAX, u64::MAX);
    store.insert_link(&forged, &Index::default()).await.unwrap();
    let report = tokio::time::timeout(Duration::from_secs(60), verified(&rig)).await.unwrap();
    assert!(!report.verified);
    assert!(report.findings.count(Kind::LinkDeleted) > 0, "{:#?}", report.findings);
    assert_eq!(report.chains[0].rows_sealed, 50, "of a made up link nothing is believed");
}

#[tokio::test]
async fn rows_dropped_under_an_earlier_retention_are_not_deleted() {
    let (mut rig, _) = honest(|config| config.retention.decisions = Duration::ZERO).await;
    let sink = rig.sink();
    for day in 1..=9 {
        let timestamp = format!("2020-01-0{day}T00:00:00Z");
        rig.decide(&json!({ "timestamp": timestamp })).await;
    }
    sealed(&rig, 59).await;
    sink.stopped().await;

    for days in [30, 0] {
        rig.config.retention.decisions = Duration::from_secs(days * 86_400);
        let sink = rig.sink();
        let noted = format!("\"keep_seconds\":{}", days * 86_400);
        eventually("the retention is noted", async || {
            let bucket = rig.jetstream.get_key_value(&rig.config().chain.bucket).await.unwrap();
            let value = bucket.get("retention.decisions").await.unwrap().unwrap_or_default();
            String::from_utf8_lossy(&value).contains(&noted)
        })
        .await;
        if days > 0 {
            rig.execute("ALTER TABLE policy_decisions DROP PARTITION 202001").await;
        }
        sink.stopped().await;
    }
    let report = verified(&rig).await;
    assert_eq!(report.chains[0].rows_expired, 9, "{report:#?}");
    assert_eq!(report.findings.count(Kind::Deleted), 0);
    assert!(report.notes.iter().any(|note| note.contains("kept for a shorter time")));
    // Younger ones have no excuse.
    let today = Utc::now().format("%Y%m");
    rig.execute(&format!("ALTER TABLE policy_decisions DROP PARTITION {today}")).await;
    assert_eq!(verified(&rig).await.findings.count(Kind::Deleted), 50);
}

//! Sealing: what is stored gets its link, whoever dies.

use std::time::Duration;

use sluicegate::store::Store;
use sluicegate::store::chain::{Chained, Link};

use crate::sink::{Rig, rig, rig_on};
use crate::store::eventually;
use crate::support::servers::ClickHouse;

fn quick(config: &mut sluicegate::config::Config) {
    config.chain.interval = Duration::from_millis(200);
}

pub(super) async fn links(rig: &Rig) -> Vec<Link> {
    Store::connect(&rig.config().clickhouse).links(Chained::Decisions, 1).await.unwrap_or_default()
}

/// Waits until that many rows of a table are sealed.
pub(super) async fn sealed_of(rig: &Rig, chained: Chained, rows: u64) {
    let store = Store::connect(&rig.config().clickhouse);
    eventually(&format!("{rows} rows are sealed"), async || {
        let links = store.links(chained, 1).await.unwrap_or_default();
        links.iter().map(|link| link.rows).sum::<u64>() == rows
    })
    .await;
}

/// Waits until that many rows are sealed, and checks that the links make one chain over them.
pub(super) async fn sealed(rig: &Rig, rows: u64) -> Vec<Link> {
    sealed_of(rig, Chained::Decisions, rows).await;
    let store = Store::connect(&rig.config().clickhouse);
    let links = links(rig).await;
    for pair in links.windows(2) {
        assert!(pair[1].follows(&pair[0]), "{pair:?}");
    }
    for link in &links {
        assert!(link.is_whole());
        let rows = store.sealed_rows(Chained::Decisions, link.range()).await.unwrap();
        assert!(link.covers(&rows), "{link:?}");
        assert_eq!(store.link_index(link).await.unwrap().digest(), link.index_digest);
    }
    links
}

#[tokio::test]
async fn what_is_stored_is_sealed_in_links_of_bounded_size() {
    let rig = rig_on(ClickHouse::shared(), |config| {
        quick(config);
        config.chain.rows = 30;
    })
    .await;
    let sink = rig.sink();
    let ids = rig.decisions(100).await;
    rig.stored_once(&ids).await;
    let links = sealed(&rig, 100).await;
    assert!(links.len() >= 4 && links.iter().all(|link| link.rows <= 30), "{links:?}");
    sink.stopped().await;
}

#[tokio::test]
async fn a_stream_made_anew_goes_on_in_the_same_chain() {
    let rig = rig_on(ClickHouse::shared(), quick).await;
    let sink = rig.sink();
    let mut ids = rig.decisions(40).await;
    rig.stored_once(&ids).await;
    sealed(&rig, 40).await;
    rig.recreate_stream().await;
    ids.extend(rig.decisions(30).await);
    rig.stored_once(&ids).await;
    let links = sealed(&rig, 70).await;
    let first = links.iter().find(|link| link.epoch != links[0].epoch).unwrap();
    assert_eq!(first.first_sequence, 1);
    sink.stopped().await;
}

#[tokio::test]
async fn two_sinks_and_their_deaths_make_one_chain() {
    let rig = rig_on(ClickHouse::shared(), quick).await;
    let first = rig.sink();
    let mut ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    let second = rig.sink();
    sealed(&rig, 60).await;
    first.killed().await;
    ids.extend(rig.decisions(60).await);
    rig.stored_once(&ids).await;
    sealed(&rig, 120).await;
    second.stopped().await;
}

#[tokio::test]
async fn a_link_that_clickhouse_lacks_comes_again_and_a_bucket_that_is_lost_is_missed() {
    let rig = rig_on(ClickHouse::shared(), quick).await;
    let sink = rig.sink();
    let mut ids = rig.decisions(50).await;
    rig.stored_once(&ids).await;
    let before = sealed(&rig, 50).await;
    sink.stopped().await;

    // As if the sink had ended between the bucket and ClickHouse.
    let newest = before.last().unwrap();
    rig.execute(&format!(
        "ALTER TABLE audit_batches DELETE WHERE chain = 'decisions' AND number = {} \
         SETTINGS mutations_sync = 2",
        newest.number
    ))
    .await;
    let sink = rig.sink();
    assert_eq!(sealed(&rig, 50).await, before);
    sink.stopped().await;

    rig.delete_stream(&format!("KV_{}", rig.config().chain.bucket)).await;
    let sink = rig.sink();
    ids.extend(rig.decisions(10).await);
    rig.stored_once(&ids).await;
    sealed(&rig, 60).await;
    sink.says("chain-decisions", "the bucket of chains lost the newest link").await;
    sink.stopped().await;
}

#[tokio::test]
async fn nothing_is_sealed_twice_and_nothing_too_early() {
    let rig = rig().await;
    let sink = rig.sink();
    let ids = rig.decisions(20).await;
    rig.stored_once(&ids).await;
    // At the pace of the default nothing is sealed yet, or everything.
    assert!(matches!(links(&rig).await.iter().map(|link| link.rows).sum::<u64>(), 0 | 20));
    sink.stopped().await;
}

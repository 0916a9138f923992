//! Everything at once, at random.

use std::collections::BTreeSet;
use std::hash::{BuildHasher as _, RandomState};
use std::time::{Duration, Instant};

use serde_json::json;
use uuid::Uuid;

use super::rig_on;
use crate::store::eventually;
use crate::support::servers::ClickHouse;

/// How long; a night's run with `SLUICEGATE_TEST_CHAOS_SECONDS`.
pub(crate) fn how_long() -> Duration {
    let seconds =
        std::env::var("SLUICEGATE_TEST_CHAOS_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(15))
}

pub(crate) fn random(below: u64) -> u64 {
    RandomState::new().hash_one(Instant::now()) % below
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_dies_whenever() {
    let clickhouse = ClickHouse::start();
    let rig = rig_on(&clickhouse, |config| {
        config.clickhouse.insert_timeout = Duration::from_secs(2);
        config.clickhouse.query_timeout = Duration::from_secs(1);
    })
    .await;
    let mut sinks = vec![rig.sink(), rig.sink()];
    let mut ids = BTreeSet::new();
    let end = Instant::now() + how_long();
    while Instant::now() < end {
        ids.extend(rig.decisions(usize::try_from(random(150)).unwrap()).await);
        tokio::time::sleep(Duration::from_millis(random(300))).await;
        match random(6) {
            0 => {
                clickhouse.kill();
                ids.extend(rig.decisions(100).await);
                clickhouse.restart();
            }
            1 => {
                clickhouse.pause();
                tokio::time::sleep(Duration::from_millis(random(3_000))).await;
                clickhouse.resume();
            }
            2 => {
                rig.nats.kill();
                rig.nats.restart();
            }
            3 => {
                rig.nats.pause();
                tokio::time::sleep(Duration::from_millis(random(1_000))).await;
                rig.nats.resume();
            }
            _ => {
                let at = usize::try_from(random(2)).unwrap();
                sinks.swap_remove(at).killed().await;
                sinks.push(rig.sink());
            }
        }
    }
    ids.insert(rig.decide(&json!({"timestamp": chrono::Utc::now()})).await);
    let exact = "SELECT toString(id) FROM decisions";
    eventually("every decision is stored", async || {
        rig.ids(exact).await.iter().copied().collect::<BTreeSet<_>>().is_superset(&ids)
    })
    .await;
    rig.settled("decisions").await;
    let mut found: Vec<Uuid> = rig.ids(exact).await;
    found.sort();
    assert_eq!(found, ids.iter().copied().collect::<Vec<_>>(), "each exactly once");
    // A sink that lost its place while its insert was under way may leave copies, which merge.
    let copies = rig.number("SELECT count() FROM policy_decisions").await - ids.len() as u64;
    println!("{} decisions, {copies} copies not merged yet", ids.len());
    for sink in sinks {
        sink.stopped().await;
    }
}

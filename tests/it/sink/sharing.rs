//! Several sinks: one reads, the others take over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use sluicegate::roles::sink::Observer;
use sluicegate::store::Table;

use super::rig;

#[derive(Default)]
struct Count(AtomicUsize);

impl Observer for Count {
    fn inserted(&self, table: Table, rows: usize) -> BoxFuture<'_, ()> {
        if table == Table::Decisions {
            self.0.fetch_add(rows, Ordering::SeqCst);
        }
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn another_takes_over_when_one_falls_silent() {
    let rig = rig().await;
    let counts: Vec<Arc<Count>> = (0..2).map(|_| Arc::default()).collect();
    let first = rig.observed(Arc::clone(&counts[0]) as _);
    let mut ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    let second = rig.observed(Arc::clone(&counts[1]) as _);
    second.ready().await;
    ids.extend(rig.decisions(200).await);
    rig.stored_once(&ids).await;
    let count = |n: usize| counts[n].0.load(Ordering::SeqCst);
    assert_eq!((count(0), count(1)), (260, 0), "only one of them reads");

    first.killed().await;
    let silent = Instant::now();
    ids.extend(rig.decisions(100).await);
    rig.stored_once(&ids).await;
    let took = silent.elapsed();
    assert_eq!(count(1), 100);
    assert!(took < rig.config.sink.takeover + rig.config.sink.ack_wait + Duration::from_secs(5));
    second.stopped().await;
}

#[tokio::test]
async fn a_sink_that_stops_hands_over_at_once() {
    let rig = rig().await;
    let counts: Vec<Arc<Count>> = (0..2).map(|_| Arc::default()).collect();
    let first = rig.observed(Arc::clone(&counts[0]) as _);
    let mut ids = rig.decisions(60).await;
    rig.stored_once(&ids).await;
    let second = rig.observed(Arc::clone(&counts[1]) as _);
    second.ready().await;
    first.stopped().await;
    let gone = Instant::now();
    ids.extend(rig.decisions(60).await);
    rig.stored_once(&ids).await;
    assert!(gone.elapsed() < rig.config.sink.takeover, "{:?}", gone.elapsed());
    assert_eq!(counts[1].0.load(Ordering::SeqCst), 60);
    second.stopped().await;
}

//! Whoever dies: each violation is told at least once, and acknowledged only then.

use std::collections::BTreeSet;
use std::fs::File;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::receiver::{Answer, Receiver};
use super::{alerter, reports, rig, settled, violate};
use crate::sink::Rig;
use crate::store::eventually;

/// `sluicegate alerter`, with what it writes.
struct Process {
    child: Child,
    folder: TempDir,
}

impl Process {
    fn start(rig: &Rig, url: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_sluicegate"))
            .arg("alerter")
            .env("SLUICEGATE_NATS_URL", &rig.config.nats.url)
            .env("SLUICEGATE_ALERTER_SLACK", url)
            .env("SLUICEGATE_STREAM_MAX_BYTES", "64MiB")
            .env("SLUICEGATE_STREAM_DEAD_LETTER_MAX_BYTES", "8MiB")
            .env("SLUICEGATE_SINK_ACK_WAIT", "2s")
            .env("SLUICEGATE_SINK_TAKEOVER", "2s")
            .env("SLUICEGATE_BACKOFF_INITIAL", "20ms")
            .env("SLUICEGATE_BACKOFF_MAX", "250ms")
            .env("SLUICEGATE_TELEMETRY_LOG", "trace")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child, folder }
    }

    /// Ends it as a crash does; gives back what it wrote.
    fn kill(&mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_between_post_and_acknowledgement_it_is_posted_again_and_only_then_done() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |_| ()).await;
    receiver.script([Answer::Status(500), Answer::Hang]);
    let mut first = Process::start(&rig, &receiver.url());
    let id = violate(&rig, &json!({})).await;
    eventually("it is posted", async || receiver.posts().len() == 2).await;
    let said = first.kill();
    assert!(said.contains(&receiver.name()), "it says who fails: {said}");
    assert!(!said.contains("s3cret"), "{said}");

    let mut second = Process::start(&rig, &receiver.url());
    let report = reports(&rig, 1).await.remove(0);
    assert_eq!((report.violation_id, report.notified), (id, true));
    settled(&rig).await;
    assert_eq!(receiver.keys(), [id, id, id]);
    let said = second.kill();
    assert!(!said.contains("s3cret"), "{said}");
}

#[tokio::test]
async fn another_takes_over_what_the_first_had_begun() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| config.alerter.rate_limit = 1_000).await;
    let first = alerter(&rig);
    first.ready().await;
    let mut ids = BTreeSet::new();
    for _ in 0..20 {
        ids.insert(violate(&rig, &json!({})).await);
    }
    reports(&rig, 20).await;
    let second = alerter(&rig);
    second.ready().await;
    receiver.always(Answer::Slow(Duration::from_millis(300)));
    for _ in 0..20 {
        ids.insert(violate(&rig, &json!({})).await);
    }
    eventually("some are on their way", async || receiver.posts().len() > 25).await;
    first.killed().await;
    receiver.always(Answer::Status(200));
    let told: BTreeSet<_> =
        reports(&rig, 40).await.iter().map(|report| report.violation_id).collect();
    assert_eq!(told, ids);
    settled(&rig).await;
    assert_eq!(receiver.keys().into_iter().collect::<BTreeSet<_>>(), ids);
    second.stopped().await;
}

/// The one whose target answers too slowly asks for no more and loses its place, with messages still in
/// its hands.
#[tokio::test]
async fn who_is_overtaken_while_its_target_is_slow_leaves_the_rest_to_the_other() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| {
        config.alerter.rate_limit = 1_000;
        config.alerter.max_in_flight = 4;
        config.alerter.timeout = Duration::from_secs(30);
    })
    .await;
    let first = alerter(&rig);
    first.ready().await;
    receiver.always(Answer::Slow(Duration::from_secs(6)));
    let mut ids = BTreeSet::new();
    for _ in 0..40 {
        ids.insert(violate(&rig, &json!({})).await);
    }
    eventually("the first is full", async || receiver.posts().len() == 4).await;
    let second = alerter(&rig);
    eventually("another took over", async || receiver.posts().len() > 4).await;
    receiver.always(Answer::Status(200));
    let told: BTreeSet<_> =
        reports(&rig, 40).await.iter().map(|report| report.violation_id).collect();
    assert_eq!(told, ids);
    settled(&rig).await;
    let mut keys = receiver.keys();
    keys.sort();
    assert_eq!(keys, ids.into_iter().collect::<Vec<_>>(), "none is posted twice");
    first.stopped().await;
    second.stopped().await;
}

#[tokio::test]
async fn nats_goes_and_comes_back() {
    let receiver = Receiver::start().await;
    let rig = rig(&[&receiver], |config| config.alerter.rate_limit = 1_000).await;
    let alerter = alerter(&rig);
    alerter.ready().await;
    let mut ids = BTreeSet::new();
    for round in 1..=2 {
        for _ in 0..10 {
            ids.insert(violate(&rig, &json!({})).await);
        }
        rig.nats.kill();
        rig.nats.restart();
        for _ in 0..10 {
            ids.insert(violate(&rig, &json!({})).await);
        }
        let told: BTreeSet<_> =
            reports(&rig, round * 20).await.iter().map(|report| report.violation_id).collect();
        assert_eq!(told, ids, "each is reported once");
    }
    settled(&rig).await;
    let mut keys = receiver.keys();
    keys.sort();
    assert_eq!(keys, ids.into_iter().collect::<Vec<_>>(), "one process posts none twice");
    alerter.stopped().await;
}

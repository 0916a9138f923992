//! Leaving: what was accepted is answered and recorded.

use std::collections::BTreeSet;

use nix::sys::signal::Signal;
use serde_json::json;

use super::super::support::{Crowd, Fleet, Program, Running};

#[tokio::test]
async fn a_worker_that_is_told_to_stop_loses_no_accepted_check() {
    let fleet = Fleet::with_policies(&[("kind", "allow := true")]);
    let folder = format!("policies.folder={}", fleet.policies().display());
    let url = fleet.nats.url();
    let mut worker =
        Running::worker(Program::new(&["worker", "--nats-url", &url, "--set", &folder]));
    let crowd = Crowd::start(&[url], 4, 16).await;
    crowd.answers_more(500).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait().success(), "{}", worker.log());
    let all = crowd.end().await;
    let log = worker.log();
    assert!(log.contains("every accepted check is answered and recorded"), "{log}");
    assert_eq!((all.refused, all.unanswered, all.pending.len()), (0, 0, 0));
    let stored: Vec<String> = fleet.audit().await.all().await.into_iter().map(|s| s.id).collect();
    let unique: BTreeSet<&String> = stored.iter().collect();
    assert_eq!(unique.len(), stored.len(), "each once");
    assert_eq!(unique, all.recorded.iter().collect(), "what was recorded was answered, and all");
}

/// One worker comes, the one before goes, again and again, while agents ask without a pause.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_take_turns_answer_everything() {
    const TURNS: usize = 25;
    let fleet = Fleet::with_policies(&[("kind", "allow := true")]);
    let mut worker = fleet.worker().await;
    let crowd = Crowd::start(&[fleet.nats.url()], 4, 12).await;
    for turn in 0..TURNS {
        let next = fleet.spawn(&format!("turn-{turn}"), fleet.config.clone());
        next.taking_checks().await;
        crowd.answers_more(40).await;
        worker.stop().await.unwrap();
        worker = next;
    }
    crowd.answers_more(40).await;
    let all = crowd.end().await;
    worker.stop().await.unwrap();
    let wrong = (all.unanswered, all.nobody, all.refused, all.pending.len());
    assert_eq!(wrong, (0, 0, 0, 0), "of {}", all.recorded.len());
    let stored: Vec<String> = fleet.audit().await.all().await.into_iter().map(|s| s.id).collect();
    assert_eq!(stored.len(), all.recorded.len());
    let stored: BTreeSet<&String> = stored.iter().collect();
    assert_eq!(stored, all.recorded.iter().collect(), "each reply has its event, and it only");
}

/// A worker that keeps an event in memory alone, for which there is no stream, and doesn't bring the stream back.
async fn worker_with_a_kept_event(fleet: &Fleet, drain: &str) -> Running {
    let folder = format!("policies.folder={}", fleet.policies().display());
    let (url, drain) = (fleet.nats.url(), format!("shutdown.drain={drain}"));
    let worker = Running::worker(Program::new(&[
        "worker",
        "--nats-url",
        &url,
        "--set",
        &folder,
        "--set",
        &drain,
        "--set",
        "backoff.max=1h",
        "--set",
        "audit.spill_folder=",
    ]));
    fleet.audit().await.jetstream.delete_stream("POLICY_AUDIT").await.unwrap();
    assert_eq!(fleet.agent().await.act("kept").await["audit"], json!("pending"));
    worker
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let fleet = Fleet::new();
    let mut worker = worker_with_a_kept_event(&fleet, "10m").await;
    worker.signal(Signal::SIGINT);
    worker.logs("a second signal ends at once");
    worker.signal(Signal::SIGTERM);
    assert_eq!(worker.wait().code(), Some(130), "{}", worker.log());
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline_and_says_what_is_left() {
    let fleet = Fleet::new();
    let mut worker = worker_with_a_kept_event(&fleet, "300ms").await;
    worker.signal(Signal::SIGTERM);
    worker.wait();
    // The event, and the last checkpoint.
    let log = worker.log();
    assert!(log.contains("shutdown.drain") && log.contains("unsent=2"), "{log}");
}

//! Leaving: what was accepted is answered and recorded.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::RequestErrorKind;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::super::support::{Agent, Fleet, Program, Running, until};

/// How the checks of a crowd ended.
#[derive(Debug, Default)]
struct Crowd {
    recorded: Vec<String>,
    refused: usize,
    unanswered: usize,
}

/// Checks under way at once.
const CROWD: usize = 64;
static ANSWERED: AtomicUsize = AtomicUsize::new(0);
static ENOUGH: AtomicBool = AtomicBool::new(false);

/// Asks one check after the other until nobody answers.
async fn ask_on(agent: Agent) -> Crowd {
    let mut crowd = Crowd::default();
    while !ENOUGH.load(Ordering::Relaxed) {
        let request = json!({"action": "a", "resource": "r"});
        match agent.try_ask(&request, Duration::from_secs(10)).await {
            Ok(message) => {
                let reply: Value = serde_json::from_slice(&message.payload).unwrap();
                if reply["error"]["code"] == 503 {
                    crowd.refused += 1;
                    continue;
                }
                assert_eq!(reply["audit"], json!("recorded"));
                crowd.recorded.push(reply["decision_id"].as_str().unwrap().to_owned());
                ANSWERED.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => break,
            Err(error) => {
                assert_eq!(error.kind(), RequestErrorKind::TimedOut);
                crowd.unanswered += 1;
            }
        }
    }
    crowd
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_loses_no_accepted_check() {
    let fleet = Fleet::with_policies(&[("kind", "allow := true")]);
    let folder = format!("policies.folder={}", fleet.policies().display());
    let url = fleet.nats.url();
    let mut worker =
        Running::worker(Program::new(&["worker", "--nats-url", &url, "--set", &folder]));
    let mut asking = Vec::new();
    for _ in 0..4 {
        let agent = fleet.agent().await;
        asking.extend((0..CROWD / 4).map(|_| tokio::spawn(ask_on(agent.clone()))));
    }
    until("the crowd is answered", async || (ANSWERED.load(Ordering::Relaxed) > 500).then_some(()))
        .await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait().success(), "{}", worker.log());
    ENOUGH.store(true, Ordering::Relaxed);
    let mut all = Crowd::default();
    for asked in asking {
        let crowd = asked.await.unwrap();
        all.recorded.extend(crowd.recorded);
        all.refused += crowd.refused;
        all.unanswered += crowd.unanswered;
    }
    let log = worker.log();
    assert!(log.contains("every accepted check is answered and recorded"), "{log}");
    let stored: Vec<String> = fleet.audit().await.all().await.into_iter().map(|s| s.id).collect();
    let unique: BTreeSet<&String> = stored.iter().collect();
    assert_eq!(unique.len(), stored.len(), "each once");
    for id in &all.recorded {
        assert!(unique.contains(id), "{id} was answered as recorded and isn't");
    }
    assert_eq!(stored.len(), all.recorded.len(), "what was recorded was answered");
    // What is on the way while a subscription ends, async-nats drops: neither decided nor recorded.
    assert!(all.refused + all.unanswered <= CROWD, "{} {}", all.refused, all.unanswered);
}

/// A worker that keeps an event for which there is no stream, and doesn't bring the stream back.
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
    let log = worker.log();
    assert!(log.contains("shutdown.drain") && log.contains("unsent=1"), "{log}");
}

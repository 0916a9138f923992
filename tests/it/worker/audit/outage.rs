//! NATS away: at the start, in the middle.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use sluicegate::runtime::health::State;

use super::super::support::agent::decided;
use super::super::support::{Fleet, Program, until};

#[tokio::test]
async fn a_worker_waits_for_the_server_and_says_so() {
    let fleet = Fleet::new();
    fleet.nats.kill();
    let worker = fleet.spawn("worker-1", fleet.config.clone());
    let url = fleet.nats.url();
    worker
        .part_is("nats-recorder", |state| {
            matches!(state, State::Waiting(why) if why.contains(&url) && why.contains("reached"))
        })
        .await;
    assert_eq!(worker.part("checks"), None, "it takes none yet");
    fleet.nats.restart();
    worker.taking_checks().await;
    assert_eq!(fleet.agent().await.act("a").await["audit"], json!("recorded"));
}

#[tokio::test]
async fn a_worker_that_waits_for_the_server_can_be_told_to_stop() {
    let fleet = Fleet::new();
    fleet.nats.kill();
    let folder = format!("policies.folder={}", fleet.policies().display());
    let url = fleet.nats.url();
    let mut worker = Program::new(&["worker", "--nats-url", &url, "--set", &folder]).start();
    worker.logs("can't be reached");
    worker.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(worker.wait().success(), "{}", worker.log());
}

#[tokio::test]
async fn a_worker_outlives_the_servers_restart() {
    let mut fleet = Fleet::new();
    fleet.config.audit.acknowledge_timeout = Duration::from_secs(2);
    let (worker, agent, audit) = fleet.start().await;
    let mut recorded = BTreeSet::new();
    for round in 0..2 {
        for i in 0..50 {
            let reply = agent.act(&format!("a-{round}-{i}")).await;
            assert_eq!(reply["audit"], json!("recorded"));
            recorded.insert(reply["decision_id"].as_str().unwrap().to_owned());
        }
        fleet.nats.kill();
        for part in ["nats-recorder", "nats-responder"] {
            worker
                .part_is(part, |s| matches!(s, State::Waiting(why) if why.contains("lost")))
                .await;
        }
        fleet.nats.restart();
        for part in ["nats-recorder", "nats-responder"] {
            worker.part_is(part, |state| *state == State::Ready).await;
        }
        let reply = until("checks are taken again", async || {
            let request = json!({"action": "back", "resource": "r"});
            let message = agent.try_ask(&request, Duration::from_secs(5)).await.ok()?;
            Some(decided(&message))
        })
        .await;
        assert_eq!(reply["allowed"], json!(true));
    }
    worker.stop().await.unwrap();
    let stored: Vec<String> = audit.all().await.into_iter().map(|s| s.id).collect();
    let unique: BTreeSet<String> = stored.iter().cloned().collect();
    assert_eq!(unique.len(), stored.len(), "each once");
    assert!(recorded.is_subset(&unique), "what was recorded survived the kill");
}

#[tokio::test]
async fn a_paused_server_loses_nothing() {
    let mut fleet = Fleet::new();
    fleet.config.audit.acknowledge_timeout = Duration::from_secs(1);
    let (worker, agent, audit) = fleet.start().await;
    agent.act("before").await;
    let asking = (0..20).map(|i| {
        let agent = agent.clone();
        tokio::spawn(async move { agent.act(&format!("a-{i}")).await })
    });
    let asking: Vec<_> = asking.collect();
    fleet.nats.pause();
    // Long enough for acknowledgements under way to be given up.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    fleet.nats.resume();
    for asked in asking {
        assert_eq!(asked.await.unwrap()["allowed"], json!(true));
    }
    worker.stop().await.unwrap();
    audit.holds(21).await;
    let unique: BTreeSet<String> = audit.all().await.into_iter().map(|s| s.id).collect();
    assert_eq!(unique.len(), 21, "each once");
}

#[tokio::test]
async fn the_program_says_on_http_what_it_waits_for() {
    let fleet = Fleet::new();
    fleet.nats.kill();
    let folder = format!("policies.folder={}", fleet.policies().display());
    let listen = format!("127.0.0.1:{}", crate::support::servers::free_port());
    let url = fleet.nats.url();
    let set = format!("telemetry.listen={listen}");
    let _worker =
        Program::new(&["worker", "--nats-url", &url, "--set", &folder, "--set", &set]).start();
    let health = || Program::new(&["health", "--json", "--url", &format!("http://{listen}")]).run();
    let said = until("the worker says what it waits for", async || {
        let said = health();
        (said.code == 1 && said.out.contains("can't be reached")).then_some(said)
    })
    .await;
    assert_eq!(said.json()["ready"], json!(false));
    assert!(said.out.contains(&url), "{said:?}");
    fleet.nats.restart();
    let said = until("the worker is ready", async || {
        let said = health();
        (said.code == 0 && said.out.contains("checks")).then_some(said)
    })
    .await;
    assert_eq!(said.json()["parts"]["checks"]["state"], json!("ready"));
}

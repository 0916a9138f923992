//! What the client makes of servers that are not there, slow, or hostile.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use futures::StreamExt as _;
use nix::sys::signal::Signal;
use serde_json::json;
use sluicegate::client::{Auth, Cause, Check, Client, ClientError, Settings};
use sluicegate::domain::FailMode;

use super::support::{Reports, client, hasty, patient};
use crate::support::servers::{NatsServer, free_port};
use crate::worker::support::{Fleet, Running, until};

fn check() -> Check {
    Check::new("llm_call", json!({"model": "m"})).agent("planner")
}

async fn cause(client: &Client) -> Option<Cause> {
    let decision = client.check(&check()).await;
    assert_eq!(decision.error, decision.unchecked.is_some(), "{decision:?}");
    decision.unchecked.map(|why| why.cause)
}

/// Waits until a check is decided again.
async fn decided(client: &Client) {
    until("a check is decided", async || cause(client).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn a_dead_server_costs_a_few_timeouts_and_then_nothing() {
    let client = client(hasty(&format!("nats://127.0.0.1:{}", free_port()))).await;
    for _ in 0..3 {
        let begun = Instant::now();
        let decision = client.check(&check()).await;
        let why = decision.unchecked.as_ref().unwrap();
        assert_eq!(why.cause, Cause::Disconnected, "{why:?}");
        assert!(decision.allowed && decision.reason.starts_with("not checked: no connection"));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    let begun = Instant::now();
    for _ in 0..5_000 {
        assert_eq!(cause(&client).await, Some(Cause::CircuitOpen));
    }
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    let stats = client.stats();
    assert!(stats.breaker_open && stats.coverage() == 0.0, "{stats:?}");
    assert_eq!((stats.unchecked["disconnected"], stats.unchecked["circuit_open"]), (3, 5_000));
    assert_eq!(stats.waiting, 5_003);
    let begun = Instant::now();
    assert_eq!(client.close().await, 5_003, "nothing was reported");
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(cause(&client).await, Some(Cause::Disconnected), "closed, it answers all the same");
}

#[tokio::test]
async fn without_workers_the_answer_is_the_fail_mode() {
    let nats = NatsServer::start();
    let open = client(patient(&nats.url())).await;
    let decision = open.check(&check()).await;
    assert!(decision.allowed && decision.deny_reasons.is_empty(), "{decision:?}");
    assert_eq!(decision.unchecked.unwrap().cause, Cause::NoResponders);
    let closed = Settings { fail_mode: FailMode::Closed, ..patient(&nats.url()) };
    let closed = client(closed).await;
    let denied = closed.guard(&check()).await.unwrap_err();
    assert!(denied.is_transient() && denied.to_string().contains("not checked"), "{denied}");
    assert_eq!(denied.decision.deny_reasons.len(), 1);
    let error = open.active_policies().await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(matches!(error, ClientError::Unanswered { cause: Cause::NoResponders, .. }));
}

#[tokio::test]
async fn a_worker_that_hangs_costs_the_timeout() {
    let fleet = Fleet::with_policies(&[("strict", "allow := true")]);
    let worker = Running::worker(fleet.program(&[]));
    let first = client(patient(&fleet.nats.url())).await;
    assert_eq!(cause(&first).await, None);
    let reports = Reports::open(&fleet.nats.url()).await;
    worker.signal(Signal::SIGSTOP);
    let hurried = client(hasty(&fleet.nats.url())).await;
    let begun = Instant::now();
    for _ in 0..3 {
        assert_eq!(cause(&hurried).await, Some(Cause::Timeout));
    }
    assert!(
        begun.elapsed() > Duration::from_millis(800) && begun.elapsed() < Duration::from_secs(20)
    );
    assert_eq!(cause(&hurried).await, Some(Cause::CircuitOpen));
    worker.signal(Signal::SIGCONT);
    decided(&hurried).await;
    assert!(!hurried.stats().breaker_open);
    let unchecked = usize::try_from(hurried.stats().unchecked_total()).unwrap();
    assert!(reports.holds(unchecked).await.iter().any(|report| report.event["cause"] == "timeout"));
}

/// The server is a hostile one of the test's own.
#[tokio::test]
async fn garbage_is_no_decision() {
    let nats = NatsServer::start();
    let hostile = async_nats::connect(nats.url()).await.unwrap();
    let checks = hostile.subscribe("policy.check").await.unwrap();
    let batches = hostile.subscribe("policy.check_batch").await.unwrap();
    let mut asked = futures::stream::select(checks, batches);
    hostile.flush().await.unwrap();
    let id = "01a2048b-8bf2-7541-ade8-6f027b901b15";
    let fault = |code: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Service-Error-Code", code);
        headers.insert("Nats-Service-Error", "busy");
        headers
    };
    let none = HeaderMap::new;
    let answers: Vec<(Vec<u8>, HeaderMap, Cause, Option<u16>)> = vec![
        (b"".into(), none(), Cause::InvalidReply, None),
        (b"\xff\xfe{".into(), none(), Cause::InvalidReply, None),
        (b"true".into(), none(), Cause::InvalidReply, None),
        (b"{}".into(), none(), Cause::InvalidReply, None),
        ("[".repeat(500_000).into_bytes(), none(), Cause::InvalidReply, None),
        (br#"{"allowed":"yes"}"#.into(), none(), Cause::InvalidReply, None),
        (
            json!({"allowed": true, "decision": "deny", "decision_id": id}).to_string().into(),
            none(),
            Cause::InvalidReply,
            None,
        ),
        (b"".into(), fault("503"), Cause::ServiceError, Some(503)),
        (b"<html>".into(), fault("over 9000"), Cause::ServiceError, None),
        (
            json!({"allowed": true, "decision_id": id}).to_string().into(),
            fault("429"),
            Cause::ServiceError,
            Some(429),
        ),
    ];
    let client = client(patient(&nats.url())).await;
    for (body, headers, cause, code) in answers {
        let check = check();
        let asking = client.check(&check);
        let answering = async {
            let message = asked.next().await.unwrap();
            let reply = message.reply.unwrap();
            hostile.publish_with_headers(reply, headers, body.clone().into()).await.unwrap();
        };
        let (decision, ()) = tokio::join!(asking, answering);
        let why = decision.unchecked.unwrap();
        let said = String::from_utf8_lossy(&body[..body.len().min(40)]).into_owned();
        assert_eq!((why.cause, why.code), (cause, code), "{said}: {}", why.message);
        assert!(decision.allowed && decision.error);
    }
    // A batch with too few answers, and one with an answer that is none.
    for (body, fine) in [
        (json!({"decisions": []}), 0),
        (json!({"decisions": [{"allowed": true, "decision_id": id}, 7]}), 1),
    ] {
        let checks = [check(), check()];
        let asking = client.check_many(&checks);
        let answering = async {
            let reply = asked.next().await.unwrap().reply.unwrap();
            hostile.publish(reply, body.to_string().into()).await.unwrap();
        };
        let (decisions, ()) = tokio::join!(asking, answering);
        assert_eq!(decisions.len(), 2);
        assert_eq!(decisions.iter().filter(|d| d.unchecked.is_none()).count(), fine, "{body}");
    }
    assert_eq!(client.stats().unchecked["invalid_reply"], 7 + 3);
    assert!(!client.stats().breaker_open);
}

#[tokio::test]
async fn an_answer_that_comes_late_is_nobodys() {
    let nats = NatsServer::start();
    let slow = async_nats::connect(nats.url()).await.unwrap();
    let mut asked = slow.subscribe("policy.check").await.unwrap();
    slow.flush().await.unwrap();
    let client = client(Settings { breaker_failures: 10, ..hasty(&nats.url()) }).await;
    until("the connection is there", async || {
        (cause(&client).await == Some(Cause::Timeout)).then_some(())
    })
    .await;
    let yes = json!({"allowed": true, "decision_id": "01a2048b-8bf2-7541-ade8-6f027b901b15"});
    let first = asked.next().await.unwrap();
    slow.publish(first.reply.unwrap(), yes.to_string().into()).await.unwrap();
    slow.flush().await.unwrap();
    assert_eq!(cause(&client).await, Some(Cause::Timeout), "the late answer is not this check's");
}

#[tokio::test]
async fn who_may_not_is_told_why() {
    let users = "authorization { users: [\n\
        {user: agent, password: right, permissions: {publish: \"nothing\"}}\n] }";
    let nats = NatsServer::start_with(users);
    let user = |password: &str| Auth::User { name: "agent".into(), password: password.into() };
    let stranger = client(Settings { auth: user("wrong"), ..hasty(&nats.url()) }).await;
    let said = until("the server's complaint", async || {
        let why = stranger.check(&check()).await.unchecked.unwrap();
        why.message.contains("authorization violation").then_some(why)
    })
    .await;
    assert!(matches!(said.cause, Cause::Disconnected | Cause::CircuitOpen), "{said:?}");
    assert!(!format!("{stranger:?}").contains("wrong"), "no secret is shown");

    let muted = client(Settings { auth: user("right"), ..hasty(&nats.url()) }).await;
    let said = until("the server's complaint", async || {
        let why = muted.check(&check()).await.unchecked.unwrap();
        why.message.to_lowercase().contains("permissions violation").then_some(why)
    })
    .await;
    assert!(matches!(said.cause, Cause::Timeout | Cause::CircuitOpen), "{said:?}");
}

#[tokio::test]
async fn settings_that_can_not_work_are_refused() {
    let missing = std::path::PathBuf::from("/nowhere/at/all");
    for (settings, name) in [
        (Settings { url: "nats://[".into(), ..Settings::default() }, "url"),
        (
            Settings { auth: Auth::CredentialsFile(missing.clone()), ..Settings::default() },
            "credentials_file",
        ),
        (Settings { root_certificates: Some(missing), ..Settings::default() }, "root_certificates"),
        (Settings { timeout: Duration::ZERO, ..Settings::default() }, "timeout"),
        (
            Settings { spool_folder: Some("/dev/null/below".into()), ..Settings::default() },
            "spool_folder",
        ),
    ] {
        let error = Client::connect(settings).await.unwrap_err();
        assert!(
            matches!(&error, ClientError::Setting { setting, .. } if *setting == name),
            "{error}"
        );
        assert!(!error.is_transient());
    }
}

#[tokio::test]
async fn a_restart_of_nats_loses_no_report() {
    let fleet = Fleet::with_policies(&[("strict", "allow := true")]);
    let (worker, ..) = fleet.start().await;
    let client = client(hasty(&fleet.nats.url())).await;
    decided(&client).await;
    let reports = Reports::open(&fleet.nats.url()).await;
    let before = client.stats().unchecked_total();
    fleet.nats.kill();
    let mut unchecked = Vec::new();
    for _ in 0..200 {
        let decision = client.check(&check()).await;
        if decision.unchecked.is_some() {
            unchecked.push(decision.id.to_string());
        }
    }
    assert!(unchecked.len() > 190, "{}", unchecked.len());
    fleet.nats.restart();
    worker.taking_checks().await;
    decided(&client).await;
    until("all is reported", async || (client.stats().waiting == 0).then_some(())).await;
    let stats = client.stats();
    assert_eq!((stats.lost, stats.reported), (0, stats.unchecked_total()), "{stats:?}");
    assert!(stats.unchecked_total() >= before + u64::try_from(unchecked.len()).unwrap());
    let all = reports.all().await;
    for id in unchecked {
        assert_eq!(all.iter().filter(|report| report.id == id).count(), 1, "{id}");
    }
    assert_eq!(client.close().await, 0);
}

/// A server that stands still keeps its connections: only the time tells.
#[tokio::test]
async fn a_server_that_stands_still_hangs_nobody() {
    let fleet = Fleet::with_policies(&[("strict", "allow := true")]);
    let (_worker, ..) = fleet.start().await;
    let client = client(hasty(&fleet.nats.url())).await;
    decided(&client).await;
    fleet.nats.pause();
    let begun = Instant::now();
    let asking = (0..500).map(|_| cause(&client));
    for cause in futures::future::join_all(asking).await {
        let expected = [Some(Cause::Timeout), Some(Cause::Disconnected), Some(Cause::CircuitOpen)];
        assert!(expected.contains(&cause), "{cause:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    fleet.nats.resume();
    decided(&client).await;
}

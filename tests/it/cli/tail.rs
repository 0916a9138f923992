//! `sluicegate tail`.

use serde_json::{Value, json};

use crate::worker::support::{Agent, Fleet, Program, Running, Worker, until};

const STRICT: &str = r#"allow := false if input.action == "forbidden"
deny_reasons := ["because"] if input.action == "forbidden""#;

async fn started() -> (Fleet, Worker, Agent) {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (worker, agent, _) = fleet.start().await;
    (fleet, worker, agent)
}

/// `sluicegate tail` that listens: it has shown something.
async fn tail(fleet: &Fleet, agent: &Agent, flags: &[&str]) -> Running {
    let tail = Program::new(&[&["tail", "--nats-url", &fleet.nats.url()], flags].concat()).start();
    until("tail listens", async || {
        agent.act("forbidden").await;
        (!tail.lines().is_empty()).then_some(())
    })
    .await;
    tail
}

/// Waits for a line.
async fn line(tail: &Running, wanted: impl Fn(&str) -> bool) -> String {
    until("the line", async || tail.lines().into_iter().find(|line| wanted(line))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_decisions_and_violations_as_they_happen() {
    let (fleet, _worker, agent) = started().await;
    let tail = tail(&fleet, &agent, &[]).await;
    let ask = json!({"action": "forbidden", "resource": {"path": "/srv/x"},
        "context": {"agent": "planner", "session_id": "s-1"}});
    agent.check(ask).await;
    let decision = line(&tail, |l| l.contains("/srv/x") && l.contains("deny ")).await;
    for part in ["forbidden", "because", "planner in session s-1"] {
        assert!(decision.contains(part), "{part}: {decision}");
    }
    let violation = line(&tail, |l| l.contains("/srv/x") && l.contains("violation")).await;
    for part in ["warning violation", "policy_denied", "forbidden", "by strict", "because"] {
        assert!(violation.contains(part), "{part}: {violation}");
    }
    agent.check(json!({"action": "fine", "resource": "r"})).await;
    let allowed = line(&tail, |l| l.contains("fine")).await;
    assert!(allowed.contains("allow") && !allowed.contains('\u{1b}'), "{allowed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_is_the_events_themselves_and_a_count_ends_it() {
    let (fleet, _worker, agent) = started().await;
    let url = fleet.nats.url();
    let mut tail = Program::new(&["tail", "--nats-url", &url, "--json", "-n", "4"]).start();
    until("four lines", async || {
        agent.act("forbidden").await;
        (tail.lines().len() == 4).then_some(())
    })
    .await;
    assert!(tail.wait().success());
    let lines = tail.lines();
    assert_eq!(lines.len(), 4);
    let audit = fleet.audit().await;
    for line in lines {
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(audit.only(event["id"].as_str().unwrap()).await.event, event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_only_what_is_asked_for() {
    let (fleet, _worker, agent) = started().await;
    let denied = tail(&fleet, &agent, &["--json", "--denied"]).await;
    let decisions = tail(&fleet, &agent, &["--json", "--decisions"]).await;
    let violations = tail(&fleet, &agent, &["--json", "--violations"]).await;
    for action in ["fine", "forbidden"] {
        agent.check(json!({"action": action, "resource": "last"})).await;
    }
    let events = async |tail: &Running| -> Vec<Value> {
        let last = |l: &str| l.contains("forbidden") && l.contains("\"resource\":\"last\"");
        line(tail, last).await;
        let lines = tail.lines().into_iter();
        let events = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        events.filter(|event| event["resource"] == "last").collect()
    };
    let kinds = |events: &[Value]| -> Vec<(Value, bool)> {
        let kinds = events.iter();
        kinds.map(|e| (e["action"].clone(), e["violation_type"].is_string())).collect()
    };
    assert_eq!(kinds(&events(&denied).await), [(json!("forbidden"), false)]);
    assert_eq!(
        kinds(&events(&decisions).await),
        [(json!("fine"), false), (json!("forbidden"), false)]
    );
    assert_eq!(kinds(&events(&violations).await), [(json!("forbidden"), true)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn shows_only_whom_is_asked_for() {
    let (fleet, _worker, agent) = started().await;
    let url = fleet.nats.url();
    let flags = ["--decisions", "--json", "--agent", "a", "--session", "s", "--action", "x"];
    let tail = Program::new(&[&["tail", "--nats-url", &url][..], &flags].concat()).start();
    let ask = async |action: &str, context: Value, resource: &str| {
        agent.check(json!({"action": action, "resource": resource, "context": context})).await
    };
    let both = json!({"agent": "a", "session_id": "s"});
    until("tail listens", async || {
        ask("x", both.clone(), "first").await;
        (!tail.lines().is_empty()).then_some(())
    })
    .await;
    ask("y", both.clone(), "no").await;
    ask("x", json!({"agent": "a"}), "no").await;
    ask("x", json!({"session_id": "s", "agent": "b"}), "no").await;
    ask("x", both, "last").await;
    line(&tail, |line| line.contains("\"resource\":\"last\"")).await;
    assert!(tail.lines().iter().all(|line| !line.contains("\"resource\":\"no\"")));
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_in_order_when_told_to() {
    let (fleet, _worker, agent) = started().await;
    let mut tail = tail(&fleet, &agent, &[]).await;
    tail.signal(nix::sys::signal::Signal::SIGINT);
    assert!(tail.wait().success());
}

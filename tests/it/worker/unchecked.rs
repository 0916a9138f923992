//! Calls that nobody answered: clients report them, a worker evaluates them afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_nats::jetstream::{self, message::PublishMessage};
use chrono::{DateTime, TimeDelta, Utc};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sluicegate::bus::letters::{LetterFilter, Letters};
use uuid::Uuid;

use super::support::stream::Stored;
use super::support::{Agent, AuditStream, Fleet, Running, until};

const DENIES: &str = r#"allow := false  deny_reasons := ["d"]  warnings := ["w"]"#;

/// A report as a client makes it; `change` overrides members.
fn report(change: &Value) -> Value {
    let mut report = json!({
        "schema": 1, "id": Uuid::now_v7(), "timestamp": Utc::now() - TimeDelta::seconds(5),
        "cause": "timeout", "message": "no answer within 1 s", "allowed": true,
        "client": "test/1", "request": {"action": "llm_call", "resource": "gpt-4",
            "context": {"agent": "planner", "session_id": "s-1"}},
    });
    for (key, value) in change.as_object().unwrap() {
        report[key] = value.clone();
    }
    report
}

/// Publishes as clients do: by the report's id, until the stream has it.
async fn sends(agent: &Agent, report: &Value) -> String {
    let id = report["id"].as_str().unwrap().to_owned();
    publish(agent, &id, report.to_string().into_bytes()).await;
    id
}

async fn publish(agent: &Agent, id: &str, payload: Vec<u8>) {
    let message = PublishMessage::build().message_id(id).payload(payload.into());
    let jetstream = jetstream::new(agent.client.clone());
    jetstream.send_publish("policy.unchecked", message).await.unwrap().await.unwrap();
}

/// The decisions of these ids, as often as the stream has them.
async fn decisions(audit: &AuditStream, ids: &BTreeSet<String>) -> Vec<Stored> {
    let all = audit.all().await.into_iter();
    all.filter(|stored| {
        stored.subject.starts_with("policy.decision.")
            && ids.contains(stored.event["id"].as_str().unwrap())
    })
    .collect()
}

/// The decision that was made of a report.
async fn decision(audit: &AuditStream, id: &str) -> Stored {
    let ids = BTreeSet::from([id.to_owned()]);
    let mut found = until("the decision", async || {
        Some(decisions(audit, &ids).await).filter(|d| !d.is_empty())
    })
    .await;
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

async fn violations(audit: &AuditStream, id: &str) -> Vec<Value> {
    let all = audit.all().await.into_iter();
    let of = |stored: &Stored| stored.subject.starts_with("policy.violation.");
    all.filter(|stored| of(stored) && stored.event["decision_id"] == id)
        .map(|stored| stored.event)
        .collect()
}

/// Waits until everything that was reported is settled.
async fn settled(audit: &AuditStream) {
    until("every report is settled", async || {
        let stream = audit.jetstream.get_stream(&audit.name).await.ok()?;
        let info = stream.consumer_info("sluicegate-unchecked").await.ok()?;
        (info.num_pending == 0 && info.num_ack_pending == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_went_on_unchecked_is_recorded_with_what_would_have_been_decided() {
    let fleet = Fleet::with_policies(&[("cost", DENIES)]);
    let (_worker, agent, audit) = fleet.start().await;
    let report = report(&json!({}));
    let id = sends(&agent, &report).await;
    let stored = decision(&audit, &id).await;
    assert_eq!(stored.subject, "policy.decision.allow.llm_call");
    assert_ne!(stored.id, id, "the stream knows the report by it");
    let event = stored.event;
    for (member, expected) in [
        ("id", json!(id)),
        ("decision", json!("allow")),
        ("unchecked", json!("timeout")),
        ("enforced", json!(false)),
        ("error", json!(true)),
        ("would_deny", json!(["d"])),
        ("deny_reasons", json!([])),
        ("warnings", json!(["w"])),
        ("policy_name", json!("")),
        ("agent", json!("planner")),
        ("session_id", json!("s-1")),
        ("worker_sequence", json!(0)),
        ("error_message", json!("timeout: no answer within 1 s")),
    ] {
        assert_eq!(event[member], expected, "{member}");
    }
    assert_eq!(event["policies"][0]["name"], json!("cost"));
    assert_eq!(event["policies"][0]["decision"], json!("deny"));
    let when: DateTime<Utc> = event["timestamp"].as_str().unwrap().parse().unwrap();
    let asked: DateTime<Utc> = report["timestamp"].as_str().unwrap().parse().unwrap();
    assert_eq!(when.timestamp_micros(), asked.timestamp_micros(), "the client's clock");
    assert_eq!(event["input"]["unchecked"]["client"], json!("test/1"));
    settled(&audit).await;
    let violations = violations(&audit, &id).await;
    assert_eq!(violations.len(), 1);
    assert_eq!(violations[0]["violation_type"], json!("policy_denied"));
    assert_eq!(violations[0]["action_taken"], json!("logged"));
    assert_eq!(violations[0]["reasons"], json!(["d"]));
    assert_eq!(violations[0]["decision"], json!("allow"));
}

#[tokio::test]
async fn what_its_client_refused_is_a_denial_that_no_policy_made() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    let id = sends(&agent, &report(&json!({"allowed": false, "cause": "no_responders"}))).await;
    let stored = decision(&audit, &id).await;
    assert_eq!(stored.subject, "policy.decision.deny.llm_call");
    assert_eq!(stored.event["unchecked"], json!("no_responders"));
    assert_eq!(stored.event["deny_reasons"], json!(["unchecked"]));
    assert_eq!(stored.event["would_deny"], json!([]));
    settled(&audit).await;
    assert!(violations(&audit, &id).await.is_empty());
}

#[tokio::test]
async fn drafts_and_shadow_say_what_they_say_of_checks() {
    let fleet = Fleet::with_policies(&[]);
    fleet.policy("draft", DENIES);
    fleet.settings_add("draft", "status = \"draft\"");
    let (_worker, agent, audit) = fleet.start().await;
    let id = sends(&agent, &report(&json!({}))).await;
    let event = decision(&audit, &id).await.event;
    assert_eq!(event["would_deny"], json!([]), "a draft would not have denied it either");
    assert_eq!(event["policies"][0]["deny_reasons"], json!(["d"]));
    settled(&audit).await;
    assert!(violations(&audit, &id).await.is_empty());
}

#[tokio::test]
async fn a_call_that_went_on_counts_as_usage_at_its_own_time() {
    const SEES: &str = r#"warnings contains sprintf("%d", [input.usage.calls_in_window])"#;
    let fleet = Fleet::with_policies(&[("sees", SEES)]);
    let (_worker, agent, audit) = fleet.start().await;
    let ago = |seconds| Utc::now() - TimeDelta::seconds(seconds);
    // Refused, or too long ago for the window of a minute: neither counts for what is asked now.
    sends(&agent, &report(&json!({"allowed": false}))).await;
    sends(&agent, &report(&json!({"timestamp": ago(300)}))).await;
    sends(&agent, &report(&json!({"timestamp": ago(20)}))).await;
    settled(&audit).await;
    let last = sends(&agent, &report(&json!({"timestamp": ago(10)}))).await;
    assert_eq!(decision(&audit, &last).await.event["warnings"], json!(["2"]));
    let earlier = sends(&agent, &report(&json!({"timestamp": ago(290)}))).await;
    let event = decision(&audit, &earlier).await.event;
    assert_eq!(event["warnings"], json!(["2"]), "what came later didn't count then");
    let check = json!({"action": "llm_call", "resource": "r", "context": {"agent": "planner"}});
    assert_eq!(agent.check(check).await["warnings"], json!(["3"]));
}

#[tokio::test]
async fn a_clock_that_is_wrong_is_not_believed() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    for claimed in ["2099-01-01T00:00:00Z", "1999-12-31T23:59:59Z", "2020-01-01T00:00:00Z"] {
        let before = Utc::now() - TimeDelta::seconds(1);
        let id = sends(&agent, &report(&json!({"timestamp": claimed}))).await;
        let event = decision(&audit, &id).await.event;
        let when: DateTime<Utc> = event["timestamp"].as_str().unwrap().parse().unwrap();
        assert!(when >= before && when <= Utc::now() + TimeDelta::seconds(1), "{when}");
        let said = event["input"]["unchecked"]["timestamp"].as_str().unwrap();
        assert_eq!(&said[..19], &claimed[..19], "the claim stays in the input");
        assert_eq!(event["input"]["timestamp"], json!(said_as_input(when)));
    }
}

fn said_as_input(when: DateTime<Utc>) -> String {
    when.to_rfc3339_opts(chrono::SecondsFormat::Micros, true)
}

#[tokio::test]
async fn a_request_that_cannot_be_evaluated_is_recorded_all_the_same() {
    let fleet = Fleet::with_policies(&[("cost", DENIES)]);
    let (_worker, agent, audit) = fleet.start().await;
    for (request, why) in [
        (json!({"action": "llm_call", "context": {"agent": "planner"}}), "resource"),
        (json!({"resource": "r"}), "action"),
        (json!({"action": 7, "resource": [1], "context": "c"}), "action"),
        (json!({}), "action"),
    ] {
        let change = json!({"request": request, "cause": "service_error", "message": "a\nb"});
        let id = sends(&agent, &report(&change)).await;
        let event = decision(&audit, &id).await.event;
        let message = event["error_message"].as_str().unwrap();
        assert!(message.starts_with("service_error: a b; the request can't be"), "{message}");
        assert!(message.contains(why), "{message}");
        assert_eq!((&event["policies"], &event["would_deny"]), (&json!([]), &json!([])));
    }
}

#[tokio::test]
async fn what_is_no_report_becomes_a_dead_letter_and_blocks_nobody() {
    let fleet = Fleet::new();
    let (worker, agent, audit) = fleet.start().await;
    let bad = [
        ("not_json", b"hello".to_vec()),
        ("truncated", b"{\"schema\": 1".to_vec()),
        ("not_an_event", b"{}".to_vec()),
        ("not_an_event", report(&json!({"id": Uuid::new_v4()})).to_string().into_bytes()),
        ("newer_schema", report(&json!({"schema": 9})).to_string().into_bytes()),
    ];
    for (number, (_, payload)) in bad.iter().enumerate() {
        publish(&agent, &format!("bad-{number}"), payload.clone()).await;
    }
    let good = sends(&agent, &report(&json!({}))).await;
    decision(&audit, &good).await;
    settled(&audit).await;

    let connection = sluicegate::bus::connect_once(&fleet.config.nats, "t").await.unwrap();
    let letters = Letters::new(&connection, &fleet.config);
    let filter = LetterFilter { table: Some("unchecked".into()), ..LetterFilter::default() };
    let (found, all) = letters.list(&filter, 100).await.unwrap();
    assert_eq!(all, 5);
    let mut reasons: Vec<&str> = found.iter().map(|letter| letter.reason.as_str()).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["newer_schema", "not_an_event", "not_an_event", "not_json", "truncated"]);
    assert!(found.iter().all(|letter| letter.subject == "policy.unchecked"));

    // Given back, it comes to a worker again, and is as bad as before.
    let newer = found.iter().find(|letter| letter.reason == "newer_schema").unwrap();
    letters.replay(newer.number, false).await.unwrap();
    until("it is put aside again", async || {
        let (found, _) = letters.list(&filter, 100).await.ok()?;
        found.iter().any(|l| l.reason == "newer_schema" && l.number > newer.number).then_some(())
    })
    .await;
    worker.stop().await.unwrap();
}

#[tokio::test]
async fn a_report_is_taken_up_when_a_worker_comes_and_survives_a_restart_of_the_server() {
    let mut fleet = Fleet::with_policies(&[("cost", DENIES)]);
    // The worker that stops may have been given none yet, and never acknowledge them.
    fleet.config.unchecked.ack_wait = Duration::from_secs(2);
    let (worker, agent, audit) = fleet.start().await;
    worker.stop().await.unwrap();
    let ids: Vec<String> = {
        let mut ids = Vec::new();
        for _ in 0..20 {
            ids.push(sends(&agent, &report(&json!({"cause": "no_responders"}))).await);
        }
        ids
    };
    fleet.nats.kill();
    fleet.nats.restart();
    let _worker = fleet.worker().await;
    for id in &ids {
        decision(&audit, id).await;
    }
    settled(&audit).await;
}

#[tokio::test]
async fn workers_share_reports_and_each_becomes_one_decision() {
    const REPORTS: usize = 300;
    let fleet = Fleet::with_policies(&[("cost", DENIES)]);
    let mut config = fleet.config.clone();
    config.unchecked.max_in_flight = 8;
    let first = fleet.spawn("worker-1", config.clone());
    first.taking_checks().await;
    let second = fleet.spawn("worker-2", config);
    second.taking_checks().await;
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let mut ids = BTreeSet::new();
    for _ in 0..REPORTS {
        ids.insert(sends(&agent, &report(&json!({}))).await);
    }
    settled(&audit).await;
    let found = decisions(&audit, &ids).await;
    assert_eq!(found.len(), REPORTS);
    let mut share: BTreeMap<&str, usize> = BTreeMap::new();
    for stored in &found {
        *share.entry(stored.event["worker"].as_str().unwrap()).or_default() += 1;
    }
    assert_eq!(share.len(), 2, "{share:?}");
    let all = audit.all().await;
    assert_eq!(all.iter().filter(|s| s.subject.starts_with("policy.violation.")).count(), REPORTS);
}

/// One that may publish anything, and one whose acknowledgements never arrive.
const USERS: &str = r#"
authorization {
  users: [
    {user: all, password: all}
    {user: mute, password: mute, permissions: {publish: {deny: ["$JS.ACK.>"]}, subscribe: ">"}}
  ]
}
no_auth_user: all
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_killed_before_it_acknowledges_leaves_one_decision() {
    const REPORTS: usize = 30;
    let fleet = Fleet::with_server(USERS);
    fleet.policy("cost", DENIES);
    fleet.settings_add("cost", "status = \"active\"");
    let ack_wait = "unchecked.ack_wait=2s";
    let mute = ["nats.user=mute", "nats.password=mute", ack_wait];
    let mut killed = tokio::task::block_in_place(|| Running::worker(fleet.program(&mute)));
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let mut ids = BTreeSet::new();
    for _ in 0..REPORTS {
        ids.insert(sends(&agent, &report(&json!({}))).await);
    }
    until("all are published", async || {
        (decisions(&audit, &ids).await.len() == REPORTS).then_some(())
    })
    .await;
    let stream = audit.jetstream.get_stream(&audit.name).await.unwrap();
    let info = stream.consumer_info("sluicegate-unchecked").await.unwrap();
    assert_eq!(info.num_ack_pending, REPORTS, "none is acknowledged");
    tokio::task::block_in_place(|| {
        killed.signal(Signal::SIGKILL);
        killed.wait();
    });

    let mut config = fleet.config.clone();
    config.unchecked.ack_wait = Duration::from_secs(2);
    let other = fleet.spawn("worker-2", config);
    other.taking_checks().await;
    settled(&audit).await;
    let found = decisions(&audit, &ids).await;
    assert_eq!(found.len(), REPORTS, "the stream knew them");
    let violations: Vec<_> = audit.all().await.into_iter().map(|s| s.subject).collect();
    let violations = violations.iter().filter(|s| s.starts_with("policy.violation.")).count();
    assert_eq!(violations, REPORTS);
    other.stop().await.unwrap();
}

#[tokio::test]
async fn a_worker_may_leave_reports_to_others() {
    let fleet = Fleet::new();
    let mut config = fleet.config.clone();
    config.unchecked.enabled = false;
    let idle = fleet.spawn("worker-1", config);
    idle.taking_checks().await;
    let (agent, audit) = (fleet.agent().await, fleet.audit().await);
    let id = sends(&agent, &report(&json!({}))).await;
    agent.act("a").await;
    idle.stop().await.unwrap();
    assert!(decisions(&audit, &BTreeSet::from([id.clone()])).await.is_empty());
    let _worker = fleet.worker().await;
    decision(&audit, &id).await;
}

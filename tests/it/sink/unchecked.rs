//! Decisions of calls that nobody answered, and how calls ended: made of what clients say, so nothing of
//! it is believed, and each becomes one row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluicegate::client::{Check, Outcome};
use sluicegate::domain::Verdict;
use sluicegate::roles::verify::{Report, Scope, verify};
use sluicegate::store::{Store, Table};
use uuid::Uuid;

use super::{Hold, Rig, rig, rig_on};
use crate::client::support::{client, patient};
use crate::doors::support::House;
use crate::store::{decision, eventually};
use crate::support::servers::ClickHouse;
use crate::worker::support::Fleet;

impl Rig {
    /// A decision of an unchecked call, as a worker publishes it, and as if the stream had forgotten any
    /// earlier one: under a message id that it doesn't know.
    async fn unchecked(&self, change: &Value) -> Uuid {
        let mut all = json!({
            "unchecked": "timeout", "decision": "allow", "timestamp": Utc::now(),
            "worker_sequence": 0, "would_deny": ["d"], "deny_reasons": [],
        });
        for (key, value) in change.as_object().unwrap() {
            all[key] = value.clone();
        }
        let event = decision(&all);
        let subject = self.subjects.decision(Verdict::Allow, &event.action);
        let message = PublishMessage::build()
            .message_id(format!("unchecked-{}-{}", event.id, new_id()))
            .header("Sluicegate-Event-Id", event.id.to_string().as_str())
            .payload(serde_json::to_vec(&event).unwrap().into());
        self.jetstream.send_publish(subject, message).await.unwrap().await.unwrap();
        event.id
    }

    async fn ends(&self, message_id: &str, change: &Value) -> Uuid {
        let mut event = json!({
            "schema": 1, "id": Uuid::now_v7(), "decision_id": Uuid::now_v7(),
            "timestamp": Utc::now(), "outcome": "ok", "exception_type": "", "duration_seconds": 0.5,
            "cost_usd": 0.25, "client": "test/1", "action": "llm_call", "agent": "planner",
        });
        for (key, value) in change.as_object().unwrap() {
            event[key] = value.clone();
        }
        let id = event["id"].as_str().unwrap().parse().unwrap();
        self.publish(&self.subjects.outcome(), message_id, event.to_string().into_bytes()).await;
        id
    }

    async fn outcomes(&self) -> u64 {
        self.number("SELECT count() FROM policy_outcomes").await
    }
}

/// One whose sink seals at once.
async fn sealing() -> Rig {
    rig_on(ClickHouse::shared(), |config| config.chain.interval = Duration::from_millis(100)).await
}

/// Waits until so many rows are sealed, and verifies all there is.
async fn verified(rig: &Rig, rows: u64) -> Report {
    eventually("every row is sealed", async || {
        rig.number("SELECT sum(rows) FROM audit_batches FINAL").await == rows
    })
    .await;
    let store = Store::connect(&rig.config().clickhouse);
    let scope = Scope { contents: true, ..Scope::default() };
    let connection = rig.connection().await;
    verify(&connection, &store, rig.config(), &scope, &|_| ()).await.unwrap()
}

fn new_id() -> String {
    Uuid::now_v7().to_string()
}

#[tokio::test]
async fn a_call_that_is_evaluated_twice_is_one_row_whenever_it_comes_again() {
    let rig = rig().await;
    let sink = rig.sink();
    sink.ready().await;
    let asked = Utc::now() - TimeDelta::days(3);
    let id = rig.unchecked(&json!({"timestamp": asked})).await;
    rig.stored_once(&BTreeSet::from([id])).await;
    // Past the memory of the stream: by another worker, with other policies, and another time.
    rig.unchecked(&json!({"id": id, "timestamp": asked, "would_deny": []})).await;
    rig.unchecked(&json!({"id": id, "timestamp": Utc::now()})).await;
    rig.settled("decisions").await;
    rig.stored_once(&BTreeSet::from([id])).await;
    assert_eq!(rig.text("SELECT would_deny[1]::String FROM decisions").await, "d");
    sink.stopped().await;
}

#[tokio::test]
async fn nobody_writes_another_row_beside_a_decision_by_reporting_its_id() {
    let rig = sealing().await;
    let sink = rig.sink();
    sink.ready().await;
    let checked = rig.decide(&json!({"timestamp": Utc::now() - TimeDelta::hours(5)})).await;
    rig.stored_once(&BTreeSet::from([checked])).await;
    let good = rig.unchecked(&json!({})).await;
    rig.unchecked(&json!({"id": checked, "timestamp": Utc::now()})).await;
    rig.settled("decisions").await;
    rig.stored_once(&BTreeSet::from([checked, good])).await;
    let sql = format!("SELECT unchecked::String FROM decisions WHERE id = '{checked}'");
    assert_eq!(rig.text(&sql).await, "", "the row that was there");
    let report = verified(&rig, 2).await;
    assert_eq!(report.findings.named, [], "the report of the id that was there is no alarm");
    assert_eq!(report.stream.tables[0].resent, 1);
    sink.stopped().await;
}

#[tokio::test]
async fn an_outcome_is_one_row_through_death_and_repetition() {
    let rig = rig().await;
    let hold = Arc::new(Hold::at(Table::Outcomes));
    let held = rig.observed(hold.clone());
    let first = rig.ends(&new_id(), &json!({})).await;
    hold.reached().await;
    held.killed().await;

    let sink = rig.sink();
    sink.ready().await;
    eventually("it is stored", async || rig.outcomes().await > 0).await;
    let second = rig.ends(&new_id(), &json!({"outcome": "error", "cost_usd": null})).await;
    // Said again without the id by which the stream would know it, and as something else.
    let now = Utc::now() + TimeDelta::seconds(9);
    for id in [first, second] {
        rig.ends(&new_id(), &json!({"id": id, "timestamp": now, "outcome": "cancelled"})).await;
    }
    rig.settled("outcomes").await;
    assert_eq!(rig.outcomes().await, 2);
    let words =
        "SELECT arrayStringConcat(arraySort(groupArray(outcome::String)), ' ') FROM outcomes";
    assert_eq!(rig.text(words).await, "error ok");
    assert_eq!(rig.number("SELECT count() FROM outcomes WHERE cost_usd IS NULL").await, 1);
    sink.stopped().await;
}

#[tokio::test]
async fn outcomes_that_make_no_sense_become_dead_letters() {
    let rig = rig().await;
    let sink = rig.sink();
    sink.ready().await;
    let bad = [
        json!({"duration_seconds": -1}),
        json!({"cost_usd": 1e12}),
        json!({"outcome": "splendid"}),
        json!({"id": Uuid::new_v4()}),
        json!({"timestamp": "2099-01-01T00:00:00Z"}),
        json!({"schema": 9}),
        json!({"decision_id": "x"}),
    ];
    for change in &bad {
        rig.ends(&new_id(), change).await;
    }
    let long = json!({"exception_type": "e".repeat(100_000), "agent": "a".repeat(100_000)});
    rig.ends(&new_id(), &long).await;
    eventually("the good one is stored", async || rig.outcomes().await == 1).await;
    rig.settled("outcomes").await;
    let mut letters = rig.jetstream.get_stream("POLICY_DEADLETTER").await.unwrap();
    assert_eq!(letters.info().await.unwrap().state.messages, bad.len() as u64);
    assert!(rig.number("SELECT max(length(agent)) FROM outcomes").await < 300);
    sink.stopped().await;
}

#[tokio::test]
async fn decisions_stand_beside_their_outcomes_whichever_comes_first() {
    let rig = rig().await;
    let sink = rig.sink();
    sink.ready().await;
    let late = Uuid::now_v7();
    rig.ends(&new_id(), &json!({"decision_id": late, "outcome": "error", "exception_type": "E"}))
        .await;
    rig.ends(&new_id(), &json!({})).await;
    eventually("outcomes are stored", async || rig.outcomes().await == 2).await;
    assert_eq!(rig.number("SELECT count() FROM unknown_outcomes").await, 2);
    let now: DateTime<Utc> = Utc::now();
    rig.decide(&json!({"id": late, "timestamp": now})).await;
    rig.decide(&json!({"timestamp": now})).await;
    rig.unchecked(&json!({"timestamp": now})).await;
    eventually("decisions are stored", async || {
        rig.number("SELECT count() FROM decisions").await == 3
    })
    .await;
    assert_eq!(rig.number("SELECT count() FROM unknown_outcomes").await, 1);
    assert_eq!(rig.number("SELECT count() FROM decision_outcomes").await, 3);
    let of = format!(
        "SELECT concat(outcome, ' ', exception_type) FROM decision_outcomes WHERE decision_id = '{late}'"
    );
    assert_eq!(rig.text(&of).await, "error E");
    let coverage = "SELECT concat(toString(checked), ' ', toString(unchecked), ' ', \
                    toString(would_have_been_denied), ' ', toString(round(coverage, 2))) \
                    FROM enforcement_coverage";
    assert_eq!(rig.text(coverage).await, "2 1 1 0.67");
    sink.stopped().await;
}

#[tokio::test]
async fn the_whole_way_from_reports_to_a_verified_audit() {
    const REPORTS: u64 = 25;
    let rig = sealing().await;
    let sink = rig.sink();
    sink.ready().await;
    let fleet = Fleet::with_policies(&[("cost", r#"allow := false  deny_reasons := ["d"]"#)]);
    let worker = fleet.spawn("worker-1", rig.worker_config(&fleet));
    worker.taking_checks().await;
    for _ in 0..REPORTS {
        let id = new_id();
        let report = json!({
            "schema": 1, "id": id, "timestamp": Utc::now(), "cause": "no_responders", "message": "",
            "allowed": true, "client": "t", "request": {"action": "a", "resource": "r"},
        });
        rig.publish("policy.unchecked", &id, report.to_string().into_bytes()).await;
    }
    eventually("all are stored", async || {
        rig.number("SELECT count() FROM decisions WHERE unchecked = 'no_responders'").await
            == REPORTS
    })
    .await;
    eventually("violations too", async || {
        rig.number("SELECT count() FROM violations WHERE action_taken = 'logged'").await == REPORTS
    })
    .await;
    worker.stop().await.unwrap();
    for table in ["decisions", "violations", "checkpoints"] {
        rig.settled(table).await;
    }
    let report = verified(&rig, 2 * REPORTS).await;
    assert_eq!(report.workers.unnumbered, 0, "they are none of another program's");
    assert_eq!(report.findings.named, []);
    sink.stopped().await;
    let store = Store::connect(&rig.config().clickhouse);
    let coverage = store.coverage().await.unwrap();
    assert_eq!((coverage.last_hour.checked, coverage.last_hour.unchecked), (0, REPORTS));
    assert_eq!(coverage.last_day.would_deny, REPORTS);
    assert_eq!(coverage.last_day.causes["no_responders"], REPORTS);
}

/// Neither a caller over HTTP nor one with the Rust client finds a worker; then there is one.
#[tokio::test]
async fn what_clients_tell_becomes_rows_beside_the_decisions() {
    let rig = rig().await;
    let sink = rig.sink();
    sink.ready().await;
    let house = House::open(rig.config()).await;
    let client = client(patient(&rig.config().nats.url)).await;
    let check = Check::new("act", "r").agent("planner");

    let input = json!({"action": "act", "resource": "r", "context": {"agent": "curl"}});
    let by_http = house.data("test/cost", input).await.json(200)["decision_id"].clone();
    let mut guard = client.guard(&check).await.unwrap();
    let unseen = guard.decision().id;
    guard.cost_usd(0.5);
    guard.finish(Outcome::Ok);

    let fleet = Fleet::with_policies(&[("cost", "allow := input.agent != \"curl\"")]);
    let worker = fleet.spawn("worker-1", rig.worker_config(&fleet));
    worker.taking_checks().await;
    let seen = client.guard(&check).await.unwrap();
    let seen_id = seen.decision().id;
    seen.run(async { "x".parse::<u8>() }).await.unwrap_err();
    client.close().await;

    eventually("all is stored", async || {
        rig.number("SELECT count() FROM decisions").await == 3 && rig.outcomes().await == 2
    })
    .await;
    let row = async |id: &str| {
        let of = "concat(d.unchecked, ' ', toString(length(d.would_deny)), ' ', d.agent, ' ', \
                  o.outcome, ' ', toString(ifNull(o.cost_usd, 0)))";
        let from = "decisions AS d LEFT JOIN outcomes AS o ON o.decision_id = d.id";
        rig.text(&format!("SELECT {of} FROM {from} WHERE d.id = '{id}'")).await
    };
    assert_eq!(row(by_http.as_str().unwrap()).await, "no_responders 1 curl  0");
    assert_eq!(row(&unseen.to_string()).await, "no_responders 0 planner ok 0.5");
    assert_eq!(row(&seen_id.to_string()).await, " 0 planner error 0");
    worker.stop().await.unwrap();
    sink.stopped().await;
}

//! `sluicegate explain`: why a decision was made.

use chrono::Utc;
use serde_json::{Value, json};
use sluicegate::contract::DecisionEvent;
use sluicegate::store::{DecisionRow, RuleRow, Store, StreamPosition, migrate};

use super::manage::{LIMITED, says};
use crate::support::servers::{ClickHouse, free_port};
use crate::worker::support::program::Said;
use crate::worker::support::{Agent, AuditStream, Fleet, Program, Worker};

/// A fleet, and a database that its decisions go to.
struct Stage {
    fleet: Fleet,
    _worker: Worker,
    agent: Agent,
    audit: AuditStream,
    store: Store,
    url: String,
    database: String,
}

impl Stage {
    async fn new(fleet: Fleet) -> Self {
        let config = ClickHouse::shared().config();
        let store = Store::connect(&config);
        migrate(&store).await.unwrap();
        let (worker, agent, audit) = fleet.start().await;
        let (url, database) = (config.url, config.database);
        Self { fleet, _worker: worker, agent, audit, store, url, database }
    }

    /// Asks, and brings the decision to ClickHouse as a sink would.
    async fn decided(&self, request: Value) -> Value {
        let reply = self.agent.check(request).await;
        let mut event = self.audit.of_reply(&reply).await.event;
        // The epoch of the tables begins later than some clocks of tests.
        event["timestamp"] = json!(Utc::now());
        self.insert(event).await;
        reply
    }

    async fn insert(&self, event: Value) {
        let event: DecisionEvent = serde_json::from_value(event).unwrap();
        let at = StreamPosition { epoch: Utc::now(), sequence: 1 };
        let token = event.id.to_string();
        self.store.insert(&[&DecisionRow::new(event, at).unwrap()], &token).await.unwrap();
    }

    fn program(&self, arguments: &[&str]) -> Program {
        self.command(&[&["explain"], arguments].concat())
    }

    fn command(&self, arguments: &[&str]) -> Program {
        let database = format!("clickhouse.database={}", self.database);
        let servers = ["--nats-url", &self.fleet.nats.url(), "--clickhouse-url", &self.url];
        Program::new(&[arguments, &servers, &["--set", &database]].concat())
    }

    async fn explain(&self, arguments: &[&str]) -> Said {
        let program = self.program(arguments);
        tokio::task::spawn_blocking(|| program.run()).await.unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_with_its_rules_values_and_advice() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    fleet.settings("[limited]\nstatus = \"active\"\n");
    let stage = Stage::new(fleet).await;
    let request = json!({"action": "store", "resource": {"size": 11},
        "context": {"agent": "planner", "session_id": "s-1"}});
    let reply = stage.decided(request).await;
    let id = reply["decision_id"].as_str().unwrap();
    // The policy has changed since: what decided is what is explained.
    says(&stage.fleet, &["policy", "set", "limited", "--param", "limit=100"]).await.ended_with(0);
    let said = stage.explain(&[id]).await.ended_with(0);
    for part in [
        "DENIED  too_large\n",
        "by planner in session s-1",
        "deny   limited v1 global too_large",
        "limited.rego:25  deny_reasons = ",
        "input.resource.size",
        "11",
        "too_large: Make it smaller.",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    assert!(!said.out.contains("something else") && !said.out.contains('\u{1b}'), "{}", said.out);
    let json = stage.explain(&[id, "--json"]).await.ended_with(0).json();
    assert_eq!(
        (&json["decision"]["id"], &json["policies"][0]["agrees"]),
        (&json!(id), &json!(true))
    );

    stage.decided(json!({"action": "fine", "resource": {"size": 1}})).await;
    let last = stage.explain(&["--last"]).await.ended_with(0);
    assert!(last.out.starts_with("ALLOWED"), "{last:?}");
    for flags in [&["--agent", "planner"][..], &["--session", "s-1"], &["--denied"]] {
        let said = stage.explain(&[&["--last"], flags].concat()).await.ended_with(0);
        assert!(said.out.contains(id), "{flags:?}: {said:?}");
    }
    let said = stage.explain(&["--last", "--agent", "nobody"]).await.ended_with(1);
    assert!(said.err.contains("no decision matches"), "{said:?}");
    let nowhere = stage.explain(&["00000000-0000-7000-8000-000000000000"]).await.ended_with(1);
    assert!(nowhere.err.contains("has no decision"), "{nowhere:?}");

    // From the reply, as a pipe brings it.
    let program = stage.program(&["--reply", "-"]);
    let text = reply.to_string();
    let said = tokio::task::spawn_blocking(move || program.run_with_input(&text)).await.unwrap();
    assert!(said.ended_with(0).out.contains(id));
    // Without ClickHouse, what the reply says by itself.
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let text = reply.to_string();
    let program = Program::new(&["explain", "--reply", "-", "--clickhouse-url", &nowhere]);
    let said = tokio::task::spawn_blocking(move || program.run_with_input(&text)).await.unwrap();
    let said = said.ended_with(4);
    assert!(
        said.out.starts_with("DENIED  too_large") && said.err.contains("ClickHouse"),
        "{said:?}"
    );
    let program = stage.program(&["--reply", "-"]);
    let said = tokio::task::spawn_blocking(move || program.run_with_input("{}")).await.unwrap();
    assert!(said.ended_with(1).err.contains("no reply to a check"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_tried_again_is_said() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    fleet.settings("[limited]\nstatus = \"active\"\n");
    let stage = Stage::new(fleet).await;
    let request = json!({"action": "a", "resource": {"size": 11}, "package": "no.such"});
    let reply = stage.agent.check(request).await;
    let mut event = stage.audit.of_reply(&reply).await.event;
    event["timestamp"] = json!(Utc::now());
    let id = reply["decision_id"].as_str().unwrap();
    // As if the bucket had forgotten the version that decided.
    for policy in event["policies"].as_array_mut().unwrap() {
        if policy["name"] == "limited" {
            policy["version"] = json!(77);
        }
    }
    stage.insert(event).await;
    let said = stage.explain(&[id]).await.ended_with(0);
    assert!(said.out.contains("version 77 isn't available any more"), "{}", said.out);
    assert!(said.out.contains("there was no such policy"), "{}", said.out);
    assert!(said.out.contains("limited v77"), "{}", said.out);

    // ClickHouse's history has it; it says something else there.
    let record = json!({"id": uuid::Uuid::nil(), "name": "limited", "package": "limited",
        "rego": LIMITED, "parameters": {"limit": 50}, "version": 77,
        "created_at": Utc::now(), "updated_at": Utc::now()});
    let at = StreamPosition { epoch: Utc::now(), sequence: 1 };
    let row = RuleRow::new(serde_json::from_value(record).unwrap(), at).unwrap();
    stage.store.insert(&[&row], "rule").await.unwrap();
    let said = stage.explain(&[id]).await.ended_with(0);
    for part in [
        "version 77 comes from ClickHouse's history",
        "recorded is deny (too_large); tried again it says allow",
        "limited said something else than is recorded",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_come_back_from_clickhouse() {
    let stage = Stage::new(Fleet::new()).await;
    let restore = ["policy", "restore", "--from-clickhouse", "--wait"];
    let run = async |program: Program| tokio::task::spawn_blocking(|| program.run()).await.unwrap();
    let said = run(stage.command(&restore)).await.ended_with(1);
    assert!(said.err.contains("has no policies to put back"), "{said:?}");
    let mut rows = Vec::new();
    let versions = [("limited", 3, false), ("user", 4, false), ("gone", 2, true)];
    for (sequence, (name, version, deleted)) in (1..).zip(versions) {
        let (rego, template) =
            if name == "user" { ("", json!("limited")) } else { (LIMITED, Value::Null) };
        let record = json!({"id": uuid::Uuid::new_v4(), "name": name, "package": "limited",
            "rego": rego, "template": template, "parameters": {"limit": 5}, "version": version,
            "status": "active", "deleted": deleted, "updated_by": "ada",
            "created_at": Utc::now(), "updated_at": Utc::now()});
        let at = StreamPosition { epoch: Utc::now(), sequence };
        rows.push(RuleRow::new(serde_json::from_value(record).unwrap(), at).unwrap());
    }
    stage.store.insert(&rows.iter().collect::<Vec<_>>(), "rules").await.unwrap();
    let said = run(stage.command(&restore)).await.ended_with(0);
    assert!(said.out.starts_with("restored  limited\nrestored  user\n"), "{said:?}");
    let large = json!({"action": "a", "resource": {"size": 6}});
    assert_eq!(stage.agent.check(large).await["decision"], "deny");
    let said = run(stage.command(&[&restore[..], &["--json"]].concat())).await.ended_with(0).json();
    assert_eq!((&said["restored"], &said["present"]), (&json!([]), &json!(["limited", "user"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usage_that_a_policy_saw_is_what_it_sees_again() {
    let fleet = Fleet::with_shipped(
        "[rate_limiting]\nstatus = \"active\"\nparameters = { max_calls = 1 }\n",
    );
    let stage = Stage::new(fleet).await;
    let call = json!({"action": "llm_call", "resource": "gpt-4", "context": {"agent": "busy"}});
    stage.decided(call.clone()).await;
    let denied = stage.decided(call).await;
    assert_eq!(denied["decision"], "deny", "{denied}");
    let id = denied["decision_id"].as_str().unwrap();
    let said = stage.explain(&[id]).await.ended_with(0);
    assert!(said.out.contains("input.usage.calls_in_window"), "{}", said.out);
    assert!(!said.out.contains("note") && !said.out.contains("something else"), "{}", said.out);
    let json = stage.explain(&[id, "--json"]).await.ended_with(0).json();
    let policies = json["policies"].as_array().unwrap();
    assert!(policies.iter().all(|policy| policy["agrees"] == true), "{json}");
}

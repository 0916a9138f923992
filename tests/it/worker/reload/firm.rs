//! What is refused for certain, what has bounds, and what is left as it was found.

use std::time::Duration;

use async_nats::jetstream;
use bytesize::ByteSize;
use serde_json::{Value, json};
use sluicegate::runtime::health::State;

use super::super::support::admin::bucket;
use super::super::support::{Admin, Fleet, until};

const LOOPS: &str = "package slow\n\nimport rego.v1\n\nallow if {
	count([1 | some a in input.list; some b in input.list; some c in input.list; a + b + c < 0]) > 0
}\n";

#[tokio::test]
async fn a_full_bucket_is_named_and_nothing_is_left_in_doubt() {
    let mut fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    fleet.config.policies.max_bytes = ByteSize::kib(4);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let large = format!("allow := true\n# {}", "x".repeat(8_000));
    let refusal = admin.refused("put", admin.put_of("large", &large)).await;
    assert_eq!(refusal.code, "503");
    let message = refusal.error["message"].as_str().unwrap();
    assert!(message.contains("policies.max_bytes"), "{message}");
    assert!(!message.contains("not known"), "{message}");
}

#[tokio::test]
async fn many_problems_are_told_as_a_few() {
    let names: Vec<String> = (0..13).map(|n| format!("p{n:02}")).collect();
    let policies: Vec<(&str, &str)> =
        names.iter().map(|name| (name.as_str(), "allow := true")).collect();
    let fleet = Fleet::with_policies(&policies);
    let (worker, agent, _) = fleet.start().await;
    let store = bucket(&agent).await;
    for name in &names {
        store.purge(name).await.unwrap();
    }
    let told = |why: &str| why.contains("p09: ") && why.ends_with("and 3 more");
    worker.part_is("policies", |state| matches!(state, State::Degraded(why) if told(why))).await;
    let admin = Admin::new(&agent, "alice");
    let problems = until("the roll has it", async || {
        let reply = admin.does("workers", json!({})).await;
        let problems = reply["workers"][0]["problems"].as_array().unwrap().clone();
        (problems.last() == Some(&json!("and 3 more"))).then_some(problems)
    })
    .await;
    assert_eq!(problems.len(), 11);
}

#[tokio::test]
async fn a_policy_that_was_put_is_left_out_no_more() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true"), ("bad", "allow := ")]);
    let (worker, agent, _) = fleet.start().await;
    let left_out =
        |state: &State| matches!(state, State::Degraded(why) if why.contains("left out"));
    worker.part_is("policies", left_out).await;
    Admin::new(&agent, "alice").puts("bad", "allow := true").await;
    worker.part_is("policies", |state| *state == State::Ready).await;
}

/// A worker ends between its note and the end of the filling, and somebody changes a policy.
#[tokio::test]
async fn a_filling_that_goes_on_keeps_what_was_changed_meanwhile() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true"), ("other", "allow := true")]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    admin.patches("gate", json!({"status": "inactive"})).await;
    worker.stop().await.unwrap();
    let store = bucket(&agent).await;
    let note = json!({"done": false, "policies": 2, "refused": []});
    store.put("_seed", note.to_string().into()).await.unwrap();
    let _again = fleet.worker().await;
    let gate = admin.gets("gate").await;
    assert_eq!((&gate["version"], &gate["status"]), (&json!(2), &json!("inactive")));
    let note: Value = serde_json::from_slice(&store.get("_seed").await.unwrap().unwrap()).unwrap();
    assert_eq!(note["done"], json!(true));
}

#[tokio::test]
async fn who_asks_for_the_workers_changes_nothing() {
    let fleet = Fleet::with_policies(&[]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let listed = async || {
        let reply = admin.does("workers", json!({})).await;
        (reply["workers"].as_array().unwrap().len() == 1).then_some(())
    };
    until("the worker is on the roll", listed).await;
    let context = jetstream::new(agent.client.clone());
    let name = format!("KV_{}", fleet.config.policies.workers_bucket);
    let mut config = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    config.description = Some("by hand".into());
    context.update_stream(config).await.unwrap();
    admin.does("workers", json!({})).await;
    let found = context.get_stream(&name).await.unwrap().cached_info().config.clone();
    assert_eq!(found.description.as_deref(), Some("by hand"));
}

/// One long trial takes the only place of trials: changes and the switch have their own. Told to
/// stop, the worker answers it, and is off the roll when it has ended.
#[tokio::test]
async fn a_long_trial_holds_up_nobody_and_is_answered_at_the_end() {
    let mut fleet = Fleet::with_policies(&[]);
    fleet.config.worker.max_admin = 1;
    fleet.config.limits.instructions = 1_000_000_000;
    fleet.config.limits.time = Duration::from_secs(2);
    let (worker, agent, _) = fleet.start().await;
    let list: Vec<u32> = (0..400).collect();
    let trial = json!({"action": "x", "resource": "r", "rego": LOOPS, "context": {"list": list}});
    let asks = || {
        let (agent, trial) = (agent.on("policy.evaluate"), trial.to_string());
        tokio::spawn(async move { agent.ask(trial).await })
    };
    let (one, two) = (asks(), asks());
    // The second is refused, so the first has the place.
    let (refused, other) = match futures::future::select(one, two).await {
        futures::future::Either::Left(both) | futures::future::Either::Right(both) => both,
    };
    let headers = refused.unwrap().headers.unwrap();
    assert_eq!(headers.get("Nats-Service-Error-Code").unwrap().as_str(), "503");
    let admin = Admin::new(&agent, "alice");
    admin.does("enforcement", json!({"mode": "shadow"})).await;
    admin.does("list", json!({})).await;
    assert!(!other.is_finished(), "the trial was to take longer");
    worker.stop().await.unwrap();
    other.await.unwrap();
    let context = jetstream::new(agent.client.clone());
    let roll = context.get_key_value(&fleet.config.policies.workers_bucket).await.unwrap();
    let mut keys = roll.keys().await.unwrap();
    assert!(futures::StreamExt::next(&mut keys).await.is_none(), "it has left the roll");
}

//! Management is bounded, and what is hostile in it is refused.

use serde_json::{Value, json};
use sluicegate::runtime::health::State;
use uuid::Uuid;

use super::super::support::admin::{bucket, rego};
use super::super::support::{Admin, Fleet};

#[tokio::test]
async fn a_list_comes_in_pages_that_a_message_holds() {
    let fleet = Fleet::with_server("max_payload: 65536");
    let names: Vec<String> = (0..150).map(|n| format!("p{n:03}")).collect();
    for name in &names {
        fleet.policy(name, &format!("# {}\nallow := true", "x".repeat(300)));
    }
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let (mut found, mut pages, mut after) = (Vec::new(), 0, Value::Null);
    loop {
        let request = if after.is_null() { json!({}) } else { json!({"after": after}) };
        let page = admin.does("list", request).await;
        pages += 1;
        let policies = page["policies"].as_array().unwrap();
        found.extend(policies.iter().map(|p| p["name"].as_str().unwrap().to_owned()));
        after = page["next"].clone();
        if after.is_null() {
            break;
        }
    }
    assert_eq!(found, names);
    assert!(pages > 1, "one page held all");
    // What no message can hold is refused, not left unanswered.
    let long = format!("allow := true\n{}", "# xxxxxxxxxxxxxxxxxx\n".repeat(1_800));
    admin.puts("long", &long).await;
    let refusal = admin.refused("get", json!({"policy": "long"})).await;
    assert!(refusal.error["message"].as_str().unwrap().contains("max_payload"), "{refusal:?}");
}

#[tokio::test]
async fn words_that_are_misspelt_are_refused_not_ignored() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    for change in [json!({"if_verison": 9}), json!({"dryrun": true})] {
        let request = json!({"policy": "gate", "change": change});
        let refusal = admin.refused("delete", request).await;
        assert!(
            refusal.error["message"].as_str().unwrap().contains("unknown field"),
            "{refusal:?}"
        );
    }
    let long = "x".repeat(5_000);
    for (verb, request) in [
        ("enforcement", json!({"mode": "off", "change": {"comment": long}})),
        ("delete", json!({"policy": "gate", "change": {"author": long}})),
        ("get", json!({"policy": long})),
    ] {
        admin.refused(verb, request).await;
    }
    let many: Vec<&str> = vec!["gate"; 1_000];
    let request = json!({"policies": many, "action": "a", "resource": "r"});
    let refusal = agent.on("policy.evaluate").refused(request.to_string()).await;
    assert_eq!(refusal.error["field"], json!("policies"), "{refusal:?}");
    let request = json!({"action": "a", "resource": "r", "package": "x".repeat(5_000)});
    assert_eq!(agent.refused(request.to_string()).await.error["field"], json!("package"));
    assert_eq!(admin.gets("gate").await["version"], json!(1));
}

/// A policy may be called like another's id; who names the id in a replacement means the name.
#[tokio::test]
async fn names_and_ids_are_told_apart() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let id = admin.gets("gate").await["id"].as_str().unwrap().to_owned();
    let twin = json!({"policy": {"name": id, "rego": rego("twin", "allow := true")}});
    let made = admin.does("put", twin).await;
    assert_ne!(made["policy"]["id"], json!(id));
    assert_eq!(made["policy"]["version"], json!(1));
    assert_eq!(admin.gets(&id).await["package"], json!("test.twin"), "the name goes first");
    assert_eq!(admin.gets("gate").await["id"], json!(id));
}

#[tokio::test]
async fn a_policy_that_can_no_longer_be_compiled_can_be_switched_off() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let mut record: Value =
        serde_json::from_slice(&bucket(&agent).await.get("gate").await.unwrap().unwrap()).unwrap();
    record["version"] = json!(2);
    record["rego"] = json!("package test.gate\nallow := if\n");
    bucket(&agent).await.put("gate", record.to_string().into()).await.unwrap();
    worker.part_is("policies", |state| matches!(state, State::Degraded(_))).await;
    let shown = admin.gets("gate").await;
    assert!(shown["problem"].as_str().unwrap().contains("version 1 stays in force"), "{shown}");
    let off = admin.does("disable", json!({"policy": "gate"})).await;
    assert_eq!(
        (&off["policy"]["version"], &off["policy"]["status"]),
        (&json!(3), &json!("inactive"))
    );
}

#[tokio::test]
async fn what_is_restored_is_looked_at_as_anything_that_gets_in() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    admin.does("enforcement", json!({"mode": "off"})).await;
    let gate = admin.gets("gate").await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut record = gate.clone();
        for derived in ["title", "content", "reasons", "parameters_schema"] {
            record.as_object_mut().unwrap().remove(derived);
        }
        record["id"] = json!(Uuid::new_v4());
        record["name"] = json!("new");
        record["rego"] = json!(rego("new", "allow := true"));
        change(&mut record);
        record
    };
    let cases: Vec<(Value, &str)> = vec![
        (with(&|r| r["name"] = json!("_enforcement")), "can't be a name"),
        (
            with(&|r| {
                r["name"] = json!("_enforcement");
                r["deleted"] = json!(true);
            }),
            "can't be a name",
        ),
        (with(&|r| r["version"] = json!(u64::MAX)), "version"),
        (with(&|r| r["rego"] = json!(rego("new", "allow := if"))), "rego"),
        (with(&|r| r["rego"] = json!(rego("gate", "allow := true"))), "package"),
        (with(&|r| r["rego"] = json!(rego("new", "allow := http.send({}).x"))), "http.send"),
        (with(&|r| r["parameters"] = json!({"x": 1})), "parameters"),
    ];
    for (record, problem) in cases {
        let refusal = admin.refused("restore", json!({"policies": [record]})).await;
        assert!(refusal.error.to_string().contains(problem), "{problem}: {refusal:?}");
    }
    assert_eq!(admin.does("enforcement", json!({})).await["enforcement"]["mode"], json!("off"));
    let good = with(&|r| r["version"] = json!(7));
    let restored = admin.does("restore", json!({"policies": [good]})).await;
    assert_eq!(restored["restored"], json!(["new"]));
    assert_eq!(admin.gets("new").await["version"], json!(7));
    let changed = admin.patches("new", json!({"mode": "warn"})).await;
    assert_eq!(changed["policy"]["version"], json!(8));
}

/// A switch that was removed by hand stays as it is, is missed, and can be written again as it was.
#[tokio::test]
async fn a_switch_that_was_removed_by_hand() {
    let fleet = Fleet::with_policies(&[("gate", "allow := false")]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    admin.does("enforcement", json!({"mode": "off"})).await;
    for restores in [false, true] {
        bucket(&agent).await.purge("_enforcement").await.unwrap();
        worker.part_is("policies", |state| format!("{state:?}").contains("the switch")).await;
        assert_eq!(agent.act("x").await["reason"], json!("Policy enforcement disabled"));
        if restores {
            admin.does("restore", json!({})).await;
        } else {
            admin.does("enforcement", json!({"mode": "off"})).await;
        }
        worker.part_is("policies", |state| *state == State::Ready).await;
    }
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let workers = admin.does("workers", json!({})).await;
    assert_eq!(workers["workers"][1]["enforcement"], json!("off"), "{workers}");
}

//! Many who change policies at once: no update is lost, and nothing gets in that was looked at
//! against a state that is no more.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::{Map, Value, json};

use super::super::support::admin::rego;
use super::super::support::{Admin, Fleet};

#[tokio::test]
async fn a_lost_update_is_refused_with_both_versions_named() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_worker, agent, _) = fleet.start().await;
    let (alice, bob) = (Admin::new(&agent, "alice"), Admin::new(&agent, "bob"));
    let from_one = |admin: &Admin, mode: &str| {
        let mut change = admin.change();
        change["if_version"] = json!(1);
        json!({"policy": "gate", "changes": {"mode": mode}, "change": change})
    };
    alice.does("patch", from_one(&alice, "warn")).await;
    let refusal = bob.refused("patch", from_one(&bob, "enforce")).await;
    assert_eq!(refusal.code, "409");
    assert_eq!(refusal.error["current_version"], json!(2));
    let message = refusal.error["message"].as_str().unwrap();
    for part in ["version 1", "version 2", "by alice"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(bob.gets("gate").await["mode"], json!("warn"));
    // To replace a policy as a whole, one must say which version one has seen.
    let refusal = bob.refused("put", bob.put_of("gate", "allow := false")).await;
    assert_eq!((refusal.code.as_str(), &refusal.error["current_version"]), ("409", &json!(2)));
    let mut new = bob.put_of("fresh", "allow := true");
    new["change"]["if_version"] = json!(7);
    let refusal = bob.refused("put", new).await;
    assert!(refusal.error["message"].as_str().unwrap().contains("doesn't exist"), "{refusal:?}");
}

/// Forty authors, over three workers, each change a parameter of their own, without naming a
/// version: all forty are there in the end, in forty versions.
#[tokio::test]
async fn many_writers_lose_nothing() {
    const WRITERS: usize = 40;
    let fleet = Fleet::new();
    let properties: Map<String, Value> =
        (0..WRITERS).map(|n| (format!("p{n}"), json!({"type": "integer"}))).collect();
    let schema = Value::Object(properties);
    let text = format!(
        "# METADATA\n# custom: {{parameters: {{type: object, properties: {schema}}}}}\n\
         package test.board\n\nimport rego.v1\n\nwarnings contains key if some key, _ in input.parameters\n"
    );
    fleet.rego("board", &text);
    fleet.settings("[board]\nstatus = \"active\"\n");
    let (_one, agent, _) = fleet.start().await;
    let others: Vec<_> =
        (2..4).map(|n| fleet.spawn(&format!("worker-{n}"), fleet.config.clone())).collect();
    for worker in &others {
        worker.taking_checks().await;
    }
    let changes = (0..WRITERS).map(|n| {
        let admin = Admin::new(&agent, &format!("writer-{n}"));
        async move {
            let key = format!("p{n}");
            loop {
                let changes = json!({"policy": "board", "changes": {"parameters": {&key: n}},
                    "change": admin.change()});
                match admin.tries("patch", changes).await {
                    Ok(reply) => return reply["policy"]["version"].as_u64().unwrap(),
                    // A worker takes so many at once and says so; nothing was changed.
                    Err(refusal) => assert_eq!(refusal.code, "503", "{refusal:?}"),
                }
            }
        }
    });
    let versions: BTreeSet<u64> = join_all(changes).await.into_iter().collect();
    assert_eq!(versions, (2..2 + WRITERS as u64).collect(), "each made a version of its own");
    let admin = Admin::new(&agent, "reader");
    let board = admin.gets("board").await;
    assert_eq!(board["parameters"].as_object().unwrap().len(), WRITERS, "{board}");
    let list = admin.does("versions", json!({"policy": "board"})).await;
    assert_eq!(list["missing"], json!([]));
    let by: BTreeSet<&str> = list["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["updated_by"].as_str().unwrap())
        .collect();
    assert_eq!(by.len(), WRITERS + 1);
}

/// Two packages of one name are each valid alone: only one gets in.
#[tokio::test]
async fn what_spans_policies_is_compared_too() {
    let fleet = Fleet::with_policies(&[]);
    let (_one, agent, _) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    for round in 0..5 {
        let puts = (0..8).map(|n| {
            let admin = Admin::new(&agent, "alice");
            async move {
                let name = format!("twin-{round}-{n}");
                let text = rego("x", "allow := true").replace("test.x", &format!("test.r{round}"));
                loop {
                    let put = json!({"policy": {"name": name, "rego": text}});
                    match admin.tries("put", put).await {
                        Err(refusal) if refusal.code == "503" => (),
                        Ok(_) => return true,
                        Err(refusal) => {
                            assert_eq!(refusal.error["field"], json!("package"), "{refusal:?}");
                            return false;
                        }
                    }
                }
            }
        });
        let admitted = join_all(puts).await.into_iter().filter(|admitted| *admitted).count();
        assert_eq!(admitted, 1, "round {round}");
    }
}

/// A template is deleted while others begin to use it: never is there one without its template.
#[tokio::test]
async fn a_template_and_its_use() {
    let fleet = Fleet::with_policies(&[]);
    let (_one, agent, _) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let admin = Admin::new(&agent, "alice");
    for round in 0..10 {
        let template = format!("template_{round}");
        admin.puts(&template, "allow := true").await;
        let user = json!({"policy": {"name": format!("user_{round}"), "template": template}});
        let (deleted, used) = tokio::join!(
            admin.tries("delete", json!({"policy": template})),
            admin.tries("put", user)
        );
        assert_ne!(deleted.is_ok(), used.is_ok(), "round {round}: {deleted:?} {used:?}");
    }
}

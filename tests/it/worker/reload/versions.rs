//! Every version stays known: lists, differences, rollbacks, and what applies to whom.

use serde_json::{Value, json};

use super::super::support::admin::rego;
use super::super::support::{Admin, Fleet};

#[tokio::test]
async fn versions_say_who_when_and_why_and_can_come_back() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_worker, agent, _) = fleet.start().await;
    let (alice, bob) = (Admin::new(&agent, "alice"), Admin::new(&agent, "bob"));
    let stricter = rego("gate", r#"allow := false  deny_reasons := ["no"]"#);
    alice.patches("gate", json!({"rego": stricter})).await;
    bob.patches("gate", json!({"mode": "warn"})).await;
    let list = alice.does("versions", json!({"policy": "gate"})).await;
    let told: Vec<Value> = list["versions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| json!([v["version"], v["updated_by"], v["created_by"], v["mode"]]))
        .collect();
    assert_eq!(
        json!(told),
        json!([
            [3, "bob", "sluicegate", "warn"],
            [2, "alice", "sluicegate", "enforce"],
            [1, "sluicegate", "sluicegate", "enforce"]
        ])
    );
    assert_eq!(list["versions"][0]["comment"], json!("because"));

    let diff = alice.does("diff", json!({"policy": "gate", "from": 1})).await;
    let unified = diff["unified"].as_str().unwrap();
    for line in ["-allow := true", "+allow := false", "-mode = \"enforce\"", "+mode = \"warn\""] {
        assert!(unified.lines().any(|l| l.starts_with(line)), "{line}: {unified}");
    }
    let last = alice.does("diff", json!({"policy": "gate"})).await;
    assert_eq!((&last["from"]["version"], &last["to"]["version"]), (&json!(2), &json!(3)));

    let back = bob.does("rollback", json!({"policy": "gate", "version": 1})).await;
    assert_eq!(back["policy"]["version"], json!(4));
    assert_eq!(back["policy"]["comment"], json!("rollback to version 1"));
    assert_eq!(agent.act("x").await["allowed"], json!(true));
    let second = alice.does("get", json!({"policy": "gate", "version": 2})).await;
    assert_eq!(second["rego"], json!(stricter));
    let by_id = alice.gets(second["id"].as_str().unwrap()).await;
    assert_eq!((&by_id["name"], &by_id["version"]), (&json!("gate"), &json!(4)));
    for (verb, request) in [
        ("rollback", json!({"policy": "gate", "version": 9})),
        ("get", json!({"policy": "gat"})),
        ("diff", json!({"policy": "gate", "from": 1, "to": 9})),
    ] {
        let refusal = alice.refused(verb, request).await;
        assert_eq!(refusal.code, "404", "{verb}: {refusal:?}");
    }
    // A deleted policy can be looked at and brought back.
    alice.does("delete", json!({"policy": "gate"})).await;
    let list = alice.does("versions", json!({"policy": "gate"})).await;
    assert_eq!(list["versions"][0]["deleted"], json!(true));
    alice.does("rollback", json!({"policy": "gate", "version": 2})).await;
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["no"]));
}

#[tokio::test]
async fn a_dry_run_says_what_would_be_and_changes_nothing() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let dry = json!({"author": "alice", "dry_run": true});
    let changes = json!({"policy": "gate", "changes": {"mode": "warn"}, "change": dry});
    let reply = admin.does("patch", changes).await;
    assert_eq!((&reply["dry_run"], &reply["changed"]), (&json!(true), &json!(true)));
    assert_eq!((&reply["policy"]["version"], &reply["before"]["version"]), (&json!(2), &json!(1)));
    let delete = json!({"policy": "gate", "change": dry});
    assert_eq!(admin.does("delete", delete).await["policy"]["deleted"], json!(true));
    let put = json!({"policy": {"name": "new", "rego": rego("new", "deny_reasons contains \"x\"")},
        "change": dry});
    let reply = admin.does("put", put).await;
    let findings = reply["findings"].as_array().unwrap();
    assert!(!findings.is_empty(), "a `deny_reasons` without `allow` can't deny: {reply}");
    let list = admin.does("list", json!({})).await;
    assert_eq!(list["policies"].as_array().unwrap().len(), 1);
    assert_eq!(list["policies"][0]["version"], json!(1));
}

#[tokio::test]
async fn what_applies_to_whom() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    for (name, scope, id) in
        [("s", "session", "s-1"), ("p", "project", "p-1"), ("u", "user", "alice")]
    {
        let policy = json!({"name": name, "template": "cost_control", "status": "active",
            "scope": scope, "scope_id": id});
        admin.does("put", json!({"policy": policy})).await;
    }
    let names = async |request: Value| -> Vec<String> {
        let list = admin.does("effective", request).await;
        let policies = list["policies"].as_array().unwrap().clone();
        let mut names: Vec<String> =
            policies.iter().map(|p| p["name"].as_str().unwrap().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(names(json!({})).await, ["default"]);
    let context = json!({"session_id": "s-1", "project_id": "p-2", "user": "alice"});
    assert_eq!(names(json!({"context": context})).await, ["default", "s", "u"]);
    // A package means the policy that has the Rego, not the many that use it.
    let named = json!({"package": "cmbagent.cost_control"});
    assert_eq!(names(named).await, ["cost_control", "default"]);
    let reply =
        agent.check(json!({"action": "llm_call", "resource": "gpt-4", "context": context})).await;
    let said: Vec<&str> =
        reply["policies"].as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(said, ["default", "s", "u"]);
}

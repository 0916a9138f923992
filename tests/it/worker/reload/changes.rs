//! A change is in force as a whole or not at all, and every decision names what made it.

use serde_json::{Value, json};
use sluicegate::runtime::health::State;

use super::super::support::admin::rego;
use super::super::support::{Admin, Agent, Fleet, until};

/// Asks until the decision is as wanted.
async fn decides(agent: &Agent, request: &Value, wanted: impl Fn(&Value) -> bool) -> Value {
    until("the change is in force", async || {
        let reply = agent.check(request.clone()).await;
        wanted(&reply).then_some(reply)
    })
    .await
}

fn act() -> Value {
    json!({"action": "x", "resource": "r"})
}

#[tokio::test]
async fn a_policy_is_switched_on_and_off_again() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let (worker, agent, audit) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let request = json!({"action": "llm_call", "resource": {"model": "gpt-4"},
        "context": {"agent": "planner", "estimated_cost": 1.0, "budget": {"remaining_usd": 0.5}}});
    let before = agent.check(request.clone()).await;
    assert_eq!(before["allowed"], json!(true));

    let on = admin.does("enable", json!({"policy": "cost_control"})).await;
    assert_eq!((&on["changed"], &on["policy"]["version"]), (&json!(true), &json!(2)));
    // The worker that answers has the change in force when it answers.
    let after = agent.check(request.clone()).await;
    assert_eq!(after["deny_reasons"], json!(["budget_exceeded"]));
    assert_ne!(after["policy_revision"], before["policy_revision"]);
    let versions: Vec<&Value> =
        after["policies"].as_array().unwrap().iter().map(|p| &p["version"]).collect();
    assert_eq!(versions, [2, 1], "each decision names the exact versions that made it");
    let event = audit.of_reply(&after).await.event;
    assert_eq!(event["policy_revision"], after["policy_revision"]);

    let off = admin.does("disable", json!({"policy": "cost_control"})).await;
    assert_eq!(off["policy"]["version"], json!(3));
    assert_eq!(agent.check(request.clone()).await["allowed"], json!(true));
    let again = admin.does("disable", json!({"policy": "cost_control"})).await;
    assert_eq!((&again["changed"], &again["policy"]["version"]), (&json!(false), &json!(3)));
    assert_eq!(worker.part("policies"), Some(State::Ready));
}

#[tokio::test]
async fn a_new_policy_and_a_changed_one_and_one_less() {
    let fleet = Fleet::with_policies(&[("one", r#"allow := false  deny_reasons := ["one"]"#)]);
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["one"]));

    let two = rego("two", r#"allow := false  deny_reasons := ["two"]"#);
    admin.does("put", json!({"policy": {"name": "two", "rego": two}})).await;
    let named = json!({"action": "x", "resource": "r", "package": "test.two"});
    assert_eq!(agent.check(named).await["deny_reasons"], json!(["one", "two"]));
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["one"]), "new ones are inactive");

    let changed = rego("one", r#"allow := false  deny_reasons := ["changed"]"#);
    admin.patches("one", json!({"rego": changed})).await;
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["changed"]));

    let gone = admin.does("delete", json!({"policy": "one", "change": admin.change()})).await;
    assert_eq!((&gone["policy"]["deleted"], &gone["policy"]["version"]), (&json!(true), &json!(3)));
    let named = json!({"action": "x", "resource": "r", "package": "test.one"});
    let reply = agent.check(named).await;
    assert!(reply["error_message"].as_str().unwrap().contains("no policy has the package"));
    assert_eq!(admin.refused("get", json!({"policy": "one"})).await.code, "404");
    // Who makes it anew goes on counting: a version never means two things.
    let again = admin.puts("one", "allow := true").await;
    assert_eq!(again["policy"]["version"], json!(4));
}

/// A policy whose two rules go together: a mixed set would be seen as two different words.
#[tokio::test]
async fn nobody_sees_half_a_change() {
    let fleet = Fleet::with_policies(&[]);
    let (_one, agent, _) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let admin = Admin::new(&agent, "alice");
    let says = |word: &str| {
        format!("allow := false\ndeny_reasons := [\"{word}\"]\nwarnings := [\"{word}\"]")
    };
    admin.puts("word", &says("word-0")).await;
    for round in 1..=20 {
        let word = format!("word-{round}");
        let changed = admin.patches("word", json!({"rego": rego("word", &says(&word))})).await;
        let version = &changed["policy"]["version"];
        until("the new word", async || {
            let reply = agent.act("x").await;
            assert_eq!(reply["error"], json!(false), "{reply}");
            assert_eq!(reply["warnings"], reply["deny_reasons"], "half a change: {reply}");
            let is_new = reply["warnings"] == json!([word]);
            assert_eq!(is_new, reply["policies"][0]["version"] == *version, "{reply}");
            is_new.then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn what_is_wrong_does_not_get_in_and_the_last_good_set_stays() {
    let good = r#"allow := false  deny_reasons := ["good"]"#;
    let fleet = Fleet::with_policies(&[("gate", good), ("other", "allow := true")]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let before = agent.act("x").await;
    let cases = [
        (json!({"rego": rego("gate", "allow := if")}), "rego", "5"),
        (json!({"rego": rego("gate", "allow := http.send({}).ok")}), "rego", "http.send"),
        (json!({"rego": rego("other", "allow := true")}), "package", "`other`"),
        (json!({"rego": rego("gate", "x := 1")}), "rego", "none of the rules"),
        (json!({"parameters": {"a": 1}}), "parameters", "declares no parameters"),
        (json!({"scope": "user"}), "scope_id", "for which"),
        (json!({"scope_id": "u-1"}), "scope_id", "global"),
        (json!({"status": "on"}), "changes.status", "unknown variant"),
        (json!({"statu": "active"}), "changes.statu", "unknown field"),
        (json!({"name": "better"}), "changes.name", "can't be changed"),
        (json!({"template": "othr"}), "template", "did you mean `other`?"),
        (json!({"template": "gate"}), "template", "itself"),
        (json!({"parameters": []}), "changes.parameters", "invalid type"),
    ];
    for (changes, field, problem) in cases {
        let refusal =
            admin.refused("patch", json!({"policy": "gate", "changes": changes})).await.error;
        assert_eq!(refusal["field"], json!(field), "{refusal}");
        let told = refusal.to_string();
        assert!(told.contains(problem), "{problem}: {told}");
    }
    let reply = agent.act("x").await;
    assert_eq!(reply["deny_reasons"], json!(["good"]));
    assert_eq!(reply["policy_revision"], before["policy_revision"]);
    assert_eq!(worker.part("policies"), Some(State::Ready));
    assert_eq!(admin.gets("gate").await["version"], json!(1));
}

#[tokio::test]
async fn every_worker_takes_up_the_change() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_one, agent, _) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    let admin = Admin::new(&agent, "alice");
    let changed = admin.patches("gate", json!({"rego": rego("gate", "allow := false")})).await;
    let reached = until("both have it in force", async || {
        let workers = admin.does("workers", json!({})).await["workers"].clone();
        let workers = workers.as_array().unwrap().clone();
        let all = workers.iter().all(|w| w["sequence"].as_u64() >= changed["sequence"].as_u64());
        (workers.len() == 2 && all).then_some(workers)
    })
    .await;
    assert_eq!(reached[0]["revision"], reached[1]["revision"]);
    let batch = futures::future::join_all((0..20).map(|_| agent.act("x"))).await;
    assert!(batch.iter().all(|reply| reply["allowed"] == false));
    two.stop().await.unwrap();
    until("a worker that leaves is off the roll", async || {
        let workers = admin.does("workers", json!({})).await;
        (workers["workers"].as_array().unwrap().len() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_template_serves_a_session_with_parameters_of_its_own() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let made = admin
        .does(
            "put",
            json!({"policy": {"name": "limit-s-1", "template": "rate_limiting",
            "scope": "session", "scope_id": "s-1", "status": "active",
            "parameters": {"max_calls": 2}}, "change": admin.change()}),
        )
        .await;
    assert_eq!(
        made["policy"]["effective_parameters"],
        json!({"count": "agent", "max_calls": 2, "window_seconds": 60})
    );
    assert_eq!(made["policy"]["package"], json!("cmbagent.rate_limiting"));
    let call = |session: &str, agent: &str| {
        json!({"action": "llm_call", "resource": "gpt-4",
            "context": {"agent": agent, "session_id": session}})
    };
    for (session, who, allowed) in [("s-1", "a", 2), ("s-2", "b", 5)] {
        let mut count = 0;
        for _ in 0..5 {
            count += usize::from(agent.check(call(session, who)).await["allowed"] == true);
        }
        assert_eq!(count, allowed, "{session}");
    }
    // The template changes, and so do those that use it; a schema that refuses them is refused.
    let shipped = admin.gets("rate_limiting").await["content"].as_str().unwrap().to_owned();
    let stricter = shipped.replace("minimum: 0", "minimum: 10");
    let refusal =
        admin.refused("patch", json!({"policy": "rate_limiting", "changes": {"rego": stricter}}));
    let refusal = refusal.await;
    assert!(refusal.error["message"].as_str().unwrap().contains("limit-s-1"), "{refusal:?}");
    let renamed = shipped.replace("\"rate_limit_exceeded\"", "\"too_many\"");
    admin.patches("rate_limiting", json!({"rego": renamed})).await;
    let reply = agent.check(call("s-1", "a")).await;
    assert_eq!(reply["deny_reasons"], json!(["too_many"]), "{reply}");
    let refusal = admin.refused("delete", json!({"policy": "rate_limiting"})).await;
    assert!(refusal.error["message"].as_str().unwrap().contains("limit-s-1"), "{refusal:?}");
    let refusal =
        admin.refused("put", json!({"policy": {"name": "chain", "template": "limit-s-1"}})).await;
    assert!(refusal.error["message"].as_str().unwrap().contains("`rate_limiting`"), "{refusal:?}");
    let reply = decides(&agent, &act(), |reply| reply["allowed"] == true).await;
    assert_eq!(reply["reason"], json!("no policy applies"));
}

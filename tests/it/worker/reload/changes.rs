//! Changes of the folder are taken up whole, or not at all.

use serde_json::{Value, json};
use sluicegate::runtime::health::State;

use super::super::support::{Agent, Fleet, until};

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
    let request = json!({"action": "llm_call", "resource": {"model": "gpt-4"},
        "context": {"agent": "planner", "estimated_cost": 1.0, "budget": {"remaining_usd": 0.5}}});
    let before = agent.check(request.clone()).await;
    assert_eq!(before["allowed"], json!(true));

    fleet.settings(
        "[default]\nstatus = \"active\"\n[cost_control]\nstatus = \"active\"\nversion = 2\n",
    );
    let after = decides(&agent, &request, |reply| reply["allowed"] == false).await;
    assert_eq!(after["deny_reasons"], json!(["budget_exceeded"]));
    assert_ne!(after["policy_revision"], before["policy_revision"]);
    let versions: Vec<&Value> =
        after["policies"].as_array().unwrap().iter().map(|p| &p["version"]).collect();
    assert_eq!(versions, [2, 1], "each decision names the exact versions that made it");
    let event = audit.of_reply(&after).await.event;
    assert_eq!(event["policy_revision"], after["policy_revision"]);

    fleet.settings("[default]\nstatus = \"active\"\n");
    let again = decides(&agent, &request, |reply| reply["allowed"] == true).await;
    assert_eq!(again["policy_revision"], before["policy_revision"], "the same set has one name");
    assert_eq!(worker.part("policies"), Some(State::Ready));
}

#[tokio::test]
async fn a_new_file_and_a_changed_one_and_one_less() {
    let fleet = Fleet::with_policies(&[("one", r#"allow := false  deny_reasons := ["one"]"#)]);
    let (_worker, agent, _) = fleet.start().await;
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["one"]));

    fleet.policy("two", r#"allow := false  deny_reasons := ["two"]"#);
    let named = json!({"action": "x", "resource": "r", "package": "test.two"});
    decides(&agent, &named, |reply| reply["deny_reasons"] == json!(["one", "two"])).await;
    assert_eq!(agent.act("x").await["deny_reasons"], json!(["one"]), "new ones are inactive");

    fleet.policy("one", r#"allow := false  deny_reasons := ["changed"]"#);
    decides(&agent, &act(), |reply| reply["deny_reasons"] == json!(["changed"])).await;

    // In this order every step on the way is a whole set.
    fleet.settings("");
    decides(&agent, &act(), |reply| reply["allowed"] == true).await;
    std::fs::remove_file(fleet.policies().join("one.rego")).unwrap();
    let gone = json!({"action": "x", "resource": "r", "package": "test.one"});
    let reply = decides(&agent, &gone, |reply| reply["error"] == true).await;
    assert!(reply["error_message"].as_str().unwrap().contains("no policy has the package"));
}

/// Two policies whose words go together: a mixed set would be seen as two different words.
#[tokio::test]
async fn nobody_sees_half_a_change() {
    let fleet = Fleet::with_policies(&[("a", "allow := true"), ("b", "allow := true")]);
    let settings = |word: &str| {
        let one = |name: &str| {
            format!("[{name}]\nstatus = \"active\"\nparameters = {{word = \"{word}\"}}\n")
        };
        fleet.settings(&(one("a") + &one("b")));
    };
    let says = "# METADATA\n# custom:\n#   parameters:\n#     type: object\n\
                #     properties: {word: {type: string}}\npackage test.NAME\n\nimport rego.v1\n\n\
                warnings contains input.parameters.word\n";
    for name in ["a", "b"] {
        fleet.rego(name, &says.replace("NAME", name));
    }
    settings("word-0");
    let (_worker, agent, _) = fleet.start().await;
    for round in 1..=20 {
        let word = format!("word-{round}");
        settings(&word);
        let mut last = Value::Null;
        until("the new word", async || {
            let reply = agent.act("x").await;
            assert_eq!(reply["error"], json!(false), "{reply}");
            assert_eq!(reply["warnings"].as_array().unwrap().len(), 1, "half a change: {reply}");
            last = reply["warnings"][0].clone();
            (last == json!(word)).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_broken_edit_is_refused_and_the_last_good_set_stays() {
    let good = r#"allow := false  deny_reasons := ["good"]"#;
    let fleet = Fleet::with_policies(&[("gate", good), ("other", "allow := true")]);
    let (worker, agent, _) = fleet.start().await;
    let before = agent.act("x").await;
    let settings = std::fs::read_to_string(fleet.policies().join("policies.toml")).unwrap();
    let refused = async |problem: &str| {
        let state = worker
            .part_is("policies", |s| matches!(s, State::Degraded(why) if why.contains(problem)))
            .await;
        assert!(format!("{state:?}").contains("last good set stays in force"), "{state:?}");
        let reply = agent.act("x").await;
        assert_eq!(reply["deny_reasons"], json!(["good"]), "{problem}");
        assert_eq!(reply["policy_revision"], before["policy_revision"], "{problem}");
        fleet.policy("gate", good);
        fleet.settings(&settings);
        worker.part_is("policies", |state| *state == State::Ready).await;
    };
    fleet.policy("gate", "allow := if");
    refused("gate.rego:5").await;
    fleet.policy("gate", "allow := http.send({}).ok");
    refused("http.send").await;
    fleet.settings("[gat]\nstatus = \"active\"\n");
    refused("did you mean [gate]?").await;
    fleet.settings("[gate]\nstatu = \"active\"\n");
    refused("unknown field `statu`").await;
    fleet.settings("[gate]\nstatus = \"active\"\nparameters = {a = 1}\n");
    refused("declares no parameters").await;
    fleet.policy("gate", r#"allow := false  deny_reasons := ["better"]"#);
    decides(&agent, &act(), |reply| reply["deny_reasons"] == json!(["better"])).await;
}

#[tokio::test]
async fn what_editors_leave_beside_is_no_policy() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let leave = |name: &str| std::fs::write(fleet.policies().join(name), "not Rego {").unwrap();
    for name in [".gate.rego", "gate.rego~", "gate.rego.swp", "gate_test.rego", "README.md"] {
        leave(name);
    }
    std::fs::create_dir(fleet.policies().join("folder.rego")).unwrap();
    let (worker, agent, _) = fleet.start().await;
    assert_eq!(worker.part("policies"), Some(State::Ready));
    leave(".gate.rego.swp");
    fleet.policy("gate", "allow := false");
    let reply = decides(&agent, &act(), |reply| reply["allowed"] == false).await;
    assert_eq!(reply["policies"].as_array().unwrap().len(), 1);
    assert_eq!(worker.part("policies"), Some(State::Ready));
}

#[tokio::test]
async fn every_worker_takes_up_the_change() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (_one, agent, _) = fleet.start().await;
    let two = fleet.spawn("worker-2", fleet.config.clone());
    two.taking_checks().await;
    fleet.policy("gate", "allow := false");
    until("both deny", async || {
        let batch = futures::future::join_all((0..20).map(|_| agent.act("x"))).await;
        batch.iter().all(|reply| reply["allowed"] == false).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_is_not_watched_stays_as_it_was() {
    let mut fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    fleet.config.policies.watch = false;
    let (worker, agent, _) = fleet.start().await;
    let mut watched = fleet.config.clone();
    watched.policies.watch = true;
    watched.nats.queue_group = "others".into();
    watched.nats.subject_prefix = "others".into();
    watched.stream.name = "OTHERS".into();
    watched.stream.dead_letter_name = "OTHERS_DEAD".into();
    let other = fleet.spawn("worker-2", watched);
    other.taking_checks().await;
    fleet.policy("gate", "allow := false");
    decides(&agent.on("others.check"), &act(), |reply| reply["allowed"] == false).await;
    assert_eq!(agent.act("x").await["allowed"], json!(true));
    worker.stop().await.unwrap();
    let _again = fleet.worker().await;
    assert_eq!(agent.act("x").await["allowed"], json!(false));
}

//! Policies that are wrong when a worker starts: they fail at every check, in the open.

use serde_json::json;
use sluicegate::runtime::health::State;

use super::super::support::Fleet;

#[tokio::test]
async fn a_policy_that_does_not_compile_fails_open_and_everyone_sees_it() {
    let fleet = Fleet::with_policies(&[
        ("broken", "allow := if"),
        ("good", r#"allow := false  deny_reasons := ["good"]"#),
    ]);
    let (worker, agent, audit) = fleet.start().await;
    let Some(State::Degraded(why)) = worker.part("policies") else { panic!("not degraded") };
    assert!(why.contains("broken: ") && why.contains("broken.rego:5"), "{why}");
    let reply = agent.act("x").await;
    assert_eq!(reply["deny_reasons"], json!(["good"]), "the others decide");
    assert_eq!(reply["error"], json!(true));
    let broken = &reply["policies"][0];
    assert_eq!((&broken["name"], &broken["decision"]), (&json!("broken"), &json!("allow")));
    assert!(broken["error"].as_str().unwrap().contains("broken.rego:5"), "{broken}");
    let mut subjects: Vec<String> =
        audit.violations(&reply).await.into_iter().map(|v| v.subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["policy.violation.critical.broken", "policy.violation.warning.good"]);
}

#[tokio::test]
async fn a_policy_that_does_not_compile_denies_where_it_fails_closed() {
    let fleet = Fleet::new();
    fleet.policy("broken", "allow := if");
    fleet.settings("[broken]\nstatus = \"active\"\nfail_mode = \"closed\"\n");
    let (_worker, agent, _) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(false), &json!(true)));
    assert_eq!(reply["deny_reasons"], json!(["policy_error"]));
}

#[tokio::test]
async fn everything_else_that_can_be_wrong_with_one_policy_is_its_own_problem() {
    let fleet = Fleet::with_policies(&[("good", r#"warnings := ["good"]"#)]);
    let cases = [
        ("twin", "", "package", "used by both good.rego and twin.rego"),
        ("own", "", "package sluicegate.own\nallow := true\n", "system's own"),
        ("mute", "", "package test.mute\nx := 1\n", "none of the rules"),
        ("clock", "", "package test.clock\nallow if time.now_ns() > 0\n", "input.timestamp"),
        ("scoped", "scope = \"user\"", "package test.scoped\nallow := true\n", "scope_id"),
        ("unscoped", "scope_id = \"u\"", "package test.unscoped\nallow := true\n", "scope_id"),
        ("eats", "parameters = {a = 1}", "package test.eats\nallow := true\n", "no parameters"),
        ("long", "", "LONG", "more than 262144 bytes"),
        ("deep", "", "DEEP", "limits.policy_nesting"),
    ];
    for (name, settings, text, _) in cases {
        let text = match text {
            "package" => "package test.good\nallow := true\n".to_owned(),
            "LONG" => format!("package test.long\nallow := true\n{}", "# x\n".repeat(100_000)),
            "DEEP" => {
                format!("package test.deep\nallow := {}1{}\n", "[".repeat(40), "]".repeat(40))
            }
            text => text.to_owned(),
        };
        fleet.rego(name, &text);
        fleet.settings_add(name, &format!("status = \"active\"\n{settings}"));
    }
    let (worker, agent, _) = fleet.start().await;
    let reply =
        agent.check(json!({"action": "x", "resource": "r", "context": {"user": "u"}})).await;
    assert_eq!(reply["warnings"], json!(["good"]), "the good one decides: {reply}");
    let Some(State::Degraded(why)) = worker.part("policies") else { panic!("not degraded") };
    for (name, _, _, problem) in cases {
        let told = why.split("; ").any(|p| p.contains(name) && p.contains(problem));
        let told = told || (why.contains(&format!("{name}: ")) && why.contains(problem));
        assert!(told, "{name}: {problem} is not in {why}");
    }
}

#[tokio::test]
async fn a_folder_that_is_none_stops_the_worker_with_the_setting_to_look_at() {
    let mut fleet = Fleet::new();
    fleet.config.policies.folder = fleet.folder().join("nowhere");
    let error = fleet.spawn("w", fleet.config.clone()).ended().await.unwrap_err();
    assert!(!error.is_transient());
    let text = error.to_string();
    assert!(text.contains("nowhere") && text.contains("policies.folder"), "{text}");
}

#[tokio::test]
async fn settings_that_cannot_be_read_stop_the_worker_at_its_start() {
    let fleet = Fleet::with_policies(&[("cost_control", "allow := true")]);
    for (settings, problem) in [
        ("[cost_contrl]\nstatus = \"active\"\n", "did you mean [cost_control]?"),
        ("[cost_control]\nstatus = \"on\"\n", "unknown variant `on`"),
        ("[cost_control]\nstate = \"active\"\n", "unknown field `state`"),
        ("[cost_control\n", "line 1"),
    ] {
        fleet.settings(settings);
        let error = fleet.spawn("w", fleet.config.clone()).ended().await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("policies.toml") && text.contains(problem), "{text}");
    }
}

#[tokio::test]
async fn more_policies_than_the_limit() {
    let mut fleet = Fleet::with_policies(&[("a", "allow := true"), ("b", "allow := true")]);
    fleet.config.policies.max_policies = 1;
    let error = fleet.spawn("w", fleet.config.clone()).ended().await.unwrap_err();
    assert!(error.to_string().contains("policies.max_policies"), "{error}");
}

//! The folder that fills an empty bucket: what is wrong in it is left out or stops the worker, and
//! what is in the bucket is never overwritten.

use serde_json::json;
use sluicegate::runtime::health::State;

use super::super::support::{Admin, Fleet};

#[tokio::test]
async fn a_bucket_is_filled_once_and_never_again() {
    let fleet = Fleet::with_policies(&[("gate", "allow := true")]);
    let (worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let seeded = admin.gets("gate").await;
    assert_eq!((&seeded["version"], &seeded["status"]), (&json!(1), &json!("active")));
    assert!(seeded["comment"].as_str().unwrap().contains("from the folder"), "{seeded}");
    admin.patches("gate", json!({"status": "inactive"})).await;
    worker.stop().await.unwrap();
    fleet.policy("gate", "allow := false");
    fleet.policy("new", "allow := false");
    fleet.settings("[gate]\nstatus = \"active\"\n[new]\nstatus = \"active\"\n");
    let _again = fleet.worker().await;
    let policies = admin.does("list", json!({})).await["policies"].clone();
    assert_eq!(policies.as_array().unwrap().len(), 1, "the folder's new policy stays out");
    assert_eq!((&policies[0]["version"], &policies[0]["status"]), (&json!(2), &json!("inactive")));
}

#[tokio::test]
async fn many_workers_that_start_at_once_fill_it_once() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let workers: Vec<_> =
        (0..4).map(|n| fleet.spawn(&format!("worker-{n}"), fleet.config.clone())).collect();
    for worker in &workers {
        worker.taking_checks().await;
    }
    let agent = fleet.agent().await;
    let admin = Admin::new(&agent, "alice");
    let policies = admin.does("list", json!({})).await["policies"].clone();
    let policies = policies.as_array().unwrap();
    assert_eq!(policies.len(), 6);
    assert!(policies.iter().all(|policy| policy["version"] == 1), "{policies:?}");
    for policy in policies {
        let versions = admin.does("versions", json!({"policy": policy["name"]})).await;
        assert_eq!(versions["versions"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn everything_that_can_be_wrong_with_one_policy_leaves_only_it_out() {
    let fleet = Fleet::with_policies(&[("good", r#"warnings := ["good"]"#)]);
    let cases = [
        ("twin", "", "package"),
        ("own", "", "package sluicegate.own\nallow := true\n"),
        ("mute", "", "package test.mute\nx := 1\n"),
        ("clock", "", "package test.clock\nallow if time.now_ns() > 0\n"),
        ("eats", "parameters = {a = 1}", "package test.eats\nallow := true\n"),
        ("broken", "", "package test.broken\nallow := if\n"),
        ("deep", "", "DEEP"),
    ];
    for (name, settings, text) in cases {
        let text = match text {
            "package" => "package test.good\nallow := true\n".to_owned(),
            "DEEP" => {
                format!("package test.deep\nallow := {}1{}\n", "[".repeat(40), "]".repeat(40))
            }
            text => text.to_owned(),
        };
        fleet.rego(name, &text);
        fleet.settings_add(name, &format!("status = \"active\"\n{settings}"));
    }
    let (worker, agent, _) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["warnings"], &reply["error"]), (&json!(["good"]), &json!(false)));
    let Some(State::Degraded(why)) = worker.part("policies") else { panic!("not degraded") };
    for (name, ..) in cases {
        assert!(why.contains(&format!("{name}: ")), "{name} is not in {why}");
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
    // Who wants none says so.
    fleet.config.policies.seed = false;
    let worker = fleet.worker().await;
    assert_eq!(worker.part("policies"), Some(State::Ready));
}

#[tokio::test]
async fn settings_that_cannot_be_read_stop_the_worker_at_its_start() {
    let fleet = Fleet::with_policies(&[("cost_control", "allow := true")]);
    for (settings, problem) in [
        ("[cost_contrl]\nstatus = \"active\"\n", "did you mean [cost_control]?"),
        ("[cost_control]\nstatus = \"on\"\n", "unknown variant `on`"),
        ("[cost_control]\nstate = \"active\"\n", "state"),
        ("[cost_control\n", "policies.toml:1"),
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
    fleet.config.policies.max_policies = 2;
    let (_worker, agent, _) = fleet.start().await;
    let admin = Admin::new(&agent, "alice");
    let refusal = admin.refused("put", admin.put_of("c", "allow := true")).await;
    assert!(refusal.error["message"].as_str().unwrap().contains("policies.max_policies"));
}

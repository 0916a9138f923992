//! Policies over the REST API.

use serde_json::{Value, json};

use super::Stack;
use crate::doors::support::House;
use crate::worker::support::Fleet;

const REGO: &str = "package team.made\n\nimport rego.v1\n\nallow := input.action != \"act\"\n";

#[tokio::test]
async fn answers_have_the_promised_shapes() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let list = house.get("/api/policies").await.json(200);
    let policies = list["policies"].as_array().unwrap();
    assert_eq!(policies.len(), 6);
    assert_eq!(list["history"], false, "ClickHouse isn't there, and management goes on");
    let has = |policy: &Value, keys: &[&str]| {
        for key in keys {
            assert!(policy.get(key).is_some(), "{key} is missing in {policy}");
        }
    };
    for policy in policies {
        has(policy, &["id", "name", "description", "status", "scope", "mode", "version"]);
        assert!(policy.get("content").is_none() && policy["denials_24h"].is_null(), "{policy}");
        assert!(!policy["description"].as_str().unwrap().is_empty());
    }
    let one = house.get("/api/policies/rate_limiting").await;
    assert_eq!(one.header("etag"), "\"1\"");
    let one = one.json(200);
    has(&one, &["id", "name", "description", "content", "status", "scope", "parameters_schema"]);
    assert!(one["content"].as_str().unwrap().contains("package cmbagent.rate_limiting"));
    let by_id = house.get(&format!("/api/policies/{}", one["id"].as_str().unwrap())).await;
    assert_eq!(by_id.json(200), one);

    let parameters = json!({"max_calls": 0});
    let change = json!({"status": "active", "parameters": parameters, "comment": "the night"});
    let said = house.change("PATCH", "/api/policies/rate_limiting", &[], change).await;
    assert_eq!(said.header("etag"), "\"2\"");
    let said = said.json(200);
    assert_eq!((&said["status"], &said["changed"]), (&json!("updated"), &json!(true)));
    assert_eq!((&said["version"], &said["previous_version"]), (&json!(2), &json!(1)));
    assert_eq!(said["policy"]["comment"], "the night");
    let call = json!({"action": "llm_call", "resource": "r", "context": {"agent": "planner"}});
    assert_eq!(agent.check(call.clone()).await["allowed"], false, "the next check is denied");
    // Undone.
    let back = json!({"version": said["previous_version"], "comment": "undo"});
    let path = "/api/policies/rate_limiting/rollback";
    assert_eq!(house.post(path, back).await.json(200)["policy"]["status"], "inactive");
    assert_eq!(agent.check(call).await["allowed"], true);
}

#[tokio::test]
async fn a_policy_from_its_beginning_to_its_end() {
    let fleet = Fleet::with_policies(&[]);
    let (_worker, agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let draft = json!({"name": "made", "rego": REGO, "status": "active", "comment": "first"});
    let made = house.post("/api/policies", draft.clone()).await;
    assert_eq!((made.header("location"), made.header("etag")), ("/api/policies/made", "\"1\""));
    assert_eq!(made.json(201)["previous_version"], Value::Null);
    assert_eq!(agent.act("act").await["allowed"], false);
    assert_eq!(house.post("/api/policies", draft).await.json(409)["status"], 409);

    let path = "/api/policies/made";
    let replaced = json!({"rego": REGO.replace("act\\", "other\\"), "status": "draft"});
    assert_eq!(house.change("PUT", path, &[], replaced.clone()).await.json(428)["status"], 428);
    let stale = [("if-match", "\"7\"")];
    let said = house.change("PUT", path, &stale, replaced.clone()).await.json(412);
    assert_eq!(said["current_version"], 1, "{said}");
    let newest = [("if-match", "\"1\"")];
    let said = house.change("PUT", path, &newest, replaced).await.json(200);
    assert_eq!((&said["version"], &said["policy"]["status"]), (&json!(2), &json!("draft")));
    assert_eq!(agent.act("act").await["allowed"], true);
    let said = house.change("PATCH", path, &newest, json!({"status": "active"})).await;
    assert_eq!(said.json(412)["current_version"], 2);
    let dry = json!({"status": "active", "dry_run": true});
    assert_eq!(house.change("PATCH", path, &[], dry).await.json(200)["dry_run"], true);

    let versions = house.get(&format!("{path}/versions")).await.json(200);
    assert_eq!(versions["versions"].as_array().unwrap().len(), 2);
    assert_eq!(versions["versions"][1]["comment"], "first");
    let first = house.get(&format!("{path}/versions/1")).await.json(200);
    assert_eq!(first["content"], REGO);
    let diff = house.get(&format!("{path}/diff?from=1&to=2")).await.json(200);
    assert!(diff["unified"].as_str().unwrap().contains("-status"), "{diff}");

    let said = house.send("DELETE", path, "").await.json(200);
    assert_eq!(said["status"], "deleted");
    assert_eq!(house.get(path).await.json(404)["status"], 404);
}

#[tokio::test]
async fn pages_filters_and_what_is_wrong() {
    let fleet = Fleet::with_shipped("[cost_control]\nstatus = \"active\"\n");
    let (_worker, _agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let names = async |path: &str| {
        let list = house.get(path).await.json(200);
        let names = list["policies"].as_array().unwrap().iter();
        let names: Vec<String> = names.map(|p| p["name"].as_str().unwrap().to_owned()).collect();
        (names, list["next"].as_str().map(str::to_owned))
    };
    let (all, next) = names("/api/policies").await;
    assert_eq!((all.len(), next), (6, None));
    let (mut paged, mut at) = (Vec::new(), String::new());
    loop {
        let (names, next) = names(&format!("/api/policies?limit=4{at}")).await;
        paged.extend(names);
        let Some(next) = next else { break };
        at = format!("&cursor={next}");
    }
    assert_eq!(paged, all, "pages together are the list");
    assert_eq!(names("/api/policies?status=active").await.0, ["cost_control"]);
    assert_eq!(names("/api/policies?text=BUDGET").await.0, ["cost_control"]);
    assert!(names("/api/policies?scope=user").await.0.is_empty());

    for (method, path, body, status, words) in [
        ("GET", "/api/policies?status=on", json!(null), 400, "status"),
        ("GET", "/api/policies?limit=0", json!(null), 400, "limit"),
        ("GET", "/api/policies?color=red", json!(null), 400, "color"),
        ("GET", "/api/policies/none", json!(null), 404, "none"),
        ("PATCH", "/api/policies/default", json!({"status": "on"}), 400, "status"),
        ("PATCH", "/api/policies/default", json!({"colour": "red"}), 400, "colour"),
        ("PATCH", "/api/policies/default", json!({"comment": 1}), 400, "comment"),
        ("POST", "/api/policies", json!({"name": "x", "rego": "package"}), 422, "x"),
        ("POST", "/api/policies", json!([]), 400, "body"),
        ("GET", "/api/policies/default/versions/x", json!(null), 400, "version"),
        ("DELETE", "/api/policies/default", json!({"force": true}), 400, "force"),
    ] {
        let said = house.change(method, path, &[], body).await;
        assert_eq!(said.header("content-type"), "application/problem+json", "{path}");
        let problem = said.json(status);
        assert!(said.text.contains(words), "{method} {path}: {problem}");
    }
    let wrong = json!({"name": "x", "rego": "package x\n\nallow = if"});
    let problem = house.post("/api/policies", wrong).await.json(422);
    assert_eq!(problem["findings"][0]["line"], 3, "{problem}");
}

#[tokio::test]
async fn lists_say_what_policies_denied() {
    let settings = "[cost_control]\nstatus = \"active\"\n[compliance]\nstatus = \"draft\"\n";
    let stack = Box::pin(Stack::start(settings)).await;
    for _ in 0..3 {
        let poor = json!({"estimated_cost_usd": 5.0, "budget": {"remaining_usd": 1.0}});
        assert_eq!(stack.ask("llm_call", "planner", poor).await["allowed"], false);
    }
    stack.stored(3).await;
    let list = stack.get("/api/policies").await;
    let of = |name: &str| {
        let mut policies = list["policies"].as_array().unwrap().iter();
        policies.find(|policy| policy["name"] == name).unwrap().clone()
    };
    assert_eq!(list["history"], true);
    assert_eq!(of("cost_control")["denials_24h"], 3);
    assert_eq!(of("default")["denials_24h"], 0);
    assert_eq!(of("compliance")["denials_24h"], 0, "drafts deny nobody");
}

//! OPA's policies: the stored ones, through the same management as the command line.

use serde_json::{Value, json};

use super::support::House;
use crate::worker::support::{Admin, Fleet};

const REGO: &str = "package opa.made\n\nimport rego.v1\n\ndeny_reasons contains \"no\" if input.action == \"drop\"\n\nallow if count(deny_reasons) == 0\n\ndefault allow := false\n";

#[tokio::test]
async fn a_policy_is_made_asked_changed_read_and_deleted() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, _audit) = fleet.start().await;
    let mut house = House::with_tokens(&fleet.config).await;
    house.as_role("admin");
    let admin = Admin::new(&agent, "somebody");

    let asked = async |house: &House, action: &str| {
        let said = house.data("opa/made", json!({"action": action})).await.json(200);
        said.get("result").cloned().unwrap_or(Value::Null)
    };
    assert_eq!(asked(&house, "drop").await, Value::Null);
    assert_eq!(house.send("PUT", "/v1/policies/made", REGO).await.json(200), json!({}));
    // In force at once, for those who name its package; for others it is inactive.
    assert_eq!(asked(&house, "drop").await["deny_reasons"], json!(["no"]));
    assert_eq!(asked(&house, "keep").await["allow"], true);
    assert_eq!(agent.act("drop").await["allowed"], true);
    let view = admin.gets("made").await;
    assert_eq!(view["status"], "inactive");
    assert_eq!(view["created_by"], "the-admin");
    assert_eq!(view["comment"], "PUT /v1/policies/made");

    // An update keeps what was set of it.
    admin.patches("made", json!({"status": "active"})).await;
    let newer = REGO.replace("\"no\"", "\"still no\"");
    house.send("PUT", "/v1/policies/made", newer.clone()).await.json(200);
    house.send("PUT", "/v1/policies/made", newer.clone()).await.json(200);
    let view = admin.gets("made").await;
    assert_eq!((&view["status"], &view["version"]), (&json!("active"), &json!(3)), "{view}");
    assert_eq!(agent.act("drop").await["deny_reasons"], json!(["still no"]));

    let said = house.get("/v1/policies/made").await.json(200);
    assert_eq!(said["result"]["id"], "made");
    assert_eq!(said["result"]["raw"], newer);
    let path = said["result"]["ast"]["package"]["path"].as_array().unwrap();
    let path: Vec<&str> = path.iter().map(|part| part["value"].as_str().unwrap()).collect();
    assert_eq!(path, ["data", "opa", "made"]);
    for list in ["/v1/policies", "/v1/policies/"] {
        let said = house.get(list).await.json(200);
        let policies = said["result"].as_array().unwrap();
        assert_eq!(policies.len(), 7, "{said}");
        assert!(policies.iter().all(|policy| policy["raw"].as_str().unwrap().contains("package")));
    }

    assert_eq!(house.send("DELETE", "/v1/policies/made", "").await.json(200), json!({}));
    assert_eq!(asked(&house, "drop").await, Value::Null);
    let gone = house.send("DELETE", "/v1/policies/made", "").await;
    assert_eq!(gone.opa_code(404), "resource_not_found");
    assert_eq!(house.get("/v1/policies/made").await.opa_code(404), "resource_not_found");
    let versions = admin.does("versions", json!({"policy": "made"})).await;
    assert_eq!(versions["versions"][0]["updated_by"], "the-admin");
}

#[tokio::test]
async fn what_does_not_compile_is_refused_by_line() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _audit) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let put =
        async |id: &str, rego: &str| house.send("PUT", &format!("/v1/policies/{id}"), rego).await;

    let said = put("bad", "package bad\n\nimport rego.v1\n\nallow if {\n").await;
    assert_eq!(said.opa_code(400), "invalid_parameter");
    let body = said.json(400);
    assert_eq!(body["message"], "error(s) occurred while compiling module(s)");
    let error = &body["errors"][0];
    assert_eq!(error["code"], "rego_parse_error", "{body}");
    assert_eq!(error["location"]["file"], "bad");
    assert!(error["location"]["row"].as_u64() >= Some(5), "{body}");

    let called = put("bad", "package bad\n\nimport rego.v1\n\nallow if http.send({})\n").await;
    assert!(called.is(400).contains("http.send"), "{called:?}");
    for (id, rego, says) in [
        ("bad", " ", "empty"),
        ("a%20b", "package a\n\nimport rego.v1\n\nallow := true\n", "name"),
        ("other", "package cmbagent.default\n\nimport rego.v1\n\nallow := true\n", "package"),
    ] {
        let said = put(id, rego).await;
        assert_eq!(said.opa_code(400), "invalid_parameter");
        assert!(said.text.contains(says), "{said:?}");
    }
    let bytes = house.request(reqwest::Method::PUT, "/v1/policies/bad").body(vec![0xff, 0xfe]);
    assert_eq!(super::support::Said::of(bytes).await.opa_code(400), "invalid_parameter");
    assert_eq!(house.get("/v1/policies/bad").await.opa_code(404), "resource_not_found");
}

#[tokio::test]
async fn without_a_worker_management_says_so() {
    let fleet = Fleet::with_shipped("");
    let house = House::open(&fleet.config).await;
    for (method, path) in [
        ("GET", "/v1/policies"),
        ("GET", "/v1/policies/a"),
        ("PUT", "/v1/policies/a"),
        ("DELETE", "/v1/policies/a"),
    ] {
        let said = house.send(method, path, "package a").await;
        assert_eq!(said.opa_code(500), "internal_error", "{method} {path}");
        assert!(said.text.contains("is a worker running?"), "{said:?}");
    }
}

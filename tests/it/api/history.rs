//! The history over the REST API.

use serde_json::{Value, json};

use super::Stack;
use crate::doors::support::House;
use crate::store::eventually;
use crate::worker::support::Fleet;

const ACTIVE: &str = "[cost_control]\nstatus = \"active\"\n";

fn poor() -> Value {
    json!({"estimated_cost_usd": 5.0, "budget": {"remaining_usd": 1.0}, "run_id": "r-1", "user": "alice"})
}

/// Three denied calls of one agent, four allowed ones of another.
async fn lived() -> (Stack, Vec<String>) {
    let stack = Box::pin(Stack::start(ACTIVE)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let reply = stack.ask("llm_call", "planner", poor()).await;
        ids.push(reply["decision_id"].as_str().unwrap().to_owned());
    }
    for number in 0..4 {
        let cheap = json!({"session_id": "s-2", "estimated_cost_usd": 0.5, "note": number});
        let reply = stack.ask("file_read", "engineer", cheap).await;
        ids.push(reply["decision_id"].as_str().unwrap().to_owned());
    }
    stack.stored(7).await;
    (stack, ids)
}

#[tokio::test]
async fn the_audit_is_filtered_and_paged() {
    let (stack, ids) = Box::pin(lived()).await;
    let path = "/api/policies/decisions/audit";
    let of = stack.get(&format!("{path}?session_id=s-1&limit=10")).await;
    let first = &of["decisions"][0];
    for key in ["timestamp", "decision", "action", "resource", "policy", "reason"] {
        assert!(first.get(key).is_some(), "{key}: {first}");
    }
    assert_eq!(
        (&first["policy"], &first["reason"]),
        (&json!("cost_control"), &json!("budget_exceeded"))
    );
    let count = async |filter: &str| {
        stack.get(&format!("{path}?{filter}")).await["decisions"].as_array().unwrap().len()
    };
    for (filter, expected) in [
        ("", 7),
        ("decision=deny", 3),
        ("agent=engineer&decision=allow", 4),
        ("action=llm_call", 3),
        ("user=alice&run_id=r-1", 3),
        ("policy=cost_control", 7),
        ("reason=budget_exceeded", 3),
        ("text=ENGIN", 4),
        ("text=gpt-4", 7),
        ("error=true", 0),
        ("shadow=true", 0),
        ("unchecked=true", 0),
        ("until=2020-01-01T00:00:00Z", 0),
        ("agent=%27%20OR%201%3D1%20--", 0),
        (&format!("id={}", ids[0]), 1),
    ] {
        assert_eq!(count(filter).await, expected, "{filter}");
    }
    let (mut seen, mut at) = (Vec::new(), String::new());
    loop {
        let page = stack.get(&format!("{path}?limit=2{at}")).await;
        let rows = page["decisions"].as_array().unwrap();
        assert!(rows.len() <= 2);
        seen.extend(rows.iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        at = format!("&cursor={next}");
    }
    seen.reverse();
    assert_eq!(seen, ids, "each once, newest first");

    // What is shown as SQL is the same question.
    let quoted = stack.get(&format!("{path}?agent=planner&decision=deny")).await;
    let sql =
        quoted["sql"].as_str().unwrap().replacen("SELECT *", "SELECT count() FROM (SELECT id", 1);
    assert_eq!(stack.rig.number(&format!("{sql})")).await, 3, "{sql}");
    for (query, words) in [
        ("limit=x", "limit"),
        ("cursor=x", "cursor"),
        ("since=yesterday", "since"),
        ("id=x", "id"),
        ("decision=maybe", "decision"),
    ] {
        let said = stack.house.get(&format!("{path}?{query}")).await;
        said.json(400);
        assert!(said.text.contains(words) || query.starts_with("since"), "{said:?}");
    }
}

#[tokio::test]
async fn one_decision_and_why_it_was_made() {
    let (stack, ids) = Box::pin(lived()).await;
    let path = format!("/api/decisions/{}", ids[0]);
    eventually("its violation is stored", async || {
        stack.get(&path).await["violations"].as_array().is_some_and(|found| !found.is_empty())
    })
    .await;
    let detail = stack.get(&path).await;
    assert_eq!(detail["decision"]["input"]["budget"]["remaining_usd"], 1.0);
    assert_eq!(detail["violations"][0]["policy_name"], "cost_control");
    assert_eq!(detail["outcome"], Value::Null);
    let why = stack.get(&format!("{path}/explain")).await;
    let policies = why["policies"].as_array().unwrap();
    let cost = policies.iter().find(|policy| policy["recorded"]["name"] == "cost_control").unwrap();
    assert_eq!(cost["replay"]["decision"], "deny");
    assert!(!cost["replay"]["remedy"].as_array().unwrap().is_empty(), "{cost}");
    assert!(!cost["replay"]["rules"].as_array().unwrap().is_empty(), "{cost}");
    let unknown = "/api/decisions/01900000-0000-7000-8000-000000000000";
    assert_eq!(stack.house.get(unknown).await.json(404)["status"], 404);
    assert_eq!(stack.house.get("/api/decisions/x").await.json(400)["status"], 400);
}

#[tokio::test]
async fn a_filtered_set_comes_as_a_file() {
    let (stack, _) = Box::pin(lived()).await;
    let path = "/api/decisions/export?agent=planner";
    let lines = stack.house.get(path).await;
    assert_eq!(lines.header("content-disposition"), "attachment; filename=\"decisions.jsonl\"");
    let rows: Vec<Value> =
        lines.is(200).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() == 3 && rows.iter().all(|row| row["agent"] == "planner"));
    let csv = stack.house.get(&format!("{path}&format=csv")).await;
    assert_eq!(csv.is(200).lines().count(), 4, "a line of names, three rows");
    let parquet = stack.house.request(reqwest::Method::GET, &format!("{path}&format=parquet"));
    let bytes = parquet.send().await.unwrap().bytes().await.unwrap();
    assert_eq!((&bytes[..4], &bytes[bytes.len() - 4..]), (b"PAR1".as_slice(), b"PAR1".as_slice()));
    assert_eq!(stack.house.get(&format!("{path}&format=xml")).await.status, 400);
}

#[tokio::test]
async fn a_span_of_time_at_a_glance() {
    let (stack, _) = Box::pin(lived()).await;
    eventually("violations are stored", async || {
        stack.rig.number("SELECT count() FROM policy_violations FINAL").await >= 3
    })
    .await;
    let of = stack.get("/api/stats/overview").await;
    let totals = &of["totals"];
    assert_eq!((&totals["decisions"], &totals["deny"]), (&json!(7), &json!(3)), "{totals}");
    assert_eq!((&totals["coverage"], &totals["estimated_cost_usd"]), (&json!(1.0), &json!(2.0)));
    let timeline = of["timeline"].as_array().unwrap();
    let sum = |key: &str| timeline.iter().map(|at| at[key].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("allow"), sum("deny")), (4, 3));
    assert!(timeline[0]["at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(of["policies"], json!([{"policy": "cost_control", "denials": 3}]));
    assert_eq!(of["reasons"], json!([{"reason": "budget_exceeded", "denials": 3}]));
    assert_eq!(of["agents"][0], json!({"agent": "engineer", "decisions": 4, "denials": 0}));
    assert_eq!(of["actions"][1], json!({"action": "llm_call", "decisions": 3, "denials": 3}));
    assert_eq!(of["sessions"][0]["estimated_cost_usd"], 2.0, "what was allowed");
    let empty = "/api/stats/overview?since=2020-01-01T00:00:00Z&until=2020-01-02T00:00:00Z";
    let empty = stack.get(empty).await;
    assert_eq!((&empty["timeline"], &empty["totals"]["coverage"]), (&json!([]), &Value::Null));
    assert_eq!(empty["totals"]["p99_us"], 0);
    let wrong = "/api/stats/overview?since=2020-01-02T00:00:00Z&until=2020-01-01T00:00:00Z";
    assert_eq!(stack.house.get(wrong).await.json(400)["status"], 400);
    let fleet = stack.get("/api/stats/fleet").await;
    assert_eq!(fleet["workers"][0]["name"], "worker-1");
    assert!(fleet["attention"].is_array());
}

#[tokio::test]
async fn violations_are_acknowledged_by_somebody() {
    let (stack, _) = Box::pin(lived()).await;
    let list = async |query: &str| {
        let list = stack.get(&format!("/api/violations?{query}")).await;
        list["violations"].as_array().unwrap().clone()
    };
    eventually("violations are stored", async || list("").await.len() == 3).await;
    assert_eq!(list("acknowledged=true").await.len(), 0);
    assert_eq!(list("notified=false&policy=cost_control").await.len(), 3);
    assert_eq!(list("severity=info").await.len(), 0);
    let page = stack.get("/api/violations?limit=2").await;
    let next = page["next"].as_str().unwrap();
    assert_eq!(list(&format!("limit=2&cursor={next}")).await.len(), 1);

    let id = list("").await[0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/violations/{id}/acknowledge");
    let said = stack.house.post(&path, json!({"comment": "known"})).await.json(200);
    assert_eq!(said["status"], "acknowledged");
    eventually("it is stored", async || list("acknowledged=true").await.len() == 1).await;
    let row = &list("acknowledged=true").await[0];
    assert_eq!((&row["id"], &row["acknowledged_comment"]), (&json!(id), &json!("known")));
    assert_eq!(row["acknowledged_by"], "http:anonymous");
    assert_eq!(row["notified"], false, "to look at it is not to be told");
    assert_eq!(list("acknowledged=false").await.len(), 2);
    let unknown = "/api/violations/01900000-0000-7000-8000-000000000000/acknowledge";
    assert_eq!(stack.house.post(unknown, json!({})).await.json(404)["status"], 404);
    let long = json!({"comment": "x".repeat(5_000)});
    assert_eq!(stack.house.post(&path, long).await.json(400)["status"], 400);
}

#[tokio::test]
async fn a_dead_clickhouse_is_said_and_policies_are_managed_all_the_same() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _) = fleet.start().await;
    let mut config = fleet.config.clone();
    config.clickhouse.url = "http://127.0.0.1:1".into();
    let house = House::open(&config).await;
    for path in [
        "/api/policies/decisions/audit",
        "/api/decisions/export",
        "/api/violations",
        "/api/stats/overview",
        "/api/decisions/01900000-0000-7000-8000-000000000000",
    ] {
        let problem = house.get(path).await.json(503);
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.contains("ClickHouse") && detail.contains("policies can still"),
            "{path}: {detail}"
        );
    }
    let change = json!({"status": "active"});
    let said = house.change("PATCH", "/api/policies/cost_control", &[], change).await.json(200);
    assert_eq!(said["status"], "updated");
    let fleet = house.get("/api/stats/fleet").await.json(200);
    assert!(fleet["clickhouse"]["unavailable"].is_string(), "{fleet}");
}

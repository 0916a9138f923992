//! Calls that no worker answers: allowed or denied as configured, said so, reported, and never a hang.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, stream};
use futures::StreamExt as _;
use serde_json::{Value, json};
use sluicegate::config::{Config, FailMode};

use super::support::House;
use crate::support::servers::NatsServer;
use crate::worker::support::{AuditStream, Fleet, until};

const ONE: &str = "/access/v1/evaluation";
const MANY: &str = "/access/v1/evaluations";

fn config(nats: &NatsServer) -> Config {
    let mut config = Config::default();
    config.nats.url = nats.url();
    config.backoff.max = Duration::from_millis(100);
    config
}

/// A stream that takes the reports, as the audit stream does.
async fn stream(nats: &NatsServer) -> AuditStream {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let settings = stream::Config {
        name: "POLICY_AUDIT".into(),
        subjects: vec!["policy.unchecked".into()],
        ..stream::Config::default()
    };
    jetstream::new(client).create_stream(settings).await.unwrap();
    AuditStream::open(&nats.url(), "POLICY_AUDIT").await
}

fn input() -> Value {
    json!({"action": "llm_call", "resource": {"model": "gpt-4"}, "context": {"agent": "planner"}})
}

fn evaluation() -> Value {
    json!({"subject": {"type": "user", "id": "alice"}, "action": {"name": "read"},
        "resource": {"type": "record", "id": "r"}})
}

/// Waits until the server has taken in what a client subscribed to.
async fn settled(client: &async_nats::Client) {
    let inbox = client.new_inbox();
    let mut own = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    own.next().await.unwrap();
}

/// The report of a call.
async fn reported(stream: &AuditStream, id: &Value) -> Value {
    until("the call is reported", async || {
        let all = stream.all().await;
        let stored = all.into_iter().find(|stored| stored.event["id"] == *id)?;
        assert_eq!(stored.subject, "policy.unchecked");
        assert_eq!(json!(stored.id), *id, "its own message id");
        Some(stored.event)
    })
    .await
}

#[tokio::test]
async fn without_a_worker_calls_go_on_and_are_reported() {
    let nats = NatsServer::start();
    let stream = stream(&nats).await;
    let house = House::open(&config(&nats)).await;

    let said = house.data("cmbagent/cost_control", input()).await.json(200);
    let result = &said["result"];
    assert_eq!((&result["allow"], &result["error"]), (&json!(true), &json!(true)));
    assert_eq!(result["warnings"], json!(["unchecked: no_responders"]));
    assert!(result["error_message"].as_str().unwrap().contains("is a worker running?"));
    assert_eq!(said["warning"]["code"], "unchecked");
    let event = reported(&stream, &said["decision_id"]).await;
    assert_eq!((&event["schema"], &event["cause"]), (&json!(1), &json!("no_responders")));
    assert_eq!(
        (&event["allowed"], &event["request"]["action"]),
        (&json!(true), &json!("llm_call"))
    );
    assert_eq!(event["request"]["package"], "cmbagent.cost_control");
    assert!(event["client"].as_str().unwrap().starts_with("sluicegate-console/"));
    assert!(chrono::DateTime::parse_from_rfc3339(event["timestamp"].as_str().unwrap()).is_ok());

    let said = house.data("cmbagent/cost_control/allow", input()).await.json(200);
    assert_eq!((&said["result"], &said["warning"]["code"]), (&json!(true), &json!("unchecked")));

    let said = house.post(ONE, evaluation()).await.json(200);
    assert_eq!(said["decision"], true);
    assert_eq!(said["context"]["error"]["status"], 503, "{said}");
    reported(&stream, &said["context"]["id"]).await;
    // Said in a batch too, though nobody asked for context.
    let body = json!({"evaluations": [evaluation(), {}]});
    let said = house.post(MANY, body).await.json(200);
    assert_eq!(said["evaluations"][0]["decision"], true);
    assert_eq!(said["evaluations"][0]["context"]["error"]["status"], 503, "{said}");
    assert_eq!(said["evaluations"][1], json!({"decision": false}));
    let metrics = house.get("/metrics").await;
    assert!(metrics.is(200).contains("sluicegate_http_unchecked_total{cause=\"no_responders\"}"));
}

#[tokio::test]
async fn closed_they_are_denied_and_reported() {
    let nats = NatsServer::start();
    let stream = stream(&nats).await;
    let mut config = config(&nats);
    config.http.fail_mode = FailMode::Closed;
    let house = House::open(&config).await;
    let said = house.data("cmbagent/cost_control", input()).await.json(200);
    assert_eq!(said["result"]["allow"], false);
    assert_eq!(said["result"]["deny_reasons"], json!(["unchecked: no_responders"]));
    let event = reported(&stream, &said["decision_id"]).await;
    assert_eq!(event["allowed"], false);
    let said = house.post(ONE, evaluation()).await.json(200);
    assert_eq!(
        (&said["decision"], &said["context"]["error"]["status"]),
        (&json!(false), &json!(503))
    );
}

/// Whatever answers in a worker's place, the caller has an answer within the time for a check.
#[tokio::test]
async fn silence_garbage_and_overload_are_told_apart() {
    let nats = NatsServer::start();
    let stream = stream(&nats).await;
    let mut config = config(&nats);
    config.http.check_timeout = Duration::from_millis(300);
    let house = House::open(&config).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut checks = client.subscribe("policy.check").await.unwrap();
    settled(&client).await;
    let replies = client.clone();
    let answers = tokio::spawn(async move {
        let mut answer = 0;
        while let Some(message) = checks.next().await {
            let reply = message.reply.unwrap();
            match answer {
                0 => (),
                1 => replies.publish(reply, "{\"allowed\":".into()).await.unwrap(),
                2 => replies.publish(reply, "".into()).await.unwrap(),
                _ => {
                    let mut headers = async_nats::HeaderMap::new();
                    headers.insert("Nats-Service-Error-Code", "503");
                    headers.insert("Nats-Service-Error", "unavailable");
                    let body = json!({"error": {"code": 503, "status": "unavailable", "field": "",
                        "message": "too many checks"}});
                    let body = body.to_string().into();
                    replies.publish_with_headers(reply, headers, body).await.unwrap();
                }
            }
            answer += 1;
        }
    });
    for cause in ["timeout", "invalid_reply", "invalid_reply", "service_error"] {
        let start = Instant::now();
        let said = house.post(ONE, evaluation()).await.json(200);
        assert!(start.elapsed() < Duration::from_secs(20), "no hang");
        assert_eq!(said["decision"], true);
        let reason = &said["context"]["reason_admin"]["en"];
        assert_eq!(reason, &json!(format!("unchecked: {cause}")), "{said}");
        assert_eq!(reported(&stream, &said["context"]["id"]).await["cause"], cause);
    }
    answers.abort();

    // Silence of management, which knows what a path names, costs an OPA client no more time.
    let _checks = client.subscribe("policy.check").await.unwrap();
    let _admin = client.subscribe("policy.admin.*").await.unwrap();
    settled(&client).await;
    let start = Instant::now();
    let asks = (0..20).map(|_| house.data("cmbagent/cost_control", input()));
    for said in futures::future::join_all(asks).await {
        assert_eq!(said.json(200)["result"]["warnings"], json!(["unchecked: timeout"]));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Who hangs up before the console gives up has gone on, as far as anybody knows.
#[tokio::test]
async fn a_caller_who_hangs_up_is_reported_too() {
    let nats = NatsServer::start();
    let stream = stream(&nats).await;
    let house = House::open(&config(&nats)).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let mut silent = client.subscribe("policy.check").await.unwrap();
    settled(&client).await;
    let asking = house.request(reqwest::Method::POST, ONE).json(&evaluation()).send();
    let asking = tokio::spawn(asking);
    silent.next().await.unwrap();
    asking.abort();
    let event =
        until("the call is reported", async || stream.all().await.pop().map(|stored| stored.event))
            .await;
    assert_eq!((&event["cause"], &event["request"]["action"]), (&json!("timeout"), &json!("read")));
}

/// A batch has the time of one request, however many of its checks go unanswered.
#[tokio::test]
async fn a_batch_against_silence_ends_in_time() {
    let nats = NatsServer::start();
    let mut config = config(&nats);
    config.http.check_timeout = Duration::from_millis(500);
    config.http.request_timeout = Duration::from_secs(2);
    let house = House::open(&config).await;
    let client = async_nats::connect(nats.url()).await.unwrap();
    let _silent = client.subscribe("policy.check").await.unwrap();
    settled(&client).await;
    for semantic in ["execute_all", "deny_on_first_deny"] {
        let body = json!({"options": {"evaluations_semantic": semantic},
            "evaluations": vec![evaluation(); 500]});
        let said = house.post(MANY, body).await.json(200);
        let items = said["evaluations"].as_array().unwrap();
        assert_eq!(items.len(), 500);
        assert!(items.iter().all(|item| item["context"]["error"]["status"] == 503), "{semantic}");
    }
}

/// Nothing is lost while NATS is away, nor what waits when the console is told to stop.
#[tokio::test]
async fn without_nats_reports_wait_until_it_is_back() {
    let nats = NatsServer::start();
    let stream = stream(&nats).await;
    let house = House::open(&config(&nats)).await;
    nats.kill();
    until("the loss is noticed", async || (house.get("/health").await.status == 500).then_some(()))
        .await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let start = Instant::now();
        let said = house.data("cmbagent/cost_control", input()).await.json(200);
        assert!(start.elapsed() < Duration::from_secs(20), "no hang");
        assert_eq!(said["result"]["allow"], true);
        assert_eq!(said["result"]["warnings"], json!(["unchecked: disconnected"]));
        ids.push(said["decision_id"].clone());
    }
    nats.restart();
    house.close().await;
    for id in &ids {
        assert_eq!(reported(&stream, id).await["cause"], "disconnected");
    }
    assert_eq!(stream.len().await, 20, "each once");
}

/// A console that starts before NATS answers from its first moment, and asks workers when they are there.
#[tokio::test]
async fn a_console_without_nats_from_the_start() {
    let fleet = Fleet::with_shipped("");
    fleet.nats.kill();
    let house = House::begin(&fleet.config).await;
    let said = house.data("cmbagent/cost_control", input()).await.json(200);
    assert_eq!(said["result"]["warnings"], json!(["unchecked: disconnected"]));
    assert_eq!(house.get("/health").await.status, 500);
    fleet.nats.restart();
    house.connected().await;
    let _worker = fleet.worker().await;
    until("a worker decides", async || {
        let said = house.data("cmbagent/cost_control", input()).await.json(200);
        said.get("warning").is_none().then_some(())
    })
    .await;
}

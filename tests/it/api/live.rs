//! Live events over the REST API.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use crate::doors::support::House;
use crate::worker::support::Fleet;

/// Reads server-sent events.
struct Tail {
    response: reqwest::Response,
    text: String,
}

impl Tail {
    async fn open(house: &House, query: &str) -> Self {
        let response =
            house.request(Method::GET, &format!("/api/events?{query}")).send().await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { response, text: String::new() }
    }

    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines = event.lines();
                    lines.find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned()))
                };
                let found = field("event:").zip(field("data:"));
                let rest = rest.to_owned();
                self.text = rest;
                if let Some((name, data)) = found {
                    return (name, serde_json::from_str(&data).unwrap());
                }
                continue;
            }
            let bytes = self.response.chunk().await.unwrap().expect("the stream goes on");
            self.text.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }
}

#[tokio::test]
async fn who_watches_sees_what_happens() {
    let fleet = Fleet::with_policies(&[("strict", "allow := input.action != \"forbidden\"")]);
    let (_worker, agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let mut all = Tail::open(&house, "").await;
    let mut denied = Tail::open(&house, "kind=decision&decision=deny").await;
    let mut others = Tail::open(&house, "kind=violation&policy=strict").await;
    let mut texts =
        Tail::open(&house, "kind=decision&text=DENIED_by&reason=denied_by_strict").await;
    agent.act("act").await;
    let id = agent.act("forbidden").await["decision_id"].clone();
    let (name, event) = all.next().await;
    assert_eq!((name.as_str(), &event["action"]), ("decision", &json!("act")));
    assert!(event.get("input").is_none(), "it can be large");
    let (name, event) = denied.next().await;
    assert_eq!((name.as_str(), &event["id"]), ("decision", &id));
    let (_, event) = texts.next().await;
    assert_eq!((&event["id"], &event["reason"]), (&id, &json!("denied_by_strict")));
    let (name, event) = others.next().await;
    assert_eq!((name.as_str(), &event["decision_id"]), ("violation", &id));
}

#[tokio::test]
async fn a_console_that_stops_does_not_wait_for_its_readers() {
    let fleet = Fleet::with_policies(&[]);
    let (_worker, agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let mut tail = Tail::open(&house, "").await;
    agent.act("act").await;
    tail.next().await;
    house.close().await;
    assert!(tail.response.chunk().await.unwrap().is_none(), "they are told that it was all");
}

#[tokio::test]
async fn readers_are_bounded_and_what_they_miss_is_said() {
    let fleet = Fleet::with_policies(&[]);
    let mut config = fleet.config.clone();
    config.http.max_tails = 1;
    let house = House::open(&config).await;
    let mut tail = Tail::open(&house, "").await;
    assert_eq!(house.get("/api/events").await.json(429)["status"], 429);
    assert_eq!(house.get("/api/events?kind=other").await.json(400)["status"], 400);
    // More than a reader is shown in a second; he learns how many he missed, also where nothing follows.
    let client = async_nats::connect(fleet.nats.url()).await.unwrap();
    let sent = 1_000;
    for _ in 0..sent {
        client.publish("policy.decision.allow.act", "{}".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let (mut shown, mut missed) = (0, 0);
    while shown + missed < sent {
        let next = tokio::time::timeout(Duration::from_secs(20), tail.next()).await;
        match next.unwrap_or_else(|_| panic!("{shown} shown, {missed} missed")) {
            (name, event) if name == "lagged" => missed += event["missed"].as_u64().unwrap(),
            _ => shown += 1,
        }
    }
    assert_eq!(shown + missed, sent, "{shown} shown, {missed} missed");
    assert!(missed > 0, "{shown} shown at once");
    drop(tail);
    crate::worker::support::until("the place is free again", async || {
        let again = house.request(Method::GET, "/api/events").send().await.unwrap();
        (again.status() == 200).then_some(())
    })
    .await;
}

//! What bad input gets: a service error that names the field, and a worker that goes on.

use serde_json::{Value, json};

use super::super::support::{Fleet, keys};

#[tokio::test]
async fn every_refusal_names_the_field_and_the_way_out() {
    let fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    let (_worker, agent, audit) = fleet.start().await;
    let nested = |levels: usize| {
        let (open, close) = ("[".repeat(levels), "]".repeat(levels));
        format!(r#"{{"action":"a","resource":"r","context":{{"x":{open}{close}}}}}"#)
    };
    let cases: Vec<(&str, Vec<u8>, &str, &str)> = vec![
        ("nothing", b"".into(), "", "is empty"),
        ("blanks", b" \n\t ".into(), "", "is empty"),
        ("half an object", br#"{"action": "a","#.into(), "", "isn't JSON"),
        ("two values", b"{} {}".into(), "", "isn't JSON"),
        ("a word", b"hello".into(), "", "isn't JSON"),
        ("not UTF-8", b"{\"action\": \"\xff\"}".into(), "", "isn't UTF-8: bad byte at 12"),
        ("an array", b"[]".into(), "", "not an array"),
        ("null", b"null".into(), "", "not null"),
        ("no action", br#"{"resource": "r"}"#.into(), "action", "is required"),
        ("an empty action", br#"{"action": " ", "resource": "r"}"#.into(), "action", "empty"),
        ("a number", br#"{"action": 7, "resource": "r"}"#.into(), "action", "not a number"),
        (
            "a long action",
            json!({"action": "a".repeat(257), "resource": "r"}).to_string().into(),
            "action",
            "at most 256",
        ),
        ("no resource", br#"{"action": "a"}"#.into(), "resource", "is required"),
        ("a list", br#"{"action": "a", "resource": ["r"]}"#.into(), "resource", "not an array"),
        ("nothing to it", br#"{"action": "a", "resource": null}"#.into(), "resource", "not null"),
        (
            "a context in words",
            br#"{"action": "a", "resource": "r", "context": "c"}"#.into(),
            "context",
            "must be an object, not a string",
        ),
        (
            "a package in numbers",
            br#"{"action": "a", "resource": "r", "package": 1}"#.into(),
            "package",
            "must be a string",
        ),
        ("1,000 levels", nested(1_000).into(), "", "worker.max_nesting"),
        ("brackets that never close", b"[".repeat(200_000), "", "worker.max_nesting"),
        (
            "300 KB",
            json!({"action": "a", "resource": "r".repeat(300_000)}).to_string().into(),
            "",
            "worker.max_request_bytes",
        ),
    ];
    for (what, body, field, message) in cases {
        let refusal = agent.refused(body).await;
        assert_eq!(refusal.code, "400", "{what}: {refusal:?}");
        assert_eq!(keys(&refusal.error), ["code", "field", "message", "status"]);
        assert_eq!(refusal.error["code"], json!(400), "{what}");
        assert_eq!(refusal.error["field"], json!(field), "{what}: {refusal:?}");
        let said = refusal.error["message"].as_str().unwrap();
        assert!(said.contains(message), "{what}: {said}");
        assert!(refusal.text.contains(message), "{what}: the header says it too: {refusal:?}");
    }
    // The worker is none the worse for it, and nothing of all that was a decision.
    let reply = agent.act("a").await;
    assert_eq!(reply["allowed"], json!(false));
    let stored = audit.all().await;
    let others: Vec<&Value> = stored
        .iter()
        .map(|stored| &stored.event)
        .filter(|event| event["id"] != reply["decision_id"])
        .filter(|event| event["decision_id"] != reply["decision_id"])
        .collect();
    assert_eq!(others, Vec::<&Value>::new());
}

#[tokio::test]
async fn a_body_of_ten_megabytes() {
    let fleet = Fleet::with_server("max_payload: 16MB");
    let (_worker, agent, audit) = fleet.start().await;
    let body = json!({"action": "a", "resource": "r".repeat(10 << 20)}).to_string();
    for subject in ["policy.check", "policy.check_batch", "policy.check.planner"] {
        let refusal = agent.on(subject).refused(body.clone()).await;
        assert_eq!(refusal.code, "400", "{subject}");
        let said = refusal.error["message"].as_str().unwrap();
        assert!(said.contains("at most 262144 are taken"), "{subject}: {said}");
    }
    assert_eq!(agent.act("a").await["allowed"], json!(true));
    assert_eq!(audit.len().await, 1);
}

#[tokio::test]
async fn just_within_the_limits() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    let limit = usize::try_from(fleet.config.worker.max_request_bytes.as_u64()).unwrap();
    let around = json!({"action": "a", "resource": "r", "context": {"x": ""}}).to_string().len();
    let request = |bytes: usize| json!({"action": "a", "resource": "r", "context": {"x": "x".repeat(bytes - around)}});
    let reply = agent.check(request(limit)).await;
    assert_eq!(reply["audit"], json!("recorded"));
    // The context is in the event twice, once lifted.
    let event = audit.of_reply(&reply).await.event;
    assert_eq!(event["input"]["x"], event["input"]["context"]["x"]);
    assert_eq!(event["input"]["x"].as_str().unwrap().len(), limit - around);
    let refusal = agent.refused(request(limit + 1).to_string()).await;
    assert!(refusal.error["message"].as_str().unwrap().contains("262145 bytes"), "{refusal:?}");

    let nesting = fleet.config.worker.max_nesting - 2;
    let nested = |levels: usize| -> Value { (0..levels).fold(json!(1), |inner, _| json!([inner])) };
    let request =
        |levels| json!({"action": "a", "resource": "r", "context": {"x": nested(levels)}});
    agent.check(request(nesting)).await;
    agent.refused(request(nesting + 1).to_string()).await;
}

#[tokio::test]
async fn text_of_all_kinds_is_taken_as_it_is() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    for text in ["\u{0}", "🦀 ünïcode", "a\r\nb", "\"quoted\\\"", "\u{202e}right to left"] {
        let request = json!({"action": text, "resource": text, "context": {"user": text}});
        let reply = agent.check(request).await;
        let event = audit.of_reply(&reply).await.event;
        for member in ["action", "resource", "user"] {
            assert_eq!(event[member], json!(text), "{member}");
        }
    }
}

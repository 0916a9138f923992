//! What is recorded of a decision, and when.

use serde_json::{Value, json};

use super::super::support::{Fleet, keys};

const REQUEST_CONTEXT: &str = r#"{"agent": "planner", "user": "alice", "session_id": "s-1",
    "run_id": "r-1", "step_id": "st-1", "project_id": "p-1", "cost": 2}"#;

fn request() -> Value {
    let context: Value = serde_json::from_str(REQUEST_CONTEXT).unwrap();
    json!({"action": "llm_call", "resource": {"model": "gpt-4"}, "context": context})
}

fn who() -> Vec<(&'static str, &'static str)> {
    vec![
        ("subject", "planner"),
        ("agent", "planner"),
        ("user", "alice"),
        ("session_id", "s-1"),
        ("run_id", "r-1"),
        ("step_id", "st-1"),
        ("project_id", "p-1"),
    ]
}

#[tokio::test]
async fn a_decision_event_says_everything() {
    let fleet = Fleet::new();
    fleet.policy("cost", r#"allow := false  deny_reasons := ["d"]  warnings := ["w"]"#);
    fleet.settings("[cost]\nstatus = \"active\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.check(request()).await;
    let stored = audit.of_reply(&reply).await;
    assert_eq!(stored.subject, "policy.decision.deny.llm_call");
    assert_eq!(json!(stored.id), reply["decision_id"], "the message id deduplicates");
    let event = stored.event;
    assert_eq!(
        keys(&event),
        [
            "action",
            "agent",
            "decision",
            "deny_reasons",
            "duration_us",
            "enforced",
            "error",
            "error_message",
            "id",
            "input",
            "policies",
            "policy_name",
            "policy_package",
            "policy_revision",
            "project_id",
            "reason",
            "resource",
            "run_id",
            "schema",
            "session_id",
            "step_id",
            "subject",
            "timestamp",
            "unchecked",
            "user",
            "warnings",
            "worker",
            "worker_run",
            "worker_sequence",
            "would_deny",
        ]
    );
    assert_eq!(event["schema"], json!(1));
    assert_eq!(event["id"], reply["decision_id"]);
    assert_eq!(event["worker"], json!("worker-1"));
    assert_eq!(event["action"], json!("llm_call"));
    assert_eq!(event["resource"], json!("gpt-4"));
    assert_eq!(event["policy_name"], json!("cost"));
    for (member, value) in who() {
        assert_eq!(event[member], json!(value), "{member}");
    }
    for member in [
        "timestamp",
        "decision",
        "reason",
        "deny_reasons",
        "warnings",
        "policies",
        "policy_package",
        "policy_revision",
        "enforced",
        "error",
        "duration_us",
    ] {
        assert_eq!(event[member], reply[member], "{member} as in the reply");
    }
}

#[tokio::test]
async fn a_violation_event_can_be_acted_on_without_a_join() {
    let fleet = Fleet::new();
    for (name, severity) in [("cost", "critical"), ("fine", "info"), ("time", "warning")] {
        let allows = name == "fine";
        fleet.policy(name, &format!("allow := {allows}  deny_reasons := [\"{name} reason\"]"));
        fleet.settings_add(name, &format!("status = \"active\"\nseverity = \"{severity}\""));
    }
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.check(request()).await;
    let mut violations = audit.violations(&reply).await;
    violations.sort_by(|a, b| a.subject.cmp(&b.subject));
    let subjects: Vec<&str> = violations.iter().map(|v| v.subject.as_str()).collect();
    assert_eq!(subjects, ["policy.violation.critical.cost", "policy.violation.warning.time"]);
    let stored = &violations[0];
    let event = &stored.event;
    assert_eq!(
        keys(event),
        [
            "action",
            "action_taken",
            "agent",
            "decision",
            "decision_id",
            "id",
            "policy_name",
            "policy_version",
            "project_id",
            "reasons",
            "resource",
            "run_id",
            "schema",
            "session_id",
            "severity",
            "step_id",
            "subject",
            "timestamp",
            "user",
            "violation_type",
            "worker",
            "worker_run",
            "worker_sequence",
        ]
    );
    assert_eq!(json!(stored.id), event["id"]);
    let id: uuid::Uuid = stored.id.parse().unwrap();
    assert_eq!(id.get_version_num(), 7);
    assert_ne!(event["id"], event["decision_id"]);
    assert_eq!(event["schema"], json!(1));
    assert_eq!(event["decision_id"], reply["decision_id"]);
    assert_eq!(event["timestamp"], reply["timestamp"]);
    assert_eq!(event["worker"], json!("worker-1"));
    assert_eq!(event["violation_type"], json!("policy_denied"));
    assert_eq!(event["severity"], json!("critical"));
    assert_eq!(event["policy_name"], json!("cost"));
    assert_eq!(event["policy_version"], json!(1));
    assert_eq!(event["action_taken"], json!("blocked"));
    assert_eq!(event["reasons"], json!(["cost reason"]));
    assert_eq!(event["decision"], json!("deny"));
    assert_eq!(event["action"], json!("llm_call"));
    assert_eq!(event["resource"], json!("gpt-4"));
    for (member, value) in who() {
        assert_eq!(event[member], json!(value), "{member}");
    }
}

#[tokio::test]
async fn an_action_of_any_text_is_one_safe_token() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    let long = "x".repeat(256);
    for (action, token) in [
        ("llm_call-2", "llm_call-2"),
        ("a.b *>\r\n", "a%2Eb%20%2A%3E%0D%0A"),
        ("é", "%C3%A9"),
        ("%", "%25"),
    ] {
        let reply = agent.act(action).await;
        let stored = audit.of_reply(&reply).await;
        assert_eq!(stored.subject, format!("policy.decision.allow.{token}"));
        assert_eq!(stored.event["action"], json!(action), "the event has the text itself");
    }
    let stored = audit.of_reply(&agent.act(&long).await).await;
    let token = stored.subject.strip_prefix("policy.decision.allow.").unwrap();
    assert!(token.len() <= 128 && !token.contains('.'), "{token}");
    assert_eq!(stored.event["action"], json!(long));
}

#[tokio::test]
async fn the_event_is_in_the_stream_when_the_reply_arrives() {
    let fleet = Fleet::with_policies(&[("strict", "allow := false")]);
    let (_worker, agent, audit) = fleet.start().await;
    for i in 0..100 {
        let reply = agent.act(&format!("a-{i}")).await;
        assert_eq!(reply["audit"], json!("recorded"));
        let event = audit.last(&format!("policy.decision.deny.a-{i}")).await;
        assert_eq!(json!(event.unwrap().id), reply["decision_id"]);
        let violation = audit.last("policy.violation.warning.strict").await.unwrap();
        assert_eq!(violation.event["decision_id"], reply["decision_id"]);
    }
    assert_eq!(audit.len().await, 200);
}

#[tokio::test]
async fn what_no_message_could_carry_is_shortened_and_says_so() {
    let mut fleet = Fleet::new();
    fleet.config.stream.max_message_size = bytesize::ByteSize::kib(64);
    let (_worker, agent, audit) = fleet.start().await;
    let request = json!({"action": "a", "resource": "r", "context": {"x": "x".repeat(50_000)}});
    let reply = agent.check(request).await;
    assert_eq!(reply["audit"], json!("recorded"));
    let event = audit.of_reply(&reply).await.event;
    assert!(event["input"]["shortened_from_bytes"].as_u64() > Some(100_000), "{event}");
    assert_eq!(event["input"]["context"]["x"].as_str().unwrap().len(), 50_000, "once is enough");
}

#[tokio::test]
async fn what_can_never_be_stored_is_not_called_recorded() {
    let fleet = Fleet::new();
    let (_worker, agent, audit) = fleet.start().await;
    // Somebody else made the stream's messages smaller than any event.
    let config =
        async_nats::jetstream::stream::Config { max_message_size: 100, ..audit.config().await };
    audit.jetstream.update_stream(config).await.unwrap();
    let reply = agent.act("a").await;
    assert_eq!(reply["allowed"], json!(true));
    assert_ne!(reply["audit"], json!("recorded"));
    assert_eq!(audit.len().await, 0);
}

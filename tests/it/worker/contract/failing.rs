//! Policies that fail: open by default, closed by wish, never unseen.

use serde_json::{Value, json};
use sluicegate::config::FailMode;

use super::super::support::{Admin, AuditStream, Fleet};

/// Fails at every check, and nobody can see it before: `allow` must be true or false.
const FAILS: &str = "allow := lower(input.action)";

/// The one violation of a decision, which is a failed policy's.
async fn failure(audit: &AuditStream, reply: &Value, policy: &str, action_taken: &str) -> Value {
    let violations = audit.violations(reply).await;
    let mut failed = violations.iter().filter(|v| v.event["violation_type"] == "policy_error");
    let violation = failed.next().unwrap_or_else(|| panic!("no policy_error: {violations:?}"));
    assert!(failed.next().is_none(), "{violations:?}");
    assert_eq!(violation.subject, format!("policy.violation.critical.{policy}"));
    assert_eq!(violation.event["severity"], json!("critical"));
    assert_eq!(violation.event["action_taken"], json!(action_taken));
    violation.event.clone()
}

#[tokio::test]
async fn a_failing_policy_fails_open_and_everyone_sees_it() {
    let fleet = Fleet::with_policies(&[("bad", FAILS), ("good", r#"warnings := ["still here"]"#)]);
    fleet
        .settings("[bad]\nstatus = \"active\"\nseverity = \"info\"\n[good]\nstatus = \"active\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(true), &json!(true)));
    assert_eq!(reply["reason"], json!("allowed: a policy failed open"));
    assert_eq!(reply["warnings"], json!(["still here"]));
    let message = reply["error_message"].as_str().unwrap();
    assert!(message.starts_with("bad: "), "{message}");
    let bad = &reply["policies"][0];
    assert_eq!((&bad["name"], &bad["decision"]), (&json!("bad"), &json!("allow")));
    assert!(message.ends_with(bad["error"].as_str().unwrap()), "{reply}");
    let violation = failure(&audit, &reply, "bad", "logged").await;
    assert_eq!(violation["reasons"], json!([bad["error"]]));
    assert_eq!(violation["decision"], json!("allow"));
    let event = audit.of_reply(&reply).await.event;
    assert_eq!((&event["error"], &event["error_message"]), (&json!(true), &json!(message)));
}

#[tokio::test]
async fn a_policy_that_fails_closed_denies() {
    let fleet = Fleet::new();
    fleet.policy("bad", FAILS);
    fleet.settings("[bad]\nstatus = \"active\"\nfail_mode = \"closed\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(false), &json!(true)));
    assert_eq!(reply["deny_reasons"], json!(["policy_error"]));
    assert_eq!(reply["policy_package"], json!("test.bad"));
    failure(&audit, &reply, "bad", "blocked").await;
}

#[tokio::test]
async fn the_whole_system_can_fail_closed_and_one_policy_open() {
    let mut fleet = Fleet::with_policies(&[("bad", FAILS)]);
    fleet.config.enforcement.fail_mode = FailMode::Closed;
    let (_worker, agent, _) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(false), &json!(true)));
    assert_eq!(reply["deny_reasons"], json!(["policy_error"]));

    Admin::new(&agent, "alice").patches("bad", json!({"fail_mode": "open"})).await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(true), &json!(true)));
}

#[tokio::test]
async fn what_a_policy_must_not_say_is_a_failure() {
    let fleet = Fleet::new();
    let cases = [
        ("text", "allow := lower(input.action)", "`allow` must be true or false, not a string"),
        (
            "numbers",
            "deny_reasons := [count(input.action)]",
            "`deny_reasons` must hold strings, not a number",
        ),
        ("word", "warnings := lower(input.action)", "must be a set, an array or an object"),
        (
            "long",
            r#"warnings := [concat("", [x | some i in ["a","b","c","d","e","f"]; x := concat(i, ["0123456789012345678901234567890123456789","0123456789012345678901234567890123456789","0123456789012345678901234567890123456789"])])]"#,
            "limits.reason_bytes",
        ),
    ];
    for (name, rules, _) in cases {
        fleet.policy(name, rules);
    }
    let (_worker, agent, _) = fleet.start().await;
    for (name, _, expected) in cases {
        let request = json!({"action": "x", "resource": "r", "package": format!("test.{name}")});
        let reply = agent.check(request).await;
        let opened = (&reply["allowed"], &reply["error"]);
        assert_eq!(opened, (&json!(true), &json!(true)), "{name}: {reply}");
        let message = reply["error_message"].as_str().unwrap();
        assert!(message.contains(expected), "{name}: {message}");
    }
}

#[tokio::test]
async fn a_package_that_no_policy_has() {
    let mut fleet = Fleet::with_policies(&[("cost_control", r#"warnings := ["asked too"]"#)]);
    let (worker, agent, audit) = fleet.start().await;
    let request = json!({"action": "x", "resource": "r", "package": "test.cost_contrl"});
    let reply = agent.check(request.clone()).await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(true), &json!(true)));
    assert_eq!(reply["warnings"], json!(["asked too"]), "a misspelling escapes nobody");
    let message = reply["error_message"].as_str().unwrap();
    assert!(message.contains("did you mean `test.cost_control`?"), "{message}");
    failure(&audit, &reply, "test%2Ecost_contrl", "logged").await;
    worker.stop().await.unwrap();

    fleet.config.enforcement.fail_mode = FailMode::Closed;
    let _worker = fleet.worker().await;
    let reply = agent.check(request).await;
    assert_eq!(reply["deny_reasons"], json!(["policy_error"]));
}

#[tokio::test]
async fn a_draft_that_fails_is_nobodys_error() {
    let fleet = Fleet::new();
    fleet.policy("draft", FAILS);
    fleet.settings("[draft]\nstatus = \"draft\"\nfail_mode = \"closed\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.act("x").await;
    assert_eq!((&reply["allowed"], &reply["error"]), (&json!(true), &json!(false)));
    assert!(reply["policies"][0]["error"].is_string(), "its author sees it: {reply}");
    assert_eq!(audit.violations(&reply).await.len(), 0);
    assert_eq!(audit.of_reply(&reply).await.event["would_deny"], json!(["policy_error"]));
}

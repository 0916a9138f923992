//! For whom a policy applies.

use serde_json::{Value, json};

use super::super::support::Fleet;

#[tokio::test]
async fn a_policy_applies_to_its_scope_and_to_nobody_else() {
    let fleet = Fleet::new();
    for (kind, id) in [("session", "s-1"), ("project", "p-1"), ("user", "alice")] {
        fleet.policy(kind, &format!("allow := false  deny_reasons := [\"{kind}\"]"));
        fleet.settings_add(
            kind,
            &format!("status = \"active\"\nscope = \"{kind}\"\nscope_id = \"{id}\""),
        );
    }
    let (_worker, agent, _) = fleet.start().await;
    let reasons = async |context: Value| {
        let reply = agent.check(json!({"action": "x", "resource": "r", "context": context})).await;
        let scopes: Vec<Value> =
            reply["policies"].as_array().unwrap().iter().map(|p| p["scope"].clone()).collect();
        (reply["deny_reasons"].clone(), json!(scopes))
    };
    let cases = [
        (json!({}), json!([]), json!([])),
        (json!({"session_id": "s-2", "project_id": "s-1", "user": "p-1"}), json!([]), json!([])),
        (json!({"session_id": "s-1"}), json!(["session"]), json!(["session:s-1"])),
        (json!({"project_id": "p-1"}), json!(["project"]), json!(["project:p-1"])),
        (json!({"user": "alice"}), json!(["user"]), json!(["user:alice"])),
        (
            json!({"session_id": "s-1", "project_id": "p-1", "user": "alice"}),
            json!(["project", "session", "user"]),
            json!(["project:p-1", "session:s-1", "user:alice"]),
        ),
    ];
    for (context, expected, scopes) in cases {
        assert_eq!(reasons(context.clone()).await, (expected, scopes), "{context}");
    }
}

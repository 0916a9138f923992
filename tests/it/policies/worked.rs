//! The shipped policies through a real worker.

use chrono::{Datelike as _, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::worker::support::Fleet;

/// The worked case of the contract.
fn worked() -> Value {
    json!({"action": "llm_call",
        "resource": {"model": "gpt-4", "prompt_length": 1234},
        "context": {"agent": "planner", "user": "alice", "session_id": "s-1", "run_id": "r-1",
            "step_id": "st-1", "project_id": "p-1", "estimated_cost_usd": 0.5,
            "budget": {"remaining_usd": 0.1}, "task_priority": "low"},
        "package": "cmbagent.cost_control"})
}

#[tokio::test]
async fn the_worked_case() {
    let fleet = Fleet::with_shipped("[default]\nstatus = \"active\"\n");
    let (_worker, agent, audit) = fleet.start().await;
    let reply = agent.check(worked()).await;
    assert_eq!((&reply["allowed"], &reply["decision"]), (&json!(false), &json!("deny")));
    assert_eq!(reply["reason"], json!("budget_exceeded, expensive_model_for_low_priority"));
    assert_eq!(
        reply["deny_reasons"],
        json!(["budget_exceeded", "expensive_model_for_low_priority"])
    );
    assert_eq!(reply["policy_package"], json!("cmbagent.cost_control"));
    assert_eq!((&reply["error"], &reply["audit"]), (&json!(false), &json!("recorded")));
    let event = audit.of_reply(&reply).await.event;
    assert_eq!(event["policy_name"], json!("cost_control"));
    assert_eq!(event["input"]["budget"]["remaining_usd"], json!(0.1));
    assert_eq!(audit.violations(&reply).await[0].event["policy_name"], json!("cost_control"));

    // Without naming the package nothing restricts it: nobody asked for that.
    let mut unnamed = worked();
    unnamed.as_object_mut().unwrap().remove("package");
    let reply = agent.check(unnamed).await;
    assert_eq!((&reply["allowed"], &reply["warnings"]), (&json!(true), &json!([])));
}

/// What each policy of the contract's table gives, all six at once.
#[tokio::test]
async fn what_the_contract_says_of_each_policy() {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    // A business day that is neither today nor next to it, whatever midnight does.
    let other_day = (Utc::now() + TimeDelta::days(3)).weekday().num_days_from_monday();
    let day = DAYS[usize::try_from(other_day).unwrap()];
    let fleet = Fleet::with_shipped(&format!(
        "[default]\nstatus = \"active\"\n[cost_control]\nstatus = \"active\"\n\
         [data_privacy]\nstatus = \"active\"\n[rate_limiting]\nstatus = \"active\"\n\
         parameters = {{max_calls = 3}}\n[time_restrictions]\nstatus = \"active\"\n\
         parameters = {{weekdays = [\"{day}\"], actions = [\"work\"]}}\n[compliance]\n\
         status = \"active\"\nparameters = {{approved_models = [\"gpt-*\"]}}\n"
    ));
    let (_worker, agent, _) = fleet.start().await;
    let cases = [
        ("file_delete", json!("/tmp/x"), json!({}), "", 1),
        ("external_api_call", json!({"url": "http://x.org"}), json!({}), "", 1),
        ("external_api_call", json!({"url": "https://x.org"}), json!({}), "", 0),
        ("llm_call", json!({"model": "gpt-5"}), json!({"estimated_cost_usd": 1.5}), "", 1),
        (
            "llm_call",
            json!({"model": "gpt-5"}),
            json!({"estimated_cost": 0.6, "budget": {"remaining_usd": 0.5}}),
            "budget_exceeded",
            0,
        ),
        (
            "llm_call",
            json!("gpt-4"),
            json!({"task_priority": "low"}),
            "expensive_model_for_low_priority",
            0,
        ),
        ("llm_call", json!({"model": "llama"}), json!({}), "model_not_approved", 0),
        ("file_read", json!({"path": "/srv/.env"}), json!({}), "sensitive_file_access", 0),
        ("file_read", json!("/home/a/credentials.json"), json!({}), "sensitive_file_access", 0),
        ("file_read", json!("/etc/secrets/x"), json!({}), "sensitive_file_access", 0),
        ("file_read", json!("/etc/ssl/a.pem"), json!({}), "sensitive_file_access", 0),
        ("file_read", json!("/etc/ssl/a.key"), json!({}), "sensitive_file_access", 0),
        ("file_read", json!("/data/run.fits"), json!({}), "", 0),
        ("work", json!("w"), json!({}), "outside_business_hours", 0),
    ];
    for (number, (action, resource, mut context, reason, warnings)) in cases.into_iter().enumerate()
    {
        context["agent"] = json!(format!("agent-{number}"));
        let request = json!({"action": action, "resource": resource, "context": context});
        let reply = agent.check(request.clone()).await;
        assert_eq!(reply["error"], json!(false), "{request}: {reply}");
        assert_eq!(reply["policies"].as_array().unwrap().len(), 6);
        let expected = if reason.is_empty() { json!([]) } else { json!([reason]) };
        assert_eq!(reply["deny_reasons"], expected, "{request}: {reply}");
        let said = reply["warnings"].as_array().unwrap();
        assert_eq!(said.len(), warnings, "{request}: {reply}");
    }
    let call = json!({"action": "llm_call", "resource": "gpt-5", "context": {"agent": "busy"}});
    for _ in 0..3 {
        assert_eq!(agent.check(call.clone()).await["allowed"], json!(true));
    }
    assert_eq!(agent.check(call).await["deny_reasons"], json!(["rate_limit_exceeded"]));
}

//! What workers decide, as the client tells it.

use std::time::Duration;

use serde_json::{Value, json};
use sluicegate::client::{Cause, Check, Client, ClientError, Settings};

use super::support::{client, patient};
use crate::worker::support::Fleet;

const STRICT: &str = "allow := false if input.action == \"forbidden\"\ndeny_reasons := [\"d\"]";

fn overspending() -> Check {
    Check::new("llm_call", json!({"model": "gpt-4"}))
        .agent("planner")
        .session("s-1")
        .with("estimated_cost_usd", 0.5)
        .with("budget", json!({"remaining_usd": 0.1}))
        .package("cmbagent.cost_control")
}

#[tokio::test]
async fn a_check_is_decided_and_recorded_under_the_same_id() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _, audit) = fleet.start().await;
    let client = client(patient(&fleet.nats.url())).await;
    let decision = client.check(&overspending()).await;
    assert!(!decision.allowed && decision.unchecked.is_none() && !decision.error, "{decision:?}");
    assert_eq!(decision.deny_reasons, ["budget_exceeded"]);
    assert_eq!(decision.policy_package, "cmbagent.cost_control");
    assert!(decision.policies.iter().any(|policy| policy.name == "cost_control"));
    assert_eq!(decision.reply["audit"], "recorded");
    let event = audit.only(&decision.id.to_string()).await.event;
    assert_eq!((&event["agent"], &event["session_id"]), (&json!("planner"), &json!("s-1")));

    let denied = client.guard(&overspending()).await.unwrap_err();
    let said = denied.to_string();
    assert!(
        said.starts_with("llm_call is denied by cmbagent.cost_control: budget_exceeded"),
        "{said}"
    );
    assert!(said.contains("Use a cheaper model"), "{said}");
    assert!(!denied.is_transient());

    let cheap = client.check(&overspending().with("estimated_cost_usd", 0.05)).await;
    assert!(cheap.allowed && cheap.unchecked.is_none(), "{cheap:?}");
    let stats = client.stats();
    assert_eq!((stats.checked, stats.unchecked_total()), (3, 0));
    assert_eq!(client.close().await, 0);
}

#[tokio::test]
async fn the_agent_of_the_settings_is_bound() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (_worker, _, audit) = fleet.start().await;
    let settings = Settings { agent: "the planner".into(), ..patient(&fleet.nats.url()) };
    let client = client(settings).await;
    let check = Check::new("a", "r").agent("somebody else");
    let one = client.check(&check).await;
    let many = client.check_many(std::slice::from_ref(&check)).await;
    for decision in [&one, &many[0]] {
        assert_eq!(decision.warnings, ["identity_mismatch"]);
        let event = audit.only(&decision.id.to_string()).await.event;
        assert_eq!(event["agent"], "the planner");
    }
}

#[tokio::test]
async fn many_checks_are_answered_in_their_order() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (_worker, _, audit) = fleet.start().await;
    let client = client(patient(&fleet.nats.url())).await;
    let mut checks: Vec<Check> = (0..450)
        .map(|n| Check::new(if n % 3 == 0 { "forbidden" } else { "fine" }, n.to_string()))
        .collect();
    checks[100] = Check::new("a".repeat(300), "r");
    checks[200] = Check::new("fine", "x".repeat(300 * 1024));
    let decisions = client.check_many(&checks).await;
    assert_eq!(decisions.len(), checks.len());
    for (n, decision) in decisions.iter().enumerate() {
        let unchecked = decision.unchecked.as_ref();
        match n {
            100 => {
                let why = unchecked.unwrap();
                assert_eq!((why.cause, why.code), (Cause::ServiceError, Some(400)));
                assert_eq!(why.field, "checks[100].action");
            }
            200 => assert_eq!(unchecked.unwrap().cause, Cause::Unserializable),
            _ => assert!(
                unchecked.is_none() && decision.allowed == (n % 3 != 0),
                "{n}: {decision:?}"
            ),
        }
    }
    let event = audit.only(&decisions[449].id.to_string()).await.event;
    assert_eq!(event["resource"], "449");
    assert_eq!(client.stats().checked, 448);
    assert!(client.check_many(&[]).await.is_empty());
}

/// The caller's own mistake: allowed as the settings say, and not in silence.
#[tokio::test]
async fn a_wrong_request_names_the_field() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (_worker, ..) = fleet.start().await;
    let client = client(patient(&fleet.nats.url())).await;
    for (check, field) in [
        (Check::new("", "r"), "action"),
        (Check::new("a", 7), "resource"),
        (Check::new("a", "r").package("p".repeat(600)), "package"),
    ] {
        let decision = client.check(&check).await;
        let why = decision.unchecked.as_ref().unwrap();
        assert_eq!((why.cause, why.code), (Cause::ServiceError, Some(400)));
        assert_eq!(why.field, field);
        assert!(
            decision.allowed && decision.error && decision.reason.contains(field),
            "{decision:?}"
        );
    }
    assert!(!client.stats().breaker_open, "the worker does answer");
}

#[tokio::test]
async fn active_policies_and_trials() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    fleet.policy("idle", "allow := true");
    let (_worker, ..) = fleet.start().await;
    let client = client(patient(&fleet.nats.url())).await;
    let active = client.active_policies().await.unwrap();
    let names: Vec<&str> = active.iter().map(|policy| policy.record.name.as_str()).collect();
    assert_eq!(names, ["strict"]);

    let rego = "package lab.trial\nimport rego.v1\nallow := input.resource.size < 3\n\
                deny_reasons contains \"large\" if input.resource.size >= 3\n";
    let input = |size: u32| json!({"action": "upload", "resource": {"size": size}});
    let inputs: Vec<_> = [1, 5].map(|size| input(size).as_object().unwrap().clone()).into();
    let replies = client.test_policy(rego, &inputs).await.unwrap();
    let said: Vec<_> =
        replies.iter().map(|reply| (reply.allowed, &reply.deny_reasons[..])).collect();
    assert_eq!(said, [(true, &[][..]), (false, &["large".to_owned()][..])]);

    let refused = client.test_policy("package x\nallow :=", &inputs).await.unwrap_err();
    let ClientError::Refused { code: 422, findings, .. } = &refused else { panic!("{refused:?}") };
    assert!(!findings.is_empty() && !refused.is_transient());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_at_once_are_all_decided() {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let (_worker, ..) = fleet.start().await;
    let client = client(Settings { max_in_flight: 64, ..patient(&fleet.nats.url()) }).await;
    let ask = |n: usize| {
        let client: Client = client.clone();
        tokio::spawn(async move {
            let action = if n.is_multiple_of(2) { "fine" } else { "forbidden" };
            client.check(&Check::new(action, n.to_string())).await
        })
    };
    let asked: Vec<_> = (0..3_000).map(ask).collect();
    for (n, asked) in asked.into_iter().enumerate() {
        let decision = asked.await.unwrap();
        assert!(decision.unchecked.is_none(), "{decision:?}");
        assert_eq!(decision.allowed, n.is_multiple_of(2));
    }
    assert!((client.stats().coverage() - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn switched_off_it_asks_nobody() {
    let settings = Settings {
        enabled: false,
        url: "nats://127.0.0.1:1".into(),
        spool_folder: Some("/dev/null/nowhere".into()),
        ..Settings::default()
    };
    let client = client(settings).await;
    let decision = client.check(&Check::new("a", "r")).await;
    assert!(decision.allowed && !decision.enforced && !decision.error);
    assert_eq!(client.check_many(&[Check::new("a", "r")]).await.len(), 1);
    client.guard(&Check::new("a", Value::Null)).await.unwrap().cost_usd(1.0);
    let error = client.active_policies().await.unwrap_err();
    assert!(error.to_string().contains("disabled"), "{error}");
    let begun = std::time::Instant::now();
    assert_eq!(client.close().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(1));
    assert_eq!(client.stats().unchecked_total(), 0);
}

//! Policies that would take everything: bounded, and the others still decide.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::support::Fleet;
use crate::support::servers::PATIENCE;

const LOOPS: &str = "allow if {
	count([1 | some a in input.list; some b in input.list; some c in input.list]) > 0
}";
const GROWS: &str = r#"tenfold(s) := concat("", [s, s, s, s, s, s, s, s, s, s])

allow if {
	count(tenfold(tenfold(tenfold(tenfold(tenfold(tenfold(tenfold(tenfold("0123456789"))))))))) > 0
}"#;

fn request() -> Value {
    let list: Vec<u32> = (0..400).collect();
    json!({"action": "x", "resource": "r", "context": {"list": list}})
}

async fn assert_bounded(hostile: &str, limit: &str) {
    let mut fleet = Fleet::with_policies(&[
        ("hostile", hostile),
        ("zz_good", r#"allow := false  deny_reasons := ["good"]"#),
    ]);
    // Not the clock but the other limits are met here, however busy the machine is.
    fleet.config.limits.time = PATIENCE;
    let (_worker, agent, audit) = fleet.start().await;
    for _ in 0..5 {
        let start = Instant::now();
        let reply = agent.check(request()).await;
        assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        assert_eq!(reply["deny_reasons"], json!(["good"]), "the others decide");
        assert_eq!(reply["error"], json!(true));
        let message = reply["error_message"].as_str().unwrap();
        assert!(message.starts_with("hostile: ") && message.contains(limit), "{message}");
        let violations = audit.violations(&reply).await;
        assert!(violations.iter().any(|v| v.subject == "policy.violation.critical.hostile"));
    }
}

#[tokio::test]
async fn an_endless_loop() {
    assert_bounded(LOOPS, "xceeded").await;
}

#[tokio::test]
async fn a_memory_blow_up() {
    assert_bounded(GROWS, "emory").await;
}

#[tokio::test]
async fn a_flood_of_reasons() {
    let flood = r#"warnings contains sprintf("%d", [i]) if some i in input.list"#;
    assert_bounded(flood, "limits.reasons").await;
}

/// Ordinary checks go on while every evaluation of one policy burns its whole time.
#[tokio::test]
async fn a_slow_policy_of_one_session_starves_no_other() {
    let mut fleet = Fleet::new();
    fleet.policy("slow", LOOPS);
    fleet.settings("[slow]\nstatus = \"active\"\nscope = \"session\"\nscope_id = \"hog\"\n");
    fleet.config.limits.instructions = 1_000_000_000;
    fleet.config.limits.time = Duration::from_millis(100);
    let (_worker, agent, _) = fleet.start().await;
    let mut hog = request();
    hog["context"]["session_id"] = json!("hog");
    let hogs = (0..10).map(|_| {
        tokio::spawn({
            let (agent, hog) = (agent.clone(), hog.clone());
            async move { agent.check(hog).await }
        })
    });
    let hogs: Vec<_> = hogs.collect();
    let others = futures::future::join_all((0..50).map(|_| agent.act("quick"))).await;
    assert!(others.iter().all(|reply| reply["error"] == false));
    for hog in hogs {
        let reply = hog.await.unwrap();
        assert_eq!((&reply["allowed"], &reply["error"]), (&json!(true), &json!(true)));
        assert!(reply["error_message"].as_str().unwrap().contains("xceeded"), "{reply}");
    }
}

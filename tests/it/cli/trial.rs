//! `sluicegate eval`: policies tried on an input.

use serde_json::json;

use super::manage::{LIMITED, command, json, rego, run, says};
use crate::worker::support::Fleet;

#[tokio::test(flavor = "multi_thread")]
async fn the_policies_that_would_apply() {
    let fleet = Fleet::with_policies(&[("strict", "allow := input.n < 3")]);
    let (_worker, _, audit) = fleet.start().await;
    let ask = ["eval", "-a", "act", "-r", "r", "-c"];
    let said = says(&fleet, &[&ask[..], &["n=2"]].concat()).await.ended_with(0);
    assert!(said.out.starts_with("WOULD BE ALLOWED"), "{said:?}");
    let said = says(&fleet, &[&ask[..], &["n=3"]].concat()).await.ended_with(2);
    assert!(said.out.starts_with("WOULD BE DENIED"), "{said:?}");
    assert!(said.out.contains("deny   strict v1 global"), "{said:?}");
    assert!(said.out.contains("input.n") && said.out.contains("(line 5)"), "{said:?}");
    assert_eq!(audit.len().await, 0, "nothing is recorded");
    let said = says(&fleet, &["eval", "-a", "", "-r", "r", "--policy", "nobody"]).await;
    assert!(said.ended_with(1).err.contains("nobody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn stored_policies_whatever_their_status_and_in_any_version() {
    let fleet = Fleet::new();
    fleet.rego("limited", LIMITED);
    let _worker = fleet.worker().await;
    says(&fleet, &["policy", "set", "limited", "--param", "limit=5"]).await.ended_with(0);
    let ask = |policy| ["eval", "-a", "act", "-r", "size=7", "--policy", policy];
    let said = says(&fleet, &ask("limited")).await.ended_with(2);
    assert!(said.out.contains("limited.rego:25  deny_reasons = "), "{said:?}");
    assert!(said.out.contains("deny_reasons contains \"too_large\" if"), "{said:?}");
    assert!(said.out.contains("input.resource.size"), "{said:?}");
    assert!(said.out.contains("too_large: Make it smaller."), "{said:?}");
    let said = says(&fleet, &ask("limited@1")).await.ended_with(0);
    assert!(said.out.contains("limited v1 "), "{said:?}");
    let over = [&ask("limited")[..], &["--param", "limit=8"]].concat();
    says(&fleet, &over).await.ended_with(0);
    let said = says(&fleet, &ask("limited@9")).await.ended_with(1);
    assert!(said.err.contains("no version 9"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rego_from_a_file_with_coverage() {
    let fleet = Fleet::new();
    let _worker = fleet.worker().await;
    let late = rego(
        "late",
        "default allow := true\n\nallow := false if {\n\tinput.timestamp > \"2026-03-02T20\"\n\
         \tinput.action == \"act\"\n}\n\nwarnings contains \"busy\" if input.usage.calls > 3",
    );
    let ask = ["eval", "--rego", "late.rego", "-a", "act", "-r", "r", "--coverage"];
    let at = |time, more: &[&str]| {
        let line = [&ask[..], &["--now", time], more].concat();
        command(&fleet, &line).file("late.rego", &late)
    };
    let said = run(at("2026-03-02T10:00:00Z", &[])).await.ended_with(0);
    assert!(said.out.contains("   9 - \tinput.action"), "{said:?}");
    let said = run(at("2026-03-02T21:00:00Z", &["--usage", "{\"calls\": 4}"])).await.ended_with(2);
    assert!(said.out.contains("   9 + \tinput.action"), "{said:?}");
    assert!(said.out.contains("late.rego:7  allow = false"), "{said:?}");
    assert!(said.out.contains("warning  busy"), "{said:?}");
    assert!(!said.out.contains('\u{1b}'), "{said:?}");

    let bad = command(&fleet, &["eval", "--rego", "bad.rego", "-a", "a", "-r", "r"])
        .file("bad.rego", "package bad\n\nallow := fals(");
    let said = run(bad).await.ended_with(1);
    assert!(said.err.contains("bad.rego") || said.err.contains("rego"), "{said:?}");
    assert_eq!(said.out, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_input_and_a_request_from_a_file() {
    let fleet = Fleet::with_policies(&[("strict", "allow := input.trace == 7")]);
    let _worker = fleet.worker().await;
    let input = json!({"action": "a", "resource": "r", "context": {}, "trace": 7}).to_string();
    for flag in ["--input", "--file"] {
        let ask = command(&fleet, &["eval", flag, "in.json"]).file("in.json", &input);
        run(ask).await.ended_with(0);
        let other = input.replace('7', "8");
        let ask = command(&fleet, &["eval", flag, "in.json"]).file("in.json", &other);
        run(ask).await.ended_with(2);
    }
    let said = json(&fleet, &["eval", "-a", "a", "-r", "r", "-c", "trace=7"]).await;
    assert_eq!((&said["allowed"], &said["input"]["trace"]), (&json!(true), &json!(7)));
    assert_eq!(said["policies"][0]["rules"][0]["rule"], "allow");
}

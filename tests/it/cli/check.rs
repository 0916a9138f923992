//! `sluicegate check`.

use serde_json::{Value, json};

use crate::support::servers::free_port;
use crate::worker::support::program::Said;
use crate::worker::support::{Fleet, Program, Worker};

const STRICT: &str = r#"allow := false if input.action == "forbidden"
deny_reasons := ["because"] if input.action == "forbidden"
warnings := ["take care"] if input.action == "odd""#;

/// A worker with a strict policy.
async fn started() -> (Fleet, Worker) {
    let fleet = Fleet::with_policies(&[("strict", STRICT)]);
    let worker = fleet.worker().await;
    (fleet, worker)
}

/// `sluicegate check` with these arguments on the fleet's server.
fn check(fleet: &Fleet, arguments: &[&str]) -> Program {
    Program::new(&[&["check", "--nats-url", &fleet.nats.url()], arguments].concat())
}

/// Runs it beside the worker, which lives on this thread's runtime.
async fn run(program: Program) -> Said {
    tokio::task::spawn_blocking(|| program.run()).await.unwrap()
}

async fn run_with_input(program: Program, input: &'static str) -> Said {
    tokio::task::spawn_blocking(|| program.run_with_input(input)).await.unwrap()
}

/// The request as it reached the worker.
async fn asked(fleet: &Fleet, said: &Said) -> Value {
    let mut input = fleet.audit().await.of_reply(&said.json()).await.event["input"].clone();
    let members = ["action", "resource", "context"].map(|name| (name, input[name].take()));
    json!({members[0].0: members[0].1, members[1].0: members[1].1, members[2].0: members[2].1})
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_is_the_decision() {
    let (fleet, _worker) = started().await;
    let ask = async |action: &str| run(check(&fleet, &["-a", action, "-r", "r"])).await;
    let said = ask("odd").await.ended_with(0);
    assert!(said.out.starts_with("ALLOWED  allowed\n"), "{said:?}");
    assert!(said.out.contains("warning  take care\n"), "{said:?}");
    assert!(said.out.contains("recorded  "), "{said:?}");
    let said = ask("forbidden").await.ended_with(2);
    assert!(said.out.starts_with("DENIED  because\n"), "{said:?}");
    assert!(said.out.contains("deny") && said.out.contains("strict"), "{said:?}");
    assert_eq!(said.err, "");
    // The worker judges, not the command.
    let said = ask("").await.ended_with(3);
    assert!(said.out.contains("action: must not be empty"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_for_programs() {
    let (fleet, _worker) = started().await;
    let said = run(check(&fleet, &["--json", "-a", "forbidden", "-r", "r"])).await.ended_with(2);
    assert_eq!(said.out.lines().count(), 1, "one line for one answer");
    let reply = said.json();
    assert_eq!((&reply["allowed"], &reply["reason"]), (&json!(false), &json!("because")));
    let said = run(check(&fleet, &["--json", "-a", " ", "-r", "r"])).await.ended_with(3);
    assert_eq!(said.json()["error"]["field"], json!("action"));
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_make_the_request() {
    let (fleet, _worker) = started().await;
    let cases: [(&[&str], Value); 5] = [
        (&["-r", "/data/.env"], json!({"resource": "/data/.env", "context": {}})),
        (&["-r", "https://x.org/?a=b"], json!({"resource": "https://x.org/?a=b", "context": {}})),
        (
            &["-r", "model=gpt-4", "-r", "size.tokens=12"],
            json!({"resource": {"model": "gpt-4", "size": {"tokens": 12}}, "context": {}}),
        ),
        (&["-r", r#"{"a": [1]}"#], json!({"resource": {"a": [1]}, "context": {}})),
        (
            &["-r", "r", "-c", "budget.remaining_usd=0.5", "-c", "agent=planner", "-c", "ok=true"],
            json!({"resource": "r",
                "context": {"budget": {"remaining_usd": 0.5}, "agent": "planner", "ok": true}}),
        ),
    ];
    for (flags, mut expected) in cases {
        let said = run(check(&fleet, &[&["--json", "-a", "act"], flags].concat())).await;
        expected["action"] = json!("act");
        assert_eq!(asked(&fleet, &said.ended_with(0)).await, expected, "{flags:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_and_an_agent() {
    let (fleet, _worker) = started().await;
    fleet.policy("other", "allow := false");
    let ask = ["--json", "-a", "a", "-r", "r", "-p", "no.such", "--agent", "a.b"];
    let said = run(check(&fleet, &ask)).await.ended_with(0);
    assert_eq!(said.json()["error"], json!(true));
    let text = run(check(&fleet, &ask[1..])).await.ended_with(0);
    assert!(text.out.contains("error") && text.out.contains("`no.such`"), "{text:?}");
    let event = fleet.audit().await.of_reply(&said.json()).await.event;
    assert_eq!(event["agent"], json!("a.b"), "asked on the subject that is bound to it");
    let with = [&ask[..], &["-c", "agent=root"]].concat();
    let said = run(check(&fleet, &with)).await.ended_with(0);
    assert_eq!(said.json()["warnings"], json!(["identity_mismatch"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_or_standard_input_with_flags_over_it() {
    const REQUEST: &str = r#"{"action": "a", "resource": "r", "context": {"agent": "x", "n": 1}}"#;
    let (fleet, _worker) = started().await;
    let whole = json!({"action": "a", "resource": "r", "context": {"agent": "x", "n": 1}});

    let file = check(&fleet, &["--json", "--file", "request.json"]).file("request.json", REQUEST);
    assert_eq!(asked(&fleet, &run(file).await.ended_with(0)).await, whole);
    for arguments in [&["--json"][..], &["--json", "-f", "-"]] {
        let said = run_with_input(check(&fleet, arguments), REQUEST).await.ended_with(0);
        assert_eq!(asked(&fleet, &said).await, whole);
    }
    let over = ["--json", "-f", "-", "-a", "b", "-c", "n=2"];
    let said = run_with_input(check(&fleet, &over), REQUEST).await.ended_with(0);
    assert_eq!(
        asked(&fleet, &said).await,
        json!({"action": "b", "resource": "r", "context": {"agent": "x", "n": 2}})
    );
    // What a file holds goes to the worker as it is.
    let said = run_with_input(check(&fleet, &["--json"]), "{\"action\":").await.ended_with(3);
    assert!(said.json()["error"]["message"].as_str().unwrap().contains("isn't JSON"), "{said:?}");
    let said = run(check(&fleet, &["--file", "nowhere.json"])).await.ended_with(1);
    assert!(said.err.contains("nowhere.json can't be read"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_answers() {
    let fleet = Fleet::new();
    let said = run(check(&fleet, &["-a", "a", "-r", "r"])).await.ended_with(4);
    assert!(said.err.contains("policy.check") && said.err.contains("worker"), "{said:?}");
    assert_eq!(said.out, "");
    let url = format!("nats://127.0.0.1:{}", free_port());
    let none = Program::new(&["check", "--nats-url", &url, "-a", "a", "-r", "r"]);
    let said = run(none).await.ended_with(4);
    assert!(said.err.contains(&url) && said.err.contains("can't be reached"), "{said:?}");

    // Somebody listens and says nothing.
    let mute = fleet.agent().await;
    let _checks = mute.client.subscribe("policy.check").await.unwrap();
    mute.client.flush().await.unwrap();
    let ask = ["-a", "a", "-r", "r", "--timeout", "100"];
    crate::worker::support::until("the server knows the mute one", async || {
        let said = run(check(&fleet, &ask)).await.ended_with(4);
        said.err.contains("no answer on policy.check within 100ms").then_some(())
    })
    .await;
}

#[test]
fn the_command_line_is_wrong() {
    for arguments in [
        &["check", "--no-such-flag"][..],
        &["chekc"],
        &[],
        &["check", "--timeout", "0", "-a", "a", "-r", "r"],
        &["check", "--timeout", "soon", "-a", "a", "-r", "r"],
        &["tail", "--violations", "--denied"],
        &["tail", "-n", "0"],
        &["audit", "--since", "yesterday"],
    ] {
        let said = Program::new(arguments).run().ended_with(64);
        assert_eq!(said.out, "", "{arguments:?}");
        assert!(said.err.contains("Usage:") || said.err.contains("--help"), "{said:?}");
    }
    let said = Program::new(&["check", "-a", "a", "--set", "nats.ulr=x"]).run().ended_with(78);
    assert!(said.err.contains("`nats.ulr`") && said.err.contains("`nats.url`"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_colours_where_nobody_sees_them() {
    let (fleet, _worker) = started().await;
    for action in ["odd", "forbidden", ""] {
        let said = run(check(&fleet, &["-a", action, "-r", "r"])).await;
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{said:?}");
    }
    for arguments in [&["--help"][..], &["config"], &["nonsense"], &["config", "--set", "x=y"]] {
        let said = Program::new(arguments).run();
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "{said:?}");
    }
}

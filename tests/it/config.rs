//! The configuration as a person meets it: through the program.

use serde_json::{Value, json};

use crate::worker::support::program::Said;
use crate::worker::support::{Fleet, Program, Running};

/// The row of a key.
fn row(said: &Said, key: &str) -> Value {
    let rows = said.json();
    let found = rows.as_array().unwrap().iter().find(|row| row["key"] == key);
    found.unwrap_or_else(|| panic!("no {key} in {rows}")).clone()
}

fn configuration(arguments: &[&str]) -> Program {
    Program::new(&[&["config", "--json"], arguments].concat())
}

#[test]
fn later_sources_win_and_every_value_says_where_it_came_from() {
    let said = configuration(&[
        "--profile",
        "lab",
        "--set",
        "worker.max_batch=5",
        "--set",
        "worker.max_batch=6",
    ])
    .file(
        "config/sluicegate.toml",
        "[worker]\nmax_batch = 1\nqueue = 11\nmax_nesting = 21\n\n[audit]\nmax_in_flight = 31\n",
    )
    .file("config/sluicegate.lab.toml", "[worker]\nmax_batch = 2\nqueue = 12\nmax_nesting = 22\n")
    .env("SLUICEGATE_WORKER_MAX_BATCH", "3")
    .env("SLUICEGATE_WORKER_QUEUE", "13")
    .run()
    .ended_with(0);
    for (key, value, origin) in [
        ("worker.max_batch", json!(6), "--set"),
        ("worker.queue", json!(13), "SLUICEGATE_WORKER_QUEUE"),
        ("worker.max_nesting", json!(22), "config/sluicegate.lab.toml:4"),
        ("audit.max_in_flight", json!(31), "config/sluicegate.toml:7"),
        ("nats.url", json!("nats://127.0.0.1:4222"), "default"),
    ] {
        let row = row(&said, key);
        assert_eq!((&row["value"], &row["origin"]), (&value, &json!(origin)), "{key}");
    }
    assert_eq!(row(&said, "nats.url")["variable"], json!("SLUICEGATE_NATS_URL"));
}

#[test]
fn the_flags_of_the_servers_and_the_variable_of_the_profile() {
    let said = configuration(&["--nats-url", "nats://n:1", "--clickhouse-url", "http://c:2"])
        .file("config/sluicegate.toml", "")
        .file("config/sluicegate.lab.toml", "[worker]\nqueue = 7\n")
        .env("SLUICEGATE_PROFILE", "lab")
        .env("SLUICEGATE_NATS_URL", "nats://weaker:1")
        .run()
        .ended_with(0);
    for (key, value, origin) in [
        ("nats.url", json!("nats://n:1"), "--nats-url"),
        ("clickhouse.url", json!("http://c:2"), "--clickhouse-url"),
        ("worker.queue", json!(7), "config/sluicegate.lab.toml:2"),
    ] {
        let row = row(&said, key);
        assert_eq!((&row["value"], &row["origin"]), (&value, &json!(origin)), "{key}");
    }
}

#[test]
fn a_file_of_any_name() {
    let file = |program: Program| program.file("elsewhere.toml", "[worker]\nqueue = 7\n");
    for program in [
        configuration(&["--config", "elsewhere.toml"]),
        configuration(&[]).env("SLUICEGATE_CONFIG", "elsewhere.toml"),
    ] {
        let said = file(program).run().ended_with(0);
        assert_eq!(row(&said, "worker.queue")["origin"], json!("elsewhere.toml:2"));
    }
    let said = configuration(&["--config", "nowhere.toml"]).run().ended_with(78);
    assert!(said.err.contains("nowhere.toml"), "{said:?}");
}

#[test]
fn the_switch_of_the_whole_system() {
    for (text, value) in [("false", false), ("true", true)] {
        let said = configuration(&["enforcement"])
            .env("POLICY_ENFORCEMENT_ENABLED", text)
            .run()
            .ended_with(0);
        let row = row(&said, "enforcement.enabled");
        assert_eq!(row["value"], json!(value));
        assert_eq!(row["origin"], json!("POLICY_ENFORCEMENT_ENABLED"));
    }
    let said = configuration(&[]).env("POLICY_ENFORCEMENT_ENABLED", "perhaps").run();
    let said = said.ended_with(78);
    assert!(said.err.contains("POLICY_ENFORCEMENT_ENABLED"), "{said:?}");
}

#[test]
fn secrets_are_hidden_wherever_they_come_from() {
    let secret = "s3cr3t-value";
    let program = |arguments: &[&str]| {
        let file = format!("[nats]\nuser = \"u\"\npassword = \"{secret}\"\n");
        Program::new(arguments)
            .file("config/sluicegate.toml", &file)
            .env("SLUICEGATE_CLICKHOUSE_PASSWORD", secret)
    };
    let set = format!("nats.password={secret}-stronger");
    let arguments = ["config", "--set", &set];
    let text = program(&arguments).run().ended_with(0);
    let json = program(&[&arguments[..], &["--json"]].concat()).run().ended_with(0);
    for said in [&text, &json] {
        assert!(!said.out.contains(secret) && !said.err.contains(secret), "{said:?}");
    }
    for (key, value, origin) in [
        ("nats.password", "[hidden]", "--set"),
        ("clickhouse.password", "[hidden]", "SLUICEGATE_CLICKHOUSE_PASSWORD"),
        ("nats.token", "", "default"),
    ] {
        let row = row(&json, key);
        assert_eq!((&row["value"], &row["origin"]), (&json!(value), &json!(origin)), "{key}");
    }
    // Nor when something else is wrong, nor when they stand in the wrong place.
    let broken = program(&["config", "--set", &set, "--set", "no.such=key"]).run().ended_with(78);
    assert!(!broken.err.contains(secret), "{broken:?}");
    for scheme in ["nats", "http"] {
        let url = format!("nats.url={scheme}://user:{secret}@127.0.0.1:4222");
        let refused = program(&["config", "--set", &url]).run().ended_with(78);
        assert!(refused.err.contains("nats.url") && !refused.err.contains(secret), "{refused:?}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_the_nearest_name() {
    let said = Program::new(&["worker", "--set", "worker.qeue=1", "--set", "nats.url"])
        .file("config/sluicegate.toml", "[worker]\nmax_batsh = 1\n\n[audit]\nmax_in_flight = 0\n")
        .env("SLUICEGATE_WORKER_MAX_NESTIN", "5")
        .run()
        .ended_with(78);
    // A flag that isn't key=value is told by itself: what it would have meant is unknown.
    assert!(said.err.contains("--set") && said.err.contains("no `=`"), "{said:?}");
    let said = Program::new(&["worker", "--set", "worker.qeue=1"])
        .file("config/sluicegate.toml", "[worker]\nmax_batsh = 1\n\n[audit]\nmax_in_flight = 0\n")
        .env("SLUICEGATE_WORKER_MAX_NESTIN", "5")
        .run()
        .ended_with(78);
    for text in [
        "has 4 problems",
        "config/sluicegate.toml:2",
        "max_batsh",
        "`worker.max_batch`",
        "worker.qeue",
        "`worker.queue`",
        "SLUICEGATE_WORKER_MAX_NESTIN",
        "SLUICEGATE_WORKER_MAX_NESTING",
        "config/sluicegate.toml:5",
        "audit.max_in_flight",
    ] {
        assert!(said.err.contains(text), "{text} is not in:\n{}", said.err);
    }
    assert_eq!(said.out, "");
}

#[test]
fn text_for_people_has_one_line_for_each_key() {
    let all = Program::new(&["config"]).run().ended_with(0);
    let rows = configuration(&[]).run().ended_with(0).json();
    assert_eq!(all.out.lines().count(), rows.as_array().unwrap().len());
    let changed = ["config", "worker", "--changed", "--set", "worker.queue=7"];
    let changed = Program::new(&changed).run().ended_with(0);
    let words: Vec<&str> = changed.out.split_whitespace().collect();
    assert_eq!(words, ["worker.queue", "7", "--set"]);
}

/// The environment reaches the worker itself, not only what is printed.
#[tokio::test]
async fn a_worker_runs_by_its_environment() {
    let fleet = Fleet::with_policies(&[("kind", r#"warnings := ["w"]"#)]);
    let program = Program::new(&["worker"])
        .env("SLUICEGATE_NATS_URL", &fleet.nats.url())
        .env("SLUICEGATE_NATS_SUBJECT_PREFIX", "lab")
        .env("SLUICEGATE_STREAM_NAME", "LAB")
        .env("SLUICEGATE_POLICIES_FOLDER", fleet.policies().to_str().unwrap())
        .env("SLUICEGATE_INSTANCE_NAME", "w-lab")
        .env("SLUICEGATE_TELEMETRY_FORMAT", "json");
    let worker = Running::worker(program);
    let reply = fleet.agent().await.on("lab.check").act("a").await;
    assert_eq!(reply["warnings"], json!(["w"]));
    let audit = crate::worker::support::AuditStream::open(&fleet.nats.url(), "LAB").await;
    let stored = audit.of_reply(&reply).await;
    assert_eq!(stored.subject, "lab.decision.allow.a");
    assert_eq!(stored.event["worker"], json!("w-lab"));
    for line in worker.log().lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "a log line is no JSON: {line}");
    }
}

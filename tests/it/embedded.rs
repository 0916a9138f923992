//! The servers that `sluicegate up` starts: the stack over real programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use async_nats::jetstream;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use sluicegate::config::{Config, Secret};
use sluicegate::embedded::{CLICKHOUSE_PART, EmbeddedError, NATS_PART, Stack};
use sluicegate::runtime::health::{Health, State};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::servers::{chdb_server, free_port, nats_server, poll, python, tools};

const STOP: Duration = Duration::from_secs(20);

/// Embedded servers on free ports with their data in a folder.
fn config(data: &Path) -> Config {
    let mut config = Config::default();
    config.nats.url = format!("nats://127.0.0.1:{}", free_port());
    config.clickhouse.url = format!("http://127.0.0.1:{}", free_port());
    config.embedded.data = data.to_owned();
    config.embedded.tools = tools();
    config.embedded.chdb_server = chdb_server();
    config.embedded.ready_timeout = Duration::from_secs(60);
    config
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn start(config: &Config) -> Result<Stack, EmbeddedError> {
    Stack::start(config, Health::default(), CancellationToken::new()).await
}

/// The noted process id of a server.
fn pid(data: &Path, server: &str) -> Option<Pid> {
    let record = fs::read(data.join(format!("run/{server}.json"))).ok()?;
    let record: Value = serde_json::from_slice(&record).ok()?;
    Some(Pid::from_raw(record["pid"].as_i64()?.try_into().ok()?))
}

/// Whether a process is there; one that was ended and not yet collected is not.
fn runs(pid: Pid) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).map_or_else(
        |_| !Path::new("/proc").exists() && kill(pid, None).is_ok(),
        |arguments| !arguments.is_empty(),
    )
}

/// A look at the health, repeated off the threads that the stack needs.
async fn until(what: &'static str, mut look: impl FnMut() -> bool + Send + 'static) {
    let looking = tokio::task::spawn_blocking(move || poll(what, || look().then_some(())));
    looking.await.unwrap();
}

async fn query(config: &Config, sql: &str) -> String {
    let answer = reqwest::Client::new()
        .post(&config.clickhouse.url)
        .header("X-ClickHouse-User", &config.clickhouse.user)
        .header("X-ClickHouse-Key", config.clickhouse.password.expose())
        .body(sql.to_owned())
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{sql}: {text}");
    text.trim().to_owned()
}

#[tokio::test]
async fn data_survive_a_restart_and_nothing_is_left_running() {
    let data = folder();
    let mut config = config(data.path());
    config.clickhouse.password = Secret::from("a password".to_owned());
    config.nats.user = "sluicegate".into();
    config.nats.password = Secret::from("12 \"34\"\\".to_owned());
    let connect = async || {
        let options = async_nats::ConnectOptions::with_user_and_password(
            config.nats.user.clone(),
            config.nats.password.expose().to_owned(),
        );
        jetstream::new(options.connect(&config.nats.url).await.unwrap())
    };

    let health = Health::default();
    let stack = Stack::start(&config, health.clone(), CancellationToken::new()).await.unwrap();
    assert!(health.is_ready(), "{:?}", health.snapshot());
    assert!(stack.nats_description().starts_with("nats-server 2."), "{}", stack.nats_description());
    assert!(
        stack.clickhouse_description().starts_with("ClickHouse"),
        "{}",
        stack.clickhouse_description()
    );
    let stream = jetstream::stream::Config {
        name: "KEPT".into(),
        subjects: vec!["kept".into()],
        max_bytes: 10 * 1024 * 1024 * 1024,
        ..Default::default()
    };
    let context = connect().await;
    context.create_stream(stream).await.unwrap();
    context.publish("kept", "event".into()).await.unwrap().await.unwrap();
    query(&config, "CREATE DATABASE kept").await;
    query(&config, "CREATE TABLE kept.rows (n UInt8) ENGINE = MergeTree ORDER BY n").await;
    query(&config, "INSERT INTO kept.rows VALUES (1), (2)").await;
    let pids = [NATS_PART, CLICKHOUSE_PART].map(|part| pid(data.path(), part).unwrap());
    assert!(pids.iter().all(|pid| runs(*pid)));
    stack.stop(STOP).await;
    assert!(!pids.iter().any(|pid| runs(*pid)), "a server runs on");

    let stack = start(&config).await.unwrap();
    let mut stream = connect().await.get_stream("KEPT").await.unwrap();
    assert_eq!(stream.info().await.unwrap().state.messages, 1);
    assert_eq!(query(&config, "SELECT count() FROM kept.rows").await, "2");
    stack.stop(STOP).await;
}

#[tokio::test]
async fn strangers_are_refused_when_there_is_a_password() {
    let data = folder();
    let mut config = config(data.path());
    config.clickhouse.password = Secret::from("right".to_owned());
    config.nats.token = Secret::from("right".to_owned());
    let stack = start(&config).await.unwrap();
    async_nats::connect(&config.nats.url).await.unwrap_err();
    let url = format!("{}/?query=SELECT%201", config.clickhouse.url);
    let answer = reqwest::get(url).await.unwrap();
    assert!(!answer.status().is_success(), "{}", answer.status());
    stack.stop(STOP).await;
}

#[tokio::test]
async fn a_server_that_was_killed_is_reported_and_comes_back() {
    let data = folder();
    let mut config = config(data.path());
    // Long enough to be seen.
    config.backoff.initial = Duration::from_millis(500);
    let health = Health::default();
    let stack = Stack::start(&config, health.clone(), CancellationToken::new()).await.unwrap();
    for part in [NATS_PART, CLICKHOUSE_PART] {
        let killed = pid(data.path(), part).unwrap();
        kill(killed, Signal::SIGKILL).unwrap();
        let seen = health.clone();
        until("a report", move || match &seen.snapshot()[part] {
            State::Waiting(why) => why.contains("SIGKILL"),
            _ => false,
        })
        .await;
        let seen = health.clone();
        until("the return", move || seen.is_ready()).await;
        assert_ne!(pid(data.path(), part).unwrap(), killed);
    }
    assert_eq!(query(&config, "SELECT 1").await, "1");
    async_nats::connect(&config.nats.url).await.unwrap();
    stack.stop(STOP).await;
}

#[tokio::test]
async fn a_taken_port_is_named_with_its_setting() {
    let data = folder();
    let config = config(data.path());
    for (url, setting, variable) in [
        (&config.nats.url, "nats.url", "SLUICEGATE_NATS_URL"),
        (&config.clickhouse.url, "clickhouse.url", "SLUICEGATE_CLICKHOUSE_URL"),
    ] {
        let address = url.split_once("://").unwrap().1;
        let listener = std::net::TcpListener::bind(address).unwrap();
        let error = start(&config).await.unwrap_err().to_string();
        let port = address.rsplit_once(':').unwrap().1;
        for part in [port, setting, variable] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
        drop(listener);
    }
    // What failed left neither a lock nor a server behind.
    start(&config).await.unwrap().stop(STOP).await;
}

#[tokio::test]
async fn a_second_stack_on_the_same_data_is_refused() {
    let data = folder();
    let first = config(data.path());
    let stack = start(&first).await.unwrap();
    let error = start(&config(data.path())).await.unwrap_err();
    assert!(matches!(error, EmbeddedError::Locked { holder: Some(_), .. }), "{error}");
    assert_eq!(query(&first, "SELECT 1").await, "1");
    stack.stop(STOP).await;
}

#[tokio::test]
async fn a_dropped_stack_leaves_nothing_running() {
    let data = folder();
    let config = config(data.path());
    let stack = start(&config).await.unwrap();
    let pids = [NATS_PART, CLICKHOUSE_PART].map(|part| pid(data.path(), part).unwrap());
    drop(stack);
    until("the end of the servers", move || !pids.iter().any(|pid| runs(*pid))).await;
    start(&config).await.unwrap().stop(STOP).await;
}

#[tokio::test]
async fn a_cancelled_start_leaves_nothing_running() {
    let data = folder();
    let config = config(data.path());
    let cancel = CancellationToken::new();
    let (started, ()) = tokio::join!(Stack::start(&config, Health::default(), cancel.clone()), {
        let data = data.path().to_owned();
        async move {
            until("a start", move || pid(&data, CLICKHOUSE_PART).is_some()).await;
            cancel.cancel();
        }
    });
    assert!(matches!(started, Err(EmbeddedError::Cancelled)), "{started:?}");
    assert_eq!(fs::read_dir(data.path().join("run")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_server_left_by_a_killed_supervisor_is_ended_at_the_next_start() {
    let data = folder();
    let config = config(data.path());
    start(&config).await.unwrap().stop(STOP).await;

    let file = data.path().canonicalize().unwrap().join("nats/nats-server.conf");
    let mut left = Command::new(nats_server())
        .arg("--config")
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let record = serde_json::json!({ "pid": left.id(), "marker": file });
    fs::write(data.path().join("run").join(format!("{NATS_PART}.json")), record.to_string())
        .unwrap();
    let address = config.nats.url.clone();
    until("its port", move || {
        std::net::TcpStream::connect(address.rsplit('/').next().unwrap()).is_ok()
    })
    .await;

    let stack = start(&config).await.unwrap();
    assert!(left.try_wait().unwrap().is_some(), "it was not ended");
    stack.stop(STOP).await;
}

/// Not a test: the supervisor that [`servers_do_not_outlive_a_killed_supervisor`] kills.
#[tokio::test]
#[ignore = "run by another test"]
async fn supervisor_to_be_killed() {
    let Some(data) = std::env::var_os("SLUICEGATE_TEST_DATA") else { return };
    let _stack = start(&config(Path::new(&data))).await.unwrap();
    println!("started");
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn servers_do_not_outlive_a_killed_supervisor() {
    let data = folder();
    let log = data.path().join("log");
    let mut supervisor = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "embedded::supervisor_to_be_killed", "--ignored", "--nocapture"])
        .env("SLUICEGATE_TEST_DATA", data.path())
        .stdout(fs::File::create(&log).unwrap())
        .stderr(Stdio::null())
        // As on a terminal, a group of its own.
        .process_group(0)
        .spawn()
        .unwrap();
    let said = move || fs::read_to_string(&log).is_ok_and(|said| said.contains("started"));
    until("the start of the supervisor", said).await;
    let pids = [NATS_PART, CLICKHOUSE_PART].map(|part| pid(data.path(), part).unwrap());
    assert!(pids.iter().all(|pid| runs(*pid)));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    until("the end of the servers", move || !pids.iter().any(|pid| runs(*pid))).await;
    start(&config(data.path())).await.unwrap().stop(STOP).await;
}

/// The way of an installed ClickHouse server, with the engine in its place: a program that takes
/// its arguments and its configuration file.
#[tokio::test]
async fn an_installed_clickhouse_is_started_with_a_configuration_of_ours() {
    let data = folder();
    let program = data.path().join("clickhouse");
    let script = format!(
        r#"#!/bin/sh
if [ "$2" = --version ]; then echo 'ClickHouse server version 26.3.1.1'; exit; fi
file=${{2#--config-file=}}
port=$(sed -n 's:.*<http_port>\(.*\)</http_port>.*:\1:p' "$file")
path=$(sed -n 's:.*<path>\(.*\)</path>.*:\1:p' "$file")
export PYTHONPATH='{}' SLUICEGATE_CHDB_PASSWORD="$SLUICEGATE_CLICKHOUSE_PASSWORD"
exec '{}' -m chdb_server --data "$path/data" --host 127.0.0.1 --port "$port"
"#,
        chdb_server().display(),
        python().display()
    );
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = config(&data.path().join("data"));
    config.embedded.clickhouse = program;
    config.clickhouse.password = Secret::from("right".to_owned());
    let stack = start(&config).await.unwrap();
    assert!(stack.clickhouse_description().ends_with("(configured)"));
    assert_eq!(query(&config, "SELECT 1").await, "1");
    stack.stop(STOP).await;
}

mod support_servers {
    //! The servers that other tests use.

    use super::*;
    use crate::support::servers::{ClickHouse, NatsServer};

    #[tokio::test]
    async fn nats_keeps_port_and_data_and_can_be_paused() {
        let server = NatsServer::start();
        let context = jetstream::new(async_nats::connect(server.url()).await.unwrap());
        let stream = jetstream::stream::Config { name: "KEPT".into(), ..Default::default() };
        context.create_stream(stream).await.unwrap();
        context.publish("KEPT", "event".into()).await.unwrap().await.unwrap();
        server.pause();
        let asked = async_nats::ConnectOptions::new()
            .connection_timeout(Duration::from_millis(300))
            .connect(server.url());
        assert!(asked.await.is_err(), "a paused server answers");
        server.resume();
        context.publish("KEPT", "another".into()).await.unwrap().await.unwrap();
        let url = server.url();
        server.kill();
        async_nats::connect(&url).await.unwrap_err();
        server.restart();
        assert_eq!(server.url(), url);
        let context = jetstream::new(async_nats::connect(&url).await.unwrap());
        let mut stream = context.get_stream("KEPT").await.unwrap();
        assert_eq!(stream.info().await.unwrap().state.messages, 2);
    }

    #[tokio::test]
    async fn nats_takes_more_configuration() {
        let server = NatsServer::start_with("authorization { token: secret }");
        async_nats::connect(server.url()).await.unwrap_err();
        let options = async_nats::ConnectOptions::with_token("secret".into());
        options.connect(server.url()).await.unwrap();
    }

    #[tokio::test]
    async fn clickhouse_is_shared_with_a_database_for_each() {
        let (first, second) = (ClickHouse::shared(), ClickHouse::shared());
        assert_eq!(first.url(), second.url());
        assert_ne!(first.config().database, second.config().database);
    }

    #[tokio::test]
    async fn clickhouse_keeps_port_and_data_and_can_be_paused() {
        let server = ClickHouse::start();
        let config = Config { clickhouse: server.config(), ..Config::default() };
        query(&config, "CREATE DATABASE kept").await;
        query(&config, "CREATE TABLE kept.rows (n UInt8) ENGINE = MergeTree ORDER BY n").await;
        query(&config, "INSERT INTO kept.rows VALUES (7)").await;
        server.pause();
        let asked = tokio::time::timeout(Duration::from_millis(300), query(&config, "SELECT 1"));
        assert!(asked.await.is_err(), "a paused server answers");
        server.resume();
        assert_eq!(query(&config, "SELECT 1").await, "1");
        server.kill();
        assert!(reqwest::get(server.url()).await.is_err());
        server.restart();
        assert_eq!(server.url(), config.clickhouse.url);
        assert_eq!(query(&config, "SELECT n FROM kept.rows").await, "7");
    }
}

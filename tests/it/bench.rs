//! `sluicegate bench` over real servers: that its figures belong together and that it leaves nothing
//! behind. Never how fast anything is.

mod policies;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures::{StreamExt as _, TryStreamExt as _};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::servers::{ClickHouse, NatsServer};

const PATIENCE: Duration = Duration::from_secs(60);

/// The program, with an environment and a folder of its own.
fn sluicegate(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("SLUICEGATE_")) {
        command.env_remove(name);
    }
    command.current_dir(folder).stdin(Stdio::null()).env("TMPDIR", folder);
    command
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// The JSON that a command printed; it must have succeeded.
fn printed(output: &Output) -> Value {
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

fn said(output: &Output) -> String {
    let text = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    String::from_utf8(text).unwrap()
}

/// A worker with `cost_control` active; ended with the test.
struct Worker {
    child: Child,
    nats: NatsServer,
    folder: TempDir,
}

impl Worker {
    fn start() -> Self {
        let nats = NatsServer::start();
        let folder = tempfile::tempdir().unwrap();
        let policies = folder.path().join("policies");
        fs::create_dir(&policies).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for name in ["default.rego", "cost_control.rego"] {
            fs::copy(shipped.join(name), policies.join(name)).unwrap();
        }
        fs::write(policies.join("policies.toml"), "[cost_control]\nstatus = \"active\"\n").unwrap();
        let log = folder.path().join("worker.log");
        let child = sluicegate(folder.path())
            .args(["worker", "--nats-url", &nats.url(), "--set", "stream.max_bytes=200MiB"])
            .stdout(File::create(&log).unwrap())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let worker = Self { child, nats, folder };
        let deadline = Instant::now() + PATIENCE;
        while worker.check().code() != Some(2) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            assert!(Instant::now() < deadline, "the worker doesn't answer:\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        worker
    }

    /// One check that `cost_control` denies, which is exit code 2.
    fn check(&self) -> std::process::ExitStatus {
        let mut command = sluicegate(self.folder.path());
        command.args(["check", "--nats-url", &self.nats.url(), "-a", "llm_call", "-r", "gpt-4"]);
        command.args(["-c", "budget.remaining_usd=0.1", "-c", "estimated_cost_usd=0.5"]);
        run(&mut command).status
    }

    fn bench(&self, arguments: &[&str]) -> Command {
        let mut command = sluicegate(self.folder.path());
        command.args(["bench", "check", "--nats-url", &self.nats.url()]).args(arguments);
        command
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no whole number"))
}

fn real(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Within a millionth.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= a.abs().max(b.abs()) * 1e-6
}

/// What holds of any run of `bench check` in which all went well.
fn belongs_together(run: &Value, batch: u64) {
    let (check, echo, outcomes) = (&run["check"], &run["echo"], &run["outcomes"]);
    for speed in [check, echo] {
        let checks = number(&speed["checks"]);
        assert!(checks > 0, "{run}");
        assert_eq!(checks, number(&speed["requests"]) * batch, "{run}");
        assert_eq!((number(&speed["timed_out"]), number(&speed["failed"])), (0, 0), "{run}");
        let rate = f64::from(u32::try_from(checks).unwrap()) / real(&speed["seconds"]);
        assert!(same(rate, real(&speed["rate"])), "{run}");
        let latency = &speed["latency_us"];
        let ladder = ["p50", "p90", "p99", "p999", "max"].map(|name| number(&latency[name]));
        assert!(ladder[0] > 0 && ladder.is_sorted(), "{run}");
        assert!(real(&latency["mean"]) > 0.0);
    }
    let checks = number(&check["checks"]);
    assert_eq!(number(&outcomes["deny"]), checks, "the default request is denied: {run}");
    assert_eq!(number(&outcomes["recorded"]) + number(&outcomes["pending"]), checks, "{run}");
    for none in ["allow", "refused", "policy_errors", "unrecorded"] {
        assert_eq!(number(&outcomes[none]), 0, "{none}: {run}");
    }
    let ratio = &run["ratio"];
    assert!(same(real(&ratio["rate"]), real(&check["rate"]) / real(&echo["rate"])), "{run}");
    for quantile in ["p50", "p99"] {
        let of = |speed: &Value| real(&speed["latency_us"][quantile]);
        assert!(same(real(&ratio[quantile]), of(check) / of(echo)), "{run}");
    }
}

#[test]
fn checks_are_measured_beside_an_echo() {
    let worker = Worker::start();
    let fast = ["--duration", "200ms", "--warmup", "50ms", "--json"];
    let several = printed(&run(worker.bench(&fast).args(["--concurrency", "1,4"])));
    assert_eq!(several["bench"], "check");
    assert_eq!(several["interrupted"], false);
    assert!((380..=440).contains(&number(&several["request_bytes"])), "{several}");
    assert!(number(&several["reply_bytes"]) > 300, "{several}");
    let runs = several["runs"].as_array().unwrap();
    let clients: Vec<u64> = runs.iter().map(|run| number(&run["concurrency"])).collect();
    assert_eq!(clients, [1, 4]);
    runs.iter().for_each(|run| belongs_together(run, 1));

    let batches = ["--batch", "5", "--concurrency", "4", "--connections", "3"];
    let batched = printed(&run(worker.bench(&fast).args(batches)));
    assert_eq!((number(&batched["batch"]), number(&batched["runs"][0]["connections"])), (5, 3));
    belongs_together(&batched["runs"][0], 5);

    let request = worker.folder.path().join("request.json");
    fs::write(&request, r#"{"action": "read", "resource": "x"}"#).unwrap();
    let given = ["--request", request.to_str().unwrap(), "--concurrency", "2"];
    let given = printed(&run(worker.bench(&fast).args(given)));
    assert_eq!(given["session_id"], Value::Null);
    let run_of_it = &given["runs"][0];
    assert_eq!(run_of_it["outcomes"]["allow"], run_of_it["check"]["checks"], "{given}");

    let paced = ["--workload", "mixed", "--rate", "400", "--concurrency", "64"];
    let paced =
        printed(&run(worker.bench(&["--duration", "1s", "--warmup", "0s", "--json"]).args(paced)));
    assert_eq!((&paced["workload"], real(&paced["rate_per_second"])), (&json!("mixed"), 400.0));
    for side in ["check", "echo"] {
        // What is due is asked: no more, and no less.
        let asked = number(&paced["runs"][0][side]["requests"]);
        assert!((398..=402).contains(&asked), "{side}: {paced}");
    }
    assert!(number(&paced["runs"][0]["outcomes"]["allow"]) > 0, "{paced}");

    let shown = run(&mut worker.bench(&["--duration", "100ms", "--warmup", "0s"]));
    assert!(shown.status.success(), "{shown:?}");
    let text = said(&shown);
    for word in ["checks/s", "p99.9", "ratio", "denied", "recorded before the reply"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours and no progress where nobody looks: {text}");
}

#[test]
fn requests_that_cannot_be_measured_are_told() {
    let nats = NatsServer::start();
    let folder = tempfile::tempdir().unwrap();
    let bench = |arguments: &[&str]| {
        let mut command = sluicegate(folder.path());
        command.args(["bench", "check", "--nats-url", &nats.url()]).args(arguments);
        run(&mut command)
    };
    let nobody = bench(&[]);
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
    assert!(said(&nobody).contains("is a worker running?"), "{nobody:?}");
    for wrong in [["--duration", "0s"], ["--concurrency", "0"], ["--duration", "2h"]] {
        assert_eq!(bench(&wrong).status.code(), Some(64), "{wrong:?}");
    }
    drop(nats);

    let worker = Worker::start();
    let request = worker.folder.path().join("request.json");
    File::create(&request).unwrap().write_all(br#"{"resource": "x"}"#).unwrap();
    let refused = run(&mut worker.bench(&["--request", request.to_str().unwrap()]));
    assert_eq!(refused.status.code(), Some(3), "{refused:?}");
    assert!(said(&refused).contains("action"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupt_ends_with_what_was_measured() {
    let worker = Worker::start();
    let client = async_nats::connect(worker.nats.url()).await.unwrap();
    let mut echoes = client.subscribe("policy.bench.*").await.unwrap();
    client.flush().await.unwrap();
    let child = worker
        .bench(&["--duration", "10m", "--warmup", "0s", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The echo's turn comes first and would take minutes.
    let asked = async {
        for _ in 0..200 {
            echoes.next().await.unwrap();
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("the echo is asked");
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true, "{report}");
    let run = &report["runs"][0];
    assert!(number(&run["echo"]["checks"]) > 0, "{report}");
    assert!(real(&run["echo"]["seconds"]) < 60.0, "{report}");
    assert_eq!(run["ratio"], json!({"rate": null, "p50": null, "p99": null}), "{report}");
}

/// The streams of the server and the databases of the engine, other than those it always has.
async fn left_behind(nats: &NatsServer, clickhouse: &ClickHouse) -> (Vec<String>, Vec<String>) {
    let client = async_nats::connect(nats.url()).await.unwrap();
    let streams = jetstream::new(client).stream_names().try_collect().await.unwrap();
    let databases = clickhouse::Client::default()
        .with_url(clickhouse.url())
        .query("SELECT name FROM system.databases WHERE startsWith(name, 'bench_')")
        .fetch_all::<String>()
        .await
        .unwrap();
    (streams, databases)
}

fn bench_sink(nats: &str, clickhouse: &str, folder: &Path) -> Command {
    let mut command = sluicegate(folder);
    command.args(["bench", "sink", "--nats-url", nats, "--clickhouse-url", clickhouse]);
    command
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sink_is_measured_beside_the_engine() {
    let (nats, clickhouse) = (NatsServer::start(), ClickHouse::start());
    let folder = tempfile::tempdir().unwrap();
    let bench = |arguments: &[&str]| {
        run(bench_sink(&nats.url(), &clickhouse.url(), folder.path()).args(arguments))
    };
    let report =
        printed(&bench(&["--rows", "2500", "--batch-rows", "500", "--steady", "1500", "--json"]));
    let steady = &report["steady"];
    assert_eq!((number(&steady["rows"]), number(&steady["unique_ids"])), (1_500, 1_500));
    assert!(same(real(&steady["rate"]), 1_500.0 / real(&steady["seconds"])), "{report}");
    assert!(real(&steady["published_rate"]) > 0.0 && number(&steady["behind"]) <= 1_500);
    assert_eq!(report["bench"], "sink");
    assert_eq!(report["complete"], true, "{report}");
    assert_eq!(report["interrupted"], false);
    assert_eq!((number(&report["rows"]), number(&report["batch_rows"])), (2_500, 500));
    assert_eq!(number(&report["published"]["rows"]), 2_500);
    assert!(real(&report["published"]["event_bytes"]) > 500.0);
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.len(), 2);
    let rates = &report["rate"];
    for way in ["sink", "native", "json_lines"] {
        for round in rounds {
            assert_eq!(number(&round[way]["rows"]), 2_500, "{way}: {report}");
            assert_eq!(number(&round[way]["unique_ids"]), 2_500, "{way}: {report}");
        }
        let seconds: f64 = rounds.iter().map(|round| real(&round[way]["seconds"])).sum();
        assert!(same(real(&rates[way]), 5_000.0 / seconds), "{way}: {report}");
    }
    for round in rounds {
        assert!((1..=2_500).contains(&number(&round["sink"]["first_rows"])), "{report}");
        assert!(real(&round["sink"]["first_seconds"]) <= real(&round["sink"]["seconds"]));
    }
    for way in ["native", "json_lines"] {
        let expected = real(&rates["sink"]) / real(&rates[way]);
        assert!(same(real(&report["ratio"][way]), expected), "{way}: {report}");
        assert!(rounds.iter().all(|round| number(&round[way]["file_bytes"]) > 100_000));
    }

    let shown = bench(&["--rows", "100", "--rounds", "1", "--steady", "0"]);
    assert!(shown.status.success(), "{shown:?}");
    for word in ["rows/s", "ratio", "complete", "Native"] {
        assert!(said(&shown).contains(word), "{word}: {shown:?}");
    }
    assert_eq!(left_behind(&nats, &clickhouse).await, (vec![], vec![]));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no files are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_stays_after_an_interrupt() {
    let (nats, clickhouse) = (NatsServer::start(), ClickHouse::start());
    let folder = tempfile::tempdir().unwrap();
    let child = bench_sink(&nats.url(), &clickhouse.url(), folder.path())
        .args(["--rows", "100000", "--rounds", "20"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    while left_behind(&nats, &clickhouse).await.1.is_empty() {
        assert!(Instant::now() < deadline, "no database of the benchmark");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code().is_some_and(|code| code <= 1), "{output:?}");
    assert_eq!(left_behind(&nats, &clickhouse).await, (vec![], vec![]), "{output:?}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "no files are left");
}

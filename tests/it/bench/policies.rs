//! The benchmarks of policies: how soon a change is in force, and what the policies of others cost.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use async_nats::jetstream;
use futures::TryStreamExt as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use super::{PATIENCE, number, printed, real, run, said, same, sluicegate};
use crate::support::servers::NatsServer;

struct Bench {
    nats: NatsServer,
    folder: TempDir,
}

impl Bench {
    fn start() -> Self {
        Self { nats: NatsServer::start(), folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = sluicegate(self.folder.path());
        command.args(["bench", "--nats-url", &self.nats.url()]).args(arguments);
        // Debug builds on a busy machine.
        command.args(["--set", "limits.time=5s"]);
        command
    }

    /// The streams of the server, those of buckets among them.
    async fn streams(&self) -> Vec<String> {
        let client = async_nats::connect(self.nats.url()).await.unwrap();
        jetstream::new(client).stream_names().try_collect().await.unwrap()
    }
}

/// Quantiles of so many times or more, in order.
fn ladder(latency: &Value) {
    let ladder = ["p50", "p90", "p99", "p999", "max"].map(|name| number(&latency[name]));
    assert!(ladder[0] > 0 && ladder.is_sorted(), "{latency}");
    assert!(real(&latency["mean"]) > 0.0, "{latency}");
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_measured_beside_a_plain_write() {
    let bench = Bench::start();
    let arguments = ["reload", "--workers", "1,3", "--policies", "9", "--changes", "4", "--json"];
    let report = printed(&run(&mut bench.command(&arguments)));
    assert_eq!(report["bench"], "reload");
    assert_eq!(report["interrupted"], false);
    assert_eq!((number(&report["policies"]), number(&report["own_rego"])), (9, 4), "{report}");
    let runs = report["runs"].as_array().unwrap();
    let workers: Vec<u64> = runs.iter().map(|run| number(&run["workers"])).collect();
    assert_eq!(workers, [1, 3]);
    for run in runs {
        assert_eq!((number(&run["changes"]), &run["cut_short"]), (4, &Value::Bool(false)), "{run}");
        for kind in ["parameters", "rego"] {
            let reload = &run[kind];
            for times in ["each_us", "last_us", "last_from_reply_us", "reply_us"] {
                ladder(&reload[times]);
            }
            // The last of the workers is one of them, and nobody is later.
            assert_eq!(reload["last_us"]["max"], reload["each_us"]["max"], "{run}");
            assert!(real(&reload["last_us"]["mean"]) >= real(&reload["each_us"]["mean"]), "{run}");
            let ratio = real(&reload["last_us"]["p50"]) / real(&run["floor"]["last_us"]["p50"]);
            assert!(same(real(&run["ratio"][kind]["p50"]), ratio), "{run}");
        }
        ladder(&run["floor"]["each_us"]);
        assert_eq!(run["floor"]["last_us"]["max"], run["floor"]["each_us"]["max"], "{run}");
    }
    assert_eq!(bench.streams().await, Vec::<String>::new());

    let few = ["reload", "--workers", "2", "--policies", "3", "--changes", "100000"];
    let shown = run(bench.command(&few).args(["--time-limit", "200ms"]));
    assert!(shown.status.success(), "{shown:?}");
    let text = said(&shown);
    for word in ["last worker", "plain write", "Rego ÷ plain", "the time was up after", "p99"] {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(!text.contains('\x1b'), "no colours and no progress where nobody looks: {text}");
    assert_eq!(bench.streams().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_are_measured_with_few_and_many_policies_of_others() {
    let bench = Bench::start();
    let fast = ["scopes", "--duration", "400ms", "--warmup", "40ms", "--rounds", "2"];
    let more = ["--few", "4", "--many", "60", "--concurrency", "2", "--json"];
    let report = printed(&run(bench.command(&fast).args(more)));
    assert_eq!(report["bench"], "scopes");
    assert_eq!((number(&report["apply"]), number(&report["concurrency"])), (3, 2));
    for (side, stored) in [("few", 4), ("many", 60)] {
        let side = &report[side];
        assert_eq!(number(&side["stored"]), stored);
        let checks = number(&side["check"]["checks"]);
        assert!(checks > 0, "{report}");
        assert_eq!(number(&side["outcomes"]["deny"]), checks, "all three deny it: {report}");
        assert_eq!(number(&side["outcomes"]["policy_errors"]), 0, "{report}");
        ladder(&side["check"]["latency_us"]);
        ladder(&side["evaluation_us"]);
        let evaluation = real(&side["evaluation_us"]["mean"]);
        assert!(evaluation < real(&side["check"]["latency_us"]["mean"]), "{report}");
        assert_eq!(side["turns"].as_array().unwrap().len(), 2, "{report}");
    }
    let of = |side: &str| real(&report[side]["evaluation_us"]["mean"]);
    assert!(same(real(&report["ratio"]["evaluation_mean"]), of("many") / of("few")), "{report}");
    let of = |side: &str| real(&report[side]["check"]["latency_us"]["p99"]);
    assert!(same(real(&report["ratio"]["p99"]), of("many") / of("few")), "{report}");
    assert_eq!(bench.streams().await, Vec::<String>::new());

    let shown = run(bench.command(&fast).args(["--few", "3", "--many", "5"]));
    assert!(shown.status.success(), "{shown:?}");
    for word in ["evaluation, ratio", "check, ratio", "3 policies apply", "checks/s"] {
        assert!(said(&shown).contains(word), "{word}: {shown:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_the_workers_stays_after_an_interrupt() {
    let bench = Bench::start();
    for arguments in [
        ["reload", "--workers", "2", "--policies", "5", "--changes", "100000"],
        ["scopes", "--rounds", "50", "--many", "20", "--duration", "10m"],
    ] {
        let child = bench
            .command(&arguments)
            .arg("--json")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The audit streams are there once both workers start.
        let deadline = Instant::now() + PATIENCE;
        let started = |streams: &[String]| streams.iter().any(|name| name.ends_with("-1"));
        while !started(&bench.streams().await) {
            assert!(Instant::now() < deadline, "no worker of the benchmark");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let output = child.wait_with_output().unwrap();
        // What was measured by then, or that it was nothing.
        match output.status.code() {
            Some(0) => assert_eq!(printed(&output)["interrupted"], true, "{output:?}"),
            code => {
                assert_eq!(code, Some(1), "{output:?}");
                assert!(said(&output).contains("interrupted before"), "{output:?}");
            }
        }
        assert_eq!(bench.streams().await, Vec::<String>::new(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn what_cannot_be_measured_is_told() {
    let bench = Bench::start();
    for wrong in [
        ["reload", "--workers", "0"],
        ["reload", "--policies", "2"],
        ["reload", "--time-limit", "2h"],
        ["scopes", "--few", "2"],
        ["scopes", "--rounds", "1"],
    ] {
        assert_eq!(run(&mut bench.command(&wrong)).status.code(), Some(64), "{wrong:?}");
    }
    let fewer = run(&mut bench.command(&["scopes", "--few", "9", "--many", "9"]));
    assert_eq!(fewer.status.code(), Some(1), "{fewer:?}");
    assert!(said(&fewer).contains("--few must be less than --many"), "{fewer:?}");

    let Bench { nats, folder } = bench;
    let url = nats.url();
    drop(nats);
    let mut command = sluicegate(folder.path());
    let nobody = run(command.args(["bench", "reload", "--nats-url", &url]));
    assert_eq!(nobody.status.code(), Some(4), "{nobody:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_recording_costs_is_measured_beside_not_recording() {
    let bench = Bench::start();
    let fast = ["audit", "--duration", "200ms", "--warmup", "0s", "--rounds", "2"];
    let report = printed(&run(bench.command(&fast).args(["--concurrency", "1,4", "--json"])));
    assert_eq!((&report["bench"], &report["interrupted"]), (&"audit".into(), &false.into()));
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    for run in runs {
        let sides = run["sides"].as_array().unwrap();
        let names: Vec<&str> = sides.iter().map(|side| side["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["before_reply", "after_reply", "off", "echo"]);
        for side in sides {
            ladder(&side["speed"]["latency_us"]);
            let rate = real(&side["speed"]["rate"]);
            assert!(same(real(&side["of_off"]["rate"]), rate / real(&sides[2]["speed"]["rate"])));
        }
        // Each worker does what its setting says, and says so in its replies.
        let answered = |at: usize| number(&sides[at]["speed"]["checks"]);
        let outcome = |at: usize, name: &str| number(&sides[at]["outcomes"][name]);
        assert_eq!(outcome(0, "recorded"), answered(0), "{run}");
        assert_eq!(outcome(1, "pending"), answered(1), "{run}");
        assert_eq!(outcome(2, "unrecorded"), answered(2), "{run}");
    }
    assert_eq!(bench.streams().await, Vec::<String>::new());
    let shown = run(&mut bench.command(&fast));
    for words in ["before_reply", "after_reply", "off", "echo", "p99 of off"] {
        assert!(said(&shown).contains(words), "{words}: {}", said(&shown));
    }
}

//! `examples/check.rs`, run as a reader runs it.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use super::support::Reports;
use crate::support::documents::root;
use crate::support::servers::NatsServer;
use crate::worker::support::Fleet;

/// The example as a command.
pub(super) struct Example {
    command: Command,
}

/// The example as a process. Killed when dropped.
pub(super) struct Process {
    child: Child,
}

impl Example {
    pub(super) fn new(url: &str) -> Self {
        let mut command = Command::new(built());
        for (name, _) in std::env::vars_os() {
            let ours = name
                .to_str()
                .is_none_or(|name| name.starts_with("SLUICEGATE_") || name.starts_with("POLICY_"));
            if ours {
                command.env_remove(name);
            }
        }
        command.env("SLUICEGATE_NATS_URL", url).stdin(Stdio::null());
        Self { command }
    }

    pub(super) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(super) fn start(mut self) -> Process {
        let child = self.command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        Process { child }
    }

    /// Runs it to its end: what it printed, and its exit code.
    fn run(mut self, arguments: &[&str]) -> (String, i32) {
        let output = self.command.args(arguments).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (said.concat(), output.status.code().unwrap())
    }
}

impl Process {
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Builds the example where the program under test is built: with a filter, a test run does not.
fn built() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let program = PathBuf::from(env!("CARGO_BIN_EXE_sluicegate"));
        let folder = program.parent().unwrap();
        let output = Command::new(env!("CARGO"))
            .args(["build", "--locked", "--example", "check", "--target-dir"])
            .arg(folder.parent().unwrap())
            .args(if folder.ends_with("release") { &["--release"][..] } else { &[] })
            .current_dir(root())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        folder.join("examples/check")
    });
    built.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_tells_what_was_decided() {
    let fleet = Fleet::with_shipped("");
    let (_worker, ..) = fleet.start().await;
    let run = |arguments: &[&str]| {
        Example::new(&fleet.nats.url()).env("POLICY_CLIENT_TIMEOUT", "60").run(arguments)
    };
    // In this runtime the worker needs a thread of its own while the example runs.
    tokio::task::block_in_place(|| {
        let (said, code) = run(&["llm_call", "gpt-4", "0.05"]);
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("allowed by cmbagent.cost_control") && said.contains("checked 1 of 1"),
            "{said}"
        );
        let (said, code) = run(&["llm_call", "gpt-4", "0.5"]);
        assert_eq!(code, 2, "{said}");
        assert!(
            said.contains("llm_call is denied by cmbagent.cost_control: budget_exceeded"),
            "{said}"
        );
    });
}

#[tokio::test]
async fn without_workers_the_example_goes_on_and_says_so() {
    let nats = NatsServer::start();
    let reports = Reports::open(&nats.url()).await;
    let (said, code) = Example::new(&nats.url()).env("POLICY_CLIENT_TIMEOUT", "60").run(&[]);
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("unchecked (no_responders)") && said.contains("checked 0 of 1, 0 unreported"),
        "{said}"
    );
    assert_eq!(reports.holds(1).await.len(), 1);
}

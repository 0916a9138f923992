//! Workers in this process, on a NATS server and a folder of policies of their own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sluicegate::config::Config;
use sluicegate::roles::RoleContext;
use sluicegate::roles::worker::{self, WorkerError};
use sluicegate::runtime::health::{Health, State};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Agent, AuditStream, Program, until};
use crate::support::servers::NatsServer;

/// One server, one folder, and the configuration that workers on them share.
pub(crate) struct Fleet {
    pub(crate) nats: NatsServer,
    pub(crate) config: Config,
    folder: TempDir,
}

impl Fleet {
    /// A server and an empty folder of policies.
    pub(crate) fn new() -> Self {
        Self::with_server("")
    }

    /// As [`Self::new`], with lines of the server's configuration.
    pub(crate) fn with_server(lines: &str) -> Self {
        let nats = NatsServer::start_with(lines);
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.nats.url = nats.url();
        config.policies.folder = folder.path().join("policies");
        config.stream.max_bytes = bytesize::ByteSize::mib(256);
        config.policies.max_bytes = bytesize::ByteSize::mib(64);
        config.backoff.max = Duration::from_millis(200);
        config.worker.evaluation_threads = 2;
        // Debug builds on a busy machine: limits that only the hostile should meet.
        config.limits.time = Duration::from_secs(2);
        config.audit.acknowledge_timeout = Duration::from_secs(20);
        config.audit.spill_folder = folder.path().join("spill");
        config.shutdown.drain = Duration::from_secs(30);
        std::fs::create_dir(&config.policies.folder).unwrap();
        Self { nats, config, folder }
    }

    /// A fleet with active policies: names and the rules of each, whose package is `test.<name>`.
    pub(crate) fn with_policies(policies: &[(&str, &str)]) -> Self {
        let fleet = Self::new();
        for (name, rules) in policies {
            fleet.policy(name, rules);
            fleet.settings_add(name, "status = \"active\"");
        }
        fleet
    }

    /// A fleet with the six shipped policies and no settings but these.
    pub(crate) fn with_shipped(settings: &str) -> Self {
        let fleet = Self::new();
        for item in std::fs::read_dir(shipped_policies()).unwrap() {
            let path = item.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rego") {
                let to = fleet.policies().join(path.file_name().unwrap());
                std::fs::copy(&path, to).unwrap();
            }
        }
        fleet.settings(settings);
        fleet
    }

    /// The folder of the policies.
    pub(crate) fn policies(&self) -> &Path {
        &self.config.policies.folder
    }

    /// The program as a worker with this fleet's folders, and more settings.
    pub(crate) fn program(&self, settings: &[&str]) -> Program {
        let folder = format!("policies.folder={}", self.policies().display());
        let spill = format!("audit.spill_folder={}", self.config.audit.spill_folder.display());
        let url = self.nats.url();
        let mut arguments = vec!["worker", "--nats-url", &url];
        for setting in [folder.as_str(), spill.as_str()].iter().chain(settings) {
            arguments.extend(["--set", setting]);
        }
        Program::new(&arguments)
    }

    /// A folder for other files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes the policy `<name>.rego` of package `test.<name>`.
    pub(crate) fn policy(&self, name: &str, rules: &str) {
        self.rego(name, &format!("package test.{name}\n\nimport rego.v1\n\n{rules}\n"));
    }

    /// Writes `<name>.rego` as a whole.
    pub(crate) fn rego(&self, name: &str, text: &str) {
        replace(&self.policies().join(format!("{name}.rego")), text);
    }

    /// Writes `policies.toml`.
    pub(crate) fn settings(&self, text: &str) {
        replace(&self.policies().join("policies.toml"), text);
    }

    /// Adds a section to `policies.toml`.
    pub(crate) fn settings_add(&self, name: &str, lines: &str) {
        let path = self.policies().join("policies.toml");
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        replace(&path, &format!("{before}\n[{name}]\n{lines}\n"));
    }

    /// A worker that takes checks.
    pub(crate) async fn worker(&self) -> Worker {
        let worker = self.spawn("worker-1", self.config.clone());
        worker.taking_checks().await;
        worker
    }

    /// A worker with a configuration of its own, which need not take checks yet.
    pub(crate) fn spawn(&self, name: &str, config: Config) -> Worker {
        Worker::start(name, config)
    }

    /// An agent, who asks.
    pub(crate) async fn agent(&self) -> Agent {
        Agent::connect(&self.nats.url()).await
    }

    /// The audit stream.
    pub(crate) async fn audit(&self) -> AuditStream {
        AuditStream::open(&self.nats.url(), &self.config.stream.name).await
    }

    /// The usual three: a worker that takes checks, an agent, the audit.
    pub(crate) async fn start(&self) -> (Worker, Agent, AuditStream) {
        (self.worker().await, self.agent().await, self.audit().await)
    }
}

/// Runs a worker, and says in the test's output why it ended.
#[expect(clippy::print_stderr, reason = "a test that fails shows it")]
async fn said(context: RoleContext) -> Result<(), WorkerError> {
    let ended = Box::pin(worker::run(context)).await;
    if let Err(error) = &ended {
        eprintln!("the worker ended: {error}");
    }
    ended
}

/// The folder `policies/` of the project.
pub(crate) fn shipped_policies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("policies")
}

/// Replaces a file at once, as editors do.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(beside, path).unwrap();
}

/// A worker in this process. Dropped, it is told to stop.
pub(crate) struct Worker {
    health: Health,
    stop: CancellationToken,
    task: Option<JoinHandle<Result<(), WorkerError>>>,
}

impl Worker {
    /// One with this configuration, which need not take checks yet.
    pub(crate) fn start(name: &str, config: Config) -> Self {
        let health = Health::default();
        let stop = CancellationToken::new();
        let context = RoleContext {
            config: Arc::new(config),
            name: name.to_owned(),
            health: health.clone(),
            stop: stop.clone(),
        };
        Self { health, stop, task: Some(tokio::spawn(said(context))) }
    }

    /// Waits until it takes checks.
    pub(crate) async fn taking_checks(&self) {
        until("the worker takes checks", async || {
            self.assert_runs();
            (self.part("checks") == Some(State::Ready) && self.health.is_ready()).then_some(())
        })
        .await;
    }

    /// How a part is.
    pub(crate) fn part(&self, name: &str) -> Option<State> {
        self.health.snapshot().get(name).cloned()
    }

    /// Waits until a part is as wanted.
    pub(crate) async fn part_is(&self, name: &str, wanted: impl Fn(&State) -> bool) -> State {
        let what = format!("the part {name} is as wanted");
        until(&what, async || self.part(name).filter(|state| wanted(state))).await
    }

    /// Tells it to stop and waits until it has finished.
    pub(crate) async fn stop(mut self) -> Result<(), WorkerError> {
        self.stop.cancel();
        self.task.take().unwrap().await.unwrap()
    }

    /// How it ended by itself.
    pub(crate) async fn ended(mut self) -> Result<(), WorkerError> {
        self.task.take().unwrap().await.unwrap()
    }

    fn assert_runs(&self) {
        let ended = self.task.as_ref().is_none_or(JoinHandle::is_finished);
        assert!(!ended, "the worker has ended: {:?}", self.health.snapshot());
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

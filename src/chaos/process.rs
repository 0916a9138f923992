//! One process of the fleet: in a group of its own, on a leash, its output in a file.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::error::ChaosError;
use crate::config::{ENFORCEMENT_VARIABLE, VARIABLE_PREFIX};
use crate::embedded::Leash;

/// How a process is started.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: Vec<(&'static str, OsString)>,
    /// The folder it runs in.
    pub(super) folder: PathBuf,
    /// The file that its output is added to.
    pub(super) log: PathBuf,
}

/// A process that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Pid,
    leash: Option<Leash>,
}

impl Process {
    /// Starts it. Nothing of our own configuration gets into it through the environment.
    pub(super) fn start(plan: &Plan) -> Result<Self, ChaosError> {
        let open = |path: &Path| OpenOptions::new().create(true).append(true).open(path);
        let log = open(&plan.log).map_err(ChaosError::io("open", &plan.log))?;
        let other = log.try_clone().map_err(ChaosError::io("open", &plan.log))?;
        let mut command = Command::new(&plan.program);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text.starts_with(VARIABLE_PREFIX) || text == ENFORCEMENT_VARIABLE {
                command.env_remove(&name);
            }
        }
        let child = command
            .args(&plan.arguments)
            .envs(plan.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&plan.folder)
            // Ctrl-C on the terminal is for us alone.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(other)
            .kill_on_drop(true)
            .spawn()
            .map_err(ChaosError::io("start", &plan.program))?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let no_id = || std::io::Error::other("it has no process id");
        let group = id.ok_or_else(no_id).map_err(ChaosError::io("start", &plan.program))?;
        let group = Pid::from_raw(group);
        Ok(Self { child, group, leash: Leash::on(group) })
    }

    /// Sends a signal to it and to all that it started.
    pub(super) fn signal(&self, signal: Signal) {
        // One that has just ended needs no signal.
        _ = killpg(self.group, signal);
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it and waits until it is gone.
    pub(super) async fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        _ = self.child.wait().await;
        self.bury().await;
    }

    /// Tells it to end and waits so long, then kills it. How it ended; none where it was killed.
    pub(super) async fn end(mut self, within: Duration) -> Option<ExitStatus> {
        self.signal(Signal::SIGTERM);
        let Ok(status) = tokio::time::timeout(within, self.child.wait()).await else {
            self.kill().await;
            return None;
        };
        self.bury().await;
        status.ok()
    }

    /// Cleans up behind a process that has ended.
    pub(super) async fn bury(mut self) {
        if let Some(leash) = self.leash.take() {
            leash.release().await;
        }
    }
}

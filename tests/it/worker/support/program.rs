//! The program `sluicegate`, run as people run it: in a folder of its own, without this process's
//! configuration.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::servers::poll;

/// A command line in the making.
pub(crate) struct Program {
    command: Command,
    folder: TempDir,
}

/// What a finished command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) fn new(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluicegate"));
        command.args(arguments).current_dir(folder.path()).stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_none_or(|name| {
                name.starts_with("SLUICEGATE_") || name.starts_with("POLICY_ENFORCEMENT")
            });
            if ours {
                command.env_remove(name);
            }
        }
        if matches!(arguments.first(), Some(&("worker" | "serve" | "up"))) {
            // Tests run side by side, on disks that are small.
            command.env("SLUICEGATE_STREAM_MAX_BYTES", "256MiB");
            command.env("SLUICEGATE_POLICIES_MAX_BYTES", "64MiB");
        }
        Self { command, folder }
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Writes a file below the folder it runs in.
    pub(crate) fn file(self, path: &str, text: &str) -> Self {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Said {
        said(self.command.output().unwrap())
    }

    /// Runs it to its end with this text on standard input.
    pub(crate) fn run_with_input(mut self, input: &str) -> Said {
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        said(child.wait_with_output().unwrap())
    }

    /// Starts it; it runs until it ends, is told to, or is dropped.
    pub(crate) fn start(mut self) -> Running {
        let (out, err) = (self.folder.path().join("out"), self.folder.path().join("err"));
        self.command.stdout(File::create(&out).unwrap()).stderr(File::create(&err).unwrap());
        let child = self.command.spawn().unwrap();
        Running { child, out, err, _folder: self.folder }
    }
}

fn said(output: Output) -> Said {
    Said {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Said {
    /// Checks how it ended; shows everything when it ended otherwise.
    pub(crate) fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }

    /// Standard output as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A program that runs. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    out: PathBuf,
    err: PathBuf,
    _folder: TempDir,
}

impl Running {
    /// A worker on these servers that takes checks.
    pub(crate) fn worker(program: Program) -> Self {
        let mut worker = program.start();
        worker.logs("worker takes checks");
        worker
    }

    /// Waits until it has logged a text.
    pub(crate) fn logs(&mut self, text: &str) {
        poll(&format!("the log line {text:?}"), || {
            let log = fs::read_to_string(&self.err).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none() || log.contains(text), "{log}");
            log.contains(text).then_some(())
        });
    }

    /// What it has printed so far, in whole lines.
    pub(crate) fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        text.split_inclusive('\n').filter_map(|l| l.strip_suffix('\n')).map(str::to_owned).collect()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.err).unwrap_or_default()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).unwrap();
    }

    /// Waits until it has ended.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        poll("the end of the program", || self.child.try_wait().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

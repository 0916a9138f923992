//! Servers that outlived the `up` that started them: a record of each process id in the data
//! folder, by which the next start finds and ends them.
//!
//! Process ids are reused. A process counts as ours only while its command line carries the path
//! inside our data folder that we gave it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::time::Instant;

use super::error::EmbeddedError;

/// How long a leftover may take to stop by itself before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(25);

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    pid: i32,
    /// The argument that only our server has.
    marker: String,
}

/// The records of one data folder.
#[derive(Clone, Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

impl Records {
    /// The records below a data folder.
    pub(super) fn open(data: &Path) -> Result<Self, EmbeddedError> {
        let folder = data.join("run");
        fs::create_dir_all(&folder).map_err(EmbeddedError::io("create", &folder))?;
        Ok(Self { folder })
    }

    /// Notes a server that was just started. A record that can't be written costs only the help of
    /// the next start, so it is no error.
    pub(super) fn note(&self, server: &str, pid: Pid, marker: &str) {
        let record = Record { pid: pid.as_raw(), marker: marker.to_owned() };
        let written = serde_json::to_vec(&record)
            .map_err(std::io::Error::from)
            .and_then(|json| fs::write(self.file(server), json));
        if let Err(error) = written {
            tracing::warn!(server, %error, "can't note the process id");
        }
    }

    /// Forgets a server that has ended.
    pub(super) fn forget(&self, server: &str) {
        _ = fs::remove_file(self.file(server));
    }

    /// Ends every recorded server that still runs. To be called under the lock of the data folder.
    pub(super) async fn end_leftovers(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let record: Option<Record> =
                fs::read(&path).ok().and_then(|json| serde_json::from_slice(&json).ok());
            if let Some(record) = record
                && is_ours(&record).await
            {
                let server = path.file_stem().unwrap_or_default().to_string_lossy();
                tracing::warn!(
                    pid = record.pid,
                    "ending {server}, left running by an `up` that was killed"
                );
                end(&record).await;
            }
            _ = fs::remove_file(&path);
        }
    }

    fn file(&self, server: &str) -> PathBuf {
        self.folder.join(format!("{server}.json"))
    }
}

async fn end(record: &Record) {
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        _ = kill(Pid::from_raw(record.pid), signal);
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if !is_ours(record).await {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    }
}

/// Whether the recorded process runs and is still the server it was. One that has ended and was
/// not yet collected has no command line, so it does not count.
async fn is_ours(record: &Record) -> bool {
    let own = Path::new("/proc/self/cmdline");
    if own.exists() {
        let arguments = fs::read(format!("/proc/{}/cmdline", record.pid)).unwrap_or_default();
        return arguments.split(|byte| *byte == 0).any(|arg| arg == record.marker.as_bytes());
    }
    let listed = Command::new("ps")
        .args(["-ww", "-o", "command=", "-p", &record.pid.to_string()])
        .stdin(Stdio::null())
        .output()
        .await;
    listed.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains(&record.marker))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    use tokio::process::{Child, ChildStdin};

    /// A process that waits for the end of its input, with the marker among its arguments.
    async fn sleeper(marker: &str) -> (Child, ChildStdin, Pid) {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "echo ready; read -r _", "sh", marker])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        // Just after the start its command line is not to be seen yet.
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).await.unwrap();
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
        // Taken out, since waiting for a child closes its input.
        let input = child.stdin.take().unwrap();
        (child, input, pid)
    }

    #[tokio::test]
    async fn a_recorded_server_is_ended_and_its_record_removed() {
        let data = tempfile::tempdir().unwrap();
        let records = Records::open(data.path()).unwrap();
        let (mut child, _input, pid) = sleeper("/data/of/ours").await;
        records.note("nats-server", pid, "/data/of/ours");
        let (status, ()) = tokio::join!(child.wait(), records.end_leftovers());
        assert_eq!(status.unwrap().signal(), Some(15));
        assert!(!records.file("nats-server").exists());
    }

    #[tokio::test]
    async fn a_stranger_with_the_recorded_id_is_left_alone() {
        let data = tempfile::tempdir().unwrap();
        let records = Records::open(data.path()).unwrap();
        let (mut child, _input, pid) = sleeper("/data/of/somebody/else").await;
        records.note("nats-server", pid, "/data/of/ours");
        records.end_leftovers().await;
        assert!(child.try_wait().unwrap().is_none());
        assert!(!records.file("nats-server").exists());
    }
}

//! Ends a server when this process is gone, even when it was killed and could do nothing itself.
//!
//! The leash is a shell that waits on a pipe whose other end only this process holds. A line means
//! that the server has ended and all is well; the end of the pipe means that this process died, and
//! then the shell asks the server's process group to stop, and kills it if it does not. This needs
//! neither `unsafe` code between fork and exec nor anything of Linux alone.

use std::process::Stdio;

use nix::unistd::Pid;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

/// `$1` is the process group; signal 0 only asks whether it is still there.
const SCRIPT: &str = r#"
read -r _ && exit
kill -s TERM -- "-$1"
for second in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    kill -s 0 -- "-$1" || exit
done
kill -s KILL -- "-$1"
"#;

/// A leash on one process group; dropping it ends that group.
#[derive(Debug)]
pub struct Leash {
    shell: Child,
}

impl Leash {
    /// Puts a process group on the leash. Without a shell there is none: the record of process ids
    /// still lets the next start end what is left.
    #[must_use]
    pub fn on(group: Pid) -> Option<Self> {
        let shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "sluicegate-leash", &group.to_string()])
            // Its own group, so that Ctrl-C on the terminal or a signal to ours leaves it alone.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match shell {
            Ok(shell) => Some(Self { shell }),
            Err(error) => {
                tracing::debug!(%error, "no shell for a leash");
                None
            }
        }
    }

    /// Takes the leash off, after the server has ended.
    pub async fn release(mut self) {
        if let Some(mut pipe) = self.shell.stdin.take() {
            // A shell that is gone already has nothing left to be told.
            _ = pipe.write_all(b"\n").await;
        }
        _ = self.shell.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt as _;
    use std::time::Duration;
    use tokio::io::{AsyncBufReadExt as _, BufReader};

    fn run(script: &str) -> (Child, Pid) {
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = Pid::from_raw(child.id().unwrap().try_into().unwrap());
        (child, pid)
    }

    #[tokio::test]
    async fn a_dropped_leash_ends_the_group() {
        let (mut child, pid) = run("exec sleep 60");
        drop(Leash::on(pid).unwrap());
        let status = tokio::time::timeout(Duration::from_secs(5), child.wait()).await;
        assert_eq!(status.expect("ends within 5 s").unwrap().signal(), Some(15));
    }

    #[tokio::test]
    async fn a_server_that_does_not_listen_is_killed() {
        let (mut child, pid) = run("trap '' TERM; echo deaf; while :; do sleep 0.1; done");
        let mut said = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut said).await.unwrap();
        drop(Leash::on(pid).unwrap());
        let status = tokio::time::timeout(Duration::from_secs(30), child.wait()).await;
        assert_eq!(status.expect("ends within 30 s").unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn a_released_leash_harms_nobody() {
        let (mut child, pid) = run("exec sleep 60");
        Leash::on(pid).unwrap().release().await;
        assert!(child.try_wait().unwrap().is_none());
    }
}

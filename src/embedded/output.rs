//! What a server writes: into our log at a fitting level, and its last lines kept for the message
//! that its death gets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tracing::Level;

/// Lines kept for the message about a death.
const KEPT_LINES: usize = 12;
/// How long the last lines may take to arrive after the process has ended.
const DRAIN: Duration = Duration::from_millis(500);

/// How a server marks the level of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    /// `[12] [WRN] text`
    Nats,
    /// `2026.01.31 12:00:00.000000 [ 12 ] {} <Warning> Name: text`
    ClickHouse,
    /// `2026-01-31T12:00:00.000Z WARNING name: text`
    Chdb,
}

impl Dialect {
    /// The level for a line. What a server says when all is well is noise to us: debug.
    fn level(self, line: &str) -> Level {
        // The mark's place is fixed where what follows may be anybody's text.
        let second = line.split(' ').nth(1).unwrap_or_default();
        let (place, error, warning): (&str, &[&str], &[&str]) = match self {
            Self::Nats => (second, &["[ERR]", "[FTL]"], &["[WRN]"]),
            Self::ClickHouse => (line, &["<Error>", "<Critical>", "<Fatal>"], &["<Warning>"]),
            Self::Chdb => (second, &["ERROR", "CRITICAL"], &["WARNING"]),
        };
        if error.iter().any(|mark| place.contains(mark)) {
            Level::ERROR
        } else if warning.iter().any(|mark| place.contains(mark)) {
            Level::WARN
        } else {
            Level::DEBUG
        }
    }
}

/// The readers of one server's two outputs.
#[derive(Debug)]
pub(super) struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Output {
    /// Begins to read what the server writes.
    pub(super) fn follow(child: &mut Child, server: &'static str, dialect: Dialect) -> Self {
        let lines = Arc::default();
        let out = child.stdout.take().map(|pipe| read(pipe, server, dialect, Arc::clone(&lines)));
        let err = child.stderr.take().map(|pipe| read(pipe, server, dialect, Arc::clone(&lines)));
        Self { lines, readers: out.into_iter().chain(err).collect() }
    }

    /// The last lines of a server that has ended.
    pub(super) async fn last_lines(self) -> Vec<String> {
        for reader in self.readers {
            // A process that the server left behind may hold the pipe open: don't wait for that.
            let stop = reader.abort_handle();
            if tokio::time::timeout(DRAIN, reader).await.is_err() {
                stop.abort();
            }
        }
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

fn read(
    pipe: impl AsyncRead + Unpin + Send + 'static,
    server: &'static str,
    dialect: Dialect,
    lines: Arc<Mutex<VecDeque<String>>>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut pipe = BufReader::new(pipe);
        let mut raw = Vec::new();
        while pipe.read_until(b'\n', &mut raw).await.is_ok_and(|length| length > 0) {
            let line = String::from_utf8_lossy(&raw).trim_end().to_owned();
            raw.clear();
            if line.is_empty() {
                continue;
            }
            match dialect.level(&line) {
                Level::ERROR => tracing::error!(server, "{line}"),
                Level::WARN => tracing::warn!(server, "{line}"),
                _ => tracing::debug!(server, "{line}"),
            }
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == KEPT_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Stdio;
    use tokio::process::Command;

    #[test]
    fn levels() {
        for (dialect, line, level) in [
            (Dialect::Nats, "[7] [INF] Server is ready", Level::DEBUG),
            (Dialect::Nats, "[7] [WRN] Filestore is slow", Level::WARN),
            (Dialect::Nats, "[7] [FTL] no space", Level::ERROR),
            (Dialect::ClickHouse, "2026.01.31 12:00:00.0 [ 7 ] {} <Warning> A: b", Level::WARN),
            (Dialect::ClickHouse, "2026.01.31 12:00:00.0 [ 7 ] {} <Error> A: b", Level::ERROR),
            (Dialect::Chdb, r#"{"ready": true}"#, Level::DEBUG),
            (Dialect::Chdb, "2026-01-31T12:00:00.0Z WARNING chdb_server: slow", Level::WARN),
            (Dialect::Chdb, "2026-01-31T12:00:00.0Z INFO chdb_server: an ERROR", Level::DEBUG),
        ] {
            assert_eq!(dialect.level(line), level, "{line}");
        }
    }

    #[tokio::test]
    async fn keeps_the_last_lines_of_both_outputs() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", r"for i in $(seq 40); do echo out $i; done; printf '\377 broken' >&2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = Output::follow(&mut child, "test", Dialect::Nats);
        child.wait().await.unwrap();
        let lines = output.last_lines().await;
        assert_eq!(lines.len(), KEPT_LINES);
        assert!(lines.contains(&"out 40".into()) && !lines.contains(&"out 1".into()), "{lines:?}");
    }
}

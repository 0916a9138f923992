//! Unchecked calls that wait to be reported: bounded, in memory, and in a file if there is a folder.
//!
//! With a folder, each report is in the file before its caller is told the decision. The file is one
//! process's own, held by a lock; what a process leaves behind, another takes over. Reports keep
//! their ids, so one that is sent twice is stored once.

mod file;
mod line;
mod orphans;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use serde::Deserialize;
use tokio::sync::watch;
use uuid::Uuid;

use super::connection::{Link, short};
use super::decision::Cause;
use super::error::ClientError;
use super::stats::Counters;

use file::OwnFile;
use orphans::Orphans;

/// Reports on their way to the stream at once.
const AT_ONCE: usize = 32;
/// How long the stream may take to acknowledge one.
const ACKNOWLEDGED_WITHIN: Duration = Duration::from_secs(5);
/// The first wait after a report that was not taken; doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often is looked for what other processes left behind.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// JetStream's error for a message that is larger than the stream takes.
const MESSAGE_TOO_LARGE: u64 = 10_054;

/// The reports of this process.
pub(super) struct Spool {
    most_bytes: usize,
    folder: Option<PathBuf>,
    state: Mutex<State>,
    /// How many wait.
    waiting: watch::Sender<usize>,
    counters: Arc<Counters>,
}

struct State {
    reports: VecDeque<(Uuid, Bytes)>,
    bytes: usize,
    file: Option<OwnFile>,
}

impl Spool {
    pub(super) fn open(
        folder: Option<&Path>,
        most_bytes: usize,
        counters: Arc<Counters>,
    ) -> Result<Self, ClientError> {
        let file = match folder {
            Some(folder) => Some(OwnFile::create(folder).map_err(|error| {
                ClientError::setting("spool_folder", format!("{}: {error}", folder.display()))
            })?),
            None => None,
        };
        let state = Mutex::new(State { reports: VecDeque::new(), bytes: 0, file });
        let folder = folder.map(Path::to_owned);
        Ok(Self { most_bytes, folder, state, waiting: watch::channel(0).0, counters })
    }

    /// Takes a report in, if there is room.
    pub(super) fn push(&self, id: Uuid, report: Bytes) -> bool {
        let mut state = self.lock();
        if state.bytes.saturating_add(report.len()) > self.most_bytes {
            return false;
        }
        if let Some(file) = &mut state.file {
            file.append(&report);
        }
        state.bytes += report.len();
        state.reports.push_back((id, report));
        self.waiting.send_replace(state.reports.len());
        true
    }

    pub(super) fn len(&self) -> usize {
        *self.waiting.borrow()
    }

    /// Waits until all are reported.
    pub(super) async fn emptied(&self) {
        // The sender is here: it can't be gone.
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting == 0).await;
    }

    fn first(&self) -> Vec<(Uuid, Bytes)> {
        self.lock().reports.iter().take(AT_ONCE).cloned().collect()
    }

    /// Forgets reports that are settled.
    fn settled(&self, ids: &[Uuid]) {
        let mut state = self.lock();
        let state = &mut *state;
        let mut gone = 0;
        state.reports.retain(|(id, report)| {
            let settled = ids.contains(id);
            gone += if settled { report.len() } else { 0 };
            !settled
        });
        state.bytes = state.bytes.saturating_sub(gone);
        if let Some(file) = &mut state.file {
            if state.reports.is_empty() {
                file.clear();
            } else if file.bytes() > 2 * u64::try_from(self.most_bytes).unwrap_or(u64::MAX) {
                file.rewrite(state.reports.iter().map(|(_, report)| report.as_ref()));
            }
        }
        self.waiting.send_replace(state.reports.len());
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = state.file.take().filter(|_| state.reports.is_empty()) {
            file.remove();
        }
    }
}

/// What became of a report.
enum Sent {
    /// The stream has it.
    Stored,
    /// Not yet.
    Later(String),
    /// It will never be taken.
    Never(String),
}

/// Reports what waits, what will come, and what other processes left behind.
pub(super) async fn deliver(spool: Arc<Spool>, link: Link, subject: String) {
    let mut waiting = spool.waiting.subscribe();
    let mut orphans = spool.folder.clone().map(Orphans::new);
    let mut pause = FIRST_PAUSE;
    loop {
        link.up().await;
        let reports = spool.first();
        let own = !reports.is_empty();
        let reports = match &mut orphans {
            Some(orphans) if !own => orphans.next(&spool.counters),
            _ => reports,
        };
        if reports.is_empty() {
            // Something new, or the next look at the folder.
            let more = waiting.wait_for(|waiting| *waiting > 0);
            let _ = tokio::time::timeout(LOOK_EVERY, more).await;
            continue;
        }
        let sending = reports.iter().map(|(id, report)| send(&link, &subject, *id, report));
        let sent = join_all(sending).await;
        let mut settled = Vec::with_capacity(reports.len());
        let mut kept = None;
        for ((id, _), sent) in reports.iter().zip(sent) {
            match sent {
                Sent::Stored => {
                    spool.counters.reported();
                    settled.push(*id);
                }
                Sent::Never(reason) => {
                    tracing::error!(%id, "an unchecked call can't be reported: {reason}");
                    spool.counters.lost();
                    settled.push(*id);
                }
                Sent::Later(reason) => kept = Some(reason),
            }
        }
        if own {
            spool.settled(&settled);
        } else if let Some(orphans) = &mut orphans {
            orphans.settled(&settled);
        }
        match kept {
            None => pause = FIRST_PAUSE,
            Some(reason) => {
                tracing::debug!("unchecked calls can't be reported yet: {reason}");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// The stream's acknowledgement. Format: NATS, "JetStream wire API".
#[derive(Deserialize)]
struct Acknowledgement {
    stream: Option<String>,
    error: Option<StreamError>,
}

#[derive(Deserialize)]
struct StreamError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

async fn send(link: &Link, subject: &str, id: Uuid, report: &Bytes) -> Sent {
    let answer = link.store(subject, &id.to_string(), report.clone(), ACKNOWLEDGED_WITHIN).await;
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) if failure.cause == Cause::Unserializable => {
            return Sent::Never(failure.message);
        }
        Err(failure) if failure.cause == Cause::NoResponders => {
            return Sent::Later(format!("no stream takes {subject}"));
        }
        Err(failure) => return Sent::Later(failure.message),
    };
    match serde_json::from_slice(&answer) {
        Ok(Acknowledgement { error: Some(error), .. }) => {
            let reason = short(&error.description);
            if error.err_code == MESSAGE_TOO_LARGE {
                Sent::Never(reason)
            } else {
                Sent::Later(reason)
            }
        }
        Ok(Acknowledgement { stream: Some(_), .. }) => Sent::Stored,
        _ => Sent::Later("what answered is no stream".to_owned()),
    }
}

#[cfg(test)]
mod tests;

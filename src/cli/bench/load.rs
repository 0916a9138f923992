//! The load: so many clients, each of which asks, waits for the answer, and asks again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use indicatif::ProgressBar;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::figures::{Counts, Seen};
use crate::bus::Connection;

/// How long an answer may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client waits after a failure: whoever fails at once must not turn the bench into a
/// flood.
const PAUSE: Duration = Duration::from_millis(10);
/// How often the progress moves.
const TICK: Duration = Duration::from_millis(100);

/// Who is asked what.
pub(super) struct Target {
    pub(super) subject: String,
    pub(super) payload: Bytes,
}

/// How long one phase is.
#[derive(Clone, Copy)]
pub(super) struct Phase {
    pub(super) clients: usize,
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
}

impl Phase {
    pub(super) const fn length(&self) -> Duration {
        self.warmup.saturating_add(self.measured)
    }
}

/// Runs one phase: what is asked after the warm-up and before the end counts, however long its
/// answer takes. Ends early when stopped; what was counted by then stays.
pub(super) async fn run(
    connections: &[Connection],
    target: &Arc<Target>,
    phase: Phase,
    counts: &Arc<Mutex<Counts>>,
    stop: &CancellationToken,
    progress: &ProgressBar,
) {
    let start = Instant::now();
    let from = start + phase.warmup;
    let until = from + phase.measured;
    let last = Arc::new(Mutex::new(from));
    let mut clients = JoinSet::new();
    for connection in connections.iter().cycle().take(phase.clients) {
        let client = Client {
            connection: connection.clone(),
            target: Arc::clone(target),
            counts: Arc::clone(counts),
            last: Arc::clone(&last),
        };
        let stop = stop.clone();
        clients.spawn(async move { stop.run_until_cancelled(client.ask(from, until)).await });
    }
    let before = progress.position();
    let mut tick = tokio::time::interval(TICK);
    loop {
        tokio::select! {
            ended = clients.join_next() => if ended.is_none() { break },
            _ = tick.tick() => {
                let passed = start.elapsed().min(phase.length()).as_millis();
                progress.set_position(before + u64::try_from(passed).unwrap_or(u64::MAX));
            }
        }
    }
    let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
    counts.lock().unwrap_or_else(PoisonError::into_inner).lasted(from, last);
}

struct Client {
    connection: Connection,
    target: Arc<Target>,
    counts: Arc<Mutex<Counts>>,
    /// When the last answer that counts arrived.
    last: Arc<Mutex<Instant>>,
}

impl Client {
    async fn ask(self, from: Instant, until: Instant) {
        loop {
            let asked = Instant::now();
            if asked >= until {
                return;
            }
            let answer = self
                .connection
                .request(&self.target.subject, self.target.payload.to_vec(), TIMEOUT)
                .await;
            let answered = Instant::now();
            let seen = Seen::of(&answer);
            let go_on = matches!(seen, Seen::Decided(..));
            if asked >= from {
                let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
                *last = (*last).max(answered);
                drop(last);
                let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
                counts.note(answered.duration_since(asked), seen);
            }
            if !go_on {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

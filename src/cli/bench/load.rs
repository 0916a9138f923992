//! The load: so many clients, each of which asks, waits for the answer, and asks again; or requests at
//! a rate, whatever the answers do.

use std::sync::atomic::{AtomicUsize, Ordering};
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
/// Requests that are due and wait for a client; beyond them the schedule itself waits.
const MOST_DUE: usize = 100_000;

/// Who is asked what.
pub(super) struct Target {
    pub(super) subject: String,
    payloads: Arc<[Bytes]>,
    next: AtomicUsize,
}

impl Target {
    /// Asks these one after the other, again and again.
    pub(super) fn new(subject: String, payloads: impl Into<Arc<[Bytes]>>) -> Self {
        Self { subject, payloads: payloads.into(), next: AtomicUsize::new(0) }
    }

    /// Asks somebody else the same.
    pub(super) fn same_of(&self, subject: String) -> Self {
        Self::new(subject, Arc::clone(&self.payloads))
    }

    /// Bytes of a request, on average.
    pub(super) fn bytes(&self) -> usize {
        self.payloads.iter().map(Bytes::len).sum::<usize>() / self.payloads.len().max(1)
    }

    /// The next request.
    pub(super) fn payload(&self) -> Bytes {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let at = number % self.payloads.len().max(1);
        self.payloads.get(at).cloned().unwrap_or_default()
    }
}

/// How long one phase is.
#[derive(Clone, Copy)]
pub(super) struct Phase {
    /// Clients; with a rate, requests that may be under way at once.
    pub(super) clients: usize,
    pub(super) warmup: Duration,
    pub(super) measured: Duration,
    /// Requests that are due each second; none where each client asks as soon as it was answered.
    pub(super) rate: Option<f64>,
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
    let due = phase.rate.map(|rate| pace(rate, start, until, stop));
    let mut clients = JoinSet::new();
    for connection in connections.iter().cycle().take(phase.clients) {
        let client = Client {
            connection: connection.clone(),
            target: Arc::clone(target),
            counts: Arc::clone(counts),
            last: Arc::clone(&last),
        };
        let (stop, due) = (stop.clone(), due.clone());
        clients.spawn(async move {
            let asking = async {
                match due {
                    Some(due) => client.ask_when_due(from, due).await,
                    None => client.ask(from, until).await,
                }
            };
            stop.run_until_cancelled(asking).await
        });
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

/// Says when requests are due, on a thread of its own: the runtime's clock ticks in milliseconds. What
/// is due while all clients wait for answers waits too, and counts from when it was due.
fn pace(
    rate: f64,
    start: Instant,
    until: Instant,
    stop: &CancellationToken,
) -> flume::Receiver<Instant> {
    let (send, due) = flume::bounded(MOST_DUE);
    let stop = stop.clone();
    let interval = Duration::from_secs_f64(1.0 / rate.max(1e-3));
    std::thread::spawn(move || {
        let mut next = start;
        while next < until && !stop.is_cancelled() {
            if let Some(left) = next.checked_duration_since(Instant::now()) {
                std::thread::sleep(left.min(TICK));
                continue;
            }
            // Fails when nobody asks any more.
            if send.send(next).is_err() {
                return;
            }
            next += interval;
        }
    });
    due
}

struct Client {
    connection: Connection,
    target: Arc<Target>,
    counts: Arc<Mutex<Counts>>,
    /// When the last answer that counts arrived.
    last: Arc<Mutex<Instant>>,
}

impl Client {
    /// Asks as soon as the answer before is there.
    async fn ask(self, from: Instant, until: Instant) {
        loop {
            let asked = Instant::now();
            if asked >= until {
                return;
            }
            if !self.once(asked, from).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Asks when it is due, however slow the answers are.
    async fn ask_when_due(self, from: Instant, due: flume::Receiver<Instant>) {
        while let Ok(at) = due.recv_async().await {
            if !self.once(at, from).await {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Asks once; the time counts from `asked`. False where it failed.
    async fn once(&self, asked: Instant, from: Instant) -> bool {
        let payload = self.target.payload();
        let answer = self.connection.request(&self.target.subject, payload.to_vec(), TIMEOUT).await;
        let answered = Instant::now();
        let seen = Seen::of(&answer);
        let go_on = matches!(seen, Seen::Decided(..));
        if asked >= from {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = (*last).max(answered);
            drop(last);
            let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.note(answered.saturating_duration_since(asked), seen);
        }
        go_on
    }
}

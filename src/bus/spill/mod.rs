//! Events that wait to be sent again, on disk: what the stream did not take outlives the worker.
//!
//! A thread of its own owns the files. What is kept is appended before the reply to its check leaves,
//! by `write(2)`: it survives the end of the process, however sudden, but not that of the machine.
//! While there is room in memory the events are there, too; when there is none they are only here, and
//! come back in order as the memory empties. A file is removed when the stream has all its events. A
//! file whose process is gone is adopted by whoever finds its lock free, and sent by it.

mod destination;
mod frame;
mod segment;
mod store;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use self::destination::Destination;
use self::store::Store;
use super::recorder::{Backlog, Outgoing};
use crate::runtime::health::Reporter;

/// Commands that may wait for the thread; whoever has another one waits.
const QUEUE: usize = 1_024;
/// Commands that are carried out by one write, at most.
const AT_ONCE: usize = 256;
/// How often files of processes that are gone are looked for.
const ADOPT: Duration = Duration::from_secs(10);

/// Where the files are and how much they may hold.
#[derive(Clone, Debug)]
pub struct SpillSettings {
    /// Their folder; made if missing. In it each destination has one of its own.
    pub folder: PathBuf,
    /// Where the events are to be sent.
    pub destination: Destination,
    /// Bytes that they may hold.
    pub max_bytes: u64,
}

/// Numbers about the spill that others read.
#[derive(Debug, Default)]
pub(super) struct SpillState {
    /// Bytes of the files.
    bytes: AtomicU64,
    /// Events that are only in files.
    unread: AtomicUsize,
    /// Whether the files can't be written now.
    failing: AtomicBool,
}

/// A way to the thread that owns the files.
#[derive(Clone, Debug)]
pub(super) struct Spill {
    commands: flume::Sender<Command>,
    state: Arc<SpillState>,
    max_bytes: u64,
}

enum Command {
    /// Keep these events; the answer comes when they are in a file, or in memory where no file can be
    /// written.
    Keep(Vec<Outgoing>, oneshot::Sender<()>),
    /// These files have one event less that waits, once for each time they are named.
    Settle(Vec<u64>),
    /// Bring more into memory.
    Load(oneshot::Sender<()>),
}

impl Spill {
    /// Starts the thread. It ends with the last way to it.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub(super) fn start(
        settings: SpillSettings,
        backlog: Arc<Backlog>,
        health: Reporter,
    ) -> std::io::Result<Self> {
        let state = Arc::new(SpillState::default());
        let (commands, received) = flume::bounded(QUEUE);
        let max_bytes = settings.max_bytes;
        let store = Store::new(settings, backlog, Arc::clone(&state), health);
        std::thread::Builder::new()
            .name("spill".to_owned())
            .spawn(move || work(store, &received))?;
        Ok(Self { commands, state, max_bytes })
    }

    /// Keeps events; returns when they are in a file, or in memory where no file can be written.
    pub(super) async fn keep(&self, events: Vec<Outgoing>) {
        let (done, wait) = oneshot::channel();
        if self.commands.send_async(Command::Keep(events, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Notes that the events of these files, each named once per event, need not be sent any more.
    pub(super) async fn settle(&self, segments: Vec<u64>) {
        let _ = self.commands.send_async(Command::Settle(segments)).await;
    }

    /// Brings more events into memory.
    pub(super) async fn load(&self) {
        let (done, wait) = oneshot::channel();
        if self.commands.send_async(Command::Load(done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Events that are only in files.
    pub(super) fn unread(&self) -> usize {
        self.state.unread.load(Ordering::Acquire)
    }

    /// Bytes of the files.
    pub(super) fn bytes(&self) -> u64 {
        self.state.bytes.load(Ordering::Acquire)
    }

    /// Bytes that they may hold.
    pub(super) const fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Whether they hold all that they may.
    pub(super) fn is_full(&self) -> bool {
        self.bytes() >= self.max_bytes
    }

    /// Whether files can't be written now, so that what is kept is in memory alone.
    pub(super) fn is_failing(&self) -> bool {
        self.state.failing.load(Ordering::Acquire)
    }
}

fn work(mut store: Store, commands: &flume::Receiver<Command>) {
    store.adopt();
    let mut looked = Instant::now();
    loop {
        // Also while there is no end of commands.
        if looked.elapsed() >= ADOPT {
            store.adopt();
            looked = Instant::now();
        }
        match commands.recv_timeout(ADOPT.saturating_sub(looked.elapsed())) {
            Ok(command) => {
                // What waits meanwhile shares one write.
                let mut batch = vec![command];
                batch.extend(commands.try_iter().take(AT_ONCE));
                store.carry_out(batch);
            }
            Err(flume::RecvTimeoutError::Timeout) => (),
            Err(flume::RecvTimeoutError::Disconnected) => return,
        }
    }
}

//! The files of one process, as its thread keeps them.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::destination::{Belongs, Destination};
use super::frame;
use super::segment::Segment;
use super::{Command, SpillSettings, SpillState};
use crate::bus::recorder::{Backlog, Kept, Outgoing};
use crate::runtime::health::Reporter;
use crate::runtime::metrics;

/// Bytes at which a file is closed and another one begun.
const SEGMENT: u64 = 8 << 20;
/// Events that are written at once when files can be written again.
const RESCUED: usize = 4_096;
/// How long files are left alone after one could not be written.
const AGAIN: Duration = Duration::from_secs(1);

/// The files.
pub(super) struct Store {
    settings: SpillSettings,
    /// Where ours are: the destination's folder.
    folder: PathBuf,
    backlog: Arc<Backlog>,
    state: Arc<SpillState>,
    health: Reporter,
    /// By number: the order in which they came to us.
    segments: BTreeMap<u64, Segment>,
    /// The number of the one that is appended to.
    current: Option<u64>,
    next: u64,
    failed: Option<Instant>,
    /// What was found altered, for the health.
    damaged: Option<String>,
    /// What others left and we can't send, for the health.
    barred: Option<String>,
}

impl Store {
    pub(super) fn new(
        settings: SpillSettings,
        backlog: Arc<Backlog>,
        state: Arc<SpillState>,
        health: Reporter,
    ) -> Self {
        Self {
            folder: settings.destination.folder(&settings.folder),
            settings,
            backlog,
            state,
            health,
            segments: BTreeMap::new(),
            current: None,
            next: 0,
            failed: None,
            damaged: None,
            barred: None,
        }
    }

    /// Carries out what waits: all that is to be kept by one write.
    pub(super) fn carry_out(&mut self, batch: Vec<Command>) {
        let mut events = Vec::new();
        let mut waiting = Vec::new();
        for command in batch {
            match command {
                Command::Keep(more, done) => {
                    events.extend(more);
                    waiting.push(done);
                }
                Command::Settle(segments) => self.settle(&segments),
                Command::Load(done) => {
                    self.load();
                    waiting.push(done);
                }
            }
        }
        let kept = !events.is_empty();
        if kept {
            self.keep(events);
        }
        self.tidy();
        if kept {
            self.backlog.wake();
        }
        for done in waiting {
            // Who waited may be gone.
            let _ = done.send(());
        }
    }

    /// Takes over the files of processes that are gone.
    pub(super) fn adopt(&mut self) {
        let found = self.prepare_folder().and_then(|()| self.abandoned());
        match found {
            Ok(segments) => {
                for segment in segments {
                    if segment.loaded {
                        self.damaged = damage(&segment).or_else(|| self.damaged.take());
                    } else {
                        tracing::warn!(
                            file = %segment.path().display(),
                            events = segment.events,
                            "a worker that is gone left events; they are sent now"
                        );
                    }
                    self.add(segment);
                }
                self.rescue();
            }
            Err(error) => self.failing(&error),
        }
        self.tidy();
        if self.state.unread.load(Ordering::Acquire) > 0 {
            self.backlog.wake();
        }
    }

    /// After a failure, writes what is in memory alone, if that can be done again.
    fn rescue(&mut self) {
        let only = self.backlog.only_here(RESCUED);
        if self.failed.is_none() && only.is_empty() {
            return self.well();
        }
        let mut frames = Vec::new();
        // What can't be framed never is; it stands in nobody's way.
        let only: Vec<_> =
            only.into_iter().filter(|event| frame::append(event, &mut frames)).collect();
        match self.write(&frames, only.len(), true) {
            Ok(segment) => {
                let gone = self.backlog.now_in(segment, &only);
                self.settle(&vec![segment; gone]);
                self.failed = None;
                self.state.failing.store(false, Ordering::Release);
                self.well();
            }
            Err(error) => {
                self.current = None;
                self.failing(&error);
            }
        }
    }

    /// Says that files can be written, and what was found altered.
    fn well(&self) {
        match self.damaged.as_ref().or(self.barred.as_ref()) {
            Some(reason) => self.health.degraded(reason.clone()),
            None => self.health.ready(),
        }
    }

    fn prepare_folder(&self) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        self.settings.destination.note(&self.folder)
    }

    /// The files of processes that are gone, of all folders that are for our destination.
    fn abandoned(&mut self) -> io::Result<Vec<Segment>> {
        let mut found = Vec::new();
        let mut barred = None;
        for folder in sorted(&self.settings.folder)? {
            match self.settings.destination.look(&folder) {
                Belongs::Here => (),
                Belongs::Elsewhere(destination) => {
                    barred = barred.or_else(|| left_for(&destination, &folder));
                    continue;
                }
                Belongs::Nowhere => continue,
                Belongs::Unreadable(reason) => {
                    barred = Some(format!(
                        "whether events wait in {} can't be said: {reason}",
                        folder.display()
                    ));
                    continue;
                }
            }
            for path in sorted(&folder)? {
                if self.segments.values().any(|segment| segment.path() == path) {
                    continue;
                }
                match Segment::adopt(&path) {
                    Ok(segment) => found.extend(segment),
                    // Somebody else was quicker.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => (),
                    Err(error) => {
                        let path = path.display();
                        tracing::warn!(%error, %path, "a file of the spill can't be taken over");
                        barred = Some(format!(
                            "{path} holds events that can't be sent: {error}; let this process read \
                             and write it"
                        ));
                    }
                }
            }
        }
        self.barred = barred;
        Ok(found)
    }

    fn add(&mut self, segment: Segment) -> u64 {
        let number = self.next;
        self.next += 1;
        self.segments.insert(number, segment);
        number
    }

    /// Keeps events: in a file, and in memory where there is room and nothing older waits in files.
    fn keep(&mut self, events: Vec<Outgoing>) {
        let to_memory = !self.has_unread() && self.backlog.has_room();
        let mut frames = Vec::new();
        let (framed, unframed): (Vec<_>, Vec<_>) =
            events.into_iter().partition(|event| frame::append(event, &mut frames));
        // A subject or id of 64 KiB is none of ours; it is kept as well as can be.
        self.backlog.push(unframed.into_iter().map(Kept::in_memory));
        let written = match self.failed {
            Some(since) if since.elapsed() < AGAIN => return self.keep_in_memory(framed),
            _ => self.write(&frames, framed.len(), to_memory),
        };
        match written {
            Ok(segment) => {
                if self.failed.take().is_some() {
                    self.state.failing.store(false, Ordering::Release);
                    self.well();
                }
                if to_memory {
                    let kept = |event| Kept { event, segment: Some(segment) };
                    self.backlog.push(framed.into_iter().map(kept));
                }
            }
            Err(error) => {
                // What is half written ends this file.
                self.current = None;
                self.failing(&error);
                self.keep_in_memory(framed);
            }
        }
    }

    fn keep_in_memory(&self, events: Vec<Outgoing>) {
        self.backlog.push(events.into_iter().map(Kept::in_memory));
    }

    fn write(&mut self, frames: &[u8], events: usize, to_memory: bool) -> io::Result<u64> {
        let fits = |segment: &Segment| segment.loaded == to_memory && segment.bytes < SEGMENT;
        let current = self.current.filter(|number| self.segments.get(number).is_some_and(fits));
        let number = match current {
            Some(number) => number,
            None => {
                self.prepare_folder()?;
                let segment = Segment::create(&self.folder, to_memory)?;
                let number = self.add(segment);
                self.current = Some(number);
                number
            }
        };
        let Some(segment) = self.segments.get_mut(&number) else {
            return Err(io::Error::other("the file is gone"));
        };
        let appended = segment.append(frames, events);
        if appended.is_err()
            && segment.events == 0
            && let Some(empty) = self.segments.remove(&number)
            && let Err(error) = empty.remove()
        {
            tracing::warn!(%error, "an empty file of the spill could not be removed");
        }
        appended.map(|()| number)
    }

    fn failing(&mut self, error: &io::Error) {
        self.failed = Some(Instant::now());
        self.state.failing.store(true, Ordering::Release);
        metrics::audit_spill_failures().increment(1);
        self.health.degraded(format!(
            "{} can't be written, so events that the stream doesn't take are in memory alone and \
             end with this process: {error} (setting audit.spill_folder)",
            self.folder.display()
        ));
    }

    fn has_unread(&self) -> bool {
        self.segments.values().any(|segment| !segment.loaded)
    }

    /// Brings the oldest file that is only on disk into memory.
    fn load(&mut self) {
        let oldest = self.segments.iter_mut().find(|(_, segment)| !segment.loaded);
        let Some((number, segment)) = oldest else { return };
        if self.current == Some(*number) {
            self.current = None;
        }
        match segment.read() {
            Ok(scan) => {
                segment.loaded = true;
                segment.unsettled = scan.events.len();
                self.damaged = damage(segment).or_else(|| self.damaged.take());
                let kept = |event| Kept { event, segment: Some(*number) };
                self.backlog.push(scan.events.into_iter().map(kept));
                if self.failed.is_none() {
                    self.well();
                }
            }
            Err(error) => {
                // It stays for the next process: nothing is removed that wasn't sent.
                tracing::error!(file = %segment.path().display(), %error, "can't be read");
                let number = *number;
                self.segments.remove(&number);
            }
        }
    }

    fn settle(&mut self, segments: &[u64]) {
        for number in segments {
            if let Some(segment) = self.segments.get_mut(number) {
                segment.unsettled = segment.unsettled.saturating_sub(1);
            }
        }
    }

    /// Removes what is done, and says how much is left.
    fn tidy(&mut self) {
        let done: Vec<u64> =
            self.segments.iter().filter(|(_, s)| s.is_done()).map(|(number, _)| *number).collect();
        for number in done {
            if self.current == Some(number) {
                self.current = None;
            }
            if let Some(segment) = self.segments.remove(&number)
                && let Err(error) = segment.remove()
            {
                tracing::warn!(%error, "a file of the spill could not be removed; it is sent again");
            }
        }
        let bytes = self.segments.values().map(|segment| segment.bytes).sum();
        let unread =
            self.segments.values().filter(|segment| !segment.loaded).map(|segment| segment.events);
        let unread: usize = unread.sum();
        self.state.bytes.store(bytes, Ordering::Release);
        self.state.unread.store(unread, Ordering::Release);
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        metrics::audit_spill_bytes().set(bytes as f64);
        self.backlog.count_unread(unread);
    }
}

/// What a folder holds, in order.
fn sorted(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Says that events wait in the folder of another destination, if nobody has them.
fn left_for(destination: &Destination, folder: &Path) -> Option<String> {
    let paths = sorted(folder).ok()?;
    let events = |path: &PathBuf| Segment::adopt(path).ok().flatten().map_or(0, |left| left.events);
    let waiting: usize = paths.iter().map(events).sum();
    (waiting > 0).then(|| {
        format!(
            "{} holds {waiting} events of a worker that is gone, for {destination}, which is not where \
             this one sends to: start a worker with that destination, or move the files into another \
             destination's folder if it is the same system",
            folder.display()
        )
    })
}

/// Says that a file was altered, if it was.
fn damage(segment: &Segment) -> Option<String> {
    let bytes = segment.damaged_bytes;
    if bytes == 0 {
        return None;
    }
    let file = segment.path().display();
    metrics::audit_spill_damaged_bytes().increment(u64::try_from(bytes).unwrap_or(u64::MAX));
    tracing::error!(
        %file,
        bytes,
        "a file of the spill was altered: what is whole is sent, the rest is lost; the file is kept as \
         .damaged"
    );
    Some(format!(
        "{file} was altered: {bytes} bytes of it are no events any more; it is kept as .damaged; look \
         at it, remove it, and start again"
    ))
}

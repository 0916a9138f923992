//! One file of the spill, locked for as long as this process has it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::Utc;
use uuid::Uuid;

use super::frame::{self, Scan};

/// How files of the spill end.
const SUFFIX: &str = "spill";
/// How files end that were altered, and are kept for a person to look at.
const DAMAGED: &str = "damaged";

/// A file with events. Whoever holds its lock sends them; a lock ends with its process.
#[derive(Debug)]
pub(super) struct Segment {
    path: PathBuf,
    file: File,
    /// Its bytes.
    pub(super) bytes: u64,
    /// Events in it.
    pub(super) events: usize,
    /// Events that were read into memory, or never left it, and are not settled.
    pub(super) unsettled: usize,
    /// Whether its events are in memory; else they are only here.
    pub(super) loaded: bool,
    /// Bytes of it that were altered.
    pub(super) damaged_bytes: usize,
}

impl Segment {
    /// A new file, whose name sorts behind older ones.
    pub(super) fn create(folder: &Path, loaded: bool) -> io::Result<Self> {
        let name = format!("{:020}-{}.{SUFFIX}", Utc::now().timestamp_micros(), Uuid::new_v4());
        let path = folder.join(name);
        // It holds what agents were about to do: for nobody else to read.
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create_new(true).mode(0o600).open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Self { path, file, bytes: 0, events: 0, unsettled: 0, loaded, damaged_bytes: 0 })
    }

    /// A file that a process left that is gone; none if it is still held, or no file of ours.
    pub(super) fn adopt(path: &Path) -> io::Result<Option<Self>> {
        if path.extension().is_none_or(|extension| extension != SUFFIX) {
            return Ok(None);
        }
        let file = OpenOptions::new().read(true).append(true).open(path)?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        // Its last holder may have removed it between our looking and our locking.
        if !path.try_exists()? {
            return Ok(None);
        }
        let path = path.to_owned();
        let bytes = file.metadata()?.len();
        let mut segment =
            Self { path, file, bytes, events: 0, unsettled: 0, loaded: false, damaged_bytes: 0 };
        segment.events = segment.read()?.events.len();
        // Nothing to wait for: its process ended as it wrote the first one.
        segment.loaded = segment.events == 0;
        Ok(Some(segment))
    }

    /// Appends frames of so many events, by one write; all of them or none.
    pub(super) fn append(&mut self, frames: &[u8], events: usize) -> io::Result<()> {
        if let Err(error) = self.file.write_all(frames) {
            // Those that are whole by chance are kept elsewhere, and would be sent twice.
            self.file.set_len(self.bytes)?;
            return Err(error);
        }
        self.bytes = self.bytes.saturating_add(frames.len() as u64);
        self.events += events;
        if self.loaded {
            self.unsettled += events;
        }
        Ok(())
    }

    /// Everything in it that is whole.
    pub(super) fn read(&mut self) -> io::Result<Scan> {
        let mut bytes = Vec::new();
        File::open(&self.path)?.read_to_end(&mut bytes)?;
        let scan = frame::scan(&bytes);
        self.damaged_bytes = scan.damaged_bytes;
        Ok(scan)
    }

    /// Whether nothing of it is needed any more.
    pub(super) const fn is_done(&self) -> bool {
        self.loaded && self.unsettled == 0
    }

    /// Removes the file; one that was altered is put aside.
    pub(super) fn remove(self) -> io::Result<()> {
        if self.damaged_bytes > 0 {
            std::fs::rename(&self.path, self.path.with_extension(DAMAGED))
        } else {
            std::fs::remove_file(&self.path)
        }
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

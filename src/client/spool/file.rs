//! The file of this process.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use uuid::Uuid;

use super::line;

/// How files of the spool end.
pub(super) const ENDING: &str = "spool";

/// An append-only file that only this process writes, for as long as it holds the lock. What can't
/// be written is still in memory; it is said once.
pub(super) struct OwnFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Whether the last line may be a part only.
    torn: bool,
}

impl OwnFile {
    /// A new file. It gets the name by which others find it once it is locked: before, they would
    /// take it for one that was left behind.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let name = Uuid::now_v7().to_string();
        let draft = folder.join(format!("{name}.new"));
        let path = folder.join(format!("{name}.{ENDING}"));
        let mut options = OpenOptions::new();
        options.create_new(true).append(true);
        // Requests may hold what other users of the machine should not read.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&draft)?;
        file.try_lock().map_err(io::Error::from)?;
        fs::rename(&draft, &path)?;
        Ok(Self { path, file, bytes: 0, torn: false })
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a report. It is with the operating system afterwards: it survives the process, not the
    /// machine.
    pub(super) fn append(&mut self, report: &[u8]) {
        let mut line = line::write(report);
        if self.torn {
            line.insert(0, b'\n');
        }
        match self.file.write_all(&line) {
            Ok(()) => {
                if std::mem::take(&mut self.torn) {
                    tracing::warn!(path = %self.path.display(), "unchecked calls are written to the file again");
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut self.torn, true) {
                    let path = self.path.display();
                    tracing::error!(%error, %path, "unchecked calls can't be written to the file and are in memory only");
                }
            }
        }
        self.bytes = self.bytes.saturating_add(u64::try_from(line.len()).unwrap_or(u64::MAX));
    }

    /// All reports are settled.
    pub(super) fn clear(&mut self) {
        // What stays is sent again under the same ids, and stored once.
        if self.bytes > 0 && self.file.set_len(0).is_ok() {
            self.bytes = 0;
            self.torn = false;
        }
    }

    /// Writes what is left into a new file, which takes the place of the old one.
    pub(super) fn rewrite<'r>(&mut self, reports: impl Iterator<Item = &'r [u8]>) {
        let Some(folder) = self.path.parent() else { return };
        match Self::create(folder) {
            Ok(mut file) => {
                reports.for_each(|report| file.append(report));
                if file.torn {
                    file.remove();
                } else {
                    std::mem::replace(self, file).remove();
                }
            }
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%error, %path, "the file of unchecked calls can't be shortened");
            }
        }
    }

    /// Takes the file away.
    pub(super) fn remove(self) {
        // If it stays, its reports are sent again under the same ids.
        let _ = fs::remove_file(&self.path);
    }
}

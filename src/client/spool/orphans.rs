//! Files that other processes left behind: read line by line, and removed when all is reported.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use uuid::Uuid;

use super::super::stats::Counters;
use super::file::ENDING;
use super::{AT_ONCE, line};

/// Bytes of the longest line that is read as one; a request is at most a part of it.
const LONGEST_LINE: u64 = 16 * 1024 * 1024;

/// What was left behind in a folder.
pub(super) struct Orphans {
    folder: PathBuf,
    open: Option<Orphan>,
}

struct Orphan {
    path: PathBuf,
    reader: BufReader<File>,
    /// Read and not settled.
    reports: Vec<(Uuid, Bytes)>,
}

impl Orphans {
    pub(super) const fn new(folder: PathBuf) -> Self {
        Self { folder, open: None }
    }

    /// The next reports; none if nothing is left.
    pub(super) fn next(&mut self, counters: &Counters) -> Vec<(Uuid, Bytes)> {
        loop {
            let mut orphan = match self.open.take() {
                Some(orphan) => orphan,
                None => match self.find() {
                    Some(orphan) => orphan,
                    None => return Vec::new(),
                },
            };
            orphan.read(counters);
            if !orphan.reports.is_empty() {
                let reports = orphan.reports.clone();
                self.open = Some(orphan);
                return reports;
            }
            if let Err(error) = fs::remove_file(&orphan.path) {
                // It would be read again and again: leave it to another look.
                let path = orphan.path.display();
                tracing::warn!(%error, %path, "a file of reported calls can't be removed");
                return Vec::new();
            }
        }
    }

    /// Forgets reports that are settled.
    pub(super) fn settled(&mut self, ids: &[Uuid]) {
        if let Some(orphan) = &mut self.open {
            orphan.reports.retain(|(id, _)| !ids.contains(id));
        }
    }

    /// A file that nobody holds.
    fn find(&self) -> Option<Orphan> {
        let entries = fs::read_dir(&self.folder).ok()?;
        let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
        let mut files = paths.filter(|path| path.extension().is_some_and(|end| end == ENDING));
        files.find_map(|path| {
            let orphan = adopt(&path)?;
            tracing::info!(path = %path.display(), "reporting the unchecked calls of an earlier process");
            Some(orphan)
        })
    }
}

fn adopt(path: &Path) -> Option<Orphan> {
    let file = File::open(path).ok()?;
    file.try_lock().ok()?;
    // Its last owner may have removed it after it was opened here.
    path.exists().then(|| Orphan {
        path: path.to_owned(),
        reader: BufReader::new(file),
        reports: Vec::new(),
    })
}

impl Orphan {
    /// Reads until there is a batch, or the end.
    fn read(&mut self, counters: &Counters) {
        while self.reports.len() < AT_ONCE {
            let mut line = Vec::new();
            let read = (&mut self.reader).take(LONGEST_LINE).read_until(b'\n', &mut line);
            match read {
                Ok(0) => return,
                Ok(_) => match line.strip_suffix(b"\n").and_then(line::read) {
                    Some(report) => self.reports.push(report),
                    // What is left of a line that could not be written as a whole.
                    None if line == b"\n" => (),
                    None => counters.corrupt(),
                },
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => {
                    tracing::warn!(%error, path = %self.path.display(), "a file of unchecked calls can't be read on");
                    counters.corrupt();
                    return;
                }
            }
        }
    }
}

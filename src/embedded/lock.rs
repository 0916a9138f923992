//! One `up` per data folder: an advisory lock that the system gives back however the process ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::Path;

use super::error::EmbeddedError;

/// The held lock; dropping it gives it back.
#[derive(Debug)]
pub(super) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Takes the lock of a data folder and leaves this process's id in it, for the message that
    /// the next one gets.
    pub(super) fn take(data: &Path) -> Result<Self, EmbeddedError> {
        let path = data.join("lock");
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .map_err(EmbeddedError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => (),
            Err(TryLockError::WouldBlock) => {
                let holder = fs::read_to_string(&path).ok().and_then(|pid| pid.trim().parse().ok());
                return Err(EmbeddedError::Locked { data: data.to_owned(), holder });
            }
            Err(TryLockError::Error(source)) => {
                return Err(EmbeddedError::Io { doing: "lock", path, source });
            }
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}", std::process::id()))
            .map_err(EmbeddedError::io("write", &path))?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_refused_until_the_first_is_given_back() {
        let data = tempfile::tempdir().unwrap();
        let first = DataLock::take(data.path()).unwrap();
        let error = DataLock::take(data.path()).unwrap_err();
        assert!(
            matches!(error, EmbeddedError::Locked { holder: Some(pid), .. } if pid == std::process::id()),
            "{error}"
        );
        assert!(error.to_string().contains("embedded.data"), "{error}");
        drop(first);
        DataLock::take(data.path()).unwrap();
    }
}

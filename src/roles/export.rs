//! Writing an export to wherever it shall go, and noticing when ClickHouse has fallen silent.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, MissedTickBehavior};

use crate::store::{ErrorClass, Export, StoreError};

/// How often ClickHouse is asked how far it is.
const LOOK: Duration = Duration::from_millis(500);

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// Bytes.
    pub bytes: u64,
    /// Their SHA-256, in hexadecimal.
    pub sha256: String,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Rows that ClickHouse has read.
    pub rows: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// Why an export ended before it was complete.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file.
    #[error("can't write: {0}")]
    Write(#[from] std::io::Error),
    /// ClickHouse neither sent nor read anything for this time.
    #[error(
        "ClickHouse sent nothing and read nothing for {0:?} (setting clickhouse.query_timeout)"
    )]
    Silent(Duration),
}

impl ExportError {
    /// Whether the same again may succeed without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.class() == ErrorClass::Transient,
            Self::Write(_) => false,
            Self::Silent(_) => true,
        }
    }
}

/// Writes an export, and tells now and then how far it is. Gives up when nothing moves for `patience`.
///
/// # Errors
/// When it can't be completed: what was written is then not the whole.
pub async fn write(
    mut export: Export,
    mut to: impl AsyncWrite + Unpin,
    patience: Duration,
    mut tell: impl FnMut(ExportProgress),
) -> Result<Exported, ExportError> {
    let watch = export.watch();
    let mut looks = tokio::time::interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut digest = Sha256::new();
    let mut progress = ExportProgress::default();
    let mut moved = Instant::now();
    loop {
        tokio::select! {
            chunk = export.next() => {
                let Some(chunk) = chunk? else { break };
                to.write_all(&chunk).await?;
                digest.update(&chunk);
                progress.bytes = progress.bytes.saturating_add(chunk.len() as u64);
                moved = Instant::now();
            }
            _ = looks.tick() => {
                // A server that doesn't tell may still send.
                if let Ok(Some(rows)) = watch.rows_read().await && rows > progress.rows {
                    progress.rows = rows;
                    moved = Instant::now();
                }
                if moved.elapsed() > patience {
                    return Err(ExportError::Silent(patience));
                }
            }
        }
        tell(progress);
    }
    to.flush().await?;
    Ok(Exported { bytes: progress.bytes, sha256: hex::encode(digest.finalize()) })
}

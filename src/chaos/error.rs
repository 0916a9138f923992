//! What can keep a run from happening at all. That a promise is broken is no error but a finding.

use std::path::PathBuf;
use std::time::Duration;

use crate::bus::BusError;
use crate::config::ConfigError;
use crate::embedded::EmbeddedError;
use crate::roles::verify::VerifyError;
use crate::store::StoreError;

/// Why a run can't be made or finished.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// A server can't be prepared.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    /// The configuration of the run can't be used.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// NATS.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The verification.
    #[error(transparent)]
    Verify(#[from] VerifyError),
    /// A file, a folder, a port or a process.
    #[error("can't {doing} {}: {source}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A process does not become ready.
    #[error("{who} was not ready after {waited:?}: {last}; what it wrote is in {}", log.display())]
    NotReady {
        /// Which one.
        who: String,
        /// How long it was waited for.
        waited: Duration,
        /// What the last attempt to reach it said.
        last: String,
        /// The file with what it wrote.
        log: PathBuf,
    },
    /// The run was stopped before it began.
    #[error("stopped while the servers were starting")]
    Stopped,
}

impl ChaosError {
    /// Whether another run may go better with nothing changed.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Embedded(error) => error.is_transient(),
            Self::Bus(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Verify(error) => error.is_transient(),
            Self::NotReady { .. } => true,
            Self::Config(_) | Self::Io { .. } | Self::Stopped => false,
        }
    }

    /// For `map_err`: a failed attempt at a file, a folder or a process.
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

//! The console: HTTP. Health and metrics now; the API grows on the same server.

mod problem;
mod routes;

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use routes::{Shown, router};

/// The parts of the health that are ready once HTTP is answered.
pub const PARTS: [&str; 1] = ["http"];

/// Why the HTTP server ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// The port is somebody else's.
    #[error(
        "port {port} is taken by another program; free it, or choose another address with the \
         setting {setting} (environment variable {variable})"
    )]
    PortTaken {
        /// The port.
        port: u16,
        /// The setting that names it.
        setting: &'static str,
        /// The environment variable of the setting.
        variable: String,
    },
    /// The address can't be listened on.
    #[error("can't listen on {address} (setting {setting}): {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The setting that names it.
        setting: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The server ended.
    #[error("the HTTP server ended: {0}")]
    Serve(std::io::Error),
}

impl ConsoleError {
    /// Whether starting again may help without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Serve(_))
    }
}

/// Takes the address. Separate from [`serve`], so that a taken port is known before anything else
/// starts.
///
/// # Errors
/// When the port is taken or can't be used; the error names the setting.
pub async fn listen(
    address: SocketAddr,
    setting: &'static str,
) -> Result<TcpListener, ConsoleError> {
    TcpListener::bind(address).await.map_err(|source| match source.kind() {
        std::io::ErrorKind::AddrInUse => ConsoleError::PortTaken {
            port: address.port(),
            setting,
            variable: format!("SLUICEGATE_{}", setting.to_uppercase().replace('.', "_")),
        },
        _ => ConsoleError::Listen { address, setting, source },
    })
}

/// Answers until told to stop, then finishes the requests under way.
///
/// # Errors
/// When the server ends by itself.
pub async fn serve(
    listener: TcpListener,
    shown: Shown,
    stop: CancellationToken,
) -> Result<(), ConsoleError> {
    axum::serve(listener, router(shown))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await
        .map_err(ConsoleError::Serve)
}

//! The console: HTTP. The web console's pages and their API, doors for clients of other APIs (OPA's and
//! AuthZEN's), health, metrics. It decides nothing: checks go to the workers over NATS, whatever door
//! they came through.

mod api;
mod ask;
mod assets;
mod authzen;
mod directory;
mod doors;
mod enforcement;
mod guard;
mod opa;
mod problem;
mod routes;
mod server;
mod unchecked;

use std::net::SocketAddr;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use api::document as openapi;
pub use doors::{Doors, run};
pub use routes::{Shown, router};

use crate::bus::BusError;
use crate::config::tokens::TokensError;

/// The part of the health that is ready once HTTP is answered.
pub const HTTP_PART: &str = "http";

/// The parts of the health of a console.
pub const PARTS: [&str; 2] = [HTTP_PART, doors::NATS_PART];

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
    /// Whoever reaches the address could do everything.
    #[error(
        "setting http.listen is {address}, and there are no tokens: set http.tokens or \
         http.tokens_file; or listen on 127.0.0.1; or say with http.anonymous what callers without a \
         token may do"
    )]
    NoTokens {
        /// The address.
        address: SocketAddr,
    },
    /// The tokens can't be had.
    #[error(transparent)]
    Tokens(#[from] TokensError),
    /// NATS.
    #[error(transparent)]
    Bus(#[from] BusError),
}

impl ConsoleError {
    /// Whether starting again may help without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient(),
            Self::PortTaken { .. }
            | Self::Listen { .. }
            | Self::NoTokens { .. }
            | Self::Tokens(_) => false,
        }
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
pub async fn serve(listener: TcpListener, shown: Shown, stop: CancellationToken) {
    if let Some(doors) = &shown.doors {
        doors.end_with(stop.clone());
    }
    let bounds =
        server::Bounds { connections: shown.http.max_connections, idle: shown.http.idle_timeout };
    server::serve(listener, router(shown), bounds, stop).await;
}

//! The roles of the product. Each owns its loop, its drain and its health; a role joins the bus and
//! the store, which never import each other.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config::{Backoff, Config};
use crate::runtime::health::Health;
use crate::runtime::retry::RetryPolicy;

pub mod alerter;
pub mod console;
pub mod export;
mod in_flight;
pub mod policies_diff;
pub mod policies_folder;
mod retained;
pub mod sink;
pub mod status;
pub mod verify;
pub mod worker;

/// What every role is given.
#[derive(Clone, Debug)]
pub struct RoleContext {
    /// The configuration.
    pub config: Arc<Config>,
    /// Name of this process in events, metrics and NATS connections.
    pub name: String,
    /// Where the role says how it is.
    pub health: Health,
    /// Cancelled when the role should stop taking in and finish.
    pub stop: CancellationToken,
}

impl RoleContext {
    /// How to wait between attempts.
    #[must_use]
    pub fn retry(&self) -> RetryPolicy {
        retry_policy(&self.config.backoff)
    }
}

/// The configuration's backoff as the runtime takes it.
#[must_use]
pub const fn retry_policy(backoff: &Backoff) -> RetryPolicy {
    RetryPolicy { initial: backoff.initial, max: backoff.max, multiplier: backoff.multiplier }
}

/// The configured name of this process, else host name and process id.
#[must_use]
pub fn instance_name(config: &Config) -> String {
    if config.instance.name.is_empty() {
        let host = nix::unistd::gethostname()
            .ok()
            .and_then(|name| name.into_string().ok())
            .unwrap_or_else(|| "localhost".to_owned());
        format!("{host}-{}", std::process::id())
    } else {
        config.instance.name.clone()
    }
}

/// A size as the number of bytes that this machine can hold.
pub(crate) fn bytes(size: bytesize::ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

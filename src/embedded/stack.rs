//! Both servers together.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::runtime::health::Health;
use crate::runtime::retry::RetryPolicy;

use super::error::{EmbeddedError, Setting};
use super::find::{self, ClickHouseProgram};
use super::leftovers::Records;
use super::lock::DataLock;
use super::spec::Spec;
use super::supervisor::{Rules, Stop, Supervised};
use super::{clickhouse, endpoint, nats, port};

/// The embedded nats-server's name in the health of the process.
pub const NATS_PART: &str = "nats-server";
/// The embedded ClickHouse's name in the health of the process.
pub const CLICKHOUSE_PART: &str = "clickhouse-server";

/// The two servers, running and watched. Dropping it without [`Stack::stop`] kills them.
#[derive(Debug)]
pub struct Stack {
    nats: Supervised,
    clickhouse: Supervised,
    nats_description: String,
    clickhouse_description: String,
    // Last, so that the folder is given back after the servers are gone.
    _lock: DataLock,
}

impl Stack {
    /// Starts both servers where `nats.url` and `clickhouse.url` expect them and waits until they
    /// are ready. From then on each is a part of `health`, and is started again when it ends.
    /// Cancelling the token ends the start; it does not end servers that run, since the roles still
    /// need them to drain.
    ///
    /// # Errors
    /// When a setting, a program, a port or the data folder stands against it, or when a server
    /// does not become ready. Nothing is left running then.
    pub async fn start(
        config: &Config,
        health: Health,
        cancel: CancellationToken,
    ) -> Result<Self, EmbeddedError> {
        let nats_address = endpoint::loopback(endpoint::NATS, &config.nats.url)?;
        let clickhouse_address = endpoint::loopback(endpoint::CLICKHOUSE, &config.clickhouse.url)?;
        if nats_address == clickhouse_address {
            return Err(EmbeddedError::PortTaken {
                server: CLICKHOUSE_PART,
                address: clickhouse_address,
                setting: Setting::CLICKHOUSE_URL,
                holder: Some("nats.url, which names the same one".into()),
            });
        }
        nats::supported(config)?;
        clickhouse::supported(config)?;

        let data = data_folder(&config.embedded.data)?;
        let lock = DataLock::take(&data)?;
        let engine_has_data = clickhouse::engine_has_data(&data);
        let nats_program = find::nats_server(&config.embedded).await?;
        let clickhouse_program = find::clickhouse(&config.embedded, engine_has_data).await?;

        let records = Records::open(&data)?;
        records.end_leftovers().await;
        port::require_free(NATS_PART, nats_address, Setting::NATS_URL).await?;
        port::require_free(CLICKHOUSE_PART, clickhouse_address, Setting::CLICKHOUSE_URL).await?;

        let nats_spec = nats::prepare(config, &nats_program, nats_address, &data)?;
        let clickhouse_spec =
            clickhouse::prepare(config, &clickhouse_program, clickhouse_address, &data)?;
        let rules = Rules {
            records,
            ready_timeout: config.embedded.ready_timeout,
            retry: RetryPolicy {
                initial: config.backoff.initial,
                max: config.backoff.max,
                multiplier: config.backoff.multiplier,
            },
        };
        let (nats, clickhouse) =
            start_both(nats_spec, clickhouse_spec, &rules, &health, cancel).await?;
        Ok(Self {
            nats_description: format!("nats-server {} ({})", nats.version, nats_program.origin),
            clickhouse_description: match &clickhouse_program {
                ClickHouseProgram::Server(program) => {
                    format!("ClickHouse {} ({})", clickhouse.version, program.origin)
                }
                ClickHouseProgram::Engine { .. } => {
                    format!("ClickHouse engine {} (chDB)", clickhouse.version)
                }
            },
            nats,
            clickhouse,
            _lock: lock,
        })
    }

    /// Name, version and origin of the NATS server, for people: `nats-server 2.15.1 (tools)`.
    #[must_use]
    pub fn nats_description(&self) -> &str {
        &self.nats_description
    }

    /// Name, version and kind of the ClickHouse, for people: `ClickHouse engine 26.9.1.1 (chDB)`.
    #[must_use]
    pub fn clickhouse_description(&self) -> &str {
        &self.clickhouse_description
    }

    /// Ends both servers, ClickHouse before NATS, within the given time together: each is asked
    /// at first, and killed when its share of the time is over. To be called when the roles are
    /// gone.
    pub async fn stop(self, within: Duration) {
        let start = Instant::now();
        self.clickhouse.stop(start + within / 2).await;
        self.nats.stop(start + within).await;
    }
}

/// Starts both servers at once. When one fails the other is ended, and the error is the first's.
async fn start_both(
    nats: Spec,
    clickhouse: Spec,
    rules: &Rules,
    health: &Health,
    cancel: CancellationToken,
) -> Result<(Supervised, Supervised), EmbeddedError> {
    let stop = Stop::with(cancel.child_token());
    let start = async |spec: Spec, part| {
        let started = Supervised::start(spec, rules.clone(), health.part(part), &stop).await;
        if started.is_err() {
            stop.request(Instant::now() + GRACE);
        }
        started
    };
    match tokio::join!(start(nats, NATS_PART), start(clickhouse, CLICKHOUSE_PART)) {
        (Ok(nats), Ok(clickhouse)) => Ok((nats, clickhouse)),
        (Ok(other), Err(error)) | (Err(error), Ok(other)) => {
            other.stop(Instant::now() + GRACE).await;
            Err(error)
        }
        (Err(EmbeddedError::Cancelled), Err(error)) | (Err(error), Err(_)) => Err(error),
    }
}

/// How long a server that is fine may take to end because the other one is not.
const GRACE: Duration = Duration::from_secs(5);

/// The data folder, made if need be, for this user only, as a path that holds from anywhere.
pub(super) fn data_folder(path: &Path) -> Result<PathBuf, EmbeddedError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(EmbeddedError::io("create", path))?;
    path.canonicalize().map_err(EmbeddedError::io("use", path))
}

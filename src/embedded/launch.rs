//! One server alone, for who starts, watches and ends it himself: how to start it, and whether it
//! is ready. `sluicegate chaos` does so, since it ends servers in ways that a supervisor would mend.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::Config;

use super::error::EmbeddedError;
use super::probe::Probe;
use super::spec::Spec;
use super::stack::data_folder;
use super::{clickhouse, find, nats};

/// How to start one server.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its name.
    pub server: &'static str,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What is added to the environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// The folder it runs in.
    pub folder: PathBuf,
    probe: Probe,
}

impl Launch {
    /// A nats-server with JetStream that listens there and has its data below a folder.
    ///
    /// # Errors
    /// When there is no program, a setting that it can't serve, or the folder can't be written.
    pub async fn nats(
        config: &Config,
        address: SocketAddr,
        data: &Path,
    ) -> Result<Self, EmbeddedError> {
        let data = data_folder(data)?;
        let program = find::nats_server(&config.embedded).await?;
        Ok(nats::prepare(config, &program, address, &data)?.into())
    }

    /// A ClickHouse that listens there and has its data below a folder.
    ///
    /// # Errors
    /// As [`Self::nats`].
    pub async fn clickhouse(
        config: &Config,
        address: SocketAddr,
        data: &Path,
    ) -> Result<Self, EmbeddedError> {
        clickhouse::supported(config)?;
        let data = data_folder(data)?;
        let program =
            find::clickhouse(&config.embedded, clickhouse::engine_has_data(&data)).await?;
        Ok(clickhouse::prepare(config, &program, address, &data)?.into())
    }

    /// The version of the server that is ready, or what is missing until it is.
    ///
    /// # Errors
    /// While it is not ready.
    pub async fn version(&self) -> Result<String, String> {
        self.probe.version().await
    }
}

impl From<Spec> for Launch {
    fn from(spec: Spec) -> Self {
        Self {
            server: spec.server,
            program: spec.program,
            arguments: spec.arguments,
            environment: spec.environment,
            folder: spec.folder,
            probe: spec.probe,
        }
    }
}

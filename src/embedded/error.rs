//! What can go wrong, in words that say what to do about it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The key of a setting; shows itself with the environment variable that sets it too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting(pub &'static str);

impl Setting {
    /// `nats.url`
    pub(super) const NATS_URL: Self = Self("nats.url");
    /// `clickhouse.url`
    pub(super) const CLICKHOUSE_URL: Self = Self("clickhouse.url");
    /// `embedded.nats_server`
    pub(super) const NATS_SERVER: Self = Self("embedded.nats_server");
    /// `embedded.clickhouse`
    pub(super) const CLICKHOUSE: Self = Self("embedded.clickhouse");
    /// `embedded.chdb_server`
    pub(super) const CHDB_SERVER: Self = Self("embedded.chdb_server");

    /// The environment variable of this key: `SLUICEGATE_NATS_URL` for `nats.url`.
    #[must_use]
    pub fn variable(self) -> String {
        format!("SLUICEGATE_{}", self.0.replace('.', "_").to_uppercase())
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (environment variable {})", self.0, self.variable())
    }
}

/// Why the embedded servers did not start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The address is none that `up` may start a server on.
    #[error(
        "{} is {value:?}: {why}. `sluicegate up` starts its own servers, on loopback only; set {setting} to an address like {example}, or use servers that run already with `sluicegate serve`",
        setting.0
    )]
    Address {
        /// The setting that holds the address.
        setting: Setting,
        /// The address as configured.
        value: String,
        /// What is wrong with it.
        why: String,
        /// An address that works.
        example: &'static str,
    },
    /// A setting asks for something that the embedded servers don't do.
    #[error(
        "{setting} can't be used with `sluicegate up`: {why}; unset it, or use servers that run already with `sluicegate serve`"
    )]
    Unsupported {
        /// The setting.
        setting: Setting,
        /// Why it does not work here.
        why: &'static str,
    },
    /// No usable program was found.
    #[error(
        "no {what} found ({}): run `make setup`, or install it and put its path into {setting}",
        tried.join("; ")
    )]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// The setting that may name it.
        setting: Setting,
        /// Where it was looked for, and what spoke against what was found.
        tried: Vec<String>,
    },
    /// The program that a setting names does not work.
    #[error("{setting} names {}, {why}", path.display())]
    Program {
        /// The setting that names the program.
        setting: Setting,
        /// The program.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Somebody else listens on the port.
    #[error(
        "port {} of {} is taken{}, so {server} can't listen there: stop what holds it, or choose another port in {setting}",
        address.port(), address.ip(), holder.as_ref().map(|name| format!(" by {name}")).unwrap_or_default()
    )]
    PortTaken {
        /// The server that wanted the port.
        server: &'static str,
        /// The address.
        address: SocketAddr,
        /// The setting that holds the address.
        setting: Setting,
        /// Who holds it, where that could be found out.
        holder: Option<String>,
    },
    /// Another process uses the data folder.
    #[error(
        "the data folder {} is in use by another `sluicegate up`{}: stop that one, or choose another folder in {}",
        data.display(), holder.map(|pid| format!(" (process {pid})")).unwrap_or_default(), Setting("embedded.data")
    )]
    Locked {
        /// The data folder.
        data: PathBuf,
        /// The process id of the other one, where it said so.
        holder: Option<u32>,
    },
    /// The server ended while it was starting.
    #[error("{server} ended while starting ({how}){}", tail(log))]
    Ended {
        /// The server.
        server: &'static str,
        /// Exit code or signal.
        how: String,
        /// The last lines it wrote.
        log: Vec<String>,
    },
    /// The server does not answer.
    #[error(
        "{server} was not ready after {} s: {last}; if this machine is slow, raise {}{}",
        waited.as_secs(), Setting("embedded.ready_timeout"), tail(log)
    )]
    NotReady {
        /// The server.
        server: &'static str,
        /// How long it was waited for.
        waited: Duration,
        /// What the last attempt to reach it said.
        last: String,
        /// The last lines it wrote.
        log: Vec<String>,
    },
    /// The program could not be started at all.
    #[error("can't start {server} ({}): {source}", program.display())]
    Spawn {
        /// The server.
        server: &'static str,
        /// Its program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or folder can't be used.
    #[error("can't {doing} {}: {source}", path.display())]
    Io {
        /// What was tried: `create`, `write`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The process was told to stop while the servers were starting.
    #[error("stopped while the servers were starting")]
    Cancelled,
}

impl EmbeddedError {
    /// Whether trying again, with nothing changed, may help.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::NotReady { .. })
    }

    /// For `map_err`: a failed attempt at a file or folder.
    pub(super) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { doing, path, source }
    }
}

fn tail(log: &[String]) -> String {
    if log.is_empty() {
        return String::new();
    }
    format!("; its last lines:\n    {}", log.join("\n    "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_names_port_setting_variable_and_holder() {
        let error = EmbeddedError::PortTaken {
            server: "nats-server",
            address: SocketAddr::from(([127, 0, 0, 1], 4222)),
            setting: Setting::NATS_URL,
            holder: Some("redis-server (process 7)".into()),
        };
        let text = error.to_string();
        for part in ["4222", "127.0.0.1", "nats.url", "SLUICEGATE_NATS_URL", "redis-server"] {
            assert!(text.contains(part), "{part} is missing in: {text}");
        }
        assert!(!error.is_transient());
    }

    #[test]
    fn what_was_tried_is_listed() {
        let error = EmbeddedError::NotFound {
            what: "nats-server",
            setting: Setting::NATS_SERVER,
            tried: vec!["not on the PATH".into(), "not at tools/bin/nats-server".into()],
        };
        assert_eq!(
            error.to_string(),
            "no nats-server found (not on the PATH; not at tools/bin/nats-server): run `make setup`, or install it \
             and put its path into embedded.nats_server (environment variable SLUICEGATE_EMBEDDED_NATS_SERVER)"
        );
    }
}

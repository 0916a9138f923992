//! The embedded ClickHouse: a ClickHouse server with a configuration of ours, or its engine behind
//! the HTTP service of the Python package `chdb_server`.
//!
//! Each has a folder of its own, since they may be of different versions.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::config::Config;

use super::error::{EmbeddedError, Setting};
use super::find::ClickHouseProgram;
use super::nats::write_private;
use super::output::Dialect;
use super::probe::Probe;
use super::spec::Spec;

/// Environment variable from which the server reads the password.
const PASSWORD_VARIABLE: &str = "SLUICEGATE_CLICKHOUSE_PASSWORD";

/// Refuses settings that neither kind of server can be given.
pub(super) fn supported(config: &Config) -> Result<(), EmbeddedError> {
    let clickhouse = &config.clickhouse;
    let plain = |user: &str| {
        user.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && user.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    if !plain(&clickhouse.user) {
        return Err(EmbeddedError::Unsupported {
            setting: Setting("clickhouse.user"),
            why: "the embedded server takes names of letters, digits, `_` and `-` only",
        });
    }
    if clickhouse.password.expose().chars().any(char::is_control) {
        return Err(EmbeddedError::Unsupported {
            setting: Setting("clickhouse.password"),
            why: "a password with line breaks or control characters fits in no HTTP header",
        });
    }
    Ok(())
}

/// The folder of a ClickHouse server's data.
fn server_folder(data: &Path) -> PathBuf {
    data.join("clickhouse")
}

/// The folder of the engine's data.
fn engine_folder(data: &Path) -> PathBuf {
    data.join("chdb")
}

/// Whether the history in this data folder is the engine's.
pub(super) fn engine_has_data(data: &Path) -> bool {
    engine_folder(data).is_dir() && !server_folder(data).is_dir()
}

/// Writes what the server needs below the data folder and says how to start it.
pub(super) fn prepare(
    config: &Config,
    program: &ClickHouseProgram,
    address: SocketAddr,
    data: &Path,
) -> Result<Spec, EmbeddedError> {
    let clickhouse = &config.clickhouse;
    let probe = Probe::ClickHouse {
        address,
        user: clickhouse.user.clone(),
        password: clickhouse.password.clone(),
    };
    let (mine, other) = match program {
        ClickHouseProgram::Server(_) => (server_folder(data), engine_folder(data)),
        ClickHouseProgram::Engine { .. } => (engine_folder(data), server_folder(data)),
    };
    if other.is_dir() {
        tracing::warn!(
            "{} holds rows that were written by another kind of ClickHouse; they are not shown now",
            other.display()
        );
    }
    fs::create_dir_all(&mine).map_err(EmbeddedError::io("create", &mine))?;
    let spec = Spec {
        server: super::CLICKHOUSE_PART,
        program: PathBuf::new(),
        arguments: Vec::new(),
        environment: Vec::new(),
        folder: mine.clone(),
        marker: String::new(),
        dialect: Dialect::ClickHouse,
        probe,
        address,
        setting: Setting::CLICKHOUSE_URL,
    };
    match program {
        ClickHouseProgram::Server(program) => {
            let file = mine.join("config.xml");
            write_private(&file, &configuration(&clickhouse.user, address, &mine))?;
            let marker = format!("--config-file={}", file.display());
            Ok(Spec {
                program: program.path.clone(),
                arguments: vec!["server".into(), marker.clone().into()],
                environment: vec![
                    (PASSWORD_VARIABLE, clickhouse.password.expose().into()),
                    // Its watchdog would fork, and the process that we watch would be the wrong one.
                    ("CLICKHOUSE_WATCHDOG_ENABLE", "0".into()),
                ],
                marker,
                ..spec
            })
        }
        ClickHouseProgram::Engine { python, package } => Ok(Spec {
            program: python.clone(),
            arguments: vec![
                "-m".into(),
                "chdb_server".into(),
                "--data".into(),
                mine.clone().into(),
                "--host".into(),
                address.ip().to_string().into(),
                "--port".into(),
                address.port().to_string().into(),
            ],
            environment: vec![
                ("SLUICEGATE_CHDB_USER", clickhouse.user.as_str().into()),
                ("SLUICEGATE_CHDB_PASSWORD", clickhouse.password.expose().into()),
                ("PYTHONPATH", package.as_os_str().to_owned()),
                ("PYTHONUNBUFFERED", "1".into()),
            ],
            // `-m` puts the folder it runs in first in the search for modules.
            folder: package.clone(),
            marker: mine.to_string_lossy().into_owned(),
            dialect: Dialect::Chdb,
            ..spec
        }),
    }
}

/// The configuration of a ClickHouse server: HTTP on loopback, one user, everything else as the
/// server has it. The password comes from the environment.
fn configuration(user: &str, address: SocketAddr, folder: &Path) -> String {
    let (ip, port) = (address.ip(), address.port());
    let folder = escaped(&folder.to_string_lossy());
    format!(
        r#"<!-- Written by `sluicegate up` at every start: changes here are lost. -->
<clickhouse>
    <logger><level>warning</level><console>true</console></logger>
    <listen_host>{ip}</listen_host>
    <http_port>{port}</http_port>
    <path>{folder}/</path>
    <tmp_path>{folder}/tmp/</tmp_path>
    <user_files_path>{folder}/user_files/</user_files_path>
    <format_schema_path>{folder}/format_schemas/</format_schema_path>
    <profiles><default/></profiles>
    <quotas><default/></quotas>
    <users>
        <{user}>
            <password from_env="{PASSWORD_VARIABLE}"/>
            <networks><ip>::1</ip><ip>127.0.0.1</ip></networks>
            <profile>default</profile>
            <quota>default</quota>
        </{user}>
    </users>
</clickhouse>
"#
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::embedded::find::{Origin, Program};

    fn address() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8123))
    }

    fn config() -> Config {
        let mut config = Config::default();
        config.clickhouse.password = Secret::from("hunter2".to_owned());
        config
    }

    fn server() -> ClickHouseProgram {
        ClickHouseProgram::Server(Program { path: "/opt/clickhouse".into(), origin: Origin::Path })
    }

    fn engine() -> ClickHouseProgram {
        ClickHouseProgram::Engine { python: "/t/bin/python".into(), package: "/p".into() }
    }

    #[test]
    fn the_password_is_in_the_environment_only() {
        let data = tempfile::tempdir().unwrap();
        for program in [server(), engine()] {
            let spec = prepare(&config(), &program, address(), data.path()).unwrap();
            assert!(!format!("{:?}", spec.arguments).contains("hunter2"), "{spec:?}");
            assert!(spec.environment.iter().any(|(_, value)| value == "hunter2"), "{spec:?}");
            assert!(spec.arguments.iter().any(|argument| *argument == *spec.marker), "{spec:?}");
        }
        let file = fs::read_to_string(data.path().join("clickhouse/config.xml")).unwrap();
        assert!(
            file.contains("<http_port>8123</http_port>") && !file.contains("hunter2"),
            "{file}"
        );
    }

    #[test]
    fn the_engine_stays_with_its_history() {
        let data = tempfile::tempdir().unwrap();
        assert!(!engine_has_data(data.path()));
        prepare(&config(), &engine(), address(), data.path()).unwrap();
        assert!(engine_has_data(data.path()));
        prepare(&config(), &server(), address(), data.path()).unwrap();
        assert!(!engine_has_data(data.path()));
    }

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        for user in ["", "a b", "<x>", "1st"] {
            let mut config = Config::default();
            config.clickhouse.user = user.into();
            let error = supported(&config).unwrap_err().to_string();
            assert!(error.contains("clickhouse.user"), "{error}");
        }
        supported(&Config::default()).unwrap();
    }
}

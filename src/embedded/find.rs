//! Which programs to run: the configured one, else the one on the PATH, else the one that
//! `make setup` put into the tools folder.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::config::Embedded;

use super::error::{EmbeddedError, Setting};

/// The oldest nats-server with all that the streams and consumers use.
const OLDEST_NATS: Version = Version(2, 12);
/// The oldest ClickHouse with all that the tables use.
const OLDEST_CLICKHOUSE: Version = Version(25, 8);
/// How long a program may take to say its version.
const VERSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a program was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A setting names it.
    Configured,
    /// It is installed on this machine.
    Path,
    /// `make setup` installed it.
    Tools,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configured => "configured",
            Self::Path => "PATH",
            Self::Tools => "tools",
        })
    }
}

/// A program that was found and is recent enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its path.
    pub(super) path: PathBuf,
    /// Where it was found.
    pub(super) origin: Origin,
}

/// What stands for ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClickHouseProgram {
    /// A ClickHouse server.
    Server(Program),
    /// Its engine behind our HTTP service.
    Engine {
        /// The Python that has the engine.
        python: PathBuf,
        /// The folder of the Python package `chdb_server`.
        package: PathBuf,
    },
}

/// Year and number of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Version {
    /// The first thing in a text that looks like a version.
    fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(|word| {
            let mut parts = word.trim_start_matches('v').split('.');
            Some(Self(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
    }
}

/// The nats-server to run.
pub(super) async fn nats_server(config: &Embedded) -> Result<Program, EmbeddedError> {
    let setting = Setting::NATS_SERVER;
    let accept = |path| async move { check(path, &["--version"], OLDEST_NATS).await };
    if let Some(path) = configured(&config.nats_server) {
        return accept(path)
            .await
            .map(|path| Program { path, origin: Origin::Configured })
            .map_err(|(path, why)| EmbeddedError::Program { setting, path, why });
    }
    let mut tried = Vec::new();
    match on_path("nats-server", env::var_os("PATH").as_deref()) {
        None => tried.push("not on the PATH".to_owned()),
        Some(path) => match accept(path).await {
            Ok(path) => return Ok(Program { path, origin: Origin::Path }),
            Err((path, why)) => tried.push(skip(&path, &why)),
        },
    }
    let path = absolute(&config.tools.join("bin/nats-server"));
    if !is_program(&path) {
        tried.push(format!("not at {}", path.display()));
    } else {
        match accept(path).await {
            Ok(path) => return Ok(Program { path, origin: Origin::Tools }),
            Err((path, why)) => tried.push(format!("{} {why}", path.display())),
        }
    }
    Err(EmbeddedError::NotFound { what: "nats-server", setting, tried })
}

/// What to run as ClickHouse. `engine_has_data` says that the data folder was filled by the engine
/// in the tools folder: then an installed server is no reason to leave that history behind.
pub(super) async fn clickhouse(
    config: &Embedded,
    engine_has_data: bool,
) -> Result<ClickHouseProgram, EmbeddedError> {
    let setting = Setting::CLICKHOUSE;
    let accept =
        |path| async move { check(path, &["server", "--version"], OLDEST_CLICKHOUSE).await };
    if let Some(path) = configured(&config.clickhouse) {
        return accept(path)
            .await
            .map(|path| ClickHouseProgram::Server(Program { path, origin: Origin::Configured }))
            .map_err(|(path, why)| EmbeddedError::Program { setting, path, why });
    }
    let mut tried = Vec::new();
    if engine_has_data {
        tried.push("the data folder was filled by the engine in the tools folder".to_owned());
    } else {
        match on_path("clickhouse", env::var_os("PATH").as_deref()) {
            None => tried.push("not on the PATH".to_owned()),
            Some(path) => match accept(path).await {
                Ok(path) => {
                    return Ok(ClickHouseProgram::Server(Program { path, origin: Origin::Path }));
                }
                Err((path, why)) => tried.push(skip(&path, &why)),
            },
        }
    }
    let python = absolute(&config.tools.join("bin/python"));
    let package = absolute(&config.chdb_server);
    if !is_program(&python) {
        tried.push(format!("not in {}", absolute(&config.tools).display()));
        return Err(EmbeddedError::NotFound { what: "ClickHouse", setting, tried });
    }
    if !package.join("chdb_server").is_dir() {
        return Err(EmbeddedError::Program {
            setting: Setting::CHDB_SERVER,
            path: package,
            why: "which holds no Python package `chdb_server`: start from the project's folder, or set it to that folder's `embedded`".into(),
        });
    }
    Ok(ClickHouseProgram::Engine { python, package })
}

/// Says that an installed program is passed over, and why.
fn skip(path: &Path, why: &str) -> String {
    tracing::warn!("{} is not used: it {why}", path.display());
    format!("{} {why}", path.display())
}

fn configured(path: &Path) -> Option<PathBuf> {
    (!path.as_os_str().is_empty()).then(|| absolute(path))
}

/// The path as seen from anywhere, since the servers run in another folder. Unlike canonical paths
/// it keeps symbolic links: a Python environment is found by the link.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The first program of that name in a list of folders like the PATH.
fn on_path(name: &str, folders: Option<&OsStr>) -> Option<PathBuf> {
    env::split_paths(folders?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a program for its version and gives its path back if it is recent enough, else the path
/// and what speaks against it.
async fn check(
    path: PathBuf,
    arguments: &[&str],
    oldest: Version,
) -> Result<PathBuf, (PathBuf, String)> {
    let output =
        Command::new(&path).args(arguments).stdin(Stdio::null()).kill_on_drop(true).output();
    let why = match tokio::time::timeout(VERSION_TIMEOUT, output).await {
        Err(_) => format!("does not say its version within {} s", VERSION_TIMEOUT.as_secs()),
        Ok(Err(error)) => format!("can't be run: {error}"),
        Ok(Ok(output)) => {
            let text = String::from_utf8_lossy(&output.stdout);
            match Version::find(&text) {
                Some(version) if version >= oldest => return Ok(path),
                Some(version) => format!("is version {version}, older than {oldest}"),
                None => format!("does not say its version to `{}`", arguments.join(" ")),
            }
        }
    };
    Err((path, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn script(folder: &Path, name: &str, body: &str) -> PathBuf {
        fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn versions() {
        assert_eq!(Version::find("nats-server: v2.15.1"), Some(Version(2, 15)));
        assert_eq!(
            Version::find("ClickHouse server version 26.3.1.12 (official build)."),
            Some(Version(26, 3))
        );
        assert_eq!(Version::find("no such thing"), None);
        assert!(Version(2, 9) < Version(2, 12));
    }

    #[test]
    fn the_first_program_on_the_path_counts() {
        let folder = tempfile::tempdir().unwrap();
        let (first, second) = (folder.path().join("a"), folder.path().join("b"));
        fs::create_dir_all(&first).unwrap();
        fs::write(first.join("tool"), "not a program").unwrap();
        let program = script(&second, "tool", "");
        let list = env::join_paths([Path::new("relative"), &first, &second]).unwrap();
        assert_eq!(on_path("tool", Some(&list)), Some(program));
        assert_eq!(on_path("other", Some(&list)), None);
        assert_eq!(on_path("tool", None), None);
    }

    #[tokio::test]
    async fn a_configured_program_that_is_too_old_is_an_error_that_names_the_setting() {
        let folder = tempfile::tempdir().unwrap();
        let config = Embedded {
            nats_server: script(folder.path(), "nats-server", "echo nats-server: v2.10.4"),
            ..Embedded::default()
        };
        let error = nats_server(&config).await.unwrap_err().to_string();
        assert!(error.contains("embedded.nats_server") && error.contains("2.10"), "{error}");
        assert!(error.contains("older than 2.12"), "{error}");
    }

    #[tokio::test]
    async fn a_configured_program_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = script(folder.path(), "ch", "echo ClickHouse server version 26.3.1.1");
        let config = Embedded { clickhouse: path.clone(), ..Embedded::default() };
        assert_eq!(
            clickhouse(&config, true).await.unwrap(),
            ClickHouseProgram::Server(Program { path, origin: Origin::Configured })
        );
    }

    #[tokio::test]
    async fn the_engine_needs_its_package() {
        let folder = tempfile::tempdir().unwrap();
        let tools = folder.path().join("tools");
        let python = script(&tools.join("bin"), "python", "");
        let config =
            Embedded { tools, chdb_server: folder.path().join("embedded"), ..Embedded::default() };
        let error = clickhouse(&config, true).await.unwrap_err().to_string();
        assert!(error.contains("embedded.chdb_server"), "{error}");
        fs::create_dir_all(config.chdb_server.join("chdb_server")).unwrap();
        assert_eq!(
            clickhouse(&config, true).await.unwrap(),
            ClickHouseProgram::Engine { python, package: config.chdb_server }
        );
    }

    #[tokio::test]
    async fn without_tools_the_way_out_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let config = Embedded { tools: folder.path().join("none"), ..Embedded::default() };
        let error = clickhouse(&config, true).await.unwrap_err().to_string();
        assert!(error.contains("make setup") && error.contains("embedded.clickhouse"), "{error}");
    }
}

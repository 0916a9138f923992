//! Stand-ins for `support::servers` until it lands: real servers, started by path.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use sluicegate::config;

static NAMES: AtomicU32 = AtomicU32::new(0);

/// A name nobody else in this run has.
pub(crate) fn unique(what: &str) -> String {
    format!("{what}_{}_{}", std::process::id(), NAMES.fetch_add(1, Ordering::Relaxed))
}

/// ClickHouse's engine behind HTTP, in a process of its own.
pub(crate) struct ClickHouse {
    data: PathBuf,
    pub(crate) port: u16,
    child: Mutex<Option<Child>>,
    _folder: Option<tempfile::TempDir>,
}

impl ClickHouse {
    /// One for all tests that don't stop it: each has its own database.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<ClickHouse> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("ch");
        let (child, port) = spawn(&data, 0);
        Self { data, port, child: Mutex::new(Some(child)), _folder: Some(folder) }
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// At the same port, on the same data.
    pub(crate) fn restart(&self) {
        let (child, port) = spawn(&self.data, self.port);
        assert_eq!(port, self.port);
        *self.child.lock().unwrap() = Some(child);
    }

    pub(crate) fn config(&self) -> config::ClickHouse {
        config::ClickHouse {
            url: format!("http://127.0.0.1:{}", self.port),
            database: unique("db"),
            ..config::ClickHouse::default()
        }
    }
}

impl Drop for ClickHouse {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(data: &Path, port: u16) -> (Child, u16) {
    let mut child = Command::new("/tmp/tools/v/bin/python")
        .arg("/tmp/stlab/ch.py")
        .arg("--data")
        .arg(data)
        .args(["--port", &port.to_string()])
        .env("LEASH", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    (child, ready["port"].as_u64().unwrap().try_into().unwrap())
}

/// nats-server with JetStream.
pub(crate) struct Nats {
    folder: tempfile::TempDir,
    pub(crate) port: u16,
    child: Mutex<Option<Child>>,
}

impl Nats {
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (child, port) = spawn_nats(folder.path(), None);
        Self { folder, port, child: Mutex::new(Some(child)) }
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// SIGKILL.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn restart(&self) {
        let (child, _) = spawn_nats(self.folder.path(), Some(self.port));
        *self.child.lock().unwrap() = Some(child);
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn_nats(folder: &Path, port: Option<u16>) -> (Child, u16) {
    let ports = folder.join("ports");
    std::fs::remove_dir_all(&ports).ok();
    std::fs::create_dir_all(&ports).unwrap();
    let child = Command::new("/tmp/tools/v/bin/nats-server")
        .args(["-js", "-a", "127.0.0.1", "-p", &port.map_or("-1".to_owned(), |p| p.to_string())])
        .arg("-sd")
        .arg(folder.join("js"))
        .arg("--ports_file_dir")
        .arg(&ports)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let port = loop {
        assert!(std::time::Instant::now() < deadline, "nats-server did not start");
        let file = std::fs::read_dir(&ports).unwrap().next().map(|entry| entry.unwrap().path());
        let text = file.and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        if let Ok(found) = serde_json::from_str::<serde_json::Value>(&text) {
            let url = found["nats"][0].as_str().unwrap().to_owned();
            break url.rsplit(':').next().unwrap().parse().unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    (child, port)
}

//! Real servers for tests: each on a free port, with data of its own, ended with the test.
//!
//! All methods block until they are done, which takes a moment at most; async tests may call them.

use std::fs::{self, File};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use sluicegate::config;
use tempfile::TempDir;

/// Tells of a child that has stopped, without waiting.
const STOPPED: WaitPidFlag = WaitPidFlag::WUNTRACED.union(WaitPidFlag::WNOHANG);

/// How long anything may take here; far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// The folder that `make setup` fills; another one with `SLUICEGATE_TEST_TOOLS`.
pub(crate) fn tools() -> PathBuf {
    std::env::var_os("SLUICEGATE_TEST_TOOLS")
        .map_or_else(|| root().join(".sluicegate/tools"), PathBuf::from)
}

/// The folder of the Python package `chdb_server`.
pub(crate) fn chdb_server() -> PathBuf {
    root().join("embedded")
}

/// The nats-server of the tools, else the one on the PATH.
pub(crate) fn nats_server() -> PathBuf {
    let installed = tools().join("bin/nats-server");
    if installed.is_file() { installed } else { "nats-server".into() }
}

/// The Python of the tools, which has ClickHouse's engine.
pub(crate) fn python() -> PathBuf {
    tools().join("bin/python")
}

/// A name that nothing else in this run has.
pub(crate) fn unique(what: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{what}_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A port on which nobody listens, from below the range that outgoing connections take theirs from.
pub(crate) fn free_port() -> u16 {
    let start = RandomState::new().hash_one("port") % 20_000;
    (start..start + 20_000)
        .map(|number| 10_000 + u16::try_from(number % 20_000).unwrap())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("a free port")
}

/// Looks again and again until there is an answer.
pub(crate) fn poll<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = look() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within {PATIENCE:?}");
        std::thread::sleep(POLL);
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A nats-server with JetStream.
#[derive(Debug)]
pub(crate) struct NatsServer {
    process: Mutex<Process>,
    config: String,
    port: u16,
    folder: TempDir,
}

impl NatsServer {
    /// Starts one and waits until it answers.
    pub(crate) fn start() -> Self {
        Self::start_with("")
    }

    /// Starts one with additional lines of configuration, for example users.
    pub(crate) fn start_with(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new("nats-server", folder.path());
        process.run(&mut Self::command(&folder, config, "-1"));
        // With port -1 the server chooses, and says in a file which.
        let port = process.poll("the ports file", || {
            let entries = fs::read_dir(folder.path()).ok()?.flatten();
            let file = entries
                .map(|entry| entry.path())
                .find(|path| path.extension().is_some_and(|extension| extension == "ports"))?;
            let ports: Value = serde_json::from_slice(&fs::read(file).ok()?).ok()?;
            ports["nats"][0].as_str()?.rsplit_once(':')?.1.parse().ok()
        });
        Self::wait_ready(&mut process, port);
        Self { process: Mutex::new(process), config: config.to_owned(), port, folder }
    }

    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Ends it without warning, as a crash would.
    pub(crate) fn kill(&self) {
        self.process.lock().unwrap().end(Signal::SIGKILL);
    }

    /// Starts it again, on the same port with the same data; ends it before if it still runs.
    pub(crate) fn restart(&self) {
        let mut process = self.process.lock().unwrap();
        process.end(Signal::SIGTERM);
        process.run(&mut Self::command(&self.folder, &self.config, &self.port.to_string()));
        Self::wait_ready(&mut process, self.port);
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    pub(crate) fn pause(&self) {
        self.process.lock().unwrap().signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub(crate) fn resume(&self) {
        self.process.lock().unwrap().signal(Signal::SIGCONT);
    }

    fn command(folder: &TempDir, config: &str, port: &str) -> Command {
        let file = folder.path().join("nats-server.conf");
        let text = format!("jetstream {{ store_dir: {:?} }}\n{config}\n", folder.path());
        fs::write(&file, text).unwrap();
        let mut command = Command::new(nats_server());
        command.arg("--config").arg(file);
        command.args(["--addr", "127.0.0.1", "--port", port]);
        command.arg("--ports_file_dir").arg(folder.path());
        command
    }

    fn wait_ready(process: &mut Process, port: u16) {
        process.poll("the greeting", || {
            let mut greeting = [0; 5];
            connect(port)?.read_exact(&mut greeting).ok()?;
            (&greeting == b"INFO ").then_some(())
        });
    }
}

/// ClickHouse's engine behind HTTP.
#[derive(Debug)]
pub(crate) struct ClickHouse {
    process: Mutex<Process>,
    port: u16,
    folder: TempDir,
}

impl ClickHouse {
    /// One for all tests of this process that don't stop it: each has a database of its own.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<ClickHouse> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Starts one and waits until it answers. User `default`, no password.
    pub(crate) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::new("chdb_server", folder.path());
        process.run(&mut Self::command(&folder, 0));
        let port = Self::wait_ready(&mut process);
        Self { process: Mutex::new(process), port, folder }
    }

    /// How to reach it, with a database that nobody else has (and that is not there yet).
    pub(crate) fn config(&self) -> config::ClickHouse {
        config::ClickHouse {
            url: self.url(),
            database: unique("db"),
            ..config::ClickHouse::default()
        }
    }

    /// The URL for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Ends it without warning, as a crash would.
    pub(crate) fn kill(&self) {
        self.process.lock().unwrap().end(Signal::SIGKILL);
    }

    /// Starts it again, on the same port with the same data; ends it before if it still runs.
    pub(crate) fn restart(&self) {
        let mut process = self.process.lock().unwrap();
        process.end(Signal::SIGTERM);
        process.run(&mut Self::command(&self.folder, self.port));
        Self::wait_ready(&mut process);
    }

    /// Stops it in its tracks: connections stay open and nothing answers.
    pub(crate) fn pause(&self) {
        self.process.lock().unwrap().signal(Signal::SIGSTOP);
    }

    /// Lets it go on after [`Self::pause`].
    pub(crate) fn resume(&self) {
        self.process.lock().unwrap().signal(Signal::SIGCONT);
    }

    fn command(folder: &TempDir, port: u16) -> Command {
        let mut command = Command::new(python());
        command.args(["-m", "chdb_server", "--data"]).arg(folder.path().join("data"));
        command.args(["--host", "127.0.0.1", "--port", &port.to_string()]);
        command.env("PYTHONPATH", chdb_server()).current_dir(folder.path());
        command
    }

    /// The port, from the line with which it says that it is ready.
    fn wait_ready(process: &mut Process) -> u16 {
        let log = process.log.clone();
        process.poll("the line that it is ready", || {
            let said = fs::read_to_string(&log).ok()?;
            let mut lines = said.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let ready: Value = lines.find_map(|line| serde_json::from_str(line).ok())?;
            ready["port"].as_u64()?.try_into().ok()
        })
    }
}

fn connect(port: u16) -> Option<TcpStream> {
    let stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    Some(stream)
}

/// A process that may end and be run again. Its group is killed when this is dropped, and also when
/// the test process ends in a way that drops nothing: a shell waits for the end of a pipe that only
/// the test process holds.
#[derive(Debug)]
struct Process {
    name: &'static str,
    log: PathBuf,
    running: Option<(Child, Child)>,
}

impl Process {
    fn new(name: &'static str, folder: &Path) -> Self {
        Self { name, log: folder.join("log"), running: None }
    }

    fn run(&mut self, command: &mut Command) {
        let log = File::create(&self.log).unwrap();
        let child = command
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!(
                    "can't start {:?}: {error}; `make setup` installs the servers",
                    command.get_program()
                )
            });
        let leash = Command::new("/bin/sh")
            .args(["-c", r#"read -r _ || kill -s KILL -- "-$1""#, "leash", &child.id().to_string()])
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        self.running = Some((child, leash));
    }

    fn signal(&self, signal: Signal) {
        let (child, _) = self.running.as_ref().expect("it runs");
        let pid = Pid::from_raw(child.id().try_into().unwrap());
        killpg(pid, signal).unwrap();
        if signal == Signal::SIGSTOP {
            // The signal is on its way; a server that is still running may answer once more.
            poll("the process has stopped", || {
                matches!(waitpid(pid, Some(STOPPED)), Ok(WaitStatus::Stopped(..))).then_some(())
            });
        }
    }

    /// Ends it and waits until it is gone; nothing if it is gone already.
    fn end(&mut self, signal: Signal) {
        let Some((mut child, mut leash)) = self.running.take() else { return };
        let group = Pid::from_raw(child.id().try_into().unwrap());
        // One that is paused hears nothing but SIGKILL.
        _ = killpg(group, Signal::SIGCONT);
        _ = killpg(group, signal);
        let deadline = Instant::now() + Duration::from_secs(10);
        while child.try_wait().unwrap().is_none() {
            if Instant::now() >= deadline {
                _ = killpg(group, Signal::SIGKILL);
            }
            std::thread::sleep(POLL);
        }
        _ = leash.stdin.take().map(|mut pipe| pipe.write_all(b"\n"));
        _ = leash.wait();
    }

    /// Looks until there is an answer; fails with what the server wrote if there is none.
    fn poll<T>(&mut self, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(answer) = look() {
                return answer;
            }
            if Instant::now() >= deadline || self.is_gone() {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                panic!("{} ended or hangs, waiting for {what}:\n{said}", self.name);
            }
            std::thread::sleep(POLL);
        }
    }

    fn is_gone(&mut self) -> bool {
        let (child, _) = self.running.as_mut().expect("it was started");
        child.try_wait().unwrap().is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(Signal::SIGKILL);
    }
}

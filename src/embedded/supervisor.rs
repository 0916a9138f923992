//! Starts one server, waits until it is ready, watches it, starts it again when it ends, and ends
//! it when told to.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::runtime::health::Reporter;
use crate::runtime::retry::{Retry, RetryPolicy};

use super::error::EmbeddedError;
use super::leash::Leash;
use super::leftovers::Records;
use super::output::Output;
use super::port;
use super::spec::Spec;

/// Time between two looks at a server that is starting.
const POLL: Duration = Duration::from_millis(25);
/// How long a server may take to stop when nobody set a deadline.
const GRACE: Duration = Duration::from_secs(5);
/// A server that ran this long is not in a crash loop: its next restart waits little again.
const STABLE: Duration = Duration::from_secs(30);
/// The exit code by which `chdb_server` says that its port is taken.
const EXIT_PORT_TAKEN: i32 = 98;

/// What every server of the stack is run with.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    /// Where process ids are noted.
    pub(super) records: Records,
    /// How long a server may take to be ready.
    pub(super) ready_timeout: Duration,
    /// Waits between restarts.
    pub(super) retry: RetryPolicy,
}

/// The word to end, with the moment until which that may take.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    token: CancellationToken,
    deadline: Arc<OnceLock<Instant>>,
}

impl Stop {
    /// Ends as well when the token is cancelled, then within a short grace.
    pub(super) fn with(token: CancellationToken) -> Self {
        Self { token, deadline: Arc::default() }
    }

    /// Says the word; the first deadline counts.
    pub(super) fn request(&self, deadline: Instant) {
        _ = self.deadline.set(deadline);
        self.token.cancel();
    }

    fn deadline(&self) -> Instant {
        self.deadline.get().copied().unwrap_or_else(|| Instant::now() + GRACE)
    }
}

/// A server that is watched. Dropping it kills the server.
#[derive(Debug)]
pub(super) struct Supervised {
    /// The version that the server told.
    pub(super) version: String,
    stop: Stop,
    task: AbortOnDropHandle<()>,
}

impl Supervised {
    /// Starts a server and waits until it is ready, then watches it.
    pub(super) async fn start(
        spec: Spec,
        rules: Rules,
        reporter: Reporter,
        cancel: &Stop,
    ) -> Result<Self, EmbeddedError> {
        let (running, version) = bring_up(&spec, &rules, cancel).await?;
        reporter.ready();
        let stop = Stop::default();
        let task = tokio::spawn(watch(running, spec, rules, reporter, stop.clone()));
        Ok(Self { version, stop, task: AbortOnDropHandle::new(task) })
    }

    /// Ends the server: asked at first, killed at the deadline.
    pub(super) async fn stop(self, deadline: Instant) {
        self.stop.request(deadline);
        _ = self.task.await;
    }
}

/// A process with all that hangs on it.
struct Running {
    child: Child,
    group: Pid,
    output: Output,
    leash: Option<Leash>,
    since: Instant,
}

impl Running {
    fn launch(spec: &Spec, records: &Records) -> Result<Self, EmbeddedError> {
        let spawn_error = |source| EmbeddedError::Spawn {
            server: spec.server,
            program: spec.program.clone(),
            source,
        };
        let mut child = Command::new(&spec.program)
            .args(&spec.arguments)
            .envs(spec.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(&spec.folder)
            // Ctrl-C on the terminal is for `up`, which ends its servers after its own roles.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(spawn_error)?;
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        let group = id
            .map(Pid::from_raw)
            .ok_or_else(|| spawn_error(std::io::Error::other("it has no process id")))?;
        records.note(spec.server, group, &spec.marker);
        let output = Output::follow(&mut child, spec.server, spec.dialect);
        Ok(Self { child, group, output, leash: Leash::on(group), since: Instant::now() })
    }

    /// Asks the server to end and kills it at the deadline; gives its last lines.
    async fn end(mut self, deadline: Instant, spec: &Spec, records: &Records) -> Vec<String> {
        _ = killpg(self.group, Signal::SIGTERM);
        if tokio::time::timeout_at(deadline, self.child.wait()).await.is_err() {
            tracing::warn!(server = spec.server, "did not stop in time and is killed");
            _ = killpg(self.group, Signal::SIGKILL);
            _ = self.child.wait().await;
        }
        self.bury(spec, records).await
    }

    /// Cleans up behind a server that has ended; gives its last lines.
    async fn bury(self, spec: &Spec, records: &Records) -> Vec<String> {
        if let Some(leash) = self.leash {
            leash.release().await;
        }
        records.forget(spec.server);
        self.output.last_lines().await
    }
}

/// Starts a server and waits until it is ready; gives the version that it told.
async fn bring_up(
    spec: &Spec,
    rules: &Rules,
    stop: &Stop,
) -> Result<(Running, String), EmbeddedError> {
    let mut running = Running::launch(spec, &rules.records)?;
    let deadline = running.since + rules.ready_timeout;
    loop {
        let missing = tokio::select! {
            biased;
            () = stop.token.cancelled() => {
                running.end(stop.deadline(), spec, &rules.records).await;
                return Err(EmbeddedError::Cancelled);
            }
            status = running.child.wait() => {
                let log = running.bury(spec, &rules.records).await;
                return Err(ended(spec, status, log));
            }
            answer = spec.probe.version() => match answer {
                Ok(version) => return Ok((running, version)),
                Err(missing) => missing,
            },
        };
        if Instant::now() >= deadline {
            return Err(EmbeddedError::NotReady {
                server: spec.server,
                waited: rules.ready_timeout,
                last: missing,
                log: running.end(Instant::now() + GRACE, spec, &rules.records).await,
            });
        }
        tokio::time::sleep(POLL).await;
    }
}

/// Watches a server until told to stop.
async fn watch(mut running: Running, spec: Spec, rules: Rules, reporter: Reporter, stop: Stop) {
    let mut retry = Retry::new(rules.retry);
    loop {
        let status = tokio::select! {
            biased;
            () = stop.token.cancelled() => {
                running.end(stop.deadline(), &spec, &rules.records).await;
                return;
            }
            status = running.child.wait() => status,
        };
        let gone_since = Instant::now();
        if gone_since.duration_since(running.since) >= STABLE {
            retry.reset();
        }
        reporter.waiting(format!("{} ended ({}); starting it again", spec.server, how(status)));
        running.bury(&spec, &rules.records).await;
        running = loop {
            tokio::select! {
                () = stop.token.cancelled() => return,
                () = tokio::time::sleep(retry.next_delay()) => (),
            }
            match bring_up(&spec, &rules, &stop).await {
                Ok((running, _)) => break running,
                Err(EmbeddedError::Cancelled) => return,
                Err(error) => reporter.waiting(format!("{error}; trying again")),
            }
        };
        let seconds = gone_since.elapsed().as_secs_f32();
        tracing::info!(server = spec.server, "is back after {seconds:.1} s");
        reporter.ready();
    }
}

/// The error for a server that ended while it was starting.
fn ended(spec: &Spec, status: std::io::Result<ExitStatus>, log: Vec<String>) -> EmbeddedError {
    let says_so = |line: &String| line.to_ascii_lowercase().contains("address already in use");
    let code = status.as_ref().ok().and_then(ExitStatus::code);
    if code == Some(EXIT_PORT_TAKEN) || log.iter().any(says_so) {
        return port::taken(spec.server, spec.address, spec.setting);
    }
    EmbeddedError::Ended { server: spec.server, how: how(status), log }
}

fn how(status: std::io::Result<ExitStatus>) -> String {
    match status {
        Err(error) => format!("its status is unknown: {error}"),
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => Signal::try_from(signal)
                .map_or_else(|_| format!("signal {signal}"), |signal| signal.to_string()),
            (None, None) => status.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;
    use crate::embedded::error::Setting;
    use crate::embedded::output::Dialect;
    use crate::embedded::probe::Probe;
    use std::net::{SocketAddr, TcpListener};
    use std::path::Path;

    /// A "server" that is a shell script, and an address on which nobody answers.
    fn script(folder: &Path, body: &str) -> (Spec, Rules) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (
            Spec {
                server: "clickhouse-server",
                program: "/bin/sh".into(),
                arguments: vec!["-c".into(), body.into()],
                environment: Vec::new(),
                folder: folder.to_owned(),
                marker: body.to_owned(),
                dialect: Dialect::Chdb,
                probe: Probe::ClickHouse {
                    address: SocketAddr::from(([127, 0, 0, 1], 1)),
                    user: String::new(),
                    password: Secret::default(),
                },
                address,
                setting: Setting::CLICKHOUSE_URL,
            },
            Rules {
                records: Records::open(folder).unwrap(),
                ready_timeout: Duration::from_millis(300),
                retry: RetryPolicy { initial: POLL, max: POLL, multiplier: 1.0 },
            },
        )
    }

    async fn fails(body: &str) -> EmbeddedError {
        let folder = tempfile::tempdir().unwrap();
        let (spec, rules) = script(folder.path(), body);
        let error = bring_up(&spec, &rules, &Stop::default()).await.err().unwrap();
        assert_eq!(std::fs::read_dir(folder.path().join("run")).unwrap().count(), 0);
        error
    }

    #[tokio::test]
    async fn a_server_that_ends_at_once_shows_its_last_words() {
        let error = fails("echo no module named chdb >&2; exit 3").await.to_string();
        assert!(error.contains("exit code 3") && error.contains("no module named"), "{error}");
    }

    #[tokio::test]
    async fn a_port_lost_in_a_race_is_told_as_such() {
        for body in ["exit 98", "echo 'listen: bind: address already in use' >&2; exit 1"] {
            let error = fails(body).await;
            assert!(matches!(error, EmbeddedError::PortTaken { .. }), "{error}");
        }
    }

    #[tokio::test]
    async fn a_server_that_never_answers_is_ended() {
        let error = fails("sleep 60 & wait").await;
        assert!(error.is_transient() && error.to_string().contains("ready_timeout"), "{error}");
    }

    #[tokio::test]
    async fn the_word_to_stop_is_heard_while_starting_and_a_stubborn_server_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let (spec, mut rules) = script(folder.path(), "trap '' TERM; while :; do sleep 0.1; done");
        rules.ready_timeout = Duration::from_secs(60);
        let stop = Stop::default();
        let (result, ()) = tokio::join!(bring_up(&spec, &rules, &stop), async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            stop.request(Instant::now() + Duration::from_millis(200));
        });
        assert!(matches!(result.err(), Some(EmbeddedError::Cancelled)));
    }
}

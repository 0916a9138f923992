//! A component as this process runs it: how it is started each time, and how it is asked.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::error::ChaosError;
use super::process::{Plan, Process};
use super::receiver::Receiver;
use super::schedule::Component;
use super::ways::Ways;
use crate::config::Config;
use crate::embedded::Launch;

/// How long a component may take to be ready; a machine under load is slow.
const READY: Duration = Duration::from_secs(60);
/// Time between two looks.
const POLL: Duration = Duration::from_millis(50);
/// How long one question over HTTP may take.
const QUESTION: Duration = Duration::from_secs(2);

/// What all members of a fleet share.
#[derive(Debug)]
pub(super) struct Ground {
    /// The program of the roles.
    pub(super) program: PathBuf,
    /// Where everything is kept.
    pub(super) folder: PathBuf,
    /// The configuration file of the roles.
    pub(super) file: PathBuf,
    /// The same configuration, as this process itself uses it.
    pub(super) config: Config,
    /// Who reaches whom.
    pub(super) ways: Ways,
    /// What the alerter posts to.
    pub(super) receiver: Receiver,
}

/// A component with its process, while it has one.
#[derive(Debug)]
pub(super) struct Member {
    component: Component,
    ground: Arc<Ground>,
    http: reqwest::Client,
    address: SocketAddr,
    process: Option<Process>,
    /// Whether it was stopped in its tracks.
    pub(super) paused: bool,
}

impl Member {
    pub(super) fn new(component: Component, ground: &Arc<Ground>) -> Self {
        Self {
            component,
            ground: Arc::clone(ground),
            http: reqwest::Client::new(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            process: None,
            paused: false,
        }
    }

    /// Starts it on a free port. A server is waited for; a role may have to wait for servers that
    /// are away, so it is not.
    pub(super) async fn start(&mut self) -> Result<(), ChaosError> {
        self.address = free_address(self.component)?;
        let launch = self.launch().await?;
        let plan = match &launch {
            Some(launch) => Plan {
                program: launch.program.clone(),
                arguments: launch.arguments.clone(),
                environment: launch.environment.clone(),
                folder: launch.folder.clone(),
                log: self.log(),
            },
            None => self.role(),
        };
        std::fs::create_dir_all(&plan.folder).map_err(ChaosError::io("create", &plan.folder))?;
        self.process = Some(Process::start(&plan)?);
        self.paused = false;
        if let Some(launch) = launch {
            self.wait_for(async || launch.version().await.map(|_| ())).await?;
            self.ground.ways.lead_to(self.component, self.address);
        }
        Ok(())
    }

    /// Waits until it says that all its parts are ready.
    pub(super) async fn ready(&self) -> Result<(), ChaosError> {
        self.wait_for(async || self.ask("readyz").await.map(|_| ())).await
    }

    /// What it says over HTTP, or why it doesn't; only roles do.
    pub(super) async fn ask(&self, path: &str) -> Result<String, String> {
        let url = format!("http://{}/{path}", self.address);
        let answer = self.http.get(url).timeout(QUESTION).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(text) } else { Err(format!("{status}: {}", text.trim())) }
    }

    /// Its process, taken out; none while it has none.
    pub(super) const fn take(&mut self) -> Option<Process> {
        self.process.take()
    }

    /// Stops it in its tracks, or lets it go on.
    pub(super) fn pause(&mut self, paused: bool) {
        self.paused = paused;
        if let Some(process) = &self.process {
            process.signal(if paused { Signal::SIGSTOP } else { Signal::SIGCONT });
        }
    }

    /// How it ended, if it did so by itself; then it has no process any more.
    pub(super) async fn ended(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.ended()?;
        if let Some(process) = self.process.take() {
            process.bury().await;
        }
        Some(status.to_string())
    }

    async fn wait_for(&self, look: impl AsyncFn() -> Result<(), String>) -> Result<(), ChaosError> {
        let start = Instant::now();
        loop {
            let Err(last) = look().await else { return Ok(()) };
            if start.elapsed() >= READY {
                let who = self.component.to_string();
                return Err(ChaosError::NotReady { who, waited: READY, last, log: self.log() });
            }
            tokio::time::sleep(POLL).await;
        }
    }

    async fn launch(&self) -> Result<Option<Launch>, ChaosError> {
        let (config, folder) = (&self.ground.config, self.folder());
        Ok(match self.component {
            Component::Nats(_) => Some(Launch::nats(config, self.address, &folder).await?),
            Component::ClickHouse => Some(Launch::clickhouse(config, self.address, &folder).await?),
            Component::Worker(_) | Component::Sink(_) | Component::Alerter(_) => None,
        })
    }

    /// How a role is started: as a user starts it, with a file and a few keys of its own.
    fn role(&self) -> Plan {
        use super::schedule::Way;

        let ways = &self.ground.ways;
        let (role, way) = match self.component {
            Component::Worker(_) => ("worker", Way::WorkersToNats),
            Component::Alerter(_) => ("alerter", Way::AlerterToNats),
            _ => ("sink", Way::SinksToNats),
        };
        let mut arguments: Vec<OsString> =
            vec![role.into(), "--config".into(), self.ground.file.clone().into()];
        for (key, value) in [
            ("instance.name", self.component.to_string()),
            ("nats.url", ways.nats_url(Some(way))),
            ("clickhouse.url", ways.clickhouse_url(Some(Way::SinksToClickHouse))),
            ("telemetry.listen", self.address.to_string()),
            ("alerter.cloudevents", self.ground.receiver.url()),
            ("audit.spill_folder", self.folder().join("spill").display().to_string()),
        ] {
            arguments.push("--set".into());
            arguments.push(format!("{key}={value}").into());
        }
        Plan {
            program: self.ground.program.clone(),
            arguments,
            environment: Vec::new(),
            folder: self.folder(),
            log: self.log(),
        }
    }

    fn folder(&self) -> PathBuf {
        self.ground.folder.join(self.component.to_string())
    }

    /// The file with what it wrote.
    fn log(&self) -> PathBuf {
        self.ground.folder.join("logs").join(format!("{}.log", self.component))
    }
}

/// An address on which nobody listens, with a port from below the range that outgoing connections
/// take theirs from.
fn free_address(component: Component) -> Result<SocketAddr, ChaosError> {
    const FIRST: u16 = 10_000;
    const PORTS: u16 = 20_000;
    // Several runs may look at once: each begins elsewhere.
    let random = uuid::Uuid::new_v4().as_u128() % u128::from(PORTS);
    let start = u16::try_from(random).unwrap_or_default();
    let mut refused = None;
    for number in 0..PORTS {
        let port = FIRST + (start + number) % PORTS;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        match TcpListener::bind(address) {
            Ok(_) => return Ok(address),
            Err(error) => refused = Some(error),
        }
    }
    let error = refused.unwrap_or_else(|| std::io::Error::other("no port"));
    Err(ChaosError::io("find a free port for", component.to_string())(error))
}

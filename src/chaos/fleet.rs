//! The fleet: servers, workers and sinks, all of them processes, all started, harmed and ended here.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use super::error::ChaosError;
use super::log::Log;
use super::member::{Ground, Member};
use super::proxy::State;
use super::receiver::{Posted, Receiver};
use super::schedule::{Component, Fault, FaultKind, Target, Way};
use super::ways::Ways;
use crate::config::{Config, Sources, load};

/// How long a role may take to end when it is told to, beyond its own drain.
const GRACE: Duration = Duration::from_secs(5);
/// Time between two looks at whether all processes are there.
const WATCH: Duration = Duration::from_millis(200);

/// What a fleet consists of.
#[derive(Clone, Debug)]
pub struct Size {
    /// Workers.
    pub workers: usize,
    /// Sinks.
    pub sinks: usize,
    /// How long faults will go on: the stream must hold all that is decided meanwhile.
    pub length: Duration,
}

/// The policies of a run: one that allows, and one that denies what a budget can't pay for.
const POLICIES: [(&str, &str); 3] = [
    ("default.rego", include_str!("../../policies/default.rego")),
    ("cost_control.rego", include_str!("../../policies/cost_control.rego")),
    ("policies.toml", "[default]\nstatus = \"active\"\n\n[cost_control]\nstatus = \"active\"\n"),
];

/// A fleet that runs. Dropping it kills all its processes.
#[derive(Debug)]
pub struct Fleet {
    ground: Arc<Ground>,
    members: BTreeMap<Component, Arc<Mutex<Member>>>,
    /// One fault at a time for each way.
    ways: BTreeMap<Way, Mutex<()>>,
    log: Log,
}

impl Fleet {
    /// Starts everything below a folder, with servers found as `up` finds them, and waits until all
    /// of it is ready.
    ///
    /// # Errors
    /// When something can't be started; nothing is left running then.
    pub async fn start(
        program: PathBuf,
        folder: &Path,
        programs: &crate::config::Embedded,
        size: &Size,
        log: &Log,
    ) -> Result<Self, ChaosError> {
        let folder = std::path::absolute(folder).map_err(ChaosError::io("use", folder))?;
        for part in ["logs", "policies"] {
            let part = folder.join(part);
            std::fs::create_dir_all(&part).map_err(ChaosError::io("create", &part))?;
        }
        for (name, text) in POLICIES {
            let path = folder.join("policies").join(name);
            std::fs::write(&path, text).map_err(ChaosError::io("write", &path))?;
        }
        let file = folder.join("sluicegate.toml");
        std::fs::write(&file, configuration(&folder, size))
            .map_err(ChaosError::io("write", &file))?;

        let servers = [Component::Nats(1), Component::ClickHouse];
        let ways = Ways::open(&servers).await?;
        let mut config: Config =
            load(&Sources { file: Some(file.clone()), ..Sources::default() })?.config;
        config.nats.url = ways.nats_url(None);
        config.clickhouse.url = ways.clickhouse_url(None);
        config.embedded = programs.clone();
        // Reading a whole table takes longer than what a sink asks.
        config.clickhouse.query_timeout = Duration::from_secs(120);
        let receiver = Receiver::start().await?;
        let ground = Arc::new(Ground { program, folder, file, config, ways, receiver });

        let roles = (1..=size.workers).map(Component::Worker);
        let roles = roles.chain((1..=size.sinks).map(Component::Sink));
        let roles = roles.chain([Component::Alerter(1)]);
        let members = servers
            .into_iter()
            .chain(roles)
            .map(|component| (component, Arc::new(Mutex::new(Member::new(component, &ground)))));
        let fleet = Self {
            members: members.collect(),
            ways: Way::ALL.into_iter().map(|way| (way, Mutex::new(()))).collect(),
            ground,
            log: log.clone(),
        };
        for member in fleet.members.values() {
            member.lock().await.start().await?;
        }
        fleet.ready().await?;
        Ok(fleet)
    }

    /// The configuration by which this process reaches the servers, on ways that are never cut.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.ground.config
    }

    /// Where NATS is for those who go a way.
    #[must_use]
    pub fn nats_url(&self, way: Way) -> String {
        self.ground.ways.nats_url(Some(way))
    }

    /// What the alerter has posted so far.
    #[must_use]
    pub fn posted(&self) -> Posted {
        self.ground.receiver.posted()
    }

    /// All its processes.
    #[must_use]
    pub fn components(&self) -> Vec<Component> {
        self.members.keys().copied().collect()
    }

    /// Waits until every role says that all its parts are ready.
    ///
    /// # Errors
    /// When one doesn't within a time that is far above what it takes.
    pub async fn ready(&self) -> Result<(), ChaosError> {
        for (component, member) in &self.members {
            if component.is_role() {
                member.lock().await.ready().await?;
            }
        }
        Ok(())
    }

    /// What every worker says over HTTP.
    pub(super) async fn ask_workers(&self, path: &str) -> Result<Vec<String>, String> {
        self.ask(path, |component| matches!(component, Component::Worker(_))).await
    }

    /// What every role says over HTTP.
    pub(super) async fn ask_all(&self, path: &str) -> Result<Vec<String>, String> {
        self.ask(path, Component::is_role).await
    }

    async fn ask(
        &self,
        path: &str,
        whom: impl Fn(Component) -> bool,
    ) -> Result<Vec<String>, String> {
        let mut answers = Vec::new();
        for (component, member) in &self.members {
            if whom(*component) {
                let answer = member.lock().await.ask(path).await;
                answers.push(answer.map_err(|error| format!("{component}: {error}"))?);
            }
        }
        Ok(answers)
    }

    /// Does one thing to one target, and undoes it. One that has another fault is waited for.
    ///
    /// # Errors
    /// When a process can't be started again.
    pub(super) async fn harm(&self, fault: &Fault) -> Result<(), ChaosError> {
        match fault.target {
            Target::Component(component) => self.harm_component(component, fault).await,
            Target::Way(way) => {
                self.harm_way(way, fault).await;
                Ok(())
            }
        }
    }

    async fn harm_component(&self, component: Component, fault: &Fault) -> Result<(), ChaosError> {
        let Some(member) = self.members.get(&component) else { return Ok(()) };
        let mut member = member.lock().await;
        let lasts = fault.lasts.as_secs_f64();
        match fault.kind {
            FaultKind::Pause => {
                self.log.fault(fault.kind, format!("pause {component} for {lasts:.1} s"));
                member.pause(true);
                tokio::time::sleep(fault.lasts).await;
                member.pause(false);
                self.log.note(format!("{component} goes on"));
                return Ok(());
            }
            FaultKind::Restart => {
                self.log.fault(fault.kind, format!("restart {component}"));
                let within = self.ground.config.shutdown.drain + GRACE;
                if let Some(process) = member.take() {
                    match process.end(within).await {
                        Some(status) if status.success() => (),
                        Some(status) => self.log.note(format!("{component} ended: {status}")),
                        None => self.log.note(format!("{component} did not end and was killed")),
                    }
                }
            }
            _ => {
                self.log.fault(fault.kind, format!("kill {component}, back in {lasts:.1} s"));
                if let Some(process) = member.take() {
                    process.kill().await;
                }
            }
        }
        tokio::time::sleep(fault.lasts).await;
        member.start().await?;
        self.log.note(format!("{component} is started again"));
        Ok(())
    }

    async fn harm_way(&self, way: Way, fault: &Fault) {
        let Some(turn) = self.ways.get(&way) else { return };
        let _turn = turn.lock().await;
        let lasts = fault.lasts.as_secs_f64();
        let (state, what) = match fault.kind {
            FaultKind::Cut => (State::Cut, format!("cut {way} for {lasts:.1} s")),
            FaultKind::Freeze => (State::Frozen, format!("freeze {way} for {lasts:.1} s")),
            _ => (
                State::Late(fault.late),
                format!("delay {way} by {} ms for {lasts:.1} s", fault.late.as_millis()),
            ),
        };
        self.log.fault(fault.kind, what);
        self.ground.ways.set(way, state);
        tokio::time::sleep(fault.lasts).await;
        self.ground.ways.set(way, State::Open);
        self.log.note(format!("{way} is open again"));
    }

    /// Watches for processes that end though nobody harmed them, and starts them again, as whoever
    /// runs them in production would. Each is noted and returned at the end.
    pub(super) async fn watch(&self, stop: CancellationToken) -> Result<Vec<String>, ChaosError> {
        let mut found = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(found),
                () = tokio::time::sleep(WATCH) => (),
            }
            for (component, member) in &self.members {
                // One that is locked is being harmed.
                let Ok(mut member) = member.try_lock() else { continue };
                let Some(how) = member.ended().await else { continue };
                let at = self.log.seconds();
                self.log.note(format!("{component} ended by itself: {how}"));
                found.push(format!("{component} ended by itself at {at:.1} s: {how}"));
                member.start().await?;
            }
        }
    }

    /// Ends everything, roles first.
    pub async fn stop(self) {
        let within = self.ground.config.shutdown.drain + GRACE;
        let (servers, roles): (Vec<_>, Vec<_>) =
            self.members.into_iter().partition(|(it, _)| !it.is_role());
        for group in [roles, servers] {
            let ended = group.into_iter().map(async |(_, member)| {
                let mut member = member.lock().await;
                if let Some(process) = member.take() {
                    process.end(within).await;
                }
            });
            futures::future::join_all(ended).await;
        }
    }
}

/// The configuration of the fleet: times short enough for a run to see many recoveries, sizes that
/// the disk of any machine has room for.
fn configuration(folder: &Path, size: &Size) -> String {
    // A few hundred checks a second at about 3 KiB each with their violations.
    let minutes = size.length.as_secs().div_ceil(60);
    let stream_mib = 192 + 96 * minutes;
    let mut text = String::new();
    // Writing to a string never fails.
    _ = writeln!(
        text,
        r#"# Written by `sluicegate chaos`.
[nats]
connection_timeout = "2s"
request_timeout = "2s"

[stream]
max_bytes = "{stream_mib}MiB"
dead_letter_max_bytes = "16MiB"

[audit]
acknowledge_timeout = "1s"
checkpoint = "2s"

[chain]
interval = "1s"

[limits]
time = "10s"

[policies]
folder = {policies:?}
max_bytes = "16MiB"

[clickhouse]
connection_timeout = "2s"
insert_timeout = "5s"
query_timeout = "5s"

[sink]
batch_rows = 500
batch_age = "100ms"
ack_wait = "5s"
takeover = "2s"

[alerter]
timeout = "2s"
dedup_window = "1ms"
rate_limit = 100000

[backoff]
max = "1s"
"#,
        policies = folder.join("policies").display().to_string(),
    );
    text
}

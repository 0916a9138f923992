//! The policies in force: what the bucket holds, compiled, and swapped whole with every change.
//!
//! A change is a message of the bucket's stream. The worker reads the newest of each policy at the
//! start, then follows; when the connection was lost, or the bucket is not what was read, it reads
//! anew. Whatever goes wrong, the last good policies stay in force and the health says so.

mod assemble;
mod records;
mod report;
mod seed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(in crate::roles) use self::assemble::entry;
pub(super) use self::assemble::{Assembler, file_name, source_of};
pub(super) use self::records::ENFORCEMENT_KEY;
use self::records::Records;
use self::seed::LeftOut;
pub use self::seed::{AdmittedFolder, admit_folder};
use super::decide::fail_mode;
use super::recording::Checkpoints;
use super::{WorkerError, spawn_until};
use crate::bus::{Bucket, Connection, Following};
use crate::config::Config;
use crate::domain::{EnforcementMode, EnforcementRecord, PolicyRecord};
use crate::engine::{CompileLimits, PolicySet};
use crate::roles::{RoleContext, bytes};
use crate::runtime::health::Reporter;
use crate::runtime::metrics::{self, ReloadResult};
use crate::runtime::retry::Retry;

/// Everything by which decisions are made at one moment.
#[derive(Debug)]
pub(super) struct InForce {
    /// The policies, compiled.
    pub(super) set: Arc<PolicySet>,
    /// Their records, also of deleted ones, by name.
    pub(super) records: BTreeMap<String, Arc<PolicyRecord>>,
    /// The switch as the bucket has it.
    pub(super) switch: EnforcementRecord,
    /// Whether the bucket has it too: somebody may have removed it by hand.
    pub(super) switch_is_stored: bool,
    /// How policies take part on this worker: its configuration can switch enforcement off too.
    pub(super) enforcement: EnforcementMode,
    /// The newest sequence of the bucket that was taken in.
    pub(super) sequence: u64,
    /// What could not be taken up.
    pub(super) problems: Vec<String>,
}

/// The policies in force. Cheap to clone.
#[derive(Clone)]
pub(super) struct LivePolicies {
    now: Arc<ArcSwap<InForce>>,
    changed: watch::Receiver<u64>,
}

impl LivePolicies {
    /// Creates the bucket where it is missing, fills an empty one from the folder, takes in what it
    /// holds, and follows its changes until told to stop. The task that comes with it ends after
    /// that, when the worker is off the roll.
    ///
    /// # Errors
    /// When NATS refuses in a way that only a person can change, or the folder can't be read.
    pub(super) async fn start(
        context: &RoleContext,
        connection: &Connection,
        stop: &CancellationToken,
        audit: Checkpoints,
    ) -> Result<(Self, Bucket, JoinHandle<()>), WorkerError> {
        let health = context.health.part("policies");
        let mut attempts = Attempts::new(context, health.clone());
        let (bucket, left_out) = loop {
            match unless_stopped(context, Box::pin(filled(connection, &context.config))).await {
                Ok(filled) => break filled,
                Err(error) => attempts.pause(error).await?,
            }
        };
        let mut follower = Follower::new(context, bucket.clone(), health.clone(), left_out);
        let following = loop {
            match unless_stopped(context, Box::pin(follower.begin(connection))).await {
                Ok(following) => break following,
                Err(error) => attempts.pause(error).await?,
            }
        };
        let live = Self { now: Arc::clone(&follower.now), changed: follower.changed.subscribe() };
        let reports = report::start(context, connection, &live, audit, stop);
        spawn_until(stop, follower.run(following, connection.clone()));
        Ok((live, bucket, reports))
    }

    /// What is in force now.
    pub(super) fn current(&self) -> Arc<InForce> {
        self.now.load_full()
    }

    /// Waits until the bucket's sequence has been taken in; nobody waits for ever.
    pub(super) async fn reaches(&self, sequence: u64, timeout: std::time::Duration) -> bool {
        let mut changed = self.changed.clone();
        let reached = changed.wait_for(|_| self.now.load().sequence >= sequence);
        matches!(tokio::time::timeout(timeout, reached).await, Ok(Ok(_)))
    }

    /// Counts up with every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.clone()
    }
}

/// The bucket, made and filled where need be.
async fn filled(
    connection: &Connection,
    config: &Config,
) -> Result<(Bucket, Vec<LeftOut>), WorkerError> {
    let bucket = Bucket::ensure(connection, config).await?;
    let left_out = seed::fill(&bucket, config).await?;
    Ok((bucket, left_out))
}

/// Who is told to stop stops, whatever it waits for.
async fn unless_stopped<T>(
    context: &RoleContext,
    work: impl Future<Output = Result<T, WorkerError>>,
) -> Result<T, WorkerError> {
    context.stop.run_until_cancelled(work).await.unwrap_or(Err(WorkerError::NoBucket))
}

/// Waiting between attempts, until only a person can help.
struct Attempts<'a> {
    context: &'a RoleContext,
    health: Reporter,
    retry: Retry,
}

impl<'a> Attempts<'a> {
    fn new(context: &'a RoleContext, health: Reporter) -> Self {
        Self { context, health, retry: Retry::new(context.retry()) }
    }

    async fn pause(&mut self, error: WorkerError) -> Result<(), WorkerError> {
        if !error.is_transient() || self.context.stop.is_cancelled() {
            return Err(error);
        }
        self.health.waiting(error.to_string());
        tokio::select! {
            () = tokio::time::sleep(self.retry.next_delay()) => (),
            () = self.context.stop.cancelled() => (),
        }
        Ok(())
    }
}

/// Follows the bucket.
struct Follower {
    config: Arc<Config>,
    context: RoleContext,
    bucket: Bucket,
    health: Reporter,
    /// What is wrong with the folder that filled the bucket.
    left_out: Vec<LeftOut>,
    records: Records,
    /// Away while it works on its own thread.
    assembler: Option<Assembler>,
    now: Arc<ArcSwap<InForce>>,
    changed: watch::Sender<u64>,
}

impl Follower {
    fn new(
        context: &RoleContext,
        bucket: Bucket,
        health: Reporter,
        left_out: Vec<LeftOut>,
    ) -> Self {
        let config = Arc::clone(&context.config);
        let none = InForce {
            set: Arc::default(),
            records: BTreeMap::new(),
            switch: Records::default().enforcement().clone(),
            switch_is_stored: true,
            enforcement: EnforcementMode::On,
            sequence: 0,
            problems: Vec::new(),
        };
        Self {
            config,
            context: context.clone(),
            bucket,
            health,
            left_out,
            records: Records::default(),
            assembler: None,
            now: Arc::new(ArcSwap::from_pointee(none)),
            changed: watch::Sender::new(0),
        }
    }

    /// Takes in all that the bucket holds at the beginning of a reading.
    async fn catch_up(&mut self, following: &mut Following) -> Result<(), WorkerError> {
        let mut records = self.records.clone();
        records.begin(&following.state);
        let mut keys = BTreeSet::new();
        while !following.caught_up() {
            // What is purged while it is read never comes.
            let next = tokio::time::timeout(self.config.nats.request_timeout, following.next());
            let Ok(Some(held)) = next.await else { return Err(WorkerError::NoBucket) };
            if held.value.is_some() {
                keys.insert(held.key.clone());
            }
            records.take(held);
        }
        records.caught_up(&keys);
        self.records = records;
        self.install().await;
        Ok(())
    }

    /// Follows until the process ends.
    async fn run(mut self, mut following: Following, connection: Connection) {
        loop {
            self.follow(&mut following).await;
            let mut retry = Retry::new(self.context.retry());
            following = loop {
                match self.begin(&connection).await {
                    Ok(following) => break following,
                    Err(error) => self.health.degraded(format!(
                        "the bucket of policies can't be read, the last good policies stay in \
                         force: {error}"
                    )),
                }
                tokio::time::sleep(retry.next_delay()).await;
            };
        }
    }

    /// Begins a reading and takes in what the bucket holds.
    async fn begin(&mut self, connection: &Connection) -> Result<Following, WorkerError> {
        let mut following = match self.bucket.follow().await? {
            Some(following) => following,
            None => {
                // Somebody deleted it. What was in it stays in force and can be put back.
                Bucket::ensure(connection, &self.config).await?;
                self.bucket.follow().await?.ok_or(WorkerError::NoBucket)?
            }
        };
        self.catch_up(&mut following).await?;
        Ok(following)
    }

    /// Takes in changes until the reading is interrupted, or the bucket isn't what was read.
    async fn follow(&mut self, following: &mut Following) {
        let every = self.config.policies.reconcile;
        let bucket = self.bucket.clone();
        // Asked beside the reading: a server that is slow to say how the bucket stands must not
        // keep changes waiting.
        let look = || {
            let bucket = bucket.clone();
            Box::pin(async move {
                tokio::time::sleep(every).await;
                bucket.state().await
            })
        };
        let mut looking = look();
        let mut doubted = false;
        loop {
            tokio::select! {
                held = following.next() => {
                    let Some(held) = held else { return };
                    self.records.take(held);
                    // What has arrived together becomes one new set.
                    while let Some(held) = following.ready() {
                        self.records.take(held);
                    }
                    doubted = false;
                    self.install().await;
                }
                state = &mut looking => {
                    looking = look();
                    let agrees = match state {
                        Ok(Some(state)) => self.records.agrees_with(&state),
                        Ok(None) => return,
                        // The connection says by itself when it is back.
                        Err(_) => true,
                    };
                    // A change may be on its way to us: only a second look tells.
                    if !agrees && doubted {
                        return;
                    }
                    doubted = !agrees;
                }
            }
        }
    }

    /// Makes the set of the records and puts it in force.
    async fn install(&mut self) {
        let mut assembler = self.assembler.take().unwrap_or_else(|| {
            Assembler::new(
                compile_limits(&self.config),
                fail_mode(self.config.enforcement.fail_mode),
            )
        });
        let records = self.records.policies().clone();
        let assembling = tokio::task::spawn_blocking(move || {
            let (set, problems) = assembler.assemble(&records);
            (assembler, set, problems, records)
        });
        let (set, wrong, records) = match assembling.await {
            Ok((assembler, set, problems, records)) => {
                self.assembler = Some(assembler);
                (set, problems, records)
            }
            Err(error) => {
                self.health.degraded(format!(
                    "a change of the policies could not be taken up, the last good ones stay in \
                     force: {error}"
                ));
                return;
            }
        };
        // Once a policy of this name is stored, the folder's no longer matters.
        let is_new = |name: &String| !self.records.policies().contains_key(name);
        let left_out = self.left_out.iter().filter(|(name, _)| is_new(name));
        let left_out =
            left_out.map(|(name, text)| format!("{name}: left out of the bucket: {text}"));
        let known = self.records.problems().iter().chain(&wrong).map(|(key, text)| said(key, text));
        let problems = shortened(left_out.chain(known).collect());
        let before = self.now.load_full();
        let set = if set.revision() == before.set.revision() {
            Arc::clone(&before.set)
        } else {
            Arc::new(set)
        };
        let switch = self.records.enforcement().clone();
        let enforcement =
            if self.config.enforcement.enabled { switch.mode } else { EnforcementMode::Off };
        self.tell(&before, &set, enforcement, &problems);
        self.now.store(Arc::new(InForce {
            set,
            records,
            switch,
            switch_is_stored: self.records.switch_is_stored(),
            enforcement,
            sequence: self.records.sequence(),
            problems,
        }));
        self.changed.send_modify(|count| *count += 1);
    }

    fn tell(
        &self,
        before: &InForce,
        set: &PolicySet,
        enforcement: EnforcementMode,
        problems: &[String],
    ) {
        if problems.is_empty() {
            self.health.ready();
        } else {
            self.health.degraded(problems.join("; "));
        }
        if before.problems != *problems && !problems.is_empty() {
            metrics::policy_reloads(ReloadResult::Refused).increment(1);
        }
        if before.set.revision() != set.revision() {
            metrics::policy_reloads(ReloadResult::Ok).increment(1);
            tracing::info!(
                revision = %set.revision(),
                policies = set.taking_part(),
                sequence = self.records.sequence(),
                "policies in force"
            );
        }
        if before.enforcement != enforcement {
            tracing::warn!(
                from = before.enforcement.as_str(),
                to = enforcement.as_str(),
                "enforcement switched"
            );
        }
        let count = u32::try_from(set.taking_part()).unwrap_or(u32::MAX);
        metrics::policies_active().set(f64::from(count));
        for mode in [EnforcementMode::On, EnforcementMode::Shadow, EnforcementMode::Off] {
            let is = if mode == enforcement { 1.0 } else { 0.0 };
            metrics::enforcement_mode(mode.as_str()).set(is);
        }
    }
}

/// So many problems as a person reads, and a message holds.
fn shortened(mut problems: Vec<String>) -> Vec<String> {
    const SHOWN: usize = 10;
    let more = problems.len().saturating_sub(SHOWN);
    if more > 0 {
        problems.truncate(SHOWN);
        problems.push(format!("and {more} more"));
    }
    problems
}

fn said(key: &str, problem: &str) -> String {
    match key {
        "" => problem.to_owned(),
        ENFORCEMENT_KEY => format!("the switch for enforcement {problem}"),
        name => format!("{name}: {problem}"),
    }
}

/// How large a policy may be.
pub(crate) fn compile_limits(config: &Config) -> CompileLimits {
    CompileLimits {
        bytes: bytes(config.limits.policy_bytes),
        nesting: config.limits.policy_nesting,
    }
}

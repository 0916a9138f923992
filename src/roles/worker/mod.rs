//! The worker: decides checks, records the decisions, answers.

mod decide;
mod evaluation;
mod fit;
mod intake;
mod live;
mod manage;
mod numbers;
mod recording;
mod remedy;
mod unchecked;
mod usage;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(in crate::roles) use self::live::entry;
pub use self::live::{AdmittedFolder, admit_folder};
pub(crate) use self::{decide::evaluation_limits, live::compile_limits};

use self::decide::Decider;
use self::evaluation::Pool;
use self::intake::{Intake, Left, Overload};
use self::live::LivePolicies;
use self::manage::Manager;
use self::numbers::Numbers;
use self::recording::{Checkpoints, Telling};
use self::unchecked::Unchecked;
use self::usage::Usage;
use super::policies_folder::FolderError;
use super::{RoleContext, bytes};
use crate::bus::{self, BusError, Connection, Recorder, Responder, Subjects};
use crate::config::{Acknowledge, Nats};
use crate::runtime::retry::Retry;

/// How long a worker whose time is over may still take to leave the roll of workers.
const FAREWELL: Duration = Duration::from_millis(200);

/// Messages that the recorder's subscriptions hold, at least: the acknowledgements of what is sent again
/// at once, beyond those that may be in flight.
const LEAST: usize = 4_096;

/// The parts of the health that are ready once checks are taken.
pub const PARTS: [&str; 1] = ["checks"];

/// Why a worker ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// NATS.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The folder that fills an empty bucket.
    #[error(
        "{0} (setting policies.folder, which fills an empty bucket once; without a folder set \
         policies.seed = false)"
    )]
    Policies(#[from] FolderError),
    /// Somebody deleted the bucket, or the connection was lost, while it was read.
    #[error("the bucket of policies went away while it was read (setting policies.bucket)")]
    NoBucket,
    /// Threads.
    #[error("no thread to evaluate on: {0}")]
    Thread(std::io::Error),
}

impl WorkerError {
    /// Whether starting again may help without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient(),
            Self::NoBucket => true,
            Self::Policies(_) | Self::Thread(_) => false,
        }
    }
}

/// Runs a worker until it is told to stop, then finishes what it accepted, within the deadline of
/// `shutdown.drain`.
///
/// # Errors
/// When it can't start, or can't go on.
pub async fn run(context: RoleContext) -> Result<(), WorkerError> {
    let config = Arc::clone(&context.config);
    let subjects = Subjects::new(&config.nats.subject_prefix);

    // Two connections: the one that answers agents must not be able to write history.
    // Every acknowledgement that is waited for must fit: the client would drop what doesn't.
    let mut nats = config.nats.clone();
    nats.subscription_capacity =
        nats.subscription_capacity.max(config.audit.max_in_flight.saturating_mul(2)).max(LEAST);
    let recording = connect(&context, &nats, "recorder").await?;
    let responding = connect(&context, &config.nats, "responder").await?;
    ensure_streams(&context, &recording, &subjects).await?;
    let background = CancellationToken::new();
    let _ends_with_us = background.clone().drop_guard();
    let numbers = Arc::new(Numbers::begin());
    let recorder = recording::start(&context, &recording, numbers.run()).await?;
    let checkpoints = Checkpoints::new(&context, &subjects, &recorder, &numbers);
    let (policies, bucket, reports) =
        Box::pin(LivePolicies::start(&context, &recording, &background, checkpoints.clone()))
            .await?;
    spawn_until(&background, recorder.clone().work_off());
    let telling = Telling::start(&checkpoints);
    spawn_until(&background, keep_streams(context.clone(), recording.clone(), recorder.clone()));
    let usage = Usage::start(&recording, &subjects, &context.name, &background).await?;

    let largest = recording.max_payload().min(bytes(config.stream.max_message_size));
    let decider = Decider::new(
        &config,
        &context.name,
        policies.clone(),
        usage,
        subjects.clone(),
        numbers,
        largest,
    );
    let decider = Arc::new(decider);
    let pool = Pool::start(&config, Arc::clone(&decider), recorder.clone())
        .map_err(WorkerError::Thread)?;
    let takes_unchecked = config.unchecked.enabled && config.audit.acknowledge != Acknowledge::Off;
    let unchecked = takes_unchecked
        .then(|| Unchecked::start(&context, &recording, &subjects, &decider))
        .transpose()
        .map_err(WorkerError::Thread)?;

    let manager = Manager::new(&config, policies.clone(), bucket, recording.clone());
    let health = context.health.part("checks");
    let responder = Responder::start(&responding, &config.nats, &subjects, &context.name).await?;
    health.ready();
    tracing::info!(
        subject = subjects.check(),
        revision = %policies.current().set.revision(),
        policies = policies.current().set.taking_part(),
        "worker takes checks"
    );

    let intake = Intake {
        responder,
        manager,
        recorder: (config.audit.acknowledge != Acknowledge::Off).then(|| recorder.clone()),
        pool,
        in_flight: Arc::new(Semaphore::new(config.audit.max_in_flight)),
        overload: Overload::new(health),
        patience: config.nats.request_timeout,
    };
    let left = Box::pin(intake.run(&context.stop, config.shutdown.drain)).await;
    let deadline = left.told + config.shutdown.drain;
    let finishing = Finishing { recorder: &recorder, telling, unchecked };
    drain(&context, left, finishing, &[&responding, &recording]).await;
    background.cancel();
    // Whoever waits for all workers must not wait for this one.
    let farewell = deadline.max(Instant::now() + FAREWELL);
    let _ = tokio::time::timeout_at(farewell, reports).await;
    Ok(())
}

async fn connect(context: &RoleContext, nats: &Nats, role: &str) -> Result<Connection, BusError> {
    let health = context.health.part(format!("nats-{role}"));
    bus::connect(nats, &context.name, role, context.retry(), &health, &context.stop).await
}

/// Creates or reconciles the streams; waits where trying again may help.
async fn ensure_streams(
    context: &RoleContext,
    connection: &Connection,
    subjects: &Subjects,
) -> Result<(), BusError> {
    let health = context.health.part("stream");
    let mut retry = Retry::new(context.retry());
    loop {
        match bus::stream::ensure(connection, &context.config.stream, subjects).await {
            Ok(()) => {
                health.ready();
                return Ok(());
            }
            Err(error) if error.is_transient() && !context.stop.is_cancelled() => {
                health.waiting(error.to_string());
            }
            Err(error) => return Err(error),
        }
        tokio::select! {
            () = tokio::time::sleep(retry.next_delay()) => (),
            () = context.stop.cancelled() => (),
        }
    }
}

/// While events can't be stored, makes sure that there is a stream to store them in: somebody may
/// have deleted it, or the server lost its data.
async fn keep_streams(context: RoleContext, connection: Connection, recorder: Recorder) {
    let subjects = Subjects::new(&context.config.nats.subject_prefix);
    let settings = &context.config.stream;
    let mut ticks = tokio::time::interval(context.config.backoff.max);
    loop {
        ticks.tick().await;
        if recorder.backlog() == 0 {
            continue;
        }
        if let Err(error) = bus::stream::ensure_exist(&connection, settings, &subjects).await {
            tracing::warn!(%error, "the audit stream can't be brought back");
        }
    }
}

fn spawn_until(stop: &CancellationToken, work: impl Future<Output = ()> + Send + 'static) {
    let stop = stop.clone();
    tokio::spawn(async move { stop.run_until_cancelled(work).await });
}

/// What has its own end.
struct Finishing<'a> {
    recorder: &'a Recorder,
    telling: Telling,
    unchecked: Option<Unchecked>,
}

/// Finishes what was accepted: checks in flight are answered, kept events are sent.
async fn drain(
    context: &RoleContext,
    left: Left,
    finishing: Finishing<'_>,
    connections: &[&Connection],
) {
    let all = context.config.audit.max_in_flight;
    let drain = context.config.shutdown.drain;
    let Left { told, pool, in_flight, manager, _standing: _answers } = left;
    let Finishing { recorder, telling, unchecked } = finishing;
    let finished = async {
        if let Some(unchecked) = unchecked {
            unchecked.finished().await;
        }
        pool.stop().await;
        let _all = in_flight.acquire_many(u32::try_from(all).unwrap_or(u32::MAX)).await;
        manager.finished().await;
        telling.end().await;
        if !recorder.sent_or_spilled().await {
            tracing::warn!(
                events = recorder.backlog(),
                "events that the stream doesn't take wait in files (setting audit.spill_folder); \
                 the next worker that uses them sends them"
            );
        }
        for connection in connections {
            if let Err(error) = connection.settled(drain).await {
                tracing::debug!(%error, "could not flush");
            }
        }
    };
    if tokio::time::timeout_at(told + drain, finished).await.is_err() {
        tracing::error!(
            unsent = recorder.backlog(),
            unanswered = all.saturating_sub(in_flight.available_permits()),
            "the worker had to stop before everything was finished (setting shutdown.drain)"
        );
    } else {
        tracing::info!("worker stopped: every accepted check is answered and recorded");
    }
}

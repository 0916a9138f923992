//! The sink: carries the events of the audit stream, and the versions of policies and of the switch for
//! enforcement from their bucket, to ClickHouse, each exactly once.
//!
//! Each table has a line of its own: a consumer, a collector that gathers rows into batches, an inserter
//! that stores them, and a desk where events go that can never be stored. Nothing is acknowledged before
//! it is stored or put aside, and nothing is ever dropped: while ClickHouse is down the stream holds what
//! comes, and the sink says what it waits for.

mod batch;
mod collect;
mod desk;
mod gaps;
mod insert;
mod line;
mod observe;
mod prepare;
mod rules;
mod seal;
mod told;

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

pub use observe::{Nobody, Observer};

use self::collect::{Collector, Limits, Pending};
use self::desk::{Clerk, Desk};
use self::gaps::Suspects;
use self::insert::{Inserter, Marks, Settings};
use self::line::{Line, Origin};
use self::seal::{Sealable, Sealer};
use self::told::Told;
use super::RoleContext;
use super::in_flight::InFlight;
use super::retained;
use crate::bus::consumer::{Consumer, ConsumerSettings};
use crate::bus::deadletter::DeadLetters;
use crate::bus::{self, BusError, Connection, Heads, Subjects};
use crate::config::Config;
use crate::runtime::metrics;
use crate::store::chain::{Chained, KeyError, Signer, Trusted};
use crate::store::{
    CheckpointRow, DecisionRow, EnforcementRow, NotificationRow, OutcomeRow, RuleRow, Store,
    StoreError, Table, ViolationRow,
};

/// The parts of the health that are ready once the stream is read, or another sink reads it.
pub const PARTS: [&str; 7] = [
    "sink-decisions",
    "sink-violations",
    "sink-notifications",
    "sink-outcomes",
    "sink-rules",
    "sink-enforcement",
    "sink-checkpoints",
];

/// How often the state of the stream is asked for.
const STREAM_STATE: Duration = Duration::from_secs(5);

/// Why a sink ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// NATS.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// ClickHouse.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The key that signs links.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A part of the sink ended by a fault of the program.
    #[error("a part of the sink failed: {0}")]
    Failed(#[from] tokio::task::JoinError),
}

impl SinkError {
    /// Whether starting again may help without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient(),
            Self::Store(error) => error.is_transient(),
            Self::Key(error) => error.is_transient(),
            Self::Failed(_) => true,
        }
    }
}

/// Runs a sink until it is told to stop; then it stores and acknowledges what it holds, within
/// `shutdown.drain`. What it can't finish stays in the stream.
///
/// # Errors
/// When it can't start because of something that a person must change.
pub async fn run(context: RoleContext) -> Result<(), SinkError> {
    run_observed(context, Arc::new(Nobody)).await
}

/// Runs a sink that is watched.
///
/// # Errors
/// As [`run`].
pub async fn run_observed(
    context: RoleContext,
    observer: Arc<dyn Observer>,
) -> Result<(), SinkError> {
    let config = Arc::clone(&context.config);
    let store = Store::connect(&config.clickhouse);
    let signer = Signer::of(&config.chain)?;
    let trusted = Trusted::of(&config.chain)?;
    let connection = {
        let health = context.health.part("nats-sink");
        let (retry, stop) = (context.retry(), &context.stop);
        // What was asked for must fit: the client would drop what doesn't before we see it.
        let mut nats = config.nats.clone();
        nats.subscription_capacity =
            nats.subscription_capacity.max(config.sink.batch_rows.saturating_mul(4));
        match bus::connect(&nats, &context.name, "sink", retry, &health, stop).await {
            Ok(connection) => connection,
            Err(_) if stop.is_cancelled() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    };
    let tables = context.health.part("clickhouse-tables");
    let (retention, retry) = (&config.retention, context.retry());
    if !prepare::until_prepared(&store, retention, &tables, retry, &context.stop).await? {
        return Ok(());
    }

    let _watching = AbortOnDropHandle::new(tokio::spawn(watch_stream(
        connection.clone(),
        config.stream.name.clone(),
    )));
    let mut lines = JoinSet::new();
    let parts = Parts { context: context.clone(), connection, store, signer, trusted, observer };
    lines.spawn(parts.clone().line::<DecisionRow>());
    lines.spawn(parts.clone().line::<ViolationRow>());
    lines.spawn(parts.clone().line::<NotificationRow>());
    lines.spawn(parts.clone().line::<OutcomeRow>());
    lines.spawn(parts.clone().line::<RuleRow>());
    lines.spawn(parts.clone().line::<EnforcementRow>());
    lines.spawn(parts.line::<CheckpointRow>());
    let ended = async {
        while let Some(ended) = lines.join_next().await {
            ended??;
        }
        Ok(())
    };
    tokio::pin!(ended);
    tokio::select! {
        ended = &mut ended => return ended,
        () = context.stop.cancelled() => (),
    }
    match tokio::time::timeout(config.shutdown.drain, ended).await {
        Ok(result) => {
            tracing::info!("sink stopped: everything it was given is stored");
            result
        }
        Err(_) => {
            tracing::warn!(
                "the sink had to stop before everything was stored (setting shutdown.drain); \
                 the rest waits in the stream"
            );
            Ok(())
        }
    }
}

/// Shows how much the stream holds, and how old it is. Its failures are the lines' to report.
async fn watch_stream(connection: Connection, stream: String) {
    let mut ticks = tokio::time::interval(STREAM_STATE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(state) = bus::stream::state(&connection, &stream).await {
            let age = state.oldest.map_or(0, |oldest| chrono::Utc::now().timestamp() - oldest);
            #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
            {
                metrics::stream_messages().set(state.messages as f64);
                metrics::stream_bytes().set(state.bytes as f64);
                metrics::stream_oldest_age().set(age.max(0) as f64);
            }
        }
    }
}

/// What lines are made of.
#[derive(Clone)]
struct Parts {
    context: RoleContext,
    connection: Connection,
    store: Store,
    signer: Option<Signer>,
    trusted: Trusted,
    observer: Arc<dyn Observer>,
}

impl Parts {
    /// Carries the events of one table.
    async fn line<R: Line>(self) -> Result<(), SinkError> {
        let Self { context, connection, store, signer, trusted, observer } = self;
        let config = Arc::clone(&context.config);
        let label = R::TABLE.label();
        let part = |what: &str| context.health.part(format!("{what}-{label}"));

        let subjects = Subjects::new(&config.nats.subject_prefix);
        let origin = R::origin(&config, &subjects);
        let largest = bytes(config.stream.max_message_size).max(connection.max_payload());
        let settings = consumer_settings(&config, label, &origin, largest);
        let consumer = Consumer::new(&connection, settings);
        let acks = consumer.acks(config.nats.request_timeout);
        let in_flight = Arc::new(InFlight::new(acks, config.sink.ack_wait));
        let (desk, letters) = Desk::new(R::TABLE);
        let (batches, collected) = mpsc::channel(1);
        let (settled, seen_settled) = watch::channel(None);
        let (sealable, seen_sealable) = watch::channel(None);
        let sealing =
            Sealing { context: &context, connection: &connection, store: &store, signer, trusted };
        let sealer = sealing.of(R::TABLE, seen_sealable);

        let clerk = Clerk {
            dead_letters: DeadLetters::new(&connection, subjects.clone(), &origin.stream),
            in_flight: Arc::clone(&in_flight),
            health: part("dead-letters"),
            retry: context.retry(),
        };
        let inserter = Inserter {
            store,
            retention: config.retention.clone(),
            in_flight: Arc::clone(&in_flight),
            desk: desk.clone(),
            observer,
            health: part("clickhouse"),
            retry: context.retry(),
            settings: inserter_settings(&config),
            marks: Marks::default(),
            refused_in_a_row: 0,
            settled: seen_settled,
            suspects: Suspects::default(),
            told: Told::new(config.stream.max_age),
        };
        let collector = Collector {
            connection,
            subjects,
            origin,
            consumer,
            in_flight: Arc::clone(&in_flight),
            desk,
            batches,
            settled,
            sealable,
            progress: collect::PROGRESS.min(config.chain.interval),
            health: part("sink"),
            limits: limits(&config),
            pending: Pending::default(),
            context,
        };

        // Dropping the line ends them all.
        let keeping = AbortOnDropHandle::new(tokio::spawn(async move { in_flight.keep().await }));
        let clerk = AbortOnDropHandle::new(tokio::spawn(clerk.run(letters)));
        let inserter = AbortOnDropHandle::new(tokio::spawn(inserter.run::<R>(collected)));
        let collector = AbortOnDropHandle::new(tokio::spawn(collector.run()));
        let _sealer = sealer.map(|sealer| AbortOnDropHandle::new(tokio::spawn(sealer.run())));
        let mut consumer = collector.await?;
        inserter.await?;
        clerk.await?;
        drop(keeping);
        consumer.release().await;
        Ok(())
    }
}

/// What sealers are made of.
struct Sealing<'a> {
    context: &'a RoleContext,
    connection: &'a Connection,
    store: &'a Store,
    signer: Option<Signer>,
    trusted: Trusted,
}

impl Sealing<'_> {
    /// The sealer of a table; none where it has no chain.
    fn of(self, table: Table, settled: watch::Receiver<Option<Sealable>>) -> Option<Sealer> {
        let config = &self.context.config;
        let chained = Chained::of(table)?;
        Some(Sealer {
            chained,
            store: self.store.clone(),
            heads: Heads::open(self.connection, config),
            signer: self.signer,
            trusted: self.trusted,
            patience: config.nats.request_timeout,
            interval: config.chain.interval,
            keep: retained::keeps(&config.retention, chained),
            rows: u64::try_from(config.chain.rows.max(1)).unwrap_or(u64::MAX),
            settled,
            health: self.context.health.part(format!("chain-{}", table.label())),
            stop: self.context.stop.clone(),
            memory: seal::Memory::default(),
        })
    }
}

fn consumer_settings(
    config: &Config,
    label: &str,
    origin: &Origin,
    largest: usize,
) -> ConsumerSettings {
    ConsumerSettings {
        stream: origin.stream.clone(),
        name: format!("{}-{label}", config.sink.consumer),
        filter: origin.filter.clone(),
        ack_wait: config.sink.ack_wait,
        // One batch is inserted, one is frozen behind it, two are gathered.
        max_ack_pending: config.sink.batch_rows.saturating_mul(4),
        takeover: config.sink.takeover,
        pull_messages: config.sink.batch_rows.max(1),
        // A message that doesn't fit is never delivered.
        pull_bytes: bytes(config.sink.batch_bytes).max(largest.saturating_mul(2)),
        begin: None,
        rewind: true,
        shared: false,
    }
}

fn inserter_settings(config: &Config) -> Settings {
    Settings {
        stale: config.sink.ack_wait.min(config.sink.takeover),
        unsettled: config.clickhouse.insert_timeout,
        // An event may have waited a day at its worker before the stream took it.
        reach: config.stream.max_age + Duration::from_secs(86_400),
    }
}

fn limits(config: &Config) -> Limits {
    let sink = &config.sink;
    Limits {
        rows: sink.batch_rows.max(1),
        bytes: bytes(sink.batch_bytes).max(1),
        age: sink.batch_age,
        remembers: TimeDelta::from_std(config.stream.duplicate_window).unwrap_or(TimeDelta::MAX),
    }
}

fn bytes(size: bytesize::ByteSize) -> usize {
    usize::try_from(size.as_u64()).unwrap_or(usize::MAX)
}

//! Workers of a benchmark's own, in this process: with buckets, streams and NATS subjects that
//! nobody else uses, and which are removed at the end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use bytesize::ByteSize;
use indicatif::ProgressBar;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::load::TIMEOUT;
use super::sink_run::waits_for;
use crate::bus::bench::{STREAM_PREFIX, purge_stream, remove_bucket, remove_streams};
use crate::bus::{self, Bucket, BusError, Connection, Subjects};
use crate::config::{Config, Stream};
use crate::contract::CheckReply;
use crate::contract::fault::ServiceError;
use crate::domain::PolicyRecord;
use crate::roles::RoleContext;
use crate::roles::worker::{self, WorkerError};
use crate::runtime::health::Health;

/// How long a worker may take to be ready: it compiles every policy first.
const READY: Duration = Duration::from_secs(180);
/// How often a worker that isn't ready is asked.
const AGAIN: Duration = Duration::from_millis(20);
/// How long events stay: long enough for nobody, so that a long run doesn't fill the disk.
const EVENTS_STAY: Duration = Duration::from_secs(60);

/// Everything that a run has to itself.
pub(super) struct Fleet {
    /// The connection that prepares and removes.
    pub(super) connection: Connection,
    config: Config,
    name: String,
    workers: Vec<Worker>,
    streams: Vec<Stream>,
    buckets: Vec<String>,
}

/// A worker and the way to ask it alone.
pub(super) struct Worker {
    /// Of this worker only.
    pub(super) subjects: Subjects,
    /// As a client of its own has.
    pub(super) connection: Connection,
    stop: CancellationToken,
    health: Health,
    running: JoinHandle<Result<(), WorkerError>>,
}

impl Fleet {
    /// Nothing is made yet.
    pub(super) async fn new(name: &str, config: &Config) -> anyhow::Result<Self> {
        let connection = bus::connect_once(&config.nats, "bench").await?;
        Ok(Self {
            connection,
            config: config.clone(),
            name: name.to_owned(),
            workers: Vec::new(),
            streams: Vec::new(),
            buckets: Vec::new(),
        })
    }

    /// The workers, in order of their start.
    pub(super) fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// Makes a bucket that holds these policies, as one writes them that has been admitted.
    /// Returns the configuration of workers that use it.
    pub(super) async fn store(
        &mut self,
        label: &str,
        records: &[PolicyRecord],
        progress: &ProgressBar,
    ) -> anyhow::Result<Config> {
        let (bucket, config) = self.bucket(label, 4 << 10, records.len()).await?;
        progress.set_length(u64::try_from(records.len())?);
        progress.set_position(0);
        progress.set_message("storing policies");
        let mut last = 0;
        for record in records {
            last = bucket.put(&record.name, serde_json::to_vec(record)?, last).await?;
            progress.inc(1);
        }
        Ok(config)
    }

    /// Makes an empty bucket with room for so many values of a size, and versions of some.
    pub(super) async fn bucket(
        &mut self,
        label: &str,
        bytes: u64,
        values: usize,
    ) -> anyhow::Result<(Bucket, Config)> {
        let mut config = self.config.clone();
        config.policies.bucket = format!("{STREAM_PREFIX}{}-{label}", self.name);
        config.policies.workers_bucket = format!("{STREAM_PREFIX}{}-workers", self.name);
        config.policies.seed = false;
        config.policies.max_policies = config.policies.max_policies.max(values);
        // Servers may set bytes aside for a stream when it is made: no more than it needs.
        let room = bytes.saturating_mul(u64::try_from(values)?).saturating_mul(2);
        config.policies.max_bytes = ByteSize::b(room) + ByteSize::mib(16);
        config.enforcement.enabled = true;
        // What is measured is gone at the end: nothing of it is worth a file.
        config.audit.spill_folder = std::path::PathBuf::new();
        // Searching what would have been allowed takes longer than the decision, whatever is stored.
        config.worker.remedies_per_second = 0;
        for name in [&config.policies.bucket, &config.policies.workers_bucket] {
            if !self.buckets.contains(name) {
                self.buckets.push(name.clone());
            }
        }
        Ok((Bucket::ensure(&self.connection, &config).await?, config))
    }

    /// Starts a worker with a configuration of [`Self::store`], as it runs in production but in
    /// this process, and with a NATS subject and an audit stream of its own: so it can be asked
    /// alone.
    pub(super) async fn start(&mut self, config: &Config) -> anyhow::Result<()> {
        let name = format!("{}-{}", self.name, self.workers.len());
        let mut config = config.clone();
        config.nats.subject_prefix = Subjects::new(&config.nats.subject_prefix).bench(&name);
        let subjects = Subjects::new(&config.nats.subject_prefix);
        let stream = &mut config.stream;
        stream.name = format!("{STREAM_PREFIX}{name}");
        stream.dead_letter_name = format!("{STREAM_PREFIX}{name}-deadletter");
        stream.max_bytes = stream.max_bytes.min(ByteSize::mib(256));
        stream.dead_letter_max_bytes = ByteSize::mib(8);
        stream.max_age = EVENTS_STAY;
        stream.duplicate_window = stream.duplicate_window.min(EVENTS_STAY);
        self.streams.push(config.stream.clone());

        let connection = bus::connect_once(&config.nats, "bench-client").await?;
        let (stop, health) = (CancellationToken::new(), Health::default());
        let context = RoleContext {
            name: format!("bench-{name}"),
            config: Arc::new(config),
            health: health.clone(),
            stop: stop.clone(),
        };
        let running = tokio::spawn(worker::run(context));
        self.workers.push(Worker { subjects, connection, stop, health, running });
        Ok(())
    }

    /// Waits until every worker answers a check; returns the first answer of each.
    pub(super) async fn ready(&mut self, check: &Value) -> anyhow::Result<Vec<CheckReply>> {
        let until = Instant::now() + READY;
        let mut answers = Vec::with_capacity(self.workers.len());
        for worker in &mut self.workers {
            answers.push(worker.ready(check, until).await?);
        }
        Ok(answers)
    }

    /// Empties the audit streams, so that none of them is full before its time.
    pub(super) async fn empty_streams(&self) -> anyhow::Result<()> {
        for stream in &self.streams {
            purge_stream(&self.connection, &stream.name).await?;
        }
        Ok(())
    }

    /// Ends the workers and removes all that was made, as far as the server lets it.
    pub(super) async fn remove(self) -> anyhow::Result<()> {
        for worker in &self.workers {
            worker.stop.cancel();
        }
        let mut left = Vec::new();
        for worker in self.workers {
            let abort = worker.running.abort_handle();
            // What was measured is measured; a worker that doesn't leave in time is cut off.
            if tokio::time::timeout(self.config.shutdown.drain, worker.running).await.is_err() {
                abort.abort();
            }
        }
        for stream in &self.streams {
            if let Err(error) = remove_streams(&self.connection, stream).await {
                left.push(format!("stream {}: {error}", stream.name));
            }
        }
        for bucket in &self.buckets {
            if let Err(error) = remove_bucket(&self.connection, bucket).await {
                left.push(format!("bucket {bucket}: {error}"));
            }
        }
        if left.is_empty() {
            Ok(())
        } else {
            bail!("not everything could be removed: {}", left.join("; "))
        }
    }
}

impl Worker {
    async fn ready(&mut self, check: &Value, until: Instant) -> anyhow::Result<CheckReply> {
        let subject = self.subjects.check();
        let payload = serde_json::to_vec(check)?;
        loop {
            match ask(&self.connection, &subject, payload.clone()).await {
                Ok(reply) => return Ok(reply),
                Err(error)
                    if !matches!(error.downcast_ref(), Some(BusError::NoResponders { .. })) =>
                {
                    return Err(error);
                }
                Err(_) if self.running.is_finished() => {
                    return Err(match (&mut self.running).await? {
                        Ok(()) => anyhow!("a worker ended before it took a check"),
                        Err(error) => anyhow::Error::new(error).context("a worker ended"),
                    });
                }
                Err(_) if Instant::now() > until => {
                    bail!("a worker takes no checks after {READY:?}{}", waits_for(&self.health))
                }
                Err(_) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

/// Asks once, and reads the answer. A service error is an error in the worker's words.
pub(super) async fn ask<T: serde::de::DeserializeOwned>(
    connection: &Connection,
    subject: &str,
    payload: Vec<u8>,
) -> anyhow::Result<T> {
    let answer = connection.request(subject, payload, TIMEOUT).await?;
    if answer.error_code.is_some() {
        let fault: ServiceError = serde_json::from_slice(&answer.payload)
            .context("the worker's refusal is unreadable")?;
        bail!("the worker refuses: {}", fault.error.message);
    }
    serde_json::from_slice(&answer.payload).context("the worker's reply is unreadable")
}

/// What a run comes to: its result, and whether all that it made is gone.
pub(super) fn outcome<T>(
    measured: anyhow::Result<Option<T>>,
    removed: anyhow::Result<()>,
) -> anyhow::Result<T> {
    match (measured, removed) {
        (Ok(Some(report)), Ok(())) => Ok(report),
        (Ok(None), Ok(())) => bail!("interrupted before anything was measured"),
        (Err(error), Ok(())) | (Ok(_), Err(error)) => Err(error),
        (Err(error), Err(left)) => Err(error.context(format!("{left:#}"))),
    }
}

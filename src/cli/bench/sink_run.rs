//! One round of `sluicegate bench sink`: the sink drains the backlog into a database, then the engine
//! ingests the same rows from a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::events::Events;
use super::figures::per_second;
use super::sink::publish;
use super::sink_report::{Drain, Ingest, Round, Steady};
use crate::bus::{self, Connection, Subjects};
use crate::config::Config;
use crate::roles::sink::{self, SinkError};
use crate::roles::{RoleContext, instance_name};
use crate::runtime::health::{Health, State};
use crate::store::bench::RowFormat;
use crate::store::{Store, migrate};

/// How often the table is asked for its rows: seldom while many are to come, often near the end, so
/// that asking costs the engine little and the time of the last row is exact.
const SELDOM: Duration = Duration::from_millis(100);
const OFTEN: Duration = Duration::from_millis(25);
/// How long the sink may store nothing before the benchmark gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Rows of one file, and so of one insert: the embedded service takes bodies of 1 GiB at most.
const ROWS_PER_FILE: u64 = 250_000;

/// How long the engine may take for a file.
const FILE_LIMIT: Duration = Duration::from_secs(1_800);

/// What a run has to itself.
pub(super) struct Bench {
    /// With names of its own for all that it makes; rounds add a number to some.
    pub(super) config: Config,
    pub(super) stop: CancellationToken,
    rows: u64,
    folder: PathBuf,
    made: Vec<Store>,
    chains: Vec<String>,
}

impl Bench {
    pub(super) fn new(config: Config, name: &str, rows: u64, stop: CancellationToken) -> Self {
        let folder = std::env::temp_dir().join(format!("sluicegate-bench-{name}"));
        Self { config, stop, rows, folder, made: Vec::new(), chains: Vec::new() }
    }

    /// The databases that were made and not yet dropped.
    pub(super) fn databases(&self) -> &[Store] {
        &self.made
    }

    /// The buckets of chains that sinks may have made.
    pub(super) fn chains(&self) -> &[String] {
        &self.chains
    }

    /// Where the files are.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) async fn remove_files(&self) -> std::io::Result<()> {
        match tokio::fs::remove_dir_all(&self.folder).await {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// One turn of each. None where it was interrupted.
    pub(super) async fn round(
        &mut self,
        number: u8,
        progress: &ProgressBar,
    ) -> anyhow::Result<Option<Round>> {
        let mut config = self.config.clone();
        let database = format!("{}_{number}", config.clickhouse.database);
        config.clickhouse.database.clone_from(&database);
        config.sink.consumer = format!("{}-{number}", config.stream.name);
        // Each database has a chain of its own.
        config.chain.bucket = format!("{}-{number}", config.chain.bucket);
        self.chains.push(config.chain.bucket.clone());
        let Some(sink) = self.drain(config, progress).await? else { return Ok(None) };
        let stop = self.stop.clone();
        let compare = async {
            let native = self.ingest(&database, RowFormat::Native).await?;
            let json_lines = self.ingest(&database, RowFormat::JsonLines).await?;
            Ok(Round { sink, native, json_lines })
        };
        stop.run_until_cancelled(compare).await.transpose()
    }

    /// What the steady turn uses instead.
    pub(super) fn steady_config(&self) -> Config {
        let mut config = self.config.clone();
        config.nats.subject_prefix.push_str("-steady");
        config.stream.name.push_str("-steady");
        config.stream.dead_letter_name.push_str("-steady");
        config.policies.bucket.push_str("-steady");
        config.chain.bucket.push_str("-steady");
        config.clickhouse.database.push_str("_steady");
        config.sink.consumer.clone_from(&config.stream.name);
        config
    }

    /// Publishes as fast as the stream takes it while the sink stores. None where it was interrupted.
    pub(super) async fn steady(
        &mut self,
        connection: &Connection,
        rows: u64,
        progress: &ProgressBar,
    ) -> anyhow::Result<Option<Steady>> {
        let config = self.steady_config();
        let store = Store::connect(&config.clickhouse);
        self.made.push(store.clone());
        self.chains.push(config.chain.bucket.clone());
        migrate(&store).await?;
        let subjects = Subjects::new(&config.nats.subject_prefix);
        bus::stream::ensure(connection, &config.stream, &subjects).await?;
        let (mut sink, health, role_stop) = start_sink(config.clone());
        let deadline = config.shutdown.drain;
        let events = Events::ending_now(rows);
        let start = Instant::now();
        let both = async {
            let watching = watch(&store, rows, start, &health, progress);
            let publishing = async {
                let published = publish(&events, rows, connection, &config, |_| ()).await?;
                let stored = store.stored_decisions().await?;
                anyhow::Ok((published, rows.saturating_sub(stored)))
            };
            tokio::try_join!(watching, publishing)
        };
        let done = tokio::select! {
            ended = &mut sink => return Err(ended_early(ended?)),
            done = both => Some(done?),
            () = self.stop.cancelled() => None,
        };
        role_stop.cancel();
        // What counts is stored; a sink that doesn't leave in time is cut off.
        if let Ok(ended) = tokio::time::timeout(deadline, sink).await {
            ended?.context("the sink, when told to stop")?;
        }
        let Some((watched, (published, behind))) = done else { return Ok(None) };
        let tally = store.tally_decisions().await?;
        self.drop_last().await?;
        Ok(Some(Steady {
            wanted: rows,
            rows: tally.rows,
            unique_ids: tally.unique_ids,
            seconds: watched.seconds,
            rate: per_second(rows, watched.seconds),
            published_rate: published.rate,
            behind,
        }))
    }

    /// The sink as it runs in production, until the table has all rows.
    async fn drain(
        &mut self,
        config: Config,
        progress: &ProgressBar,
    ) -> anyhow::Result<Option<Drain>> {
        let store = Store::connect(&config.clickhouse);
        self.made.push(store.clone());
        migrate(&store).await?;
        let deadline = config.shutdown.drain;
        let start = Instant::now();
        let (mut sink, health, role_stop) = start_sink(config);
        let watched = tokio::select! {
            ended = &mut sink => return Err(ended_early(ended?)),
            watched = watch(&store, self.rows, start, &health, progress) => Some(watched?),
            () = self.stop.cancelled() => None,
        };
        role_stop.cancel();
        // What counts is stored; a sink that doesn't leave in time is cut off.
        if let Ok(ended) = tokio::time::timeout(deadline, sink).await {
            ended?.context("the sink, when told to stop")?;
        }
        let Some(watched) = watched else { return Ok(None) };
        self.export(&store).await?;
        let tally = store.tally_decisions().await?;
        self.drop_last().await?;
        Ok(Some(Drain {
            rows: tally.rows,
            unique_ids: tally.unique_ids,
            seconds: watched.seconds,
            rate: per_second(self.rows, watched.seconds),
            first_seconds: watched.first_seconds,
            first_rows: watched.first_rows,
        }))
    }

    /// Writes the rows of a table to the files, where they aren't yet.
    async fn export(&self, store: &Store) -> anyhow::Result<()> {
        tokio::fs::create_dir_all(&self.folder).await?;
        for format in [RowFormat::Native, RowFormat::JsonLines] {
            for (part, path) in self.files(format).into_iter().enumerate() {
                if tokio::fs::try_exists(&path).await? {
                    continue;
                }
                let first = u64::try_from(part)?.saturating_mul(ROWS_PER_FILE).saturating_add(1);
                let rows = first..first.saturating_add(ROWS_PER_FILE);
                let export = store.export_decisions(format, &path, rows, FILE_LIMIT);
                match self.stop.run_until_cancelled(export).await {
                    Some(exported) => exported?,
                    None => return Ok(()),
                };
            }
        }
        Ok(())
    }

    /// The engine's own: files, an insert each, into an empty table of the same kind.
    async fn ingest(&mut self, database: &str, format: RowFormat) -> anyhow::Result<Ingest> {
        let paths = self.files(format);
        let mut settings = self.config.clickhouse.clone();
        settings.database = format!("{database}_file");
        let store = Store::connect(&settings);
        self.made.push(store.clone());
        migrate(&store).await?;
        let start = Instant::now();
        for path in &paths {
            store.ingest_decisions(format, path, FILE_LIMIT).await?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let tally = store.tally_decisions().await?;
        self.drop_last().await?;
        let mut file_bytes = 0_u64;
        for path in &paths {
            file_bytes = file_bytes.saturating_add(tokio::fs::metadata(path).await?.len());
        }
        Ok(Ingest {
            rows: tally.rows,
            unique_ids: tally.unique_ids,
            file_bytes,
            seconds,
            rate: per_second(self.rows, seconds),
        })
    }

    /// Drops the newest database, so that its merges don't slow down what comes next.
    async fn drop_last(&mut self) -> anyhow::Result<()> {
        if let Some(store) = self.made.last() {
            store.drop_bench_database().await?;
            self.made.pop();
        }
        Ok(())
    }

    /// The files of a format, in order.
    fn files(&self, format: RowFormat) -> Vec<PathBuf> {
        let ending = match format {
            RowFormat::Native => "native",
            RowFormat::JsonLines => "jsonl",
        };
        let parts = self.rows.div_ceil(ROWS_PER_FILE).max(1);
        (0..parts).map(|part| self.folder.join(format!("rows-{part}.{ending}"))).collect()
    }
}

/// Starts the sink as it runs in production.
fn start_sink(
    config: Config,
) -> (AbortOnDropHandle<Result<(), SinkError>>, Health, CancellationToken) {
    let (health, stop) = (Health::default(), CancellationToken::new());
    let context = RoleContext {
        name: format!("{}-bench", instance_name(&config)),
        config: Arc::new(config),
        health: health.clone(),
        stop: stop.clone(),
    };
    (AbortOnDropHandle::new(tokio::spawn(sink::run(context))), health, stop)
}

/// When rows arrived.
struct Watched {
    /// When the first were seen, and how many.
    first_seconds: f64,
    first_rows: u64,
    /// When all were there.
    seconds: f64,
}

async fn watch(
    store: &Store,
    rows: u64,
    start: Instant,
    health: &Health,
    progress: &ProgressBar,
) -> anyhow::Result<Watched> {
    progress.set_length(rows);
    let (mut seen, mut changed) = (0, start);
    let mut first = None;
    loop {
        let stored = store.stored_decisions().await?;
        let now = Instant::now();
        let seconds = now.duration_since(start).as_secs_f64();
        progress.set_position(stored);
        if stored > seen {
            first.get_or_insert((seconds, stored));
            (seen, changed) = (stored, now);
        }
        if let Some((first_seconds, first_rows)) = first
            && stored >= rows
        {
            return Ok(Watched { first_seconds, first_rows: first_rows.min(rows), seconds });
        }
        if now.duration_since(changed) > PATIENCE {
            bail!(
                "the sink stored {seen} of {rows} rows, then nothing for {PATIENCE:?}{}",
                waits_for(health)
            );
        }
        let near = seen == 0 || rows - seen <= rows / 5;
        tokio::time::sleep(if near { OFTEN } else { SELDOM }).await;
    }
}

/// What the parts of the sink say that they wait for.
pub(super) fn waits_for(health: &Health) -> String {
    let waiting: Vec<String> = health
        .snapshot()
        .into_iter()
        .filter_map(|(part, state)| match state {
            State::Waiting(what) | State::Degraded(what) => Some(format!("{part}: {what}")),
            State::Ready => None,
        })
        .collect();
    if waiting.is_empty() { String::new() } else { format!(" ({})", waiting.join("; ")) }
}

fn ended_early(ended: Result<(), SinkError>) -> anyhow::Error {
    match ended {
        Ok(()) => anyhow::anyhow!("the sink ended before all rows were stored"),
        Err(error) => anyhow::Error::new(error).context("the sink ended"),
    }
}

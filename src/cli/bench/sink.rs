//! `sluicegate bench sink`: how fast a backlog gets into ClickHouse, and the engine's own ingest of
//! the same rows.

use std::time::Instant;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use bytesize::ByteSize;
use clap::Args;

use super::events::Events;
use super::figures::{per_second, real};
use super::sink_report::{Published, Report};
use super::sink_run::Bench;
use super::{run_name, show};
use crate::bus::bench::{STREAM_PREFIX, remove_bucket, remove_streams};
use crate::bus::{self, Connection, Outgoing, Record, Recorder, RecorderSettings, Subjects};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::Config;
use crate::roles::retry_policy;
use crate::runtime::health::Health;
use crate::runtime::shutdown;
use crate::store::Store;
use crate::store::bench::DATABASE_PREFIX;

/// Events that await their acknowledgement at once while the backlog is made.
const PUBLISHED_AT_ONCE: u64 = 1_000;

/// How fast the sink fills ClickHouse, beside the engine's own ingest of the same rows
///
/// Publishes decisions to a stream of its own, lets the sink of this program carry them to a database
/// of its own, and then gives the engine the very same rows as files: in its own format (Native),
/// the fastest it can read, and as lines of JSON. At last it publishes more, as fast as the stream
/// takes them, while the sink carries them. Streams and databases are removed at the end, also after
/// an error or Ctrl-C; their names begin with `bench-` and `bench_`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate bench sink
  sluicegate bench sink --rows 1000000 --batch-rows 50000
  sluicegate bench sink --rounds 5 --json > sink.json")]
pub(crate) struct SinkBench {
    /// Decisions in the backlog
    #[arg(long, short, default_value_t = 200_000, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(1..=20_000_000))]
    rows: u64,
    /// Rows at which the sink inserts a batch [default: setting sink.batch_rows]
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    batch_rows: Option<u32>,
    /// Events that are stored while they are published, after the backlog; 0 for none
    #[arg(long, default_value_t = 100_000, value_name = "ROWS", value_parser = clap::value_parser!(u64).range(0..=20_000_000))]
    steady: u64,
    /// How often sink and engine take turns
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
}

pub(crate) async fn run(command: SinkBench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let name = run_name();
    let events = Events::ending_now(command.rows);
    let config = config_of(&name, &command, config, &events)?;
    let engine = Store::connect(&config.clickhouse).ping().await;
    let engine = engine.context("is ClickHouse running? (setting clickhouse.url)")?;
    let connection = bus::connect_once(&config.nats, "bench").await?;
    let mut bench = Bench::new(config, &name, command.rows, stop);

    let outcome = measure(&command, &events, &connection, &mut bench, &engine).await;
    let removed = remove(&connection, &bench).await;
    let report = match (outcome, removed) {
        (Ok(report), Ok(())) => report,
        (Err(error), Ok(())) | (Ok(_), Err(error)) => return Err(error),
        (Err(error), Err(left)) => return Err(error.context(format!("{left:#}"))),
    };
    let Some(report) = report else { bail!("interrupted before anything was measured") };
    if json {
        print::json(&report)?;
    } else {
        report.show();
    }
    Ok(if report.complete { Exit::Ok } else { Exit::Failed })
}

/// The configuration of a run: the servers as they are, names and subjects of its own.
fn config_of(
    name: &str,
    command: &SinkBench,
    config: &Config,
    events: &Events,
) -> anyhow::Result<Config> {
    let mut config = config.clone();
    // Servers may set bytes aside for a stream when it is made: no more than it needs.
    let event = serde_json::to_vec(&events.event(0))?.len() + 512;
    let event = u64::try_from(event).unwrap_or(u64::MAX);
    config.nats.subject_prefix = Subjects::new(&config.nats.subject_prefix).bench(name);
    config.stream.name = format!("{STREAM_PREFIX}{name}");
    config.stream.dead_letter_name = format!("{STREAM_PREFIX}{name}-deadletter");
    // A bucket that isn't there: the sink must leave no consumer at the real one.
    config.policies.bucket = format!("{STREAM_PREFIX}{name}-policies");
    let most = command.rows.max(command.steady);
    // Nor must it add to the real chain.
    config.chain.bucket = format!("{STREAM_PREFIX}{name}-chain");
    config.stream.max_bytes = ByteSize::b(event.saturating_mul(most) + (8 << 20));
    config.stream.dead_letter_max_bytes = ByteSize::mib(8);
    config.clickhouse.database = format!("{DATABASE_PREFIX}{name}");
    if let Some(rows) = command.batch_rows {
        config.sink.batch_rows = usize::try_from(rows)?;
    }
    Ok(config)
}

/// None where it was interrupted before the first round was complete.
async fn measure(
    command: &SinkBench,
    events: &Events,
    connection: &Connection,
    bench: &mut Bench,
    engine: &str,
) -> anyhow::Result<Option<Report>> {
    let progress = show::progress(command.rows)?;
    let subjects = Subjects::new(&bench.config.nats.subject_prefix);
    bus::stream::ensure(connection, &bench.config.stream, &subjects).await?;
    progress.set_message("publishing the backlog");
    let publishing =
        publish(events, command.rows, connection, &bench.config, |n| progress.set_position(n));
    let stop = bench.stop.clone();
    let Some(published) = stop.run_until_cancelled(publishing).await else { return Ok(None) };
    let published = published?;

    let mut rounds = Vec::new();
    for number in 1..=command.rounds {
        progress.set_message(format!("round {number} of {}", command.rounds));
        match bench.round(number, &progress).await? {
            Some(round) => rounds.push(round),
            None => break,
        }
    }
    let mut steady = None;
    if rounds.len() == usize::from(command.rounds) && command.steady > 0 {
        progress.set_message("publishing and storing");
        steady = Box::pin(bench.steady(connection, command.steady, &progress)).await?;
    }
    progress.finish_and_clear();
    let wanted = (command.rounds, command.steady > 0);
    Ok((!rounds.is_empty()).then(|| {
        Report::new(engine.to_owned(), &bench.config.sink, published, rounds, steady, wanted)
    }))
}

/// Fills the stream, by the way that workers record.
pub(super) async fn publish(
    events: &Events,
    rows: u64,
    connection: &Connection,
    config: &Config,
    mut tell: impl FnMut(u64),
) -> anyhow::Result<Published> {
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let recorder = Recorder::start(
        connection,
        RecorderSettings {
            timeout: config.nats.request_timeout,
            in_flight: config.audit.max_in_flight,
            backlog: 0,
            backlog_bytes: 0,
            retry: retry_policy(&config.backoff),
            run: uuid::Uuid::nil(),
        },
        Health::default().part("bench"),
        None,
    )
    .await?;
    let start = Instant::now();
    let mut bytes = 0_u64;
    let mut number = 0;
    while number < rows {
        let until = rows.min(number + PUBLISHED_AT_ONCE);
        let mut record = Record::default();
        for number in number..until {
            let event = events.event(number);
            let payload = Bytes::from(serde_json::to_vec(&event)?);
            bytes = bytes.saturating_add(u64::try_from(payload.len())?);
            record.events.push(Outgoing {
                subject: subjects.decision(event.decision, &event.action),
                id: event.id.to_string(),
                payload,
                traceparent: None,
                number: event.number,
            });
        }
        if !recorder.record(record).await {
            bail!("the stream {} did not acknowledge the backlog", config.stream.name);
        }
        number = until;
        tell(number);
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Published {
        rows,
        seconds,
        rate: per_second(rows, seconds),
        event_bytes: real(bytes) / real(rows),
    })
}

/// Removes all that the run made, as far as the servers let it.
async fn remove(connection: &Connection, bench: &Bench) -> anyhow::Result<()> {
    let mut left = Vec::new();
    for stream in [&bench.config.stream, &bench.steady_config().stream] {
        if let Err(error) = remove_streams(connection, stream).await {
            left.push(format!("stream {}: {error}", stream.name));
        }
    }
    for bucket in bench.chains() {
        if let Err(error) = remove_bucket(connection, bucket).await {
            left.push(format!("bucket {bucket}: {error}"));
        }
    }
    for store in bench.databases() {
        if let Err(error) = store.drop_bench_database().await {
            left.push(format!("database {}: {error}", store.database()));
        }
    }
    if let Err(error) = bench.remove_files().await {
        left.push(format!("{}: {error}", bench.folder().display()));
    }
    if left.is_empty() {
        Ok(())
    } else {
        bail!("not everything could be removed: {}", left.join("; "))
    }
}

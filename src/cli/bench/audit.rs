//! `sluicegate bench audit`: what it costs that a decision is recorded before it is answered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use clap::Args;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::audit_report::{Report, Run, Side};
use super::figures::Counts;
use super::fleet::{self, Fleet};
use super::load::{self, Phase, Target};
use super::{run_name, show, stored};
use crate::bus::bench::Echo;
use crate::bus::{self, Connection, Subjects};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::{Acknowledge, Config};
use crate::runtime::shutdown;

/// What is compared, by the names of the setting `audit.acknowledge`.
const MODES: [(&str, Acknowledge); 3] = [
    ("before_reply", Acknowledge::BeforeReply),
    ("after_reply", Acknowledge::AfterReply),
    ("off", Acknowledge::Off),
];

/// What it costs that a decision is recorded before it is answered
///
/// Starts three workers in this process that differ in `audit.acknowledge` alone: before_reply,
/// after_reply, off. No policy applies, so that what differs is the recording. The same clients ask
/// them, and a bare echo, in turns.
///
/// Needs NATS only, and disturbs no worker that runs there. Bucket and streams are removed at the
/// end, also after an error or Ctrl-C; their names begin with `bench-`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate bench audit
  sluicegate bench audit --concurrency 1,16,64 --duration 6s
  sluicegate bench audit --json > audit.json")]
pub(crate) struct AuditBench {
    /// Clients at once; several numbers are measured one after the other
    #[arg(long, short, default_value = "1,16,64", value_name = "CLIENTS", value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: Vec<u16>,
    /// How long each worker is measured with each number of clients, all turns together
    #[arg(long, short, default_value = "4s", value_name = "TIME", value_parser = show::positive_duration)]
    duration: Duration,
    /// How long each is asked before that, uncounted
    #[arg(long, default_value = "1s", value_name = "TIME", value_parser = show::duration)]
    warmup: Duration,
    /// How often they take turns
    #[arg(long, default_value_t = 4, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
}

pub(crate) async fn run(command: AuditBench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let progress = show::progress(0)?;
    let mut fleet = Fleet::new(&run_name(), config).await?;
    let measured = Box::pin(measure(&command, config, &mut fleet, &stop, &progress)).await;
    progress.set_message("removing what was made");
    let removed = fleet.remove().await;
    let report = fleet::outcome(measured, removed)?;
    progress.finish_and_clear();
    if json {
        print::json(&report)?;
    } else {
        report.show();
    }
    Ok(if report.answered() { Exit::Ok } else { Exit::Failed })
}

/// Who is asked, and by what name.
struct Place {
    name: &'static str,
    target: Arc<Target>,
    connections: [Connection; 1],
}

/// None where it was interrupted before anything was complete.
async fn measure(
    command: &AuditBench,
    config: &Config,
    fleet: &mut Fleet,
    stop: &CancellationToken,
    progress: &ProgressBar,
) -> anyhow::Result<Option<Report>> {
    let preparing = Box::pin(prepare(config, fleet, progress));
    let Some(prepared) = stop.run_until_cancelled(preparing).await else { return Ok(None) };
    let (places, request_bytes, _echo) = prepared?;
    let rounds = u32::from(command.rounds);
    let phase = |clients: u16| Phase {
        clients: usize::from(clients),
        warmup: command.warmup / rounds,
        measured: command.duration / rounds,
        rate: None,
    };
    let turns = rounds * u32::try_from(places.len() * command.concurrency.len())?;
    progress.set_length(u64::try_from((phase(1).length() * turns).as_millis())?);
    progress.set_position(0);
    let mut runs = Vec::new();
    for clients in &command.concurrency {
        fleet.empty_streams().await?;
        let counts: Vec<_> = places
            .iter()
            .map(|_| Ok(Arc::new(Mutex::new(Counts::new()?))))
            .collect::<anyhow::Result<_>>()?;
        for round in 1..=command.rounds {
            for (place, counts) in places.iter().zip(&counts) {
                progress.set_message(format!(
                    "{clients} clients, {}, turn {round} of {}",
                    place.name, command.rounds
                ));
                let phase = phase(*clients);
                load::run(&place.connections, &place.target, phase, counts, stop, progress).await;
            }
        }
        if stop.is_cancelled() {
            break;
        }
        let sides = places.iter().zip(&counts).map(|(place, counts)| {
            let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            Side { name: place.name, speed: counts.speed(), outcomes: counts.outcomes() }
        });
        runs.push(Run::new(*clients, sides.collect()));
    }
    Ok((!runs.is_empty()).then(|| Report {
        request_bytes,
        rounds: command.rounds,
        duration_seconds: command.duration.as_secs_f64(),
        cores: std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
        interrupted: stop.is_cancelled(),
        runs,
    }))
}

/// Three workers and the echo that are ready, in the order of the result.
async fn prepare(
    config: &Config,
    fleet: &mut Fleet,
    progress: &ProgressBar,
) -> anyhow::Result<(Vec<Place>, usize, Echo)> {
    let check = stored::check("bench");
    let settings = fleet.store("policies", &[], progress).await?;
    progress.set_message("starting workers");
    for (_, acknowledge) in MODES {
        let mut settings = settings.clone();
        settings.audit.acknowledge = acknowledge;
        fleet.start(&settings).await?;
    }
    let replies = fleet.ready(&check).await?;
    let payload = bytes::Bytes::from(serde_json::to_vec(&check)?);
    let mut places: Vec<Place> = fleet
        .workers()
        .iter()
        .zip(MODES)
        .map(|(worker, (name, _))| Place {
            name,
            target: Arc::new(Target::new(worker.subjects.check(), [payload.clone()])),
            connections: [worker.connection.clone()],
        })
        .collect();
    // The echo answers as many bytes as a worker.
    let reply = replies.first().map(serde_json::to_vec).transpose()?.unwrap_or_default();
    let subject = Subjects::new(&config.nats.subject_prefix).bench(&run_name());
    let answering = bus::connect_once(&config.nats, "bench-echo").await?;
    let echo = Echo::start(&answering, subject.clone(), reply.into()).await?;
    let connections = [bus::connect_once(&config.nats, "bench-client").await?];
    let target = Arc::new(Target::new(subject, [payload.clone()]));
    places.push(Place { name: "echo", target, connections });
    Ok((places, payload.len(), echo))
}

//! `sluicegate bench scopes`: checks with few policies stored, and with many that don't concern them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::figures::Counts;
use super::fleet::{self, Fleet};
use super::load::{self, Phase, Target};
use super::scopes_report::{Report, Side};
use super::{run_name, show, stored};
use crate::bus::{self, Connection};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::Config;
use crate::contract::CheckReply;
use crate::domain::PolicyRecord;
use crate::runtime::shutdown;

/// The session that asks.
const SESSION: &str = "bench";
/// Policies that are for this session; all others are for sessions of their own.
const APPLY: u16 = 3;

/// Whether policies of other sessions slow down a check
///
/// Starts two workers in this process: one with few session-scoped policies stored, one with many.
/// On both, the same three apply to the session that asks. The same clients ask them in turns, so
/// that what counts is the ratio; how far the turns of one worker differ among themselves is the
/// noise to compare it with.
///
/// Needs NATS only, and disturbs no worker that runs there. Buckets and streams are removed at the
/// end, also after an error or Ctrl-C; their names begin with `bench-`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate bench scopes                            10 against 10,000 policies
  sluicegate bench scopes --many 20000 --concurrency 16
  sluicegate bench scopes --rounds 10 --json > scopes.json")]
pub(crate) struct ScopesBench {
    /// Session-scoped policies stored, the few
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(i64::from(APPLY)..=20_000))]
    few: u16,
    /// Session-scoped policies stored, the many
    #[arg(long, default_value_t = 10_000, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(i64::from(APPLY)..=20_000))]
    many: u16,
    /// Clients at once
    #[arg(long, short, default_value_t = 1, value_name = "CLIENTS", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrency: u16,
    /// How long each worker is measured, all turns together
    #[arg(long, short, default_value = "10s", value_name = "TIME", value_parser = show::positive_duration)]
    duration: Duration,
    /// How long each worker is asked before that, uncounted
    #[arg(long, default_value = "2s", value_name = "TIME", value_parser = show::duration)]
    warmup: Duration,
    /// How often the workers take turns
    #[arg(long, default_value_t = 10, value_name = "COUNT", value_parser = clap::value_parser!(u8).range(2..=100))]
    rounds: u8,
}

pub(crate) async fn run(command: ScopesBench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let progress = show::progress(0)?;
    let mut fleet = Fleet::new(&run_name(), config).await?;
    let measured = measure(&command, &mut fleet, &stop, &progress).await;
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

/// One worker and what is counted of it.
struct Place {
    stored: u16,
    target: Arc<Target>,
    connections: [Connection; 1],
    /// One for each turn.
    turns: Vec<Arc<Mutex<Counts>>>,
}

/// None where it was interrupted before both had a turn.
async fn measure(
    command: &ScopesBench,
    fleet: &mut Fleet,
    stop: &CancellationToken,
    progress: &ProgressBar,
) -> anyhow::Result<Option<Report>> {
    let preparing = Box::pin(prepare(command, fleet, progress));
    let Some(places) = stop.run_until_cancelled(preparing).await else { return Ok(None) };
    let (mut places, request_bytes) = places?;
    let rounds = u32::from(command.rounds);
    let phase = Phase {
        clients: usize::from(command.concurrency),
        warmup: command.warmup / rounds,
        measured: command.duration / rounds,
        rate: None,
    };
    let all = phase.length() * rounds * 2;
    progress.set_length(u64::try_from(all.as_millis()).unwrap_or(u64::MAX));
    progress.set_position(0);
    let mut complete = 0;
    for round in 1..=command.rounds {
        // Who comes first changes, so that nobody is always after the other.
        places.reverse();
        for place in &mut places {
            progress.set_message(format!(
                "{} stored, turn {round} of {}",
                show::count(place.stored.into()),
                command.rounds
            ));
            let counts = Arc::new(Mutex::new(Counts::new()?));
            load::run(&place.connections, &place.target, phase, &counts, stop, progress).await;
            place.turns.push(counts);
        }
        if stop.is_cancelled() {
            break;
        }
        complete += 1;
    }
    if complete == 0 {
        return Ok(None);
    }
    places.sort_by_key(|place| place.stored);
    let mut sides = Vec::with_capacity(places.len());
    for place in &places {
        let mut side = Side::new(place.stored)?;
        // Turns that the other didn't have are left out.
        for counts in place.turns.iter().take(complete) {
            side.add(&counts.lock().unwrap_or_else(PoisonError::into_inner))?;
        }
        sides.push(side);
    }
    let [few, many] = <[Side; 2]>::try_from(sides)
        .map_err(|sides| anyhow::anyhow!("{} workers were measured, not 2", sides.len()))?;
    let mut report = Report::new(few, many, APPLY, command.concurrency, request_bytes);
    report.interrupted = stop.is_cancelled();
    Ok(Some(report))
}

async fn prepare(
    command: &ScopesBench,
    fleet: &mut Fleet,
    progress: &ProgressBar,
) -> anyhow::Result<(Vec<Place>, usize)> {
    if command.few >= command.many {
        bail!("--few must be less than --many");
    }
    let check = stored::check(SESSION);
    let payload = bytes::Bytes::from(serde_json::to_vec(&check)?);
    let request_bytes = payload.len();
    let mut configs = Vec::new();
    for (label, count) in [("few", command.few), ("many", command.many)] {
        configs.push(fleet.store(label, &records(count), progress).await?);
    }
    progress.set_message("workers take in the policies");
    for config in &configs {
        fleet.start(config).await?;
    }
    for answer in fleet.ready(&check).await? {
        applying(&answer)?;
    }
    let mut places = Vec::new();
    for ((worker, stored), config) in
        fleet.workers().iter().zip([command.few, command.many]).zip(&configs)
    {
        let target = Arc::new(Target::new(worker.subjects.check(), [payload.clone()]));
        let connections = [bus::connect_once(&config.nats, "bench").await?];
        places.push(Place { stored, target, connections, turns: Vec::new() });
    }
    Ok((places, request_bytes))
}

/// What is compared must be the same work.
fn applying(answer: &CheckReply) -> anyhow::Result<()> {
    let names = answer.policies.len();
    if names != usize::from(APPLY) || answer.error {
        bail!("{names} policies took part in a check instead of {APPLY}: {}", answer.error_message);
    }
    Ok(())
}

/// So many session-scoped policies and the template whose Rego they use.
fn records(count: u16) -> Vec<PolicyRecord> {
    let mut records = vec![stored::template()];
    records.extend((0..count).map(|number| {
        let name = format!("stored-{number}");
        let session = if number < APPLY { SESSION.to_owned() } else { format!("session-{number}") };
        stored::by_template(&name, &session, true)
    }));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_of_the_policies_are_for_the_session_that_asks() {
        for count in [3, 10, 500] {
            let records = records(count);
            assert_eq!(records.len(), usize::from(count) + 1, "and the template");
            let ours = records.iter().filter(|record| record.scope_id == SESSION).count();
            assert_eq!(ours, usize::from(APPLY));
        }
    }
}

//! `sluicegate bench reload`: from a change of a policy to the first decision by it, on every worker.

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use super::fleet::{self, Fleet};
use super::reload_report::{Measured, Report};
use super::reload_run::{Bench, Kind};
use super::{run_name, show, stored};
use crate::cli::exit::Exit;
use crate::cli::print;
use crate::config::Config;
use crate::runtime::shutdown;

/// The session that the changed policies are for.
const SESSION: &str = "bench";
/// What the workers hold at least: a template, and the two policies that are changed.
const FEWEST: u16 = 3;
/// How long nothing happens between two turns, so that each begins at rest.
const REST: Duration = Duration::from_millis(10);

/// How soon a change of a policy is in force on every worker
///
/// Stores policies in a bucket of its own and starts workers in this process that use it. Then it
/// changes policies through policy.admin.patch, once the settings of one, once the Rego of another,
/// and asks every worker without a break until its decision is made by the new revision. In turns
/// with that it writes to a plain key-value bucket with as many watchers: no change can be known
/// sooner over the same NATS.
///
/// Needs NATS only, and disturbs no worker that runs there. Buckets and streams are removed at the
/// end, also after an error or Ctrl-C; their names begin with `bench-`.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate bench reload                                 4 workers, 1,000 policies
  sluicegate bench reload --workers 1,2,4,8 --policies 100
  sluicegate bench reload --changes 500 --json > reload.json")]
pub(crate) struct ReloadBench {
    /// Workers at once; several numbers are measured one after the other
    #[arg(long, short, default_value = "4", value_name = "COUNT", value_delimiter = ',', value_parser = clap::value_parser!(u8).range(1..=64))]
    workers: Vec<u8>,
    /// Policies stored: half have Rego of their own, half use a template, each for another session
    #[arg(long, short, default_value_t = 1_000, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(i64::from(FEWEST)..=20_000))]
    policies: u16,
    /// Changes of settings, and as many of Rego
    #[arg(long, short, default_value_t = 250, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    changes: u32,
    /// How long changes are made at most, for each number of workers
    #[arg(long, default_value = "2m", value_name = "TIME", value_parser = show::positive_duration)]
    time_limit: Duration,
}

pub(crate) async fn run(command: ReloadBench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let progress = show::progress(0)?;
    let mut report = Report::new(command.policies, own_rego(command.policies), command.changes);
    for workers in &command.workers {
        let mut fleet = Fleet::new(&run_name(), config).await?;
        let measured = measure(&command, *workers, &mut fleet, &stop, &progress).await;
        progress.set_message("removing what was made");
        let removed = fleet.remove().await;
        if stop.is_cancelled() && !report.runs.is_empty() && matches!(measured, Ok(None)) {
            removed?;
            break;
        }
        report.runs.push(fleet::outcome(measured, removed)?.run(*workers));
        if stop.is_cancelled() {
            break;
        }
    }
    report.interrupted = stop.is_cancelled();
    progress.finish_and_clear();
    if json {
        print::json(&report)?;
    } else {
        report.show();
    }
    Ok(Exit::Ok)
}

/// None where it was interrupted before the first turns were complete.
async fn measure(
    command: &ReloadBench,
    workers: u8,
    fleet: &mut Fleet,
    stop: &CancellationToken,
    progress: &ProgressBar,
) -> anyhow::Result<Option<Measured>> {
    let preparing = Box::pin(prepare(command, workers, fleet, progress));
    let Some(bench) = stop.run_until_cancelled(preparing).await else { return Ok(None) };
    let mut bench = bench?;
    let workers = fleet.workers();
    progress.set_length(u64::from(command.changes));
    progress.set_position(0);
    progress.set_message(format!("{} workers, changing policies", workers.len()));
    let mut measured = Measured::new()?;
    let until = Instant::now() + command.time_limit;
    for number in 1..=u64::from(command.changes) {
        let turns = async {
            let floor = bench.put().await?;
            tokio::time::sleep(REST).await;
            let parameters = bench.change(Kind::Parameters, number, workers).await?;
            tokio::time::sleep(REST).await;
            let rego = bench.change(Kind::Rego, number, workers).await?;
            tokio::time::sleep(REST).await;
            anyhow::Ok((floor, parameters, rego))
        };
        let Some(turns) = stop.run_until_cancelled(turns).await else { break };
        let (floor, parameters, rego) = turns?;
        measured.note(&floor, &parameters, &rego);
        progress.inc(1);
        if Instant::now() > until {
            measured.cut_short = true;
            break;
        }
    }
    Ok((measured.changes() > 0).then_some(measured))
}

async fn prepare(
    command: &ReloadBench,
    workers: u8,
    fleet: &mut Fleet,
    progress: &ProgressBar,
) -> anyhow::Result<Bench> {
    let records = records(command.policies);
    let config = fleet.store("policies", &records, progress).await?;
    progress.set_message(format!("{workers} workers compile the policies"));
    for _ in 0..workers {
        fleet.start(&config).await?;
    }
    let check = stored::check(SESSION);
    let ready = fleet.ready(&check).await?;
    Bench::new(fleet, &check, &ready, &config).await
}

/// Policies with Rego of their own, of so many stored.
const fn own_rego(policies: u16) -> u16 {
    (policies - FEWEST) / 2 + 1
}

fn records(policies: u16) -> Vec<crate::domain::PolicyRecord> {
    let mut records = vec![
        stored::template(),
        stored::by_template(Kind::Parameters.policy(), SESSION, false),
        stored::with_own_rego(Kind::Rego.policy(), SESSION),
    ];
    let own = own_rego(policies) - 1;
    records.extend((FEWEST..policies).map(|number| {
        let (name, session) = (format!("stored-{number}"), format!("session-{number}"));
        if number - FEWEST < own {
            stored::with_own_rego(&name, &session)
        } else {
            stored::by_template(&name, &session, true)
        }
    }));
    records
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_are_stored_as_asked_for_half_of_them_with_rego() {
        for policies in [3, 4, 5, 1_000] {
            let records = records(policies);
            assert_eq!(records.len(), usize::from(policies));
            let own = records.iter().filter(|record| record.template.is_none()).count();
            // And the template, which is nobody's.
            assert_eq!(own, usize::from(own_rego(policies)) + 1, "{policies}");
        }
    }
}

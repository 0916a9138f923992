//! `sluicegate chaos`: harms a fleet of its own at random and proves that nothing was lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use comfy_table::{CellAlignment, Table};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, styled};
use crate::chaos::{ChaosError, Entry, FaultKind, Report, Run, Settings, Watcher, around};
use crate::config::Config;
use crate::runtime::shutdown;

/// Harm a fleet of its own at random, and prove that nothing is lost and nothing doubled
///
/// Starts nats-server, ClickHouse, workers and sinks as processes of their own, on free ports with
/// data in a folder of their own; configured servers are never touched. Clients ask checks whose ids
/// they write down, while processes are killed, paused and restarted and the ways between them are
/// cut, frozen and slowed down. Then everything is left alone until nothing is under way, and the
/// rows in ClickHouse, the stream and a subscriber are compared with what the clients were told.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate chaos                                  one minute, a seed of its own
  sluicegate chaos --minutes 30 --seed 4711         the same faults as every run with this seed
  sluicegate chaos --only kill,pause --workers 3
  sluicegate chaos --keep chaos-data --json > chaos.jsonl

Ctrl-C ends the faults early; what was asked is proven all the same. When a promise is broken, the
data are kept, and what happened around it is shown; exit code 1.")]
pub(crate) struct Chaos {
    /// How long faults go on; fractions are allowed
    #[arg(long, default_value_t = 1.0, value_name = "MINUTES", value_parser = minutes)]
    minutes: f64,
    /// From it follows what is done to whom when [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Checking clients
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=200))]
    clients: u16,
    /// Workers
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=20))]
    workers: u16,
    /// Sinks
    #[arg(long, default_value_t = 2, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=20))]
    sinks: u16,
    /// Only these kinds of faults, separated by commas
    #[arg(long, value_name = "KIND", value_delimiter = ',')]
    only: Vec<Kind>,
    /// Keep all data and logs, in this folder, which must not exist or be empty
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// SIGKILL to a process
    Kill,
    /// SIGSTOP to a process, SIGCONT later
    Pause,
    /// SIGTERM to a process
    Restart,
    /// A way ends its connections and takes no new ones
    Cut,
    /// A way passes nothing on
    Freeze,
    /// A way passes everything on late
    Delay,
}

impl From<Kind> for FaultKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Kill => Self::Kill,
            Kind::Pause => Self::Pause,
            Kind::Restart => Self::Restart,
            Kind::Cut => Self::Cut,
            Kind::Freeze => Self::Freeze,
            Kind::Delay => Self::Delay,
        }
    }
}

fn minutes(text: &str) -> anyhow::Result<f64> {
    let minutes: f64 = text.parse()?;
    if !(0.01..=1_440.0).contains(&minutes) {
        bail!("between 0.01 and 1440");
    }
    Ok(minutes)
}

pub(crate) async fn run(command: Chaos, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let keep = command.keep.is_some();
    let settings = settings(command, config)?;
    let folder = settings.folder.clone();
    if !json {
        let seed = styled(STRONG, settings.seed);
        print::line(format!("seed {seed}, data in {}", folder.display()));
    }
    let bar = bar(settings.length)?;
    let run = match Run::start(settings, watcher(&bar, json), &stop).await {
        Ok(run) => run,
        Err(ChaosError::Stopped) => return Ok(Exit::Ok),
        Err(error) => return Err(error.into()),
    };
    let finished = Box::pin(through(run, &bar, &stop)).await;
    bar.finish_and_clear();
    let kept = || format!("the data are kept in {}", folder.display());
    let (mut report, log) = finished.with_context(kept)?;
    if report.holds() && !keep {
        std::fs::remove_dir_all(&folder).with_context(|| format!("{}", folder.display()))?;
    } else {
        report.folder = Some(folder);
    }
    if json {
        print::line(serde_json::to_string(&json!({"report": report}))?);
    } else {
        show(&report, &log);
    }
    Ok(if report.holds() { Exit::Ok } else { Exit::Failed })
}

async fn through(
    mut run: Run,
    bar: &ProgressBar,
    stop: &tokio_util::sync::CancellationToken,
) -> anyhow::Result<(Report, Vec<Entry>)> {
    let progress = |elapsed: Duration, asked: usize| {
        bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        bar.set_message(format!("{asked} checks"));
    };
    Box::pin(run.assault(progress, stop)).await?;
    bar.set_message("waiting until nothing is under way");
    let finished = Box::pin(run.finish()).await?;
    let report = finished.report();
    Ok((report, finished.stop().await))
}

fn settings(command: Chaos, config: &Config) -> anyhow::Result<Settings> {
    let folder = match command.keep {
        Some(folder) => {
            let used = folder.read_dir().is_ok_and(|mut entries| entries.next().is_some());
            if used {
                bail!("{} is not empty: name another folder", folder.display());
            }
            folder
        }
        None => std::env::temp_dir().join(format!("sluicegate-chaos-{}", uuid::Uuid::now_v7())),
    };
    // Short enough to be typed again.
    let random = || u64::from(uuid::Uuid::new_v4().as_fields().0);
    let only: Vec<FaultKind> = command.only.into_iter().map(Into::into).collect();
    Ok(Settings {
        program: std::env::current_exe().context("this program's own file")?,
        folder,
        servers: config.embedded.clone(),
        length: Duration::from_secs_f64(command.minutes * 60.0),
        seed: command.seed.unwrap_or_else(random),
        clients: command.clients.into(),
        workers: command.workers.into(),
        sinks: command.sinks.into(),
        only: if only.is_empty() { FaultKind::ALL.to_vec() } else { only },
        patience: Duration::from_secs(120),
    })
}

/// A bar on standard error, only where that is a terminal.
fn bar(length: Duration) -> anyhow::Result<ProgressBar> {
    let style = ProgressStyle::with_template("{msg:36} {wide_bar:.cyan/dim} {percent:>3}% {eta}")?;
    let length = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
    Ok(ProgressBar::new(length).with_style(style))
}

/// Prints each line of the log as it happens.
fn watcher(bar: &ProgressBar, json: bool) -> Watcher {
    let bar = bar.clone();
    Arc::new(move |entry: &Entry| {
        let text =
            if json { serde_json::to_string(entry).unwrap_or_default() } else { line(entry) };
        bar.suspend(|| print::line(text));
    })
}

fn line(entry: &Entry) -> String {
    let style = if entry.fault.is_some() { STRONG } else { DIM };
    format!("{:>8.2} s  {}", entry.at_seconds, styled(style, &entry.what))
}

fn show(report: &Report, log: &[Entry]) {
    print::line("");
    print::line(table(report));
    for promise in &report.verdict.proven {
        print::line(format!("{} {promise}", styled(GOOD, "holds ")));
    }
    for finding in &report.verdict.broken {
        print::line(format!(
            "{} {} ({} times)",
            styled(BAD, "broken"),
            finding.promise,
            finding.count
        ));
        for what in &finding.named {
            print::line(format!("         {what}"));
        }
        for entry in around(finding, log) {
            print::line(format!("         {}", line(entry)));
        }
    }
    if let Some(folder) = &report.folder {
        print::line(format!("\nthe data and logs are in {}", folder.display()));
    }
    let seed = report.seed;
    let verdict = if report.holds() {
        styled(GOOD, "Nothing lost, nothing twice")
    } else {
        styled(BAD, "A promise is broken")
    };
    print::line(format!("\n{verdict} (seed {seed})"));
}

fn table(report: &Report) -> Table {
    let mut table = print::table(&["", ""]);
    let checks = &report.checks;
    let faults: Vec<String> =
        report.faults.iter().map(|(kind, count)| format!("{} {count}", kind.name())).collect();
    let refused: Vec<String> =
        checks.refused.iter().map(|(code, count)| format!("{count} with {code}")).collect();
    let or_none = |list: Vec<String>| {
        if list.is_empty() { "none".to_owned() } else { list.join(", ") }
    };
    let answered = checks.recorded + checks.pending;
    for (name, value) in [
        ("minutes", format!("{:.2}", report.minutes)),
        ("faults", or_none(faults)),
        ("checks", checks.asked.to_string()),
        ("  answered", format!("{answered} ({} denied)", checks.denied)),
        ("  recorded, pending", format!("{}, {}", checks.recorded, checks.pending)),
        ("  refused", or_none(refused)),
        ("  unanswered", checks.unanswered.to_string()),
        (
            "rows",
            format!("{} decisions, {} violations", report.decision_rows, report.violation_rows),
        ),
        ("copies to be merged", report.copies_unmerged.to_string()),
        ("redelivered", report.redelivered.to_string()),
        ("posts again, refused", format!("{}, {}", report.posted_again, report.posts_refused)),
        ("torn by a kill, untold", report.verdict.torn.to_string()),
        (
            "longest blackout",
            format!(
                "{:.2} s, from {:.2} s",
                report.longest_blackout_seconds, report.longest_blackout_at
            ),
        ),
        ("settled after", format!("{:.1} s", report.settled_seconds)),
    ] {
        table.add_row([name, value.as_str()]);
    }
    if let Some(column) = table.column_mut(1) {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

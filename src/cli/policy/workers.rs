//! `sluicegate policy workers`: the live workers and what each has in force.

use clap::Args;
use comfy_table::{Cell, Color};

use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, BAD, styled};
use crate::config::Config;
use crate::contract::admin::{Verb, WorkerList};
use crate::domain::EnforcementMode;

/// List the live workers and the policies that each has in force
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy workers
  sluicegate policy workers --json")]
pub(crate) struct Workers {}

pub(crate) async fn run(_command: &Workers, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let list: WorkerList = desk.admin(Verb::Workers, &serde_json::json!({})).await?;
    if json {
        print::json(&list)?;
        return Ok(Exit::Ok);
    }
    let newest = list.workers.iter().map(|worker| worker.sequence).max().unwrap_or_default();
    let heads = [
        "worker",
        "sequence",
        "policies",
        "taking part",
        "enforcement",
        "revision",
        "waiting",
        "started (UTC)",
    ];
    let mut table = print::table(&heads);
    for worker in &list.workers {
        let sequence = Cell::new(worker.sequence);
        let waiting = Cell::new(worker.audit.waiting);
        let enforcement = Cell::new(worker.enforcement.as_str());
        let revision: String = worker.revision.chars().take(12).collect();
        table.add_row([
            Cell::new(&worker.name),
            if worker.sequence < newest { sequence.fg(Color::Yellow) } else { sequence },
            Cell::new(worker.policies),
            Cell::new(worker.taking_part),
            if worker.enforcement == EnforcementMode::On {
                enforcement
            } else {
                enforcement.fg(Color::Yellow)
            },
            Cell::new(revision),
            if worker.audit.waiting > 0 { waiting.fg(Color::Yellow) } else { waiting },
            Cell::new(worker.started_at.format("%Y-%m-%d %H:%M:%S")),
        ]);
    }
    if list.workers.is_empty() {
        print::line("no worker reports what it has in force");
    } else {
        print::line(table);
    }
    for worker in &list.workers {
        for problem in &worker.problems {
            print::line(format!("{}  {}: {problem}", styled(BAD, "problem"), worker.name));
        }
        if worker.audit.waiting > 0 {
            let place = if worker.audit.memory_only { "in memory alone" } else { "in files" };
            let events = worker.audit.waiting;
            print::line(format!(
                "{}  {}: {events} events wait {place} for the audit stream",
                styled(BAD, "waiting"),
                worker.name
            ));
        }
    }
    Ok(Exit::Ok)
}

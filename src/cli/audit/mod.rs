//! `sluicegate audit`: recent decisions, from ClickHouse; and whether the audit can be believed.

mod anchor;
mod verify;

mod export;

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand, ValueEnum};
use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use super::exit::Exit;
use super::print;
use crate::config::Config;
use crate::store::{DecisionFilter, DecisionSummary, MAX_LIMIT, Store};

/// List recent decisions from ClickHouse, export all of them, verify the audit
#[derive(Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  sluicegate audit                                  the newest 20
  sluicegate audit --decision deny --since 1h       denials of the last hour
  sluicegate audit --session s-1 --limit 1000 --json
  sluicegate audit export --since 30d --format parquet -o decisions.parquet
  sluicegate audit verify                           whether anything is missing or was altered"
)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    filters: Filters,
    /// How many at most
    #[arg(long, short = 'n', default_value_t = 20, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LIMIT)))]
    limit: u32,
}

#[derive(Subcommand)]
enum Command {
    /// Write decisions, violations or outcomes to a file: Parquet, JSON lines or CSV
    Export(export::ExportCommand),
    Verify(verify::Verify),
    Anchor(anchor::Anchor),
    Keygen(anchor::Keygen),
}

/// Which decisions.
#[derive(Args)]
struct Filters {
    /// Not older than this: 30s, 15m, 2h, 7d, or a time such as 2026-03-02T10:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<DateTime<Utc>>,
    /// Older than this
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<DateTime<Utc>>,
    /// Only what was allowed, or denied
    #[arg(long)]
    decision: Option<Wanted>,
    /// Only this action
    #[arg(long)]
    action: Option<String>,
    /// Only this agent
    #[arg(long)]
    agent: Option<String>,
    /// Only this user
    #[arg(long)]
    user: Option<String>,
    /// Only this session
    #[arg(long)]
    session: Option<String>,
    /// Only this run
    #[arg(long)]
    run: Option<String>,
    /// Only this project
    #[arg(long)]
    project: Option<String>,
    /// Only where this policy took part
    #[arg(long)]
    policy: Option<String>,
    /// Only what was denied for this reason
    #[arg(long)]
    reason: Option<String>,
    /// Only where a policy could not be evaluated
    #[arg(long)]
    errors: bool,
    /// Only calls that went on, or were refused, without an answer of a worker
    #[arg(long)]
    unchecked: bool,
}

impl Filters {
    fn decisions(self, limit: Option<u32>) -> DecisionFilter {
        DecisionFilter {
            since: self.since,
            until: self.until,
            decision: self.decision.map(|wanted| match wanted {
                Wanted::Allow => "allow".to_owned(),
                Wanted::Deny => "deny".to_owned(),
            }),
            action: self.action,
            agent: self.agent,
            user: self.user,
            session_id: self.session,
            run_id: self.run,
            project_id: self.project,
            policy: self.policy,
            reason: self.reason,
            error_only: self.errors,
            unchecked_only: self.unchecked,
            limit,
            ..DecisionFilter::default()
        }
    }
}

#[derive(Subcommand)]
enum Part {
    Verify(verify::Verify),
    Anchor(anchor::Anchor),
    Keygen(anchor::Keygen),
}

#[derive(Clone, Copy, ValueEnum)]
enum Wanted {
    Allow,
    Deny,
}

/// A time, or how long ago.
pub(in crate::cli) fn time(text: &str) -> anyhow::Result<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.with_timezone(&Utc));
    }
    let way_out =
        "write how long ago, such as 30s, 15m, 2h, 7d, or a time such as 2026-03-02T10:00:00Z";
    let Some((at, unit)) = text.char_indices().next_back() else { bail!(way_out) };
    let (number, _) = text.split_at(at);
    let number: i64 = number.parse().ok().filter(|n| *n >= 0).context(way_out)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => bail!(way_out),
    };
    number
        .checked_mul(seconds)
        .and_then(TimeDelta::try_seconds)
        .and_then(|ago| Utc::now().checked_sub_signed(ago))
        .context(way_out)
}

pub(crate) async fn run(command: Audit, config: &Config, json: bool) -> anyhow::Result<Exit> {
    match command.command {
        Some(Command::Export(command)) => return export::run(command, config, json).await,
        Some(Command::Verify(command)) => {
            return Box::pin(verify::run(command, config, json)).await;
        }
        Some(Command::Anchor(_)) => return anchor::anchor(config, json).await,
        Some(Command::Keygen(command)) => return anchor::keygen(&command, json),
        None => (),
    }
    let store = Store::connect(&config.clickhouse);
    let filter = command.filters.decisions(Some(command.limit));
    let decisions = store.recent_decisions(&filter).await?;
    if json {
        print::json(&serde_json::json!({"decisions": decisions}))?;
    } else if decisions.is_empty() {
        print::line("no decisions match");
    } else {
        print::line(table(&decisions));
    }
    Ok(Exit::Ok)
}

fn table(decisions: &[DecisionSummary]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    let heads = ["time (UTC)", "decision", "action", "resource", "who", "why"];
    table.set_header(heads.map(|head| Cell::new(head).add_attribute(Attribute::Dim)));
    for decision in decisions {
        let verdict = match decision.decision.as_str() {
            "deny" => Cell::new("deny").fg(Color::Red).add_attribute(Attribute::Bold),
            _ if decision.error => Cell::new("allow!").fg(Color::Yellow),
            _ => Cell::new("allow").fg(Color::Green),
        };
        let who = if decision.agent.is_empty() { &decision.user } else { &decision.agent };
        let mut why = decision.decision_reason.clone();
        for (label, texts) in [("warns", &decision.warnings), ("would deny", &decision.would_deny)]
        {
            if !texts.is_empty() {
                why.push_str(&format!(" · {label}: {}", texts.join(", ")));
            }
        }
        table.add_row([
            Cell::new(decision.timestamp.format("%m-%d %H:%M:%S%.3f")),
            verdict,
            Cell::new(&decision.action),
            Cell::new(&decision.resource),
            Cell::new(who),
            Cell::new(why),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_ages() {
        assert_eq!(time("2026-03-02T10:00:00Z").unwrap().timestamp(), 1_772_445_600);
        let age = (Utc::now() - time("2h").unwrap()).num_minutes();
        assert!((119..=121).contains(&age));
        for bad in ["", "x", "5", "5y", "-5m", "99999999999999999d", "µ"] {
            assert!(time(bad).is_err(), "{bad}");
        }
    }
}

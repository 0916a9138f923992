//! `sluicegate explain`: why a decision was made, by trying its policies again on its input.

mod find;
mod replay;

use std::path::PathBuf;

use clap::Args;
use uuid::Uuid;

use self::replay::Replayed;
use super::ask::Desk;
use super::check;
use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use super::trace;
use crate::config::Config;
use crate::contract::DecisionEvent;
use crate::domain::Verdict;

/// Explain a decision: the rules that made it, what they read, and what would have allowed it
#[derive(Args)]
#[command(after_help = "\
The decision comes from ClickHouse. Each of its policies is tried again, in the version that decided,
on the input that it saw; where the outcome isn't the recorded one, it says so.

Examples:
  sluicegate explain 01a2048b-8bf2-7541-ade8-6f027b901b15
  sluicegate explain --last --agent planner
  sluicegate check --action llm_call --resource gpt-4 --json | sluicegate explain --reply -")]
pub(crate) struct Explain {
    /// The decision's id, from a reply, `audit` or `tail`
    #[arg(required_unless_present_any = ["last", "reply"])]
    decision: Option<Uuid>,
    /// The newest decision
    #[arg(long, conflicts_with_all = ["decision", "reply"])]
    last: bool,
    /// With --last: of this agent
    #[arg(long, requires = "last")]
    agent: Option<String>,
    /// With --last: of this session
    #[arg(long, requires = "last")]
    session: Option<String>,
    /// With --last: the newest denial
    #[arg(long, requires = "last")]
    denied: bool,
    /// The reply to a check, from a file, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "decision")]
    reply: Option<PathBuf>,
}

pub(crate) async fn run(command: Explain, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let reply = find::reply(&command)?;
    let event = match (find::event(&command, reply.as_ref(), config).await, &reply) {
        (Ok(event), _) => event,
        (Err(error), Some(reply)) if !json => {
            // What the reply says by itself is better than nothing.
            check::show(reply);
            print::error(&error.context("the input that the policies saw can't be had"));
            return Ok(Exit::Unavailable);
        }
        (Err(error), _) => return Err(error),
    };
    let desk = Desk::open(config).await?;
    let replayed = replay::all(&desk, config, &event).await?;
    if json {
        print::json(&serde_json::json!({"decision": event, "policies": replayed}))?;
        return Ok(Exit::Ok);
    }
    head(&event);
    for replayed in &replayed {
        policy(replayed);
    }
    if event.policies.is_empty() {
        let why = if event.enforced {
            "no policy applied: what no policy applies to is allowed"
        } else {
            "enforcement was off: no policy was evaluated"
        };
        print::line(why);
    }
    let disagree: Vec<&str> = replayed
        .iter()
        .filter(|replayed| replayed.agrees == Some(false))
        .map(|replayed| replayed.recorded.name.as_str())
        .collect();
    if !disagree.is_empty() {
        print::line(styled(
            WARN,
            format!(
                "tried again, {} said something else than is recorded: see above why",
                disagree.join(", ")
            ),
        ));
    }
    Ok(Exit::Ok)
}

/// What was decided, about what, and when.
fn head(event: &DecisionEvent) {
    let verdict = match event.decision {
        Verdict::Allow => styled(GOOD, "ALLOWED"),
        Verdict::Deny => styled(BAD, "DENIED"),
    };
    print::line(format!("{verdict}  {}", event.reason));
    for warning in &event.warnings {
        print::line(format!("{}  {warning}", styled(WARN, "warning")));
    }
    if !event.would_deny.is_empty() {
        let reasons = event.would_deny.join(", ");
        print::line(format!("{}  {reasons}", styled(WARN, "drafts would have denied")));
    }
    let who = &event.who;
    let asked = format!("{} {}", styled(STRONG, &event.action), event.resource);
    let by = [
        ("by", &who.subject),
        ("for", &who.user),
        ("in session", &who.session_id),
        ("in project", &who.project_id),
    ];
    let by: Vec<String> = by
        .iter()
        .filter(|(word, value)| !value.is_empty() && (*word != "for" || **value != who.subject))
        .map(|(word, value)| format!("{word} {value}"))
        .collect();
    print::line(format!("{asked}  {}", styled(DIM, by.join(" "))));
    let when = event.timestamp.format("%Y-%m-%d %H:%M:%S%.3f UTC");
    print::line(styled(DIM, format!("{} · {when} · policies {}", event.id, event.policy_revision)));
    if !event.enforced {
        print::line(styled(
            WARN,
            "enforcement was not on: nothing was denied, whatever policies said",
        ));
    }
    if event.error {
        print::line(format!("{}  {}", styled(BAD, "error"), event.error_message));
    }
}

fn policy(replayed: &Replayed) {
    match &replayed.replay {
        Some(replay) => trace::show(replay, &replayed.source, false),
        None => {
            print::line(check::policy_line(&replayed.recorded).trim_end());
            if let Some(error) = &replayed.recorded.error {
                print::line(format!("      {}", styled(BAD, error)));
            }
        }
    }
    for note in &replayed.notes {
        print::line(format!("      {}  {note}", styled(WARN, "note")));
    }
}

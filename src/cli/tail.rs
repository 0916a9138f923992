//! `sluicegate tail`: decisions and violations as they happen.

use clap::Args;

use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::bus::{self, Subjects};
use crate::config::Config;
use crate::contract::{DecisionEvent, ViolationEvent};
use crate::domain::{Severity, Verdict};
use crate::runtime::shutdown;

/// Follow decisions and violations as they happen
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate tail                        everything
  sluicegate tail --denied --agent planner
  sluicegate tail --violations --json -n 1")]
pub(crate) struct Tail {
    /// Only denials
    #[arg(long)]
    denied: bool,
    /// Only violations
    #[arg(long, conflicts_with_all = ["denied", "decisions"])]
    violations: bool,
    /// Only decisions
    #[arg(long)]
    decisions: bool,
    /// Only this agent
    #[arg(long)]
    agent: Option<String>,
    /// Only this session
    #[arg(long)]
    session: Option<String>,
    /// Only this action
    #[arg(long)]
    action: Option<String>,
    /// End after so many
    #[arg(long, short = 'n', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

pub(crate) async fn run(command: Tail, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let connection = bus::connect_once(&config.nats, "tail").await?;
    let stop = shutdown::on_signal()?;
    let mut decisions = connection.subscribe(&subjects.decisions()).await?;
    let mut violations = connection.subscribe(&subjects.violations()).await?;
    connection.settled(config.nats.request_timeout).await?;
    let mut shown = 0;
    loop {
        let line = tokio::select! {
            event = decisions.next(), if !command.violations => {
                let Some(event) = event else { break };
                command.decision(&event, json)
            }
            event = violations.next(), if !command.decisions && !command.denied => {
                let Some(event) = event else { break };
                command.violation(&event, json)
            }
            () = stop.cancelled() => break,
        };
        let Some(line) = line else { continue };
        shown += 1;
        if !print::line(line) || command.count.is_some_and(|count| shown >= count) {
            break;
        }
    }
    Ok(Exit::Ok)
}

impl Tail {
    fn decision(&self, payload: &[u8], json: bool) -> Option<String> {
        let event: DecisionEvent = match serde_json::from_slice(payload) {
            Ok(event) => event,
            Err(error) => return Some(styled(WARN, format!("an unreadable event: {error}"))),
        };
        if self.denied && event.decision != Verdict::Deny
            || !self.wants(&event.who.agent, &event.who.session_id, &event.action)
        {
            return None;
        }
        if json {
            return Some(String::from_utf8_lossy(payload).into_owned());
        }
        let verdict = match event.decision {
            Verdict::Allow => styled(GOOD, "allow"),
            Verdict::Deny => styled(BAD, "deny "),
        };
        let warnings = match event.warnings.as_slice() {
            [] => String::new(),
            warnings => format!("  {}", styled(WARN, warnings.join(", "))),
        };
        Some(format!(
            "{} {verdict} {} {}  {}{warnings}  {}",
            styled(DIM, event.timestamp.format("%H:%M:%S%.3f")),
            styled(STRONG, &event.action),
            event.resource,
            event.reason,
            styled(DIM, who(&event.who.subject, &event.who.session_id)),
        ))
    }

    fn violation(&self, payload: &[u8], json: bool) -> Option<String> {
        let event: ViolationEvent = match serde_json::from_slice(payload) {
            Ok(event) => event,
            Err(error) => return Some(styled(WARN, format!("an unreadable event: {error}"))),
        };
        if !self.wants(&event.who.agent, &event.who.session_id, &event.action) {
            return None;
        }
        if json {
            return Some(String::from_utf8_lossy(payload).into_owned());
        }
        let style = match event.severity {
            Severity::Info => DIM,
            Severity::Warning => WARN,
            Severity::Critical => BAD,
        };
        Some(format!(
            "{} {} {} {} {} by {}  {}",
            styled(DIM, event.timestamp.format("%H:%M:%S%.3f")),
            styled(style, format!("{} violation", event.severity.as_str())),
            event.violation_type.as_str(),
            styled(STRONG, &event.action),
            event.resource,
            event.policy_name,
            event.reasons.join(", "),
        ))
    }

    fn wants(&self, agent: &str, session: &str, action: &str) -> bool {
        let is = |wanted: &Option<String>, value: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
        };
        is(&self.agent, agent) && is(&self.session, session) && is(&self.action, action)
    }
}

fn who(subject: &str, session: &str) -> String {
    match (subject.is_empty(), session.is_empty()) {
        (true, true) => String::new(),
        (false, true) => subject.to_owned(),
        (true, false) => format!("session {session}"),
        (false, false) => format!("{subject} in session {session}"),
    }
}

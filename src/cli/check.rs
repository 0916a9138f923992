//! `sluicegate check`: one check, from flags, a file or standard input.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;

use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use super::request::RequestFlags;
use super::trace;
use crate::bus::{self, Subjects};
use crate::config::Config;
use crate::contract::fault::ServiceError;
use crate::contract::{CheckReply, PolicyReply};
use crate::domain::{AuditState, Mode, Verdict};

/// Ask "may I?" once and show the decision
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate check --action llm_call --resource model=gpt-4 --context estimated_cost=1.0
  sluicegate check --action file_read --resource /data/.env --package cmbagent.data_privacy
  sluicegate check --action llm_call --resource gpt-4 --context budget.remaining_usd=0.5
  sluicegate check --file request.json --json
  echo '{\"action\": \"a\", \"resource\": \"r\"}' | sluicegate check

Exit code 0 means allowed, 2 denied; see `sluicegate --help` for the others.")]
pub(crate) struct Check {
    #[command(flatten)]
    request: RequestFlags,
    /// Ask as this agent, on the NATS subject that is bound to it
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout: u64,
}

pub(crate) async fn run(command: Check, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let body = command.request.body()?;
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let subject = match &command.agent {
        Some(agent) => subjects.check_of(Some(agent)),
        None => subjects.check(),
    };
    let connection = bus::connect_once(&config.nats, "check").await?;
    let timeout = Duration::from_millis(command.timeout);
    let answer = connection.request(&subject, body, timeout).await?;
    if answer.error_code.is_some() {
        let fault: ServiceError = serde_json::from_slice(&answer.payload)
            .context("the worker's refusal is unreadable")?;
        let refused = fault.error.code == 400;
        if json {
            print::json(&fault)?;
        } else {
            let field = fault.error.field;
            let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
            print::line(format!(
                "{}  {place}{}",
                styled(WARN, fault.error.status.to_uppercase()),
                fault.error.message
            ));
        }
        return Ok(if refused { Exit::Refused } else { Exit::Unavailable });
    }
    let reply: CheckReply =
        serde_json::from_slice(&answer.payload).context("the worker's reply is unreadable")?;
    if json {
        print::json(&reply)?;
    } else {
        show(&reply);
    }
    Ok(if reply.allowed { Exit::Ok } else { Exit::Denied })
}

/// Shows a decision.
pub(super) fn show(reply: &CheckReply) {
    let verdict = match reply.decision {
        Verdict::Allow => styled(GOOD, "ALLOWED"),
        Verdict::Deny => styled(BAD, "DENIED"),
    };
    print::line(format!("{verdict}  {}", reply.reason));
    for warning in &reply.warnings {
        print::line(format!("{}  {warning}", styled(WARN, "warning")));
    }
    if reply.error {
        print::line(format!("{}    {}", styled(BAD, "error"), reply.error_message));
    }
    for policy in &reply.policies {
        print::line(policy_line(policy));
    }
    for remedy in &reply.remedy {
        trace::way_out(&remedy.advice, &remedy.changes);
    }
    let audit = match reply.audit {
        AuditState::Recorded => styled(GOOD, "recorded"),
        AuditState::Pending => styled(WARN, "pending: kept by the worker until the stream has it"),
        AuditState::Off => styled(WARN, "not recorded: audit.acknowledge is off"),
    };
    print::line(format!(
        "{audit}  {}",
        styled(
            DIM,
            format!(
                "{} · {} µs · policies {}",
                reply.decision_id, reply.duration_us, reply.policy_revision
            )
        )
    ));
}

/// What one policy said, in one line.
pub(super) fn policy_line(policy: &PolicyReply) -> String {
    let said = match (&policy.error, policy.decision) {
        (Some(_), _) => styled(BAD, "error"),
        (None, Verdict::Deny) => styled(BAD, "deny "),
        (None, Verdict::Allow) => styled(GOOD, "allow"),
    };
    let mode = match policy.mode {
        Mode::Enforce => "",
        Mode::Warn => " (only warns)",
        Mode::Shadow => " (in shadow)",
    };
    let reasons = policy.deny_reasons.join(", ");
    format!(
        "  {said}  {}{mode} {} {reasons}",
        styled(STRONG, &policy.name),
        styled(DIM, format!("v{} {}", policy.version, policy.scope))
    )
}

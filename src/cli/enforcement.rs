//! `sluicegate enforcement`: the switch for the whole system.

use clap::Args;
use serde::Serialize;

use super::ask::Desk;
use super::exit::Exit;
use super::policy::change::ByFlags;
use super::policy::wait::{WaitFlag, Waited};
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use super::words;
use crate::config::Config;
use crate::contract::admin::{EnforcementReply, EnforcementRequest, Verb};
use crate::domain::EnforcementMode;

/// Show or turn the switch for all policies at once: on, shadow or off
#[derive(Args)]
#[command(after_help = "\
on      policies decide
shadow  policies are evaluated, what they would deny is recorded, everything is allowed
off     nothing is evaluated, everything is allowed and recorded

It acts on all workers at once, and is recorded with who, when and why.

Examples:
  sluicegate enforcement                                show it
  sluicegate enforcement shadow -m 'false denials in run r-7' --wait
  sluicegate enforcement on --wait")]
pub(crate) struct Enforcement {
    /// How policies shall take part
    #[arg(value_parser = words::enforcement())]
    mode: Option<EnforcementMode>,
    #[command(flatten)]
    by: ByFlags,
    /// Refuse when the switch has another version by now
    #[arg(long, value_name = "N")]
    if_version: Option<u64>,
    #[command(flatten)]
    wait: WaitFlag,
}

#[derive(Serialize)]
struct Switched<'a> {
    #[serde(flatten)]
    reply: &'a EnforcementReply,
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<&'a Waited>,
}

pub(crate) async fn run(command: Enforcement, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let change = command.by.authored(command.if_version, false);
    let request = EnforcementRequest { mode: command.mode, change };
    let desk = Desk::open(config).await?;
    let reply: EnforcementReply = desk.admin(Verb::Enforcement, &request).await?;
    let waited = match command.mode {
        Some(_) => command.wait.until(&desk, reply.sequence).await?,
        None => None,
    };
    if json {
        print::json(&Switched { reply: &reply, waited: waited.as_ref() })?;
    } else {
        show(&reply, command.mode.is_some());
        if let Some(waited) = &waited {
            waited.show();
        }
    }
    Ok(waited.as_ref().map_or(Exit::Ok, Waited::exit))
}

fn show(reply: &EnforcementReply, switched: bool) {
    let record = &reply.enforcement;
    let style = match record.mode {
        EnforcementMode::On => GOOD,
        EnforcementMode::Shadow => WARN,
        EnforcementMode::Off => BAD,
    };
    let already = if switched && !reply.changed { " already" } else { "" };
    print::line(format!(
        "enforcement is{already} {}",
        styled(style, record.mode.as_str().to_uppercase())
    ));
    let warning = match record.mode {
        EnforcementMode::On => None,
        EnforcementMode::Shadow => Some(
            "NOTHING IS DENIED: policies are evaluated and what they would deny is recorded, but \
             every agent may go on",
        ),
        EnforcementMode::Off => Some(
            "NOTHING IS CHECKED: no policy is evaluated, every agent may do everything; it is only \
             recorded",
        ),
    };
    if let Some(warning) = warning {
        print::line(styled(style, warning));
        print::line(format!(
            "{} switches it on again",
            styled(STRONG, "sluicegate enforcement on")
        ));
    }
    if record.version > 0 {
        let who = if record.updated_by.is_empty() { "somebody" } else { &record.updated_by };
        let why =
            if record.comment.is_empty() { String::new() } else { format!(": {}", record.comment) };
        let when = record.updated_at.format("%Y-%m-%d %H:%M:%S UTC");
        let text = format!("switched {when} by {who} (v{}){why}", record.version);
        print::line(styled(DIM, text));
    }
}

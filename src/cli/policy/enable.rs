//! `sluicegate policy enable` and `policy disable`.

use clap::Args;

use super::change::ChangeFlags;
use super::settings::{ParameterFlags, ScopeFlags};
use crate::cli::ask::{Desk, Source};
use crate::cli::exit::Exit;
use crate::cli::words;
use crate::config::Config;
use crate::contract::admin::{ChangeReply, EnableRequest, NamedChange, Verb};
use crate::domain::{PolicyMode, ScopeKind};

/// Let a policy take part in checks
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy enable data_privacy --wait
  sluicegate policy enable cost_control --scope session --scope-id s-1
  sluicegate policy enable time_restrictions --param time_zone=Europe/Berlin --mode warn
  sluicegate policy enable compliance --draft          see first what it would deny")]
pub(crate) struct Enable {
    /// Name or id
    name: String,
    /// Only in shadow: what it would deny is recorded and changes nothing
    #[arg(long)]
    draft: bool,
    /// What a denial does
    #[arg(long, value_parser = words::mode())]
    mode: Option<PolicyMode>,
    #[command(flatten)]
    whom: ScopeFlags,
    #[command(flatten)]
    parameters: ParameterFlags,
    #[command(flatten)]
    change: ChangeFlags,
}

/// Let a policy take part no more
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy disable data_privacy -m 'the audit is over'
  sluicegate policy disable data_privacy --wait=2s")]
pub(crate) struct Disable {
    /// Name or id
    name: String,
    #[command(flatten)]
    change: ChangeFlags,
}

pub(crate) async fn enable(command: Enable, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let mut scope_id = command.whom.scope_id;
    // Whoever says `global` means everyone.
    if command.whom.scope == Some(ScopeKind::Global) && scope_id.is_none() {
        scope_id = Some(String::new());
    }
    let request = EnableRequest {
        policy: command.name,
        draft: command.draft,
        scope: command.whom.scope,
        scope_id,
        mode: command.mode,
        parameters: command.parameters.object()?,
        change: command.change.authored(None),
    };
    let desk = Desk::open(config).await?;
    let reply: ChangeReply = desk.admin(Verb::Enable, &request).await?;
    command.change.finish(&desk, reply, &Source::default(), json).await
}

pub(crate) async fn disable(command: Disable, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let request = NamedChange { policy: command.name, change: command.change.authored(None) };
    let desk = Desk::open(config).await?;
    let reply: ChangeReply = desk.admin(Verb::Disable, &request).await?;
    command.change.finish(&desk, reply, &Source::default(), json).await
}

//! `sluicegate policy create`: a policy that uses another's Rego, with its own scope and settings.

use clap::Args;

use super::change::ChangeFlags;
use super::settings::SettingFlags;
use crate::cli::ask::{Desk, Source};
use crate::cli::exit::Exit;
use crate::config::Config;
use crate::contract::admin::{ChangeReply, PolicyDraft, PutRequest, Verb};
use crate::domain::Status;

/// Make a policy from a template: another policy's Rego with a scope and settings of its own
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy create calls-s-1 --template rate_limiting \\
      --scope session --scope-id s-1 --param max_calls=20 --enable
  sluicegate policy create nights --template time_restrictions --param start=08:00 --draft")]
pub(crate) struct Create {
    /// Name of the new policy: letters, digits, - and _
    name: String,
    /// The policy whose Rego it uses
    #[arg(long, value_name = "POLICY")]
    template: String,
    /// Let it take part at once
    #[arg(long)]
    enable: bool,
    /// Let it take part in shadow: what it would deny is recorded
    #[arg(long, conflicts_with = "enable")]
    draft: bool,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    change: ChangeFlags,
}

pub(crate) async fn run(command: Create, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let mut policy = PolicyDraft {
        name: command.name,
        template: Some(command.template),
        status: match (command.enable, command.draft) {
            (true, _) => Status::Active,
            (false, true) => Status::Draft,
            (false, false) => Status::Inactive,
        },
        ..PolicyDraft::default()
    };
    command.settings.lay_over(&mut policy)?;
    let desk = Desk::open(config).await?;
    let request = PutRequest { policy, change: command.change.authored(None) };
    let reply: ChangeReply = desk.admin(Verb::Put, &request).await?;
    command.change.finish(&desk, reply, &Source::default(), json).await
}

//! `sluicegate policy set`: changes some of what can be set of a policy.

use anyhow::bail;
use clap::Args;

use super::change::ChangeFlags;
use super::settings::SettingFlags;
use crate::cli::ask::{Desk, Source};
use crate::cli::exit::Exit;
use crate::cli::words;
use crate::config::Config;
use crate::contract::admin::{ChangeReply, PatchRequest, Verb};
use crate::domain::Status;

/// Change how a policy takes part; what isn't said stays
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy set rate_limiting --param max_calls=50 -m 'the group has grown'
  sluicegate policy set rate_limiting --unset-param max_calls --mode warn
  sluicegate policy set cost_control --scope project --scope-id p-1 --dry-run")]
pub(crate) struct Set {
    /// Name or id
    name: String,
    /// Whether it takes part
    #[arg(long, value_parser = words::status())]
    status: Option<Status>,
    /// Give a setting its default again; may be repeated
    #[arg(long = "unset-param", value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    change: ChangeFlags,
}

pub(crate) async fn run(command: Set, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let changes = command.settings.patch(command.status, &command.unset)?;
    if changes.is_empty() {
        bail!("what shall be changed? Give for example --mode, --param or --scope; see --help");
    }
    let desk = Desk::open(config).await?;
    let request =
        PatchRequest { policy: command.name, changes, change: command.change.authored(None) };
    let reply: ChangeReply = desk.admin(Verb::Patch, &request).await?;
    command.change.finish(&desk, reply, &Source::default(), json).await
}

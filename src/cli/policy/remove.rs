//! `sluicegate policy rollback` and `policy delete`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Context as _, bail};
use clap::Args;

use super::change::{ChangeFlags, how};
use crate::cli::ask::{Desk, Source};
use crate::cli::exit::Exit;
use crate::cli::print::{self, STRONG, styled};
use crate::config::Config;
use crate::contract::admin::{
    ChangeReply, GetRequest, NamedChange, PolicyView, RollbackRequest, Verb,
};

/// Make an older version the newest one
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy versions cost_control
  sluicegate policy rollback cost_control 3 -m 'version 4 denied too much' --wait")]
pub(crate) struct Rollback {
    /// Name or id
    name: String,
    /// The version whose content becomes the newest
    version: u64,
    #[command(flatten)]
    change: ChangeFlags,
}

/// Take a policy away; its versions stay, and `rollback` brings it back
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy delete calls-s-1
  sluicegate policy delete calls-s-1 --yes -m 'the session is over'")]
pub(crate) struct Delete {
    /// Name or id
    name: String,
    /// Don't ask
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    change: ChangeFlags,
}

pub(crate) async fn rollback(
    command: Rollback,
    config: &Config,
    json: bool,
) -> anyhow::Result<Exit> {
    let request = RollbackRequest {
        policy: command.name,
        version: command.version,
        change: command.change.authored(None),
    };
    let desk = Desk::open(config).await?;
    let reply: ChangeReply = desk.admin(Verb::Rollback, &request).await?;
    command.change.finish(&desk, reply, &Source::default(), json).await
}

pub(crate) async fn delete(command: Delete, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let mut read = None;
    if !command.yes && !command.change.dry_run {
        let request = GetRequest { policy: command.name.clone(), version: None };
        let view: PolicyView = desk.admin(Verb::Get, &request).await?;
        if !confirmed(&view)? {
            print::aside("nothing is deleted");
            return Ok(Exit::Failed);
        }
        // What was shown is what goes.
        read = Some(view.record.version);
    }
    let request = NamedChange { policy: command.name, change: command.change.authored(read) };
    let reply: ChangeReply = desk.admin(Verb::Delete, &request).await?;
    command.change.finish(&desk, reply, &Source::default(), json).await
}

fn confirmed(view: &PolicyView) -> anyhow::Result<bool> {
    let record = &view.record;
    if !std::io::stdin().is_terminal() {
        bail!("{} is deleted only when you say so: --yes", record.name);
    }
    let mut err = anstream::stderr();
    write!(
        err,
        "delete {} v{} ({})? [y/N] ",
        styled(STRONG, &record.name),
        record.version,
        how(record)
    )
    .and_then(|()| err.flush())
    .context("can't ask")?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer).context("can't read the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

//! `sluicegate policy put`: a file's Rego becomes a policy, or a new version of one.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;

use super::change::ChangeFlags;
use super::settings::SettingFlags;
use crate::cli::ask::{Desk, Source, about};
use crate::cli::exit::Exit;
use crate::cli::{request, words};
use crate::config::Config;
use crate::contract::admin::{ChangeReply, PolicyDraft, PutRequest, Verb};
use crate::domain::Status;

/// Store a Rego file as a policy, or as a new version of one
#[derive(Args)]
#[command(after_help = "\
What isn't said stays as it is stored; a new policy is inactive.

Examples:
  sluicegate policy put cost_control.rego -m 'cheaper models first'
  sluicegate policy put cost_control.rego --dry-run
  sluicegate policy put mine.rego --name budget --status draft --param limit_usd=5 --wait")]
pub(crate) struct Put {
    /// The Rego, - for standard input
    file: PathBuf,
    /// Name of the policy [default: the file's name without .rego]
    #[arg(long)]
    name: Option<String>,
    /// Whether it takes part
    #[arg(long, value_parser = words::status())]
    status: Option<Status>,
    #[command(flatten)]
    settings: SettingFlags,
    #[command(flatten)]
    change: ChangeFlags,
}

pub(crate) async fn run(command: Put, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let source = source(&command.file)?;
    let name = match &command.name {
        Some(name) => name.clone(),
        None => name_of(&command.file)?,
    };
    let desk = Desk::open(config).await?;
    let stored = desk.find(&name).await?;
    let version = stored.as_ref().map(|view| view.record.version);
    let mut policy = stored.map_or_else(
        || PolicyDraft { name, ..PolicyDraft::default() },
        |view| PolicyDraft::from(&view.record),
    );
    policy.template = None;
    policy.rego.clone_from(&source.text);
    policy.status = command.status.unwrap_or(policy.status);
    command.settings.lay_over(&mut policy)?;
    let request = PutRequest { policy, change: command.change.authored(version) };
    let reply: ChangeReply =
        desk.admin(Verb::Put, &request).await.map_err(|error| about(error, &source))?;
    command.change.finish(&desk, reply, &source, json).await
}

/// A Rego file's text, with its name for findings.
pub(crate) fn source(file: &Path) -> anyhow::Result<Source> {
    let text = request::read(file, "the Rego file")?;
    let text =
        String::from_utf8(text).with_context(|| format!("{} isn't UTF-8", file.display()))?;
    Ok(Source { name: file.display().to_string(), text })
}

/// The policy's name that a file's name says.
pub(crate) fn name_of(file: &Path) -> anyhow::Result<String> {
    let stem = file.file_stem().and_then(|stem| stem.to_str());
    match stem {
        Some(stem) if stem != "-" => Ok(stem.to_owned()),
        _ => bail!("{} says no name; give --name", file.display()),
    }
}

//! `sluicegate policy diff`.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, DIM, styled};
use crate::cli::request;
use crate::config::Config;
use crate::contract::admin::{DiffReply, DiffRequest, GetRequest, PolicyView, Verb};
use crate::roles::policies_diff;

/// Show what differs between two versions of a policy, or between a file and the stored Rego
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy diff cost_control                 the newest version and the one before
  sluicegate policy diff cost_control 2 5
  sluicegate policy diff cost_control --file cost_control.rego")]
pub(crate) struct Diff {
    /// Name or id
    name: String,
    /// The older version [default: the one before the newer]
    from: Option<u64>,
    /// The newer version [default: the newest]
    to: Option<u64>,
    /// Compare the Rego of a file, - for standard input, with the stored one (of version FROM)
    #[arg(long, short, value_name = "FILE", conflicts_with = "to")]
    file: Option<PathBuf>,
}

pub(crate) async fn run(command: Diff, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    if let Some(file) = &command.file {
        let new = String::from_utf8(request::read(file, "--file")?)
            .with_context(|| format!("{} isn't UTF-8", file.display()))?;
        let request = GetRequest { policy: command.name, version: command.from };
        let view: PolicyView = desk.admin(Verb::Get, &request).await?;
        let stored = format!("{} v{} rego", view.record.name, view.record.version);
        let file = file.display().to_string();
        let unified = policies_diff::text(&stored, &file, &view.content, &new);
        if json {
            print::json(&FileDiff { policy: &view, file, unified })?;
        } else {
            show(&unified);
        }
        return Ok(Exit::Ok);
    }
    let request = DiffRequest { policy: command.name, from: command.from, to: command.to };
    let reply: DiffReply = desk.admin(Verb::Diff, &request).await?;
    if json {
        print::json(&reply)?;
    } else {
        show(&reply.unified);
    }
    Ok(Exit::Ok)
}

/// What differs between a file and the stored policy, for programs.
#[derive(Serialize)]
struct FileDiff<'a> {
    policy: &'a PolicyView,
    file: String,
    unified: String,
}

fn show(unified: &str) {
    if unified.is_empty() {
        print::line(styled(DIM, "no difference"));
    } else {
        print::diff(unified);
    }
}

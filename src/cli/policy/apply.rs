//! `sluicegate policy apply`: the stored policies become those of a folder.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde::Serialize;

use super::change::ByFlags;
use super::plan::{Step, What, plan};
use super::wait::{self, WaitFlag, Waited};
use crate::cli::ask::{Desk, Source};
use crate::cli::exit::Exit;
use crate::cli::findings;
use crate::cli::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::config::Config;
use crate::contract::admin::{ChangeReply, NamedChange, PutRequest, Verb};
use crate::roles::policies_folder::{self, FolderLimits};

/// How long workers may take to know of a step before the next one that builds on it is tried.
const BETWEEN: Duration = Duration::from_secs(10);

/// Make the stored policies like a folder, which a git repository may own
#[derive(Args)]
#[command(after_help = "\
The folder holds a .rego file for each policy, and policies.toml with a section for each, like the
one that `policy export` writes. Every step is tried first: nothing is changed when one would be
refused.

Examples:
  sluicegate policy apply -f policies/ --dry-run
  sluicegate policy apply -f policies/ -m \"$(git log -1 --format=%h)\" --wait
  sluicegate policy apply -f policies/ --prune         also delete what the folder doesn't have")]
pub(crate) struct Apply {
    /// The folder
    #[arg(long = "file", short = 'f', visible_alias = "folder", value_name = "DIR")]
    folder: PathBuf,
    /// Delete the stored policies that the folder doesn't have
    #[arg(long)]
    prune: bool,
    /// Show what would be done, policy by policy, and do nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: ByFlags,
    #[command(flatten)]
    wait: WaitFlag,
}

/// What was done, or would be.
#[derive(Serialize)]
struct Applied<'a> {
    dry_run: bool,
    refused: bool,
    policies: &'a [Step],
    #[serde(skip_serializing_if = "Option::is_none")]
    waited: Option<&'a Waited>,
}

pub(crate) async fn run(command: Apply, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let drafts = policies_folder::read(&command.folder, FolderLimits::from(config))?;
    let desk = Desk::open(config).await?;
    let steps = plan(&desk, config, &drafts, command.prune).await?;
    let refused = steps.iter().any(|step| step.refused.is_some());
    let mut waited = None;
    if !json {
        steps.iter().for_each(|step| show(step, command.dry_run));
    }
    if !refused && !command.dry_run {
        let sequence = take(&desk, &command, &steps, json).await?;
        if let Some(sequence) = sequence {
            waited = command.wait.until(&desk, sequence).await?;
        }
    }
    if json {
        print::json(&Applied {
            dry_run: command.dry_run,
            refused,
            policies: &steps,
            waited: waited.as_ref(),
        })?;
    } else {
        print::line(summary(&steps, command.dry_run, refused));
        if let Some(waited) = &waited {
            waited.show();
        }
    }
    if refused {
        return Ok(Exit::Failed);
    }
    Ok(waited.as_ref().map_or(Exit::Ok, Waited::exit))
}

/// Takes the steps one after the other; the bucket's sequence after the last.
async fn take(
    desk: &Desk,
    command: &Apply,
    steps: &[Step],
    json: bool,
) -> anyhow::Result<Option<u64>> {
    let mut sequence = None;
    let mut settled = None;
    for step in steps.iter().filter(|step| step.what != What::Unchanged) {
        // Any worker may answer, and must know the template, or that nobody uses it any more.
        if let Some(last) = sequence.filter(|last| step.builds_on && settled != Some(*last)) {
            wait::reached(desk, last, BETWEEN).await?;
            settled = Some(last);
        }
        let change = command.by.authored(step.version, false);
        let policy = step.name.clone();
        let taken: anyhow::Result<ChangeReply> = match step.draft.clone() {
            Some(policy) => desk.admin(Verb::Put, &PutRequest { policy, change }).await,
            None => desk.admin(Verb::Delete, &NamedChange { policy, change }).await,
        };
        match taken {
            Ok(reply) => sequence = Some(reply.sequence).max(sequence),
            Err(error) => {
                if !json {
                    let taken = steps.iter().filter(|s| s.what != What::Unchanged);
                    let before: Vec<&str> =
                        taken.map(|s| s.name.as_str()).take_while(|n| *n != step.name).collect();
                    print::aside(format!(
                        "stopped at {}; done before it: {}",
                        step.name,
                        if before.is_empty() { "nothing".to_owned() } else { before.join(", ") }
                    ));
                }
                return Err(error);
            }
        }
    }
    Ok(sequence)
}

fn show(step: &Step, diffs: bool) {
    let version = step.version.map_or_else(String::new, |version| format!(" v{version}"));
    let name = format!("{}{}", styled(STRONG, &step.name), styled(DIM, version));
    let what = match step.what {
        _ if step.refused.is_some() => styled(BAD, "refused  "),
        What::Create => styled(GOOD, "create   "),
        What::Change => styled(WARN, "change   "),
        What::Delete => styled(BAD, "delete   "),
        What::Unchanged if diffs => styled(DIM, "unchanged"),
        What::Unchanged => return,
    };
    print::line(format!("{what}  {name}"));
    if step.refused.is_some() {
        for line in &step.told {
            print::line(format!("  {line}"));
        }
        return;
    }
    let rego = step.draft.as_ref().map(|draft| draft.rego.clone()).unwrap_or_default();
    findings::show(&step.findings, &Source { name: format!("{}.rego", step.name), text: rego });
    if diffs {
        print::diff(&step.diff);
    }
}

fn summary(steps: &[Step], dry_run: bool, refused: bool) -> String {
    let count = |what: What| {
        steps.iter().filter(|step| step.refused.is_none() && step.what == what).count()
    };
    let [create, change, delete, unchanged] =
        [What::Create, What::Change, What::Delete, What::Unchanged].map(count);
    let counts = |words: [&str; 3]| {
        let [created, changed, deleted] = words;
        format!("{create} {created}, {change} {changed}, {delete} {deleted}, {unchanged} unchanged")
    };
    if refused {
        let refused = steps.iter().filter(|step| step.refused.is_some()).count();
        return styled(BAD, format!("{refused} refused; nothing has been changed"));
    }
    if dry_run {
        return counts(["to create", "to change", "to delete"]);
    }
    counts(["created", "changed", "deleted"])
}

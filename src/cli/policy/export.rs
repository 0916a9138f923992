//! `sluicegate policy export`: the stored policies as a folder.

use std::path::PathBuf;

use clap::Args;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, DIM, GOOD, WARN, styled};
use crate::config::Config;
use crate::contract::admin::{GetRequest, PolicyList, PolicyView, Verb};
use crate::domain::PolicyRecord;
use crate::roles::policies_folder;

/// Requests at the same time.
const AT_ONCE: usize = 4;

/// Write the stored policies to a folder, which `apply -f` makes the stored ones again
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy export policies/
  sluicegate policy export policies/ --force && git diff policies/")]
pub(crate) struct Export {
    /// The folder: a .rego file for each policy, and policies.toml
    folder: PathBuf,
    /// Replace the policies of a folder that isn't empty; other files stay
    #[arg(long)]
    force: bool,
}

pub(crate) async fn run(command: Export, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let records = records(&desk).await?;
    let written = policies_folder::write(&command.folder, &records, command.force)?;
    if json {
        print::json(&serde_json::json!({
            "folder": command.folder, "policies": records.len(),
            "files": written.files, "removed": written.removed,
        }))?;
        return Ok(Exit::Ok);
    }
    for file in &written.removed {
        print::line(format!("{}  {file}", styled(WARN, "removed")));
    }
    print::line(format!(
        "{}  {} policies in {} {}",
        styled(GOOD, "written"),
        records.len(),
        command.folder.display(),
        styled(DIM, format!("({} files)", written.files.len()))
    ));
    Ok(Exit::Ok)
}

/// All policies with their Rego.
async fn records(desk: &Desk) -> anyhow::Result<Vec<PolicyRecord>> {
    let list: PolicyList = desk.list().await?;
    let names = list.policies.into_iter().map(|view| view.record.name);
    let gets = names.map(|policy| async move {
        let request = GetRequest { policy, version: None };
        desk.admin::<PolicyView>(Verb::Get, &request).await.map(|view| view.record)
    });
    stream::iter(gets).buffered(AT_ONCE).try_collect().await
}

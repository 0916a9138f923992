//! `sluicegate config`: the merged configuration and where each value came from.

use clap::Args;

use super::exit::Exit;
use super::print::{self, DIM, STRONG, styled};
use crate::config::{Loaded, Origin};

/// Show the merged configuration
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate config                      every key, its value and where it came from
  sluicegate config nats --changed
  sluicegate config --profile cluster --json")]
pub(crate) struct ConfigCommand {
    /// Only keys that begin with this, for example `nats`
    prefix: Option<String>,
    /// Only values that are not the default
    #[arg(long)]
    changed: bool,
}

pub(crate) fn run(command: &ConfigCommand, loaded: &Loaded, json: bool) -> anyhow::Result<Exit> {
    let prefix = command.prefix.as_deref().unwrap_or_default();
    let rows: Vec<_> = loaded
        .rows()
        .iter()
        .filter(|row| row.key.starts_with(prefix))
        .filter(|row| !command.changed || row.origin != Origin::Default)
        .collect();
    if json {
        print::json(&rows)?;
        return Ok(Exit::Ok);
    }
    let width = rows.iter().map(|row| row.key.len()).max().unwrap_or_default();
    for row in rows {
        let value = row.shown();
        let key = format!("{:width$}", row.key);
        let shown = if row.origin == Origin::Default {
            format!("{key}  {value}  {}", styled(DIM, "default"))
        } else {
            format!("{}  {value}  {}", styled(STRONG, key), styled(STRONG, &row.origin))
        };
        if !print::line(shown) {
            break;
        }
    }
    Ok(Exit::Ok)
}

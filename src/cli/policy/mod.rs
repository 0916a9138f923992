//! `sluicegate policy`: management of policies, over the same verbs as the REST API.

mod apply;
pub(crate) mod change;
mod check;
mod create;
mod diff;
mod enable;
mod export;
mod list;
mod plan;
pub(crate) mod put;
mod remove;
mod restore;
mod set;
mod settings;
mod show;
pub(crate) mod wait;
mod workers;

use clap::Subcommand;

use super::exit::Exit;
use crate::config::Config;

#[derive(Subcommand)]
pub(crate) enum Policy {
    List(list::List),
    Show(show::Show),
    Versions(show::Versions),
    Diff(diff::Diff),
    Effective(list::Effective),
    Put(put::Put),
    Create(create::Create),
    Set(set::Set),
    Enable(enable::Enable),
    Disable(enable::Disable),
    Rollback(remove::Rollback),
    Delete(remove::Delete),
    Apply(apply::Apply),
    Export(export::Export),
    Check(check::Check),
    Workers(workers::Workers),
    Restore(restore::Restore),
}

pub(crate) async fn run(command: Policy, config: &Config, json: bool) -> anyhow::Result<Exit> {
    match command {
        Policy::List(command) => list::list(command, config, json).await,
        Policy::Show(command) => show::show(command, config, json).await,
        Policy::Versions(command) => show::versions(command, config, json).await,
        Policy::Diff(command) => diff::run(command, config, json).await,
        Policy::Effective(command) => list::effective(command, config, json).await,
        Policy::Put(command) => put::run(command, config, json).await,
        Policy::Create(command) => create::run(command, config, json).await,
        Policy::Set(command) => set::run(command, config, json).await,
        Policy::Enable(command) => enable::enable(command, config, json).await,
        Policy::Disable(command) => enable::disable(command, config, json).await,
        Policy::Rollback(command) => remove::rollback(command, config, json).await,
        Policy::Delete(command) => remove::delete(command, config, json).await,
        Policy::Apply(command) => apply::run(command, config, json).await,
        Policy::Export(command) => export::run(command, config, json).await,
        Policy::Check(command) => check::run(command, config, json).await,
        Policy::Workers(command) => workers::run(&command, config, json).await,
        Policy::Restore(command) => restore::run(command, config, json).await,
    }
}

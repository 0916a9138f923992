//! `sluicegate bench`: speed, beside a baseline that is taken in the same run on the same machine,
//! so that what is compared is the ratio.

mod audit;
mod audit_report;
mod check;
mod check_report;
mod eval;
mod eval_report;
mod events;
mod figures;
mod fleet;
mod load;
mod reload;
mod reload_report;
mod reload_run;
mod scopes;
mod scopes_report;
mod show;
mod sink;
mod sink_report;
mod sink_run;
mod stored;
mod workload;

use clap::Subcommand;
use uuid::Uuid;

use super::exit::Exit;
use crate::config::Config;

#[derive(Subcommand)]
pub(crate) enum Bench {
    Audit(audit::AuditBench),
    Check(check::CheckBench),
    Eval(eval::EvalBench),
    Reload(reload::ReloadBench),
    Scopes(scopes::ScopesBench),
    Sink(sink::SinkBench),
}

pub(crate) async fn run(command: Bench, config: &Config, json: bool) -> anyhow::Result<Exit> {
    match command {
        Bench::Audit(command) => audit::run(command, config, json).await,
        Bench::Check(command) => check::run(command, config, json).await,
        Bench::Eval(command) => eval::run(command, config, json).await,
        Bench::Reload(command) => reload::run(command, config, json).await,
        Bench::Scopes(command) => scopes::run(command, config, json).await,
        Bench::Sink(command) => sink::run(command, config, json).await,
    }
}

/// A name for what one run has to itself, so that two runs never meet.
fn run_name() -> String {
    let mut name = Uuid::new_v4().simple().to_string();
    name.truncate(12);
    name
}

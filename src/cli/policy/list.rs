//! `sluicegate policy list` and `policy effective`.

use clap::Args;
use comfy_table::{Attribute, Cell, Color};

use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, BAD, DIM, WARN, styled};
use crate::cli::{request, words};
use crate::config::Config;
use crate::contract::admin::{EffectiveRequest, PolicyList, PolicyView, Verb};
use crate::domain::{EnforcementMode, PolicyMode, ScopeKind, Status};

/// List the stored policies
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy list
  sluicegate policy list --status active --scope session
  sluicegate policy list --json")]
pub(crate) struct List {
    /// Only those of this status
    #[arg(long, value_parser = words::status())]
    status: Option<Status>,
    /// Only those of this scope
    #[arg(long, value_parser = words::scope())]
    scope: Option<ScopeKind>,
    /// Only those for this session, project or user
    #[arg(long, value_name = "ID")]
    scope_id: Option<String>,
}

/// Show the policies that would apply to a check
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy effective
  sluicegate policy effective --context session_id=s-1 --context user=alice
  sluicegate policy effective --package cmbagent.cost_control")]
pub(crate) struct Effective {
    /// The check's context, key=value: session_id, project_id and user choose; may be repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// A package that the check names
    #[arg(long, short)]
    package: Option<String>,
}

pub(crate) async fn list(command: List, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let mut list: PolicyList = desk.list().await?;
    list.policies.retain(|view| {
        let record = &view.record;
        command.status.is_none_or(|status| status == record.status)
            && command.scope.is_none_or(|scope| scope == record.scope)
            && command.scope_id.as_ref().is_none_or(|id| *id == record.scope_id)
    });
    show(&list, "no policies match", json)
}

pub(crate) async fn effective(
    command: Effective,
    config: &Config,
    json: bool,
) -> anyhow::Result<Exit> {
    let request = EffectiveRequest {
        context: request::pairs(&command.context, "--context")?,
        package: command.package,
    };
    let desk = Desk::open(config).await?;
    let list: PolicyList = desk.admin(Verb::Effective, &request).await?;
    show(&list, "no policy applies: such a check is allowed", json)
}

fn show(list: &PolicyList, none: &str, json: bool) -> anyhow::Result<Exit> {
    if json {
        print::json(list)?;
        return Ok(Exit::Ok);
    }
    if list.policies.is_empty() {
        print::line(none);
    } else {
        print::line(table(&list.policies));
    }
    for view in &list.policies {
        if let Some(problem) = &view.problem {
            print::line(format!("{}  {}: {problem}", styled(BAD, "broken"), view.record.name));
        }
    }
    switch(list.enforcement);
    print::line(styled(
        DIM,
        format!("enforcement {} · policies {}", list.enforcement.as_str(), list.revision),
    ));
    Ok(Exit::Ok)
}

/// Says aloud when policies don't decide.
pub(crate) fn switch(mode: EnforcementMode) {
    match mode {
        EnforcementMode::On => (),
        EnforcementMode::Shadow => {
            print::line(styled(WARN, "enforcement is in shadow: nothing is denied"));
        }
        EnforcementMode::Off => {
            print::line(styled(WARN, "enforcement is off: everything is allowed, unchecked"));
        }
    }
}

fn table(policies: &[PolicyView]) -> comfy_table::Table {
    let heads = ["name", "status", "mode", "for", "severity", "version", "changed (UTC)", "by"];
    let mut table = print::table(&heads);
    for view in policies {
        let record = &view.record;
        let status = match record.status {
            Status::Active => Cell::new("active").fg(Color::Green),
            Status::Draft => Cell::new("draft").fg(Color::Yellow),
            Status::Inactive => Cell::new("inactive").add_attribute(Attribute::Dim),
        };
        let mode = match record.mode {
            PolicyMode::Enforce => Cell::new("enforce"),
            PolicyMode::Warn => Cell::new("warn").fg(Color::Yellow),
        };
        let name = match &record.template {
            Some(template) => format!("{} ({template})", record.name),
            None => record.name.clone(),
        };
        let name = Cell::new(name);
        table.add_row([
            if view.problem.is_some() { name.fg(Color::Red) } else { name },
            status,
            mode,
            Cell::new(record.applies_to()),
            Cell::new(view.effective_severity.as_str()),
            Cell::new(record.version),
            Cell::new(record.updated_at.format("%Y-%m-%d %H:%M")),
            Cell::new(&record.updated_by),
        ]);
    }
    table
}

//! `sluicegate policy show` and `policy versions`.

use clap::Args;
use comfy_table::Cell;
use serde_json::Value;

use super::change::how;
use crate::cli::ask::Desk;
use crate::cli::exit::Exit;
use crate::cli::print::{self, BAD, DIM, STRONG, styled};
use crate::cli::words::word;
use crate::config::Config;
use crate::contract::admin::{GetRequest, PolicyView, Verb, VersionList};

/// Show a policy: how it takes part, its settings, its Rego
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy show rate_limiting
  sluicegate policy show rate_limiting --version 2 --json
  sluicegate policy show rate_limiting --rego > rate_limiting.rego")]
pub(crate) struct Show {
    /// Name or id
    name: String,
    /// Which version [default: the newest]
    #[arg(long, value_name = "N")]
    version: Option<u64>,
    /// Only the Rego, as it is stored
    #[arg(long)]
    rego: bool,
}

/// List the versions of a policy: who changed what, when and why
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate policy versions cost_control
  sluicegate policy versions cost_control --json")]
pub(crate) struct Versions {
    /// Name or id
    name: String,
}

pub(crate) async fn show(command: Show, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let request = GetRequest { policy: command.name, version: command.version };
    let view: PolicyView = desk.admin(Verb::Get, &request).await?;
    if command.rego {
        print::line(view.content.strip_suffix('\n').unwrap_or(&view.content));
    } else if json {
        print::json(&view)?;
    } else {
        describe(&view);
    }
    Ok(Exit::Ok)
}

fn describe(view: &PolicyView) {
    let record = &view.record;
    let version = format!("v{}", record.version);
    print::line(format!("{} {}", styled(STRONG, &record.name), styled(DIM, version)));
    if !view.title.is_empty() {
        print::line(&view.title);
    }
    for line in view.effective_description.lines() {
        print::line(styled(DIM, line));
    }
    let rego = match &record.template {
        Some(template) => format!("of the policy {template}"),
        None => format!("{} lines; --rego shows it", view.content.lines().count()),
    };
    let member = |name: &str, value: &str| {
        print::line(format!("  {}  {value}", styled(DIM, format!("{name:<10}"))));
    };
    member("takes part", &how(record));
    member("severity", view.effective_severity.as_str());
    member("fails", &word(view.effective_fail_mode));
    member("package", &record.package);
    member("rego", &rego);
    let changed = record.updated_at.format("%Y-%m-%d %H:%M:%S UTC");
    member("changed", format!("{changed} by {}", record.updated_by).trim_end_matches(" by "));
    if !record.comment.is_empty() {
        member("why", &record.comment);
    }
    if let Some(problem) = &view.problem {
        member("problem", &styled(BAD, problem));
    }
    parameters(view);
    if !view.reasons.is_empty() {
        let mut table = print::table(&["reason", "means"]);
        for (reason, text) in &view.reasons {
            table.add_row([Cell::new(reason), Cell::new(text)]);
        }
        print::line(format!("\n{table}"));
    }
}

/// The settings with their defaults and what the schema says of them.
fn parameters(view: &PolicyView) {
    let properties = view.parameters_schema.get("properties").and_then(Value::as_object);
    let mut names: Vec<&String> = view.effective_parameters.keys().collect();
    names.extend(properties.into_iter().flat_map(|properties| properties.keys()));
    names.sort();
    names.dedup();
    if names.is_empty() {
        return;
    }
    let mut table = print::table(&["parameter", "value", "", "what it does"]);
    for name in names {
        let schema = properties.and_then(|properties| properties.get(name));
        let about = schema.and_then(|schema| schema.get("description")).and_then(Value::as_str);
        let value = view.effective_parameters.get(name);
        let origin = match (view.record.parameters.contains_key(name), value) {
            (true, _) => "set",
            (false, Some(_)) => "default",
            (false, None) => "not set",
        };
        table.add_row([
            Cell::new(name),
            Cell::new(value.map(Value::to_string).unwrap_or_default()),
            Cell::new(origin),
            Cell::new(about.unwrap_or_default()),
        ]);
    }
    print::line(format!("\n{table}"));
}

pub(crate) async fn versions(
    command: Versions,
    config: &Config,
    json: bool,
) -> anyhow::Result<Exit> {
    let desk = Desk::open(config).await?;
    let request = GetRequest { policy: command.name, version: None };
    let list: VersionList = desk.admin(Verb::Versions, &request).await?;
    if json {
        print::json(&list)?;
        return Ok(Exit::Ok);
    }
    let mut table = print::table(&["version", "when (UTC)", "who", "takes part", "why"]);
    for record in &list.versions {
        table.add_row([
            Cell::new(record.version),
            Cell::new(record.updated_at.format("%Y-%m-%d %H:%M:%S")),
            Cell::new(&record.updated_by),
            Cell::new(if record.deleted { "deleted".to_owned() } else { how(record) }),
            Cell::new(&record.comment),
        ]);
    }
    print::line(table);
    for (first, last) in &list.missing {
        let range = if first == last {
            format!("version {first} isn't")
        } else {
            format!("versions {first} to {last} aren't")
        };
        print::line(styled(
            DIM,
            format!("{range} in the bucket any more; ClickHouse's table policy_rules has them all"),
        ));
    }
    Ok(Exit::Ok)
}

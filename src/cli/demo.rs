//! `sluicegate demo`: lets a fleet of simulated agents work, so that there is something to see.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::bail;
use clap::Args;
use comfy_table::CellAlignment;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Map, Value, json};
use tokio_util::sync::CancellationToken;

use super::ask::{Desk, Refusal};
use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::client::{self, Auth};
use crate::config::Config;
use crate::contract::admin::{Authored, ChangeReply, PolicyDraft, PutRequest, Verb};
use crate::demo::{Happening, Row, Settings, Tally, Watcher};
use crate::domain::{ScopeKind, Status};
use crate::runtime::shutdown;

/// The project that all of a demo's work belongs to, and the one that its policies are for.
const PROJECT: &str = "demo";
/// The code of a refusal: there is one of that name.
const CONFLICT: u16 = 409;

/// Let a fleet of simulated agents work, so that there is something to see
///
/// Planners, researchers and engineers ask before everything they do. They read and write files in a
/// folder of their own, fetch pages from a server of their own on this machine, and call models that
/// are simulated from a price list. What they do is in the project `demo`. Three policies for that
/// project alone are made at the first start: demo-budgets, demo-privacy and demo-calls. No other
/// policy is touched.
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate demo                                until Ctrl-C
  sluicegate demo --minutes 2 --rate 50 --agents 30
  sluicegate demo --no-policies                  nothing is denied
  sluicegate demo --minutes 1 --json > demo.jsonl
  sluicegate up --demo                           everything in one, from the first second

Take the policies away again: sluicegate policy delete demo-budgets   (demo-privacy, demo-calls)")]
pub(crate) struct Demo {
    #[command(flatten)]
    fleet: FleetFlags,
    /// How long the fleet works; fractions are allowed [default: until Ctrl-C]
    #[arg(long, value_name = "MINUTES", value_parser = minutes)]
    minutes: Option<f64>,
    /// Make no policies
    #[arg(long)]
    no_policies: bool,
}

/// How large a fleet is.
#[derive(Args)]
struct FleetFlags {
    /// How many agents work
    #[arg(long, default_value_t = 12, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=1_000))]
    agents: u16,
    /// How often all of them together ask, about, in a second
    #[arg(long, default_value_t = 10.0, value_name = "CHECKS", value_parser = rate)]
    rate: f64,
    /// From it follows what they want to do
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

impl Default for FleetFlags {
    fn default() -> Self {
        Self { agents: 12, rate: 10.0, seed: 1 }
    }
}

fn minutes(text: &str) -> anyhow::Result<f64> {
    within(text, 0.001..=100_000.0)
}

fn rate(text: &str) -> anyhow::Result<f64> {
    within(text, 0.01..=10_000.0)
}

fn within(text: &str, bounds: std::ops::RangeInclusive<f64>) -> anyhow::Result<f64> {
    let number: f64 = text.parse()?;
    if !bounds.contains(&number) {
        bail!("between {} and {}", bounds.start(), bounds.end());
    }
    Ok(number)
}

pub(crate) async fn run(command: Demo, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let stop = shutdown::on_signal()?;
    let desk = Desk::open(config).await?;
    if !command.no_policies {
        for made in policies(&desk).await? {
            if !json {
                print::line(format!("{} {made}", styled(GOOD, "made")));
            }
        }
    }
    let length = command.minutes.map(|minutes| Duration::from_secs_f64(minutes * 60.0));
    let settings = settings(config, &command.fleet, length);
    let bar = bar(length)?;
    let watcher = watcher(&bar, json);
    let tally = Box::pin(crate::demo::run(settings, watcher, stop)).await?;
    bar.finish_and_clear();
    if json {
        print::line(serde_json::to_string(&json!({"tally": tally}))?);
    } else {
        show(&tally);
    }
    Ok(Exit::Ok)
}

/// A fleet beside everything else, as `up --demo` has it: without a word, until told to stop.
pub(crate) async fn beside(config: &Config, stop: CancellationToken) -> anyhow::Result<()> {
    policies(&Desk::open(config).await?).await?;
    let settings = settings(config, &FleetFlags::default(), None);
    Box::pin(crate::demo::run(settings, Arc::new(|_| ()), stop)).await?;
    Ok(())
}

fn settings(config: &Config, fleet: &FleetFlags, length: Option<Duration>) -> Settings {
    let folder = format!("sluicegate-demo-{}", uuid::Uuid::now_v7());
    Settings {
        client: client_settings(config),
        agents: fleet.agents.into(),
        rate: fleet.rate,
        length,
        seed: fleet.seed,
        project: PROJECT.to_owned(),
        folder: std::env::temp_dir().join(folder),
    }
}

/// The agents reach NATS as this program does.
fn client_settings(config: &Config) -> client::Settings {
    let nats = &config.nats;
    let some = |path: &PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    let auth = match some(&nats.credentials_file) {
        Some(file) => Auth::CredentialsFile(file),
        None if !nats.token.expose().is_empty() => Auth::Token(nats.token.expose().to_owned()),
        None if !nats.user.is_empty() => {
            Auth::User { name: nats.user.clone(), password: nats.password.expose().to_owned() }
        }
        None => Auth::None,
    };
    client::Settings {
        url: nats.url.clone(),
        subject_prefix: nats.subject_prefix.clone(),
        auth,
        require_tls: nats.require_tls,
        root_certificates: some(&nats.root_certificates),
        ..client::Settings::default()
    }
}

/// Makes the policies of the project that aren't there yet; gives the names of those that it made.
/// What is there stays as it is: somebody may have changed it, or switched it off.
async fn policies(desk: &Desk) -> anyhow::Result<Vec<String>> {
    let mut made = Vec::new();
    for (name, template, parameters, description) in [
        (
            "demo-budgets",
            "cost_control",
            json!({}),
            "The demo's sessions stay within their budgets",
        ),
        ("demo-privacy", "data_privacy", json!({}), "The demo's agents don't read secrets"),
        (
            "demo-calls",
            "rate_limiting",
            json!({"max_calls": 25}),
            "An agent of the demo makes 25 model calls a minute",
        ),
    ] {
        if desk.find(name).await?.is_some() {
            continue;
        }
        let policy = PolicyDraft {
            name: name.to_owned(),
            template: Some(template.to_owned()),
            status: Status::Active,
            description: description.to_owned(),
            scope: ScopeKind::Project,
            scope_id: PROJECT.to_owned(),
            parameters: object(parameters),
            ..PolicyDraft::default()
        };
        let change = Authored {
            author: "sluicegate demo".to_owned(),
            comment: "so that there is something to see".to_owned(),
            // Only where there is none.
            if_version: Some(0),
            ..Authored::default()
        };
        let put = desk.admin::<ChangeReply>(Verb::Put, &PutRequest { policy, change }).await;
        match put {
            Ok(_) => made.push(name.to_owned()),
            Err(error) if is_conflict(&error) => (),
            Err(error) => {
                let what = format!("making {name} from {template} (`--no-policies` does without)");
                return Err(error.context(what));
            }
        }
    }
    Ok(made)
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(object) => object,
        _ => Map::new(),
    }
}

/// Two demos at once: the other one was faster.
fn is_conflict(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<Refusal>();
    refusal.is_some_and(|refusal| refusal.detail().code == CONFLICT)
}

/// A bar on standard error, only where that is a terminal.
fn bar(length: Option<Duration>) -> anyhow::Result<ProgressBar> {
    let bar = match length {
        Some(length) => {
            let milliseconds = u64::try_from(length.as_millis()).unwrap_or(u64::MAX);
            let style = ProgressStyle::with_template("{msg} {wide_bar:.cyan/dim} {percent:>3}%")?;
            ProgressBar::new(milliseconds).with_style(style)
        }
        None => ProgressBar::new_spinner()
            .with_style(ProgressStyle::with_template("{spinner} {msg}  (Ctrl-C ends it)")?),
    };
    bar.enable_steady_tick(Duration::from_millis(200));
    Ok(bar)
}

/// Shows denials as they happen, and how it stands; or everything, for programs.
fn watcher(bar: &ProgressBar, json: bool) -> Watcher {
    let bar = bar.clone();
    let so_far = Mutex::<Row>::default();
    Arc::new(move |happening| {
        let row = {
            let mut row = so_far.lock().unwrap_or_else(PoisonError::into_inner);
            row.add(happening);
            *row
        };
        if let Some(length) = bar.length() {
            let elapsed = u64::try_from(bar.elapsed().as_millis()).unwrap_or(u64::MAX);
            bar.set_position(elapsed.min(length));
        }
        bar.set_message(format!(
            "{} checks, {} denied, {} unchecked, ${:.2}",
            row.asked, row.denied, row.unchecked, row.spent_usd
        ));
        if json {
            let text = serde_json::to_string(happening).unwrap_or_default();
            bar.suspend(|| print::line(text));
        } else if let Some(text) = line(happening) {
            bar.suspend(|| print::line(text));
        }
    })
}

/// What is worth a line: a denial, and a call that nobody checked.
fn line(happening: &Happening) -> Option<String> {
    let what = format!("{:<14} {:<18} {}", happening.agent, happening.action, happening.on);
    if !happening.allowed {
        let reasons = happening.deny_reasons.join(", ");
        Some(format!("{} {what}  {}", styled(BAD, "denied   "), styled(DIM, reasons)))
    } else if happening.checked {
        None
    } else {
        Some(format!("{} {what}", styled(WARN, "unchecked")))
    }
}

fn show(tally: &Tally) {
    let mut table = print::table(&["agent", "asked", "denied", "unchecked", "failed", "spent"]);
    for column in 1..=5 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut row = |name: &str, row: Row| {
        let spent = format!("${:.2}", row.spent_usd);
        let counts = [row.asked, row.denied, row.unchecked, row.failed].map(|n| n.to_string());
        table.add_row([vec![name.to_owned()], counts.to_vec(), vec![spent]].concat());
    };
    for (name, counts) in &tally.agents {
        row(name, *counts);
    }
    row("all", tally.all());
    print::line("");
    print::line(table);
    for (reason, times) in &tally.reasons {
        print::line(format!("  {} {reason}", styled(STRONG, format!("{times:>5}"))));
    }
    if tally.unreported > 0 {
        let count = tally.unreported;
        print::line(styled(WARN, format!("{count} unchecked calls could not be reported")));
    }
    print::line("");
    print::line("Look at it:");
    print::line(format!("  sluicegate audit --project {PROJECT}"));
    print::line("  sluicegate status");
}

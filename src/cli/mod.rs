//! The command line: one file for each command. The only place that uses anyhow and exit codes.

mod ask;
mod audit;
mod bench;
mod chaos;
mod check;
mod config;
mod deadletter;
mod demo;
mod enforcement;
mod eval;
mod exit;
mod explain;
mod findings;
mod health;
mod migrate;
mod policy;
mod print;
mod request;
mod serve;
mod status;
mod tail;
mod test;
mod trace;
mod up;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::ask::Refusal;
use self::exit::Exit;
use crate::bus::BusError;
use crate::config::{ConfigError, Loaded, LogFormat, Override, Sources, load};
use crate::roles::alerter::AlerterError;
use crate::runtime::telemetry;
use crate::store::StoreError;

/// Policy enforcement for fleets of autonomous agents: before a sensitive operation an agent asks
/// "may I?"; every decision is recorded before it is answered.
#[derive(Parser)]
#[command(name = "sluicegate", version, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Args)]
struct Global {
    /// Configuration file [default: config/sluicegate.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Configuration")]
    config: Option<PathBuf>,
    /// Also read sluicegate.PROFILE.toml beside the configuration file
    #[arg(long, global = true, value_name = "PROFILE", help_heading = "Configuration")]
    profile: Option<String>,
    /// Set any key of the configuration; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Configuration")]
    set: Vec<String>,
    /// NATS servers, separated by commas [key nats.url]
    #[arg(long, global = true, value_name = "URL", help_heading = "Configuration")]
    nats_url: Option<String>,
    /// ClickHouse's HTTP interface [key clickhouse.url]
    #[arg(long, global = true, value_name = "URL", help_heading = "Configuration")]
    clickhouse_url: Option<String>,
    /// Print JSON for programs instead of text for people
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything on this machine: NATS, ClickHouse, worker, sink, console
    Up(up::Up),
    /// Run worker, sink, console and, if it has somebody to tell, alerter in one process
    #[command(after_help = "\
Examples:
  sluicegate serve
  sluicegate serve --profile cluster --nats-url nats://nats:4222 --clickhouse-url http://clickhouse:8123")]
    Serve,
    /// Run a worker: decides checks; run several to share the load
    #[command(after_help = "\
Examples:
  sluicegate worker
  sluicegate worker --nats-url nats://nats:4222 --set telemetry.listen=127.0.0.1:9090
  POLICY_ENFORCEMENT_ENABLED=false sluicegate worker    allows everything, records it all the same")]
    Worker,
    /// Run a sink: carries the audit stream to ClickHouse
    #[command(after_help = "\
Examples:
  sluicegate sink
  sluicegate sink --nats-url nats://nats:4222 --clickhouse-url http://clickhouse:8123")]
    Sink,
    /// Run an alerter: posts violations to Slack and to what takes CloudEvents
    #[command(after_help = "\
Examples:
  SLUICEGATE_ALERTER_SLACK=https://hooks.slack.com/services/... sluicegate alerter
  sluicegate alerter --set alerter.cloudevents=http://127.0.0.1:9000/events
  sluicegate alerter --nats-url nats://nats:4222 --set telemetry.listen=127.0.0.1:9091")]
    Alerter,
    /// Run the console: the web console and its API, OPA's and AuthZEN's ways to ask, health, metrics
    #[command(after_help = "\
Examples:
  sluicegate console
  sluicegate console --set http.listen=127.0.0.1:8282
  SLUICEGATE_HTTP_TOKENS=fleet:checker:... sluicegate console --set http.listen=0.0.0.0:8181")]
    Console,
    /// Ask "may I?" once and show the decision
    Check(check::Check),
    /// Try Rego, stored policies or all that apply on a request; enforces nothing
    Eval(eval::Eval),
    /// Explain a decision: rules, values, and what would have allowed it
    Explain(explain::Explain),
    /// List recent decisions from ClickHouse
    Audit(Box<audit::Audit>),
    /// Follow decisions and violations as they happen
    Tail(tail::Tail),
    /// Manage policies: list, store, enable, compare, roll back, apply a folder
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Show or turn the switch for all policies at once
    Enforcement(enforcement::Enforcement),
    /// Look at events that could not be stored, and replay them once the cause is mended
    #[command(subcommand)]
    Deadletter(deadletter::Deadletter),
    /// Test policies: suites of cases in YAML, and `test_` rules in Rego
    Test(test::Test),
    /// Bring ClickHouse's tables up to date
    #[command(after_help = "\
Examples:
  sluicegate migrate
  sluicegate migrate --clickhouse-url http://clickhouse:8123")]
    Migrate,
    /// Show the merged configuration and where each value came from
    Config(config::ConfigCommand),
    /// Show how the whole system stands: workers, streams, sinks, tables, and what wants a look
    Status(status::StatusCommand),
    /// Ask a running process whether it is ready; for health checks of containers
    Health(health::HealthCommand),
    /// Measure speed, beside a baseline from the same run
    #[command(subcommand)]
    Bench(bench::Bench),
    /// Let a fleet of simulated agents work, so that there is something to see
    Demo(demo::Demo),
    /// Harm a fleet of its own at random, and prove that nothing is lost and nothing doubled
    Chaos(chaos::Chaos),
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Ok };
            // Nothing can be done where even this can't be printed.
            let _ = error.print();
            return exit.into();
        }
    };
    let json = cli.global.json;
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = exit_of(&error);
            match error.downcast_ref::<Refusal>() {
                Some(refusal) => refusal.show(json),
                None => print::error(&error),
            }
            exit.into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let loaded = load(&sources(&cli.global)?)?;
    let json = cli.global.json;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async move {
        match cli.command {
            Command::Config(command) => config::run(&command, &loaded, json),
            Command::Check(command) => check::run(command, &loaded.config, json).await,
            Command::Audit(command) => audit::run(*command, &loaded.config, json).await,
            Command::Deadletter(command) => deadletter::run(command, &loaded.config, json).await,
            Command::Tail(command) => tail::run(command, &loaded.config, json).await,
            Command::Test(command) => test::run(command, &loaded.config, json).await,
            Command::Status(command) => status::run(&command, &loaded.config, json).await,
            Command::Health(command) => health::run(&command, &loaded.config, json).await,
            Command::Bench(command) => bench::run(command, &loaded.config, json).await,
            Command::Demo(command) => Box::pin(demo::run(command, &loaded.config, json)).await,
            Command::Chaos(command) => Box::pin(chaos::run(command, &loaded.config, json)).await,
            Command::Policy(command) => policy::run(command, &loaded.config, json).await,
            Command::Enforcement(command) => enforcement::run(command, &loaded.config, json).await,
            Command::Eval(command) => eval::run(command, &loaded.config, json).await,
            Command::Explain(command) => explain::run(command, &loaded.config, json).await,
            Command::Migrate => migrate::run(&loaded.config, json).await,
            Command::Up(command) => {
                logs(&loaded)?;
                up::run(command, loaded.config).await
            }
            Command::Serve => {
                let roles = serve::all(&loaded.config);
                served(loaded, &roles).await
            }
            Command::Worker => served(loaded, &[serve::Role::Worker]).await,
            Command::Sink => served(loaded, &[serve::Role::Sink]).await,
            Command::Alerter => served(loaded, &[serve::Role::Alerter]).await,
            Command::Console => served(loaded, &[serve::Role::Console]).await,
        }
    })
}

async fn served(loaded: Loaded, roles: &[serve::Role]) -> anyhow::Result<Exit> {
    logs(&loaded)?;
    serve::run(loaded.config, roles).await
}

fn logs(loaded: &Loaded) -> anyhow::Result<()> {
    let settings = &loaded.config.telemetry;
    telemetry::init(&settings.log, settings.format == LogFormat::Json)?;
    Ok(())
}

fn sources(global: &Global) -> Result<Sources, ConfigError> {
    let mut overrides: Vec<Override> = Vec::new();
    if let Some(url) = &global.nats_url {
        overrides.push(Override::new("--nats-url", "nats.url", url));
    }
    if let Some(url) = &global.clickhouse_url {
        overrides.push(Override::new("--clickhouse-url", "clickhouse.url", url));
    }
    for set in &global.set {
        overrides.push(set.parse()?);
    }
    Ok(Sources {
        file: global.config.clone(),
        profile: global.profile.clone(),
        overrides,
        ..Sources::from_process()?
    })
}

fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(refusal) = error.downcast_ref::<Refusal>() {
        return refusal.exit();
    }
    if error.downcast_ref::<ConfigError>().is_some() {
        return Exit::Config;
    }
    if let Some(AlerterError::NoTarget | AlerterError::Url { .. }) = error.downcast_ref() {
        return Exit::Config;
    }
    if let Some(StoreError::Unreachable(_) | StoreError::Timeout { .. }) = error.downcast_ref() {
        return Exit::Unavailable;
    }
    match error.downcast_ref::<BusError>() {
        Some(
            BusError::Connect { .. } | BusError::NoResponders { .. } | BusError::TimedOut { .. },
        ) => Exit::Unavailable,
        _ => Exit::Failed,
    }
}

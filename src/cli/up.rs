//! `sluicegate up`: everything on this machine, in the foreground.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::exit::Exit;
use super::print::{self, DIM, GOOD, STRONG, styled};
use super::{demo, serve};
use crate::config::Config;
use crate::embedded::{EmbeddedError, Stack};
use crate::roles::alerter;
use crate::runtime::health::Health;
use crate::runtime::shutdown;

/// Start everything on this machine
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate up
  sluicegate up --demo
  sluicegate up --quiet --set http.listen=127.0.0.1:8282")]
pub(crate) struct Up {
    /// Say nothing on standard output once it runs
    #[arg(long, short)]
    quiet: bool,
    /// Let a fleet of simulated agents work, as `sluicegate demo` does
    #[arg(long)]
    demo: bool,
}

pub(crate) async fn run(command: Up, config: Config) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let stop = shutdown::on_signal()?;
    let health = Health::default();
    let roles = serve::all(&config);
    serve::expect_parts(&health, &roles, &config);
    // The port first: nothing has to be ended again when it is taken.
    let listener = serve::listener(&config, &roles).await?;
    let stack = match Stack::start(&config, health.clone(), stop.clone()).await {
        Ok(stack) => stack,
        Err(EmbeddedError::Cancelled) => return Ok(Exit::Ok),
        Err(error) => return Err(error.into()),
    };
    let config = Arc::new(config);
    let running =
        serve::roles_until(Arc::clone(&config), &roles, health.clone(), stop.clone(), listener);
    let announce = async {
        while !health.is_ready() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        if !command.quiet {
            welcome(&config, &stack, start, command.demo);
        }
        if command.demo
            && let Err(error) = demo::beside(&config, stop.clone()).await
        {
            tracing::error!("the demo's fleet doesn't work: {error:#}");
        }
        std::future::pending::<()>().await;
    };
    let outcome = tokio::select! {
        outcome = running => outcome,
        () = announce => Ok(Exit::Ok),
    };
    stack.stop(config.shutdown.drain).await;
    tracing::info!("everything has ended; the data stay in {}", config.embedded.data.display());
    outcome
}

fn welcome(config: &Config, stack: &Stack, start: Instant, demo: bool) {
    let line = |name: &str, place: &str, what: &str| {
        let place = styled(STRONG, format!("{place:<30}"));
        print::line(format!("  {name:<11} {place} {}", styled(DIM, what)));
    };
    print::line("");
    let seconds = start.elapsed().as_secs_f64();
    print::line(format!("{} in {seconds:.1} s", styled(GOOD, "Sluicegate is up")));
    line("NATS", &config.nats.url, stack.nats_description());
    line("ClickHouse", &config.clickhouse.url, stack.clickhouse_description());
    line(
        "console",
        &format!("http://{}", config.http.listen),
        "for browsers; also /api, OPA's /v1/data, AuthZEN, /metrics",
    );
    line("data", &config.embedded.data.display().to_string(), "survive a restart");
    for target in alerter::target_names(&config.alerter) {
        line("alerts", &target, "violations are posted there");
    }
    if demo {
        line("demo", "sluicegate tail", "12 agents work in the project `demo`");
    }
    line("policies", "sluicegate policy list", "enable one: sluicegate policy enable cost_control");
    print::line("");
    print::line("Try in another terminal:");
    let program = std::env::args().next().unwrap_or_else(|| "sluicegate".to_owned());
    let defaults = Config::default();
    let unless = |flag: &str, is: &str, default: &str| {
        if is == default { String::new() } else { format!(" {flag} {is}") }
    };
    let nats = unless("--nats-url", &config.nats.url, &defaults.nats.url);
    let clickhouse = unless("--clickhouse-url", &config.clickhouse.url, &defaults.clickhouse.url);
    print::line(format!("  {program} check{nats} --action llm_call --resource model=gpt-4 \\"));
    print::line("      --context estimated_cost=1.0 --context budget.remaining_usd=0.5 \\");
    print::line("      --package cmbagent.cost_control");
    print::line(format!("  {program} audit{clickhouse}"));
    print::line("");
    print::line(styled(DIM, "Ctrl-C finishes what was accepted and ends everything."));
}

//! `sluicegate health`: whether a running process is ready; for health checks of containers, whose
//! images have no other HTTP client.

use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use serde_json::Value;

use super::exit::Exit;
use super::print::{self, BAD, GOOD, WARN, styled};
use crate::config::Config;

/// Ask a running process whether it is ready
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate health
  sluicegate health --url http://127.0.0.1:9090 --json

Exit code 0 means ready, 1 not ready, 4 nobody answers.")]
pub(crate) struct HealthCommand {
    /// Where it listens [default: telemetry.listen, else http.listen]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 3_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=60_000))]
    timeout: u64,
}

pub(crate) async fn run(
    command: &HealthCommand,
    config: &Config,
    json: bool,
) -> anyhow::Result<Exit> {
    let base = command.url.clone().unwrap_or_else(|| {
        let mut address = config.telemetry.listen_address().unwrap_or(config.http.listen);
        // Who listens everywhere is asked here.
        if address.ip().is_unspecified() {
            address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
        }
        format!("http://{address}")
    });
    let url = format!("{}/readyz", base.trim_end_matches('/'));
    let client = reqwest::Client::builder()
        .timeout(Duration::from_millis(command.timeout))
        .no_proxy()
        .build()?;
    let answer = match client.get(&url).send().await {
        Ok(answer) => answer,
        Err(error) => {
            print::error(&anyhow::Error::new(error).context(format!("nobody answers at {url}")));
            return Ok(Exit::Unavailable);
        }
    };
    let ready = answer.status().is_success();
    let body: Value =
        answer.json().await.with_context(|| format!("what answers at {url} is no Sluicegate"))?;
    if json {
        print::json(&body)?;
    } else {
        for (name, part) in body.get("parts").and_then(Value::as_object).into_iter().flatten() {
            let detail = part.get("detail").and_then(Value::as_str).unwrap_or_default();
            let state = match part.get("state").and_then(Value::as_str) {
                Some("ready") => styled(GOOD, "ready   "),
                Some("degraded") => styled(WARN, "degraded"),
                _ => styled(BAD, "waiting "),
            };
            print::line(format!("{state}  {name}  {detail}"));
        }
    }
    Ok(if ready { Exit::Ok } else { Exit::Failed })
}

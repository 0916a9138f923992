//! Asks before an operation, and says how it ended:
//!
//! ```sh
//! cargo run --example check --no-default-features --features client -- llm_call gpt-4 0.5
//! ```
//!
//! Reads the environment variables that `sluicegate::client::Settings` names, such as
//! `SLUICEGATE_NATS_URL`. Ends with 2 if the operation is denied.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "it is a command")]

use std::process::ExitCode;

use serde_json::json;
use sluicegate::client::{Check, Client, Settings};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let action = arguments.next().unwrap_or_else(|| "llm_call".to_owned());
    let model = arguments.next().unwrap_or_else(|| "gpt-4".to_owned());
    let estimate: f64 = arguments.next().unwrap_or_else(|| "0.5".to_owned()).parse()?;

    let client = Client::connect(Settings::from_env()?).await?;
    let check = Check::new(action, json!({"model": model}))
        .agent("planner")
        .session("s-1")
        .with("estimated_cost_usd", estimate)
        .with("budget", json!({"remaining_usd": 0.1}))
        .package("cmbagent.cost_control");

    let code = match client.guard(&check).await {
        Ok(mut guard) => {
            let decision = guard.decision();
            match &decision.unchecked {
                Some(unchecked) => {
                    println!("unchecked ({}): {}", unchecked.cause.as_str(), unchecked.message)
                }
                None => println!("allowed by {}: {}", decision.policy_package, decision.reason),
            }
            // Here the operation would be, and what it really cost.
            guard.cost_usd(estimate / 2.0);
            let answer = guard.run(async { Ok::<_, std::io::Error>("42") }).await?;
            println!("the answer is {answer}");
            ExitCode::SUCCESS
        }
        Err(denied) => {
            println!("{denied}");
            ExitCode::from(2)
        }
    };
    let unreported = client.close().await;
    let stats = client.stats();
    println!(
        "checked {} of {}, {unreported} unreported",
        stats.checked,
        stats.checked + stats.unchecked_total()
    );
    Ok(code)
}

//! `sluicegate check`: one check, from flags, a file or standard input.

use std::io::{IsTerminal as _, Read as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Map, Value};

use super::exit::Exit;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::bus::{self, Subjects};
use crate::config::Config;
use crate::contract::fault::ServiceError;
use crate::contract::{CheckReply, PolicyReply};
use crate::domain::{AuditState, Mode, Verdict};

/// Ask "may I?" once and show the decision
#[derive(Args)]
#[command(after_help = "\
Examples:
  sluicegate check --action llm_call --resource model=gpt-4 --context estimated_cost=1.0
  sluicegate check --action file_read --resource /data/.env --package cmbagent.data_privacy
  sluicegate check --action llm_call --resource gpt-4 --context budget.remaining_usd=0.5
  sluicegate check --file request.json --json
  echo '{\"action\": \"a\", \"resource\": \"r\"}' | sluicegate check

Exit code 0 means allowed, 2 denied; see `sluicegate --help` for the others.")]
pub(crate) struct Check {
    /// What the agent is about to do, for example llm_call
    #[arg(long, short)]
    action: Option<String>,
    /// What it is about to do it to: text, a JSON object, or key=value, which may be repeated
    #[arg(long, short, value_name = "RESOURCE")]
    resource: Vec<String>,
    /// Context, key=value: the value is JSON or text, and a.b=1 makes {"a": {"b": 1}}; may be
    /// repeated
    #[arg(long, short, value_name = "KEY=VALUE")]
    context: Vec<String>,
    /// Package of a policy to add to those that apply
    #[arg(long, short)]
    package: Option<String>,
    /// Ask as this agent, on the NATS subject that is bound to it
    #[arg(long, value_name = "AGENT")]
    agent: Option<String>,
    /// Read the request from a file, - for standard input; flags are laid over it
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How long to wait for the answer, in milliseconds
    #[arg(long, default_value_t = 5_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..=600_000))]
    timeout: u64,
}

pub(crate) async fn run(command: Check, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let body = body(&command)?;
    let subjects = Subjects::new(&config.nats.subject_prefix);
    let subject = match &command.agent {
        Some(agent) => subjects.check_of(Some(agent)),
        None => subjects.check(),
    };
    let connection = bus::connect_once(&config.nats, "check").await?;
    let timeout = Duration::from_millis(command.timeout);
    let answer = connection.request(&subject, body, timeout).await?;
    if answer.error_code.is_some() {
        let fault: ServiceError = serde_json::from_slice(&answer.payload)
            .context("the worker's refusal is unreadable")?;
        let refused = fault.error.code == 400;
        if json {
            print::json(&fault)?;
        } else {
            let field = fault.error.field;
            let place = if field.is_empty() { String::new() } else { format!("{field}: ") };
            print::line(format!(
                "{}  {place}{}",
                styled(WARN, fault.error.status.to_uppercase()),
                fault.error.message
            ));
        }
        return Ok(if refused { Exit::Refused } else { Exit::Unavailable });
    }
    let reply: CheckReply =
        serde_json::from_slice(&answer.payload).context("the worker's reply is unreadable")?;
    if json {
        print::json(&reply)?;
    } else {
        show(&reply);
    }
    Ok(if reply.allowed { Exit::Ok } else { Exit::Denied })
}

/// The request's bytes: sent as they are when they come from a file alone, so that the worker
/// judges them, not we.
fn body(command: &Check) -> anyhow::Result<Vec<u8>> {
    let from_flags = command.action.is_some() || !command.resource.is_empty();
    let text = match &command.file {
        Some(path) if path.as_os_str() != "-" => Some(
            std::fs::read(path)
                .with_context(|| format!("--file {} can't be read", path.display()))?,
        ),
        Some(_) => Some(standard_input()?),
        None if !from_flags && !std::io::stdin().is_terminal() => Some(standard_input()?),
        None => None,
    };
    let plain = !from_flags && command.context.is_empty() && command.package.is_none();
    let mut request: Map<String, Value> = match text {
        Some(text) if plain => return Ok(text),
        Some(text) => serde_json::from_slice(&text)
            .context("the request must be a JSON object for flags to be laid over it")?,
        None if !from_flags => {
            bail!("what is to be checked? Give --action and --resource, or --file; see --help")
        }
        None => Map::new(),
    };
    if let Some(action) = &command.action {
        request.insert("action".into(), action.as_str().into());
    }
    if !command.resource.is_empty() {
        request.insert("resource".into(), resource(&command.resource)?);
    }
    if let Some(package) = &command.package {
        request.insert("package".into(), package.as_str().into());
    }
    if !command.context.is_empty() {
        let context = request
            .entry("context")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .context("context must be an object")?;
        for pair in &command.context {
            set(context, pair).with_context(|| format!("--context {pair}"))?;
        }
    }
    Ok(serde_json::to_vec(&request)?)
}

fn standard_input() -> anyhow::Result<Vec<u8>> {
    let mut text = Vec::new();
    std::io::stdin().read_to_end(&mut text).context("standard input can't be read")?;
    Ok(text)
}

/// Several key=value make an object; one alone too, unless it is plainly a text or a JSON object.
fn resource(given: &[String]) -> anyhow::Result<Value> {
    if let [one] = given {
        if one.starts_with('{') {
            return serde_json::from_str(one)
                .with_context(|| format!("--resource {one} isn't JSON"));
        }
        let is_pair = one.split_once('=').is_some_and(|(key, _)| {
            !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        });
        if !is_pair {
            return Ok(Value::String(one.clone()));
        }
    }
    let mut members = Map::new();
    for pair in given {
        set(&mut members, pair).with_context(|| format!("--resource {pair}"))?;
    }
    Ok(Value::Object(members))
}

/// Sets `a.b=value` in an object.
fn set(members: &mut Map<String, Value>, pair: &str) -> anyhow::Result<()> {
    let (path, value) = pair.split_once('=').context("write it as key=value")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
    let mut keys = path.split('.').peekable();
    let mut at = members;
    while let Some(key) = keys.next() {
        if key.is_empty() {
            bail!("the key `{path}` has an empty part");
        }
        if keys.peek().is_none() {
            at.insert(key.to_owned(), value);
            return Ok(());
        }
        at = at
            .entry(key)
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
            .with_context(|| format!("`{key}` is no object in an earlier part"))?;
    }
    Ok(())
}

fn show(reply: &CheckReply) {
    let verdict = match reply.decision {
        Verdict::Allow => styled(GOOD, "ALLOWED"),
        Verdict::Deny => styled(BAD, "DENIED"),
    };
    print::line(format!("{verdict}  {}", reply.reason));
    for warning in &reply.warnings {
        print::line(format!("{}  {warning}", styled(WARN, "warning")));
    }
    if reply.error {
        print::line(format!("{}    {}", styled(BAD, "error"), reply.error_message));
    }
    for policy in &reply.policies {
        print::line(policy_line(policy));
    }
    let audit = match reply.audit {
        AuditState::Recorded => styled(GOOD, "recorded"),
        AuditState::Pending => styled(WARN, "pending: kept by the worker until the stream has it"),
        AuditState::Off => styled(WARN, "not recorded: audit.acknowledge is off"),
    };
    print::line(format!(
        "{audit}  {}",
        styled(
            DIM,
            format!(
                "{} · {} µs · policies {}",
                reply.decision_id, reply.duration_us, reply.policy_revision
            )
        )
    ));
}

fn policy_line(policy: &PolicyReply) -> String {
    let said = match (&policy.error, policy.decision) {
        (Some(_), _) => styled(BAD, "error"),
        (None, Verdict::Deny) => styled(BAD, "deny "),
        (None, Verdict::Allow) => styled(GOOD, "allow"),
    };
    let mode = match policy.mode {
        Mode::Enforce => "",
        Mode::Warn => " (only warns)",
        Mode::Shadow => " (draft, in shadow)",
    };
    let reasons = policy.deny_reasons.join(", ");
    format!(
        "  {said}  {}{mode} {} {reasons}",
        styled(STRONG, &policy.name),
        styled(DIM, format!("v{} {}", policy.version, policy.scope))
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn pairs_make_objects() {
        let mut members = Map::new();
        for pair in ["budget.remaining_usd=0.5", "agent=planner", "budget.ok=true", "q=a=b"] {
            set(&mut members, pair).unwrap();
        }
        assert_eq!(
            Value::Object(members.clone()),
            json!({"budget": {"remaining_usd": 0.5, "ok": true}, "agent": "planner", "q": "a=b"})
        );
        for bad in ["x", "=1", "a..b=1", "agent.x=1"] {
            assert!(set(&mut members, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_resource_is_text_an_object_or_pairs() {
        let of = |given: &[&str]| {
            resource(&given.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(of(&["/data/.env"]), json!("/data/.env"));
        assert_eq!(of(&["https://x.org/?a=b"]), json!("https://x.org/?a=b"));
        assert_eq!(of(&["model=gpt-4"]), json!({"model": "gpt-4"}));
        assert_eq!(of(&["{\"model\": \"gpt-4\"}"]), json!({"model": "gpt-4"}));
        assert_eq!(of(&["model=gpt-4", "n=3"]), json!({"model": "gpt-4", "n": 3}));
    }
}

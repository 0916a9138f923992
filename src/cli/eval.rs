//! `sluicegate eval`: tries policies on an input; nothing is enforced, counted or recorded.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Map, Value};

use super::ask::{Desk, Source, about};
use super::audit::time;
use super::exit::Exit;
use super::policy::put;
use super::print::{self, BAD, DIM, GOOD, WARN, styled};
use super::request::{self, Given, RequestFlags};
use super::{findings, trace};
use crate::config::Config;
use crate::contract::evaluate::{Choice, ChosenVersion};
use crate::contract::{EvaluateReply, EvaluateRequest, RequestBounds, parse_check};
use crate::domain::{Verdict, input};

/// Try Rego, stored policies, or all that would apply, on a request; enforces and records nothing
#[derive(Args)]
#[command(after_help = "\
Without --rego and --policy, the policies are tried that would apply to such a check.

Examples:
  sluicegate eval --action llm_call --resource gpt-4 --context estimated_cost=1.0
  sluicegate eval --rego mine.rego --action file_read --resource /data/.env --coverage
  sluicegate eval --policy rate_limiting@3 --param max_calls=2 \\
      --usage '{\"calls_in_window\": 5, \"window_seconds\": 60}' --action llm_call --resource gpt-4
  sluicegate eval --policy time_restrictions --now 2026-03-01T22:00:00Z --file request.json

Exit code 0 means that it would be allowed, 2 denied; see `sluicegate --help` for the others.")]
pub(crate) struct Eval {
    /// Rego to try, from a file, - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "policy")]
    rego: Option<PathBuf>,
    /// A stored policy to try, whatever its status and scope; may be repeated
    #[arg(long, value_name = "NAME[@VERSION]")]
    policy: Vec<String>,
    /// A whole input as policies see it, such as a recorded one, instead of a request
    #[arg(long, value_name = "FILE", conflicts_with_all = ["action", "resource", "context", "file"])]
    input: Option<PathBuf>,
    #[command(flatten)]
    request: RequestFlags,
    /// A setting of the policies that are tried, key=value: over what is stored; may be repeated
    #[arg(long = "param", value_name = "KEY=VALUE")]
    param: Vec<String>,
    /// What policies read as input.usage: a JSON object
    #[arg(long, value_name = "JSON")]
    usage: Option<String>,
    /// The time that policies see: 2026-03-02T10:00:00Z, or how long ago [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<DateTime<Utc>>,
    /// Show the Rego with the lines that the evaluation went through
    #[arg(long)]
    coverage: bool,
}

pub(crate) async fn run(command: Eval, config: &Config, json: bool) -> anyhow::Result<Exit> {
    let source = command.rego.as_deref().map(put::source).transpose()?;
    let mut request = wanted(&command, config)?;
    request.rego = source.as_ref().map(|source| source.text.clone());
    let desk = Desk::open(config).await?;
    let reply = desk.evaluate(&request).await;
    let reply = match &source {
        Some(source) => reply.map_err(|error| about(error, source))?,
        None => reply?,
    };
    if json {
        print::json(&reply)?;
    } else {
        show(&desk, &reply, source.as_ref(), command.coverage).await;
    }
    Ok(if reply.allowed { Exit::Ok } else { Exit::Denied })
}

/// What the flags ask for.
fn wanted(command: &Eval, config: &Config) -> anyhow::Result<EvaluateRequest> {
    let mut request = match &command.input {
        Some(path) => {
            let text = request::read(path, "--input")?;
            let input = serde_json::from_slice(&text)
                .with_context(|| format!("--input {} must be a JSON object", path.display()))?;
            EvaluateRequest { input: Some(input), ..EvaluateRequest::default() }
        }
        None => match command.request.given()? {
            Given::Text(text) => {
                let members = serde_json::from_slice(&text)
                    .context("the request must be a JSON object, as for `sluicegate check`")?;
                of_check(members, command, config)?
            }
            Given::Members(members) => of_check(members, command, config)?,
        },
    };
    request.policies = command.policy.iter().map(|name| choice(name)).collect::<Result<_, _>>()?;
    request.parameters = request::pairs(&command.param, "--param")?;
    if let Some(usage) = &command.usage {
        let usage: Value = serde_json::from_str(usage).context("--usage must be JSON")?;
        request.usage = Some(usage);
    }
    request.now = command.now.or(request.now);
    request.explain = true;
    Ok(request)
}

/// A check's members as those of the trial. What the contract doesn't name becomes part of the
/// input, as in a check.
fn of_check(
    members: Map<String, Value>,
    command: &Eval,
    config: &Config,
) -> anyhow::Result<EvaluateRequest> {
    let named = ["action", "resource", "context", "package"];
    if members.keys().all(|key| named.contains(&key.as_str())) {
        let request = serde_path_to_error::deserialize(Value::Object(members));
        return request.map_err(|error| anyhow::anyhow!("the request: {error}"));
    }
    let bounds = RequestBounds {
        bytes: usize::try_from(config.worker.max_request_bytes.as_u64()).unwrap_or(usize::MAX),
        nesting: config.worker.max_nesting,
        batch: 1,
    };
    let check = parse_check(&serde_json::to_vec(&members)?, &bounds)?;
    let now = command.now.unwrap_or_else(Utc::now);
    Ok(EvaluateRequest {
        input: Some(input::build(&check, now)),
        package: check.package,
        ..EvaluateRequest::default()
    })
}

/// `NAME` or `NAME@VERSION`.
fn choice(text: &str) -> anyhow::Result<Choice> {
    let Some((policy, version)) = text.split_once('@') else {
        return Ok(Choice::Name(text.to_owned()));
    };
    let Ok(version) = version.parse() else {
        bail!("--policy {text}: `{version}` is no version; write it as NAME or NAME@3");
    };
    Ok(Choice::Version(ChosenVersion {
        policy: policy.to_owned(),
        version: Some(version),
        usage: None,
    }))
}

async fn show(desk: &Desk, reply: &EvaluateReply, rego: Option<&Source>, coverage: bool) {
    if let Some(source) = rego {
        findings::show(&reply.findings, source);
    }
    let verdict = match reply.decision {
        Verdict::Allow => styled(GOOD, "WOULD BE ALLOWED"),
        Verdict::Deny => styled(BAD, "WOULD BE DENIED"),
    };
    print::line(format!("{verdict}  {}", reply.reason));
    if !reply.would_deny.is_empty() {
        let reasons = reply.would_deny.join(", ");
        print::line(format!("{}  {reasons}", styled(WARN, "drafts would deny")));
    }
    if reply.error {
        print::line(format!("{}  {}", styled(BAD, "error"), reply.error_message));
    }
    for policy in &reply.policies {
        let mut policy = policy.clone();
        let source = match rego {
            Some(source) => {
                policy.said.name.clone_from(&source.name);
                source.clone()
            }
            None => trace::stored(desk, &policy.said.name, policy.said.version).await.source,
        };
        trace::show(&policy, &source, coverage);
    }
    print::line(styled(
        DIM,
        format!("tried in {} µs · nothing is enforced or recorded", reply.duration_us),
    ));
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        eval: Eval,
    }

    fn eval(arguments: &[&str]) -> anyhow::Result<Value> {
        let line = Line::try_parse_from([&["eval"], arguments].concat())?;
        Ok(serde_json::to_value(wanted(&line.eval, &Config::default())?)?)
    }

    #[test]
    fn flags_make_the_trial() {
        let trial = eval(&[
            "-a",
            "llm_call",
            "-r",
            "model=gpt-4",
            "-c",
            "agent=x",
            "--policy",
            "a",
            "--policy",
            "b@3",
            "--param",
            "n=1",
            "--usage",
            "{\"calls\": 5}",
            "--now",
            "2026-03-02T10:00:00Z",
        ])
        .unwrap();
        assert_eq!(
            trial,
            json!({"action": "llm_call", "resource": {"model": "gpt-4"}, "context": {"agent": "x"},
                "policies": ["a", {"policy": "b", "version": 3}], "parameters": {"n": 1},
                "usage": {"calls": 5}, "now": "2026-03-02T10:00:00Z", "explain": true})
        );
        for wrong in [
            &["-a", "a", "-r", "r", "--policy", "b@x"][..],
            &["-a", "a", "-r", "r", "--usage", "{"],
            &["-a", "a", "-r", "r", "--param", "n"],
            &["-a", "a", "-r", "r", "--input", "x.json"],
            &["-a", "a", "-r", "r", "--rego", "x", "--policy", "y"],
        ] {
            assert!(eval(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn members_that_the_contract_does_not_name_are_part_of_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("request.json");
        let body = json!({"action": "a", "resource": "r", "trace": 7, "package": "p"});
        std::fs::write(&file, body.to_string()).unwrap();
        let now = "2026-03-02T10:00:00Z";
        let trial = eval(&["--file", file.to_str().unwrap(), "--now", now]).unwrap();
        assert_eq!((&trial["input"]["trace"], &trial["package"]), (&json!(7), &json!("p")));
        assert_eq!(trial["input"]["timestamp"], json!("2026-03-02T10:00:00.000000Z"));
        assert_eq!(trial["action"], Value::Null);
        std::fs::write(&file, "[1]").unwrap();
        assert!(eval(&["--file", file.to_str().unwrap()]).is_err());
    }
}

//! Recipes for any NATS client, run as documented.

use std::path::PathBuf;
use std::process::Command;

use async_nats::HeaderMap;
use serde_json::Value;
use sluicegate::contract::schema;

use super::support::Reports;
use crate::support::documents::{document, fences, root};
use crate::support::servers::{NatsServer, python};
use crate::worker::support::agent::header;
use crate::worker::support::{AuditStream, Fleet, until};

/// The page with the recipes.
const PAGE: &str = "docs/clients.md";

/// What runs a recipe.
fn run(mut command: Command, nats: &NatsServer) -> String {
    let output = command
        .current_dir(root())
        .env("NATS_URL", nats.url())
        // A debug build on a busy machine.
        .env("TIMEOUT", "60")
        .output()
        .unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()));
    let said = String::from_utf8(output.stdout).unwrap();
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}\n{complained}");
    said
}

/// Runs a recipe with a worker and without one; what it says, and what the audit has of it.
async fn tried(recipe: impl Fn() -> Command, client: &str) {
    let fleet = Fleet::with_shipped("");
    let (_worker, _, audit) = fleet.start().await;
    let said = tokio::task::block_in_place(|| run(recipe(), &fleet.nats));
    let expected = "decided: allow because: allowed\n\
                    of many: allow\n\
                    of many: 400 checks[1].resource\n\
                    wrong: service_error 400 resource\n";
    assert_eq!(said, expected);
    let outcome = outcome(&audit).await;
    assert_eq!(outcome["client"], client);
    assert_eq!((&outcome["outcome"], &outcome["cost_usd"]), (&"ok".into(), &0.04.into()));
    let decision = audit.only(outcome["decision_id"].as_str().unwrap()).await;
    assert_eq!(decision.event["action"], "llm_call");

    let alone = NatsServer::start();
    let reports = Reports::open(&alone.url()).await;
    let said = tokio::task::block_in_place(|| run(recipe(), &alone));
    assert!(
        said.starts_with("unchecked: no_responders\nof many: unchecked: no_responders\n"),
        "{said}"
    );
    let report = reports.holds(1).await.remove(0);
    assert_eq!(report.event["id"], report.id);
    assert_eq!((&report.event["client"], &report.event["allowed"]), (&client.into(), &true.into()));
    is_valid("check_request.json", &report.event["request"]);
    is_valid("unchecked_event.json", &report.event);
    is_valid("outcome_event.json", &outcome);
}

/// The one outcome that the audit has.
async fn outcome(audit: &AuditStream) -> Value {
    until("the outcome", async || Some(audit.last("policy.outcome").await?.event)).await
}

/// Whether a message is what its schema says, where the project has a schema of it.
fn is_valid(name: &str, message: &Value) {
    let Some((_, schema)) = schema::all().into_iter().find(|(known, _)| *known == name) else {
        return;
    };
    let validator = jsonschema::validator_for(&schema).unwrap();
    let problems: Vec<String> = validator.iter_errors(message).map(|e| e.to_string()).collect();
    assert!(problems.is_empty(), "{name}: {problems:?} in {message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipe_in_python() {
    let recipe = || {
        let mut command = Command::new(python());
        command.arg("clients/recipes/python/check.py");
        command
    };
    tried(recipe, "recipe-python/1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_recipe_for_node() {
    let folder = root().join("clients/recipes/node");
    assert!(
        folder.join("node_modules").is_dir(),
        "the packages of the recipe are missing: `npm ci --prefix clients/recipes/node` (Node 20 or \
         newer) installs them, as `make test` does"
    );
    let recipe = || {
        let mut command = Command::new("node");
        command.arg("clients/recipes/node/check.js");
        command
    };
    tried(recipe, "recipe-node/1").await;
}

/// The page's excerpts are in the files, line for line.
#[test]
fn the_page_shows_what_the_recipes_do() {
    let page = document(PAGE);
    for (language, path) in
        [("python", "clients/recipes/python/check.py"), ("js", "clients/recipes/node/check.js")]
    {
        let file = document(path);
        let lines: Vec<&str> = file.lines().map(str::trim).collect();
        let (_, recipes) = page.split_once("\n## Any NATS client\n").unwrap();
        let shown = fences(recipes, language);
        assert!(!shown.is_empty(), "{language}");
        for excerpt in shown {
            let missing =
                excerpt.lines().find(|line| line.trim() != "…" && !lines.contains(&line.trim()));
            assert_eq!(missing, None, "{path} has no such line");
        }
        assert!(page.contains(path), "{path} is named");
    }
}

/// A line of the page for the `nats` command: what is said of the message. The command itself is in
/// no registry that tests may use, so they send what its lines say.
#[derive(Debug)]
struct Line {
    verb: String,
    subject: String,
    headers: Vec<(String, String)>,
    body: String,
}

/// Reads one command as a shell would, as far as the page needs: words, quotes, and two
/// variables.
fn command_of(text: &str, id: &str, outcome: &str) -> Line {
    let text = text.replace("$OUTCOME", outcome).replace("$ID", id);
    assert!(!text.contains('$'), "{text}");
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    assert_eq!(quote, None, "{text}");
    let mut words = words.into_iter().skip(1);
    let verb = words.next().unwrap();
    let (mut headers, mut rest) = (Vec::new(), Vec::new());
    while let Some(word) = words.next() {
        match word.as_str() {
            "-H" | "--header" => {
                let header = words.next().unwrap();
                let (name, value) = header.split_once(':').unwrap();
                headers.push((name.to_owned(), value.to_owned()));
            }
            "--timeout" => assert!(words.next().unwrap().ends_with('s')),
            option => {
                assert!(!option.starts_with('-'), "{option} is not known here");
                rest.push(word);
            }
        }
    }
    let [subject, body] = rest.try_into().unwrap_or_else(|rest| panic!("{rest:?}"));
    Line { verb, subject, headers, body }
}

/// The `nats` commands of the page, each a line or several that end in a backslash or an open quote.
fn commands() -> Vec<String> {
    let page = document(PAGE);
    let (_, recipes) = page.split_once("\n### The `nats` command\n").unwrap();
    let blocks = fences(recipes.split("\n### ").next().unwrap(), "sh");
    let mut commands: Vec<String> = Vec::new();
    for line in blocks.iter().flat_map(|block| block.lines()) {
        match commands.last_mut() {
            Some(open) if open.matches('\'').count() % 2 == 1 => {
                open.push('\n');
                open.push_str(line);
            }
            _ => commands.push(line.to_owned()),
        }
    }
    commands.retain(|command| command.starts_with("nats "));
    commands
}

async fn sent(client: &async_nats::Client, line: &Line) -> Option<async_nats::Message> {
    let mut headers = HeaderMap::new();
    for (name, value) in &line.headers {
        headers.insert(name.as_str(), value.as_str());
    }
    let (subject, body) = (line.subject.clone(), line.body.clone().into());
    match line.verb.as_str() {
        "req" | "request" => client.request_with_headers(subject, headers, body).await.ok(),
        "pub" => {
            client.publish_with_headers(subject, headers, body).await.unwrap();
            client.flush().await.unwrap();
            None
        }
        other => panic!("{other} is not known here"),
    }
}

#[tokio::test]
async fn the_lines_for_the_nats_command() {
    let fleet = Fleet::with_shipped("");
    let (_worker, agent, audit) = fleet.start().await;
    let reports = Reports::open(&fleet.nats.url()).await;
    let [id, ended] = [uuid::Uuid::now_v7(), uuid::Uuid::now_v7()].map(|id| id.to_string());
    let commands = commands();
    let lines: Vec<Line> =
        commands.iter().map(|command| command_of(command, &id, &ended)).collect();
    let subjects: Vec<&str> = lines.iter().map(|line| line.subject.as_str()).collect();
    let expected = [
        "policy.check",
        "policy.check_batch",
        "policy.check",
        "policy.unchecked",
        "policy.outcome",
    ];
    assert_eq!(subjects, expected);
    let mut answers = Vec::new();
    for line in &lines {
        answers.push(sent(&agent.client, line).await);
    }
    let body = |index: usize| -> Value {
        serde_json::from_slice(&answers[index].as_ref().unwrap().payload).unwrap()
    };
    is_valid("check_reply.json", &body(0));
    assert_eq!(body(0)["deny_reasons"][0], "budget_exceeded");
    is_valid("check_batch_reply.json", &body(1));
    assert_eq!(body(1)["decisions"].as_array().unwrap().len(), 2);
    is_valid("service_error.json", &body(2));
    let refused = answers[2].as_ref().unwrap();
    assert_eq!(header(refused, "Nats-Service-Error-Code").as_deref(), Some("400"));
    assert!(body(3)["stream"].is_string(), "the stream has acknowledged it: {}", body(3));
    let report = reports.holds(1).await.remove(0);
    assert_eq!(report.event["id"], id);
    assert_eq!(report.id, id);
    is_valid("unchecked_event.json", &report.event);
    is_valid("check_request.json", &report.event["request"]);
    let outcome = outcome(&audit).await;
    assert_eq!((&outcome["id"], &outcome["decision_id"]), (&ended.into(), &id.into()));
    is_valid("outcome_event.json", &outcome);
}

/// The program of the README's first check, where nothing is denied and where something is.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_check_of_the_readme_in_python() {
    const STRICT: &str = "allow := input.estimated_cost_usd < 0.1\n\
                          deny_reasons := [\"too_dear\"] if not allow";
    let snippet = fences(&document("README.md"), "python").remove(0);
    let lax = Fleet::with_shipped("");
    let strict = Fleet::with_policies(&[("strict", STRICT)]);
    for (fleet, expected) in [(lax, "gpt-4 says hello\n"), (strict, "['too_dear'] [")] {
        let (_worker, ..) = fleet.start().await;
        let file: PathBuf = fleet.folder().join("first.py");
        std::fs::write(&file, &snippet).unwrap();
        let mut command = Command::new(python());
        let package = root().join("clients/python/src");
        command.arg(file).env("PYTHONPATH", package).env("SLUICEGATE_NATS_URL", fleet.nats.url());
        command.env("POLICY_CLIENT_TIMEOUT", "60");
        let said = tokio::task::block_in_place(|| run(command, &fleet.nats));
        assert!(said.starts_with(expected), "{said:?} is not {expected:?}");
    }
}

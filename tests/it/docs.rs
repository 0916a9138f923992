//! What the documents say is true: links lead somewhere, names exist, examples work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use chrono::Utc;
use serde_json::Value;
use sluicegate::config::{self, Config, Sources, keys};
use sluicegate::contract::admin::PutRequest;
use sluicegate::contract::fault::ServiceError;
use sluicegate::contract::{
    BatchReply, CheckReply, DecisionEvent, EvaluateRequest, NotificationEvent, OutcomeEvent,
    RequestBounds, UncheckedEvent, ViolationEvent, parse_batch, parse_check,
};
use sluicegate::roles::worker::admit_folder;
use sluicegate::store::{
    DecisionRow, NotificationRow, OutcomeRow, Store, StreamPosition, ViolationRow, migrate,
};

use crate::support::documents::{
    Document, code_spans, document, documents, fences, prose, root, words,
};
use crate::support::servers::ClickHouse;

/// Variables with the prefix that set no key.
const OTHER_VARIABLES: [&str; 5] = [
    "SLUICEGATE_PROFILE",
    "SLUICEGATE_CONFIG",
    "SLUICEGATE_CLICKHOUSE_PASSWORD",
    "SLUICEGATE_CHDB_USER",
    "SLUICEGATE_CHDB_PASSWORD",
];
/// What looks like a configuration key and is none: a file, and a function of Rego.
const NO_KEYS: [&str; 2] = ["policies.toml", "http.send"];

const BOUNDS: RequestBounds = RequestBounds { bytes: 262_144, nesting: 64, batch: 1_000 };

/// The anchors of a document's headings, as they are made on the usual hosts.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let mut broken = Vec::new();
    for Document { path, text } in documents() {
        let plain = prose(&text);
        let targets = plain.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let place = match file {
                "" => root().join(&path),
                file => root().join(&path).parent().unwrap().join(file),
            };
            let exists = place.exists();
            let anchored = anchor.is_empty()
                || fs::read_to_string(&place).is_ok_and(|text| anchors(&text).contains(anchor));
            if !exists || !anchored {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn configuration_keys_and_variables_exist() {
    let known: BTreeSet<&str> = keys().iter().map(|key| key.path).collect();
    let sections: BTreeSet<&str> = keys().iter().map(config::Key::section).collect();
    let variables: BTreeSet<String> = keys().iter().map(config::Key::variable).collect();
    let mut unknown = Vec::new();
    for Document { path, text } in documents() {
        let plain = prose(&text);
        for span in code_spans(&plain) {
            let mut parts = span.split('.');
            let (Some(section), Some(name), None) = (parts.next(), parts.next(), parts.next())
            else {
                continue;
            };
            let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
            let is_key =
                sections.contains(section) && !name.is_empty() && name.chars().all(is_name);
            if is_key && !known.contains(span) && !NO_KEYS.contains(&span) {
                unknown.push(format!("{}: {span}", path.display()));
            }
        }
        for word in words(&text, "SLUICEGATE_") {
            let fine = word == "SLUICEGATE_"
                || variables.contains(word)
                || OTHER_VARIABLES.contains(&word);
            if !fine {
                unknown.push(format!("{}: {word}", path.display()));
            }
        }
    }
    assert!(unknown.is_empty(), "no such settings: {unknown:#?}");
}

#[test]
fn metrics_are_documented_and_documented_metrics_exist() {
    let source = document("src/runtime/metrics.rs");
    let known: BTreeSet<&str> = source
        .split('"')
        .filter(|text| text.starts_with("sluicegate_"))
        .filter(|text| text.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert!(known.len() > 20, "{known:?}");
    let operating = document("docs/operating.md");
    let documented = words(&operating, "sluicegate_");
    let missing: Vec<_> = known.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/operating.md: {missing:?}");
    for Document { path, text } in documents() {
        for word in words(&text, "sluicegate_") {
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            assert!(
                known.contains(word) || known.contains(base),
                "{}: there is no metric {word}",
                path.display()
            );
        }
    }
}

#[test]
fn every_command_is_documented() {
    let help = Command::new(env!("CARGO_BIN_EXE_sluicegate")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let operating = document("docs/operating.md");
    let names: Vec<&str> = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(names.len() > 5, "{help}");
    for name in names {
        assert!(operating.contains(&format!("`sluicegate {name}`")), "{name} is not documented");
    }
    for line in help.lines().skip_while(|line| !line.starts_with("Exit codes:")).skip(1) {
        let Some(code) = line.split_whitespace().next() else { continue };
        assert!(operating.contains(&format!("\n| {code} | ")), "exit code {code}");
    }
}

/// docs/managing.md knows every command below `policy`, and its examples are understood.
#[test]
fn the_commands_of_management_are_documented() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_sluicegate")).args(arguments).output().unwrap()
    };
    let help = String::from_utf8(run(&["policy", "--help"]).stdout).unwrap();
    let (_, commands) = help.split_once("Commands:\n").unwrap();
    let managing = document("docs/managing.md");
    let names = commands
        .lines()
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    for name in names {
        let row = format!("\n| `sluicegate policy {name}` | ");
        assert!(managing.contains(&row), "{name} is not documented");
    }
    let mut tried = 0;
    for block in fences(&managing, "sh") {
        for line in block.replace("\\\n", " ").lines() {
            // Nobody listens there: what the command line understands ends with 4, or with 1 where
            // a file of the example is missing.
            let line =
                format!("{line} --nats-url nats://127.0.0.1:1 --clickhouse-url http://127.0.0.1:1");
            let program = env!("CARGO_BIN_EXE_sluicegate");
            let shell = line.replacen("sluicegate", program, 1);
            let said = Command::new("sh")
                .args(["-c", &shell])
                .current_dir(std::env::temp_dir())
                .output()
                .unwrap();
            let code = said.status.code().unwrap();
            assert!(matches!(code, 1 | 4), "{line}\n{}", String::from_utf8_lossy(&said.stderr));
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried} examples");
}

/// Examples in JSON are what they are said to be.
#[test]
fn json_examples_are_messages() {
    let mut checks = 0;
    for Document { path, text } in documents() {
        for example in fences(&text, "json") {
            let value: Value = serde_json::from_str(&example)
                .unwrap_or_else(|error| panic!("{}: {error}\n{example}", path.display()));
            let body = example.as_bytes();
            let has = |name: &str| value.get(name).is_some();
            let outcome = if has("decision_id") && has("audit") {
                serde_json::from_value::<CheckReply>(value).map(drop).map_err(|e| e.to_string())
            } else if has("violation_type") {
                serde_json::from_value::<ViolationEvent>(value).map(drop).map_err(|e| e.to_string())
            } else if has("violation_id") {
                let event = serde_json::from_value::<NotificationEvent>(value);
                event.map(drop).map_err(|e| e.to_string())
            } else if has("cause") {
                let report = serde_json::from_value::<UncheckedEvent>(value);
                report.map(drop).map_err(|e| e.to_string())
            } else if has("outcome") {
                serde_json::from_value::<OutcomeEvent>(value).map(drop).map_err(|e| e.to_string())
            } else if has("schema") {
                serde_json::from_value::<DecisionEvent>(value).map(drop).map_err(|e| e.to_string())
            } else if has("decisions") {
                serde_json::from_value::<BatchReply>(value).map(drop).map_err(|e| e.to_string())
            } else if has("error") {
                serde_json::from_value::<ServiceError>(value).map(drop).map_err(|e| e.to_string())
            } else if has("checks") {
                parse_batch(body, &BOUNDS).map(drop).map_err(|e| e.to_string())
            } else if has("change") {
                serde_json::from_value::<PutRequest>(value).map(drop).map_err(|e| e.to_string())
            } else if has("explain") {
                let request = serde_json::from_value::<EvaluateRequest>(value);
                request.map(drop).map_err(|e| e.to_string())
            } else if has("action") {
                checks += 1;
                parse_check(body, &BOUNDS).map(drop).map_err(|e| e.to_string())
            } else {
                Ok(())
            };
            assert_eq!(outcome, Ok(()), "{}:\n{example}", path.display());
        }
        for command in fences(&text, "sh") {
            for rest in command.split("nats req policy.check '").skip(1) {
                let body = rest.split('\'').next().unwrap();
                checks += 1;
                let parsed = parse_check(body.as_bytes(), &BOUNDS);
                assert!(parsed.is_ok(), "{}: {parsed:?}\n{body}", path.display());
            }
        }
    }
    assert!(checks >= 2, "there are examples of checks");
}

/// Examples in TOML and Rego are taken by the program: configurations by the configuration,
/// policies and their settings by the policy folder.
#[test]
fn configuration_and_policy_examples_are_taken() {
    let sections: BTreeSet<&str> = keys().iter().map(config::Key::section).collect();
    let mut configurations = 0;
    let mut settings = 0;
    for Document { path, text } in documents() {
        let folder = tempfile::tempdir().unwrap();
        copy_policies(folder.path());
        for rego in fences(&text, "rego") {
            let package = rego.lines().find_map(|line| line.strip_prefix("package ")).unwrap();
            let name = package.rsplit('.').next().unwrap();
            fs::write(folder.path().join(format!("{name}.rego")), rego).unwrap();
        }
        for example in fences(&text, "toml") {
            let tables: toml::Table = example
                .parse()
                .unwrap_or_else(|error| panic!("{}: {error}\n{example}", path.display()));
            if tables.keys().all(|table| sections.contains(table.as_str())) {
                configurations += 1;
                let file = folder.path().join("example.toml");
                fs::write(&file, &example).unwrap();
                let sources = Sources { file: Some(file), ..Sources::default() };
                let loaded = config::load(&sources);
                assert!(loaded.is_ok(), "{}: {loaded:?}", path.display());
            } else {
                settings += 1;
                fs::write(folder.path().join("policies.toml"), &example).unwrap();
                no_problems(folder.path(), &path);
            }
        }
        no_problems(folder.path(), &path);
    }
    assert!(configurations >= 1 && settings >= 2, "there are examples");
}

fn copy_policies(to: &Path) {
    for entry in fs::read_dir(root().join("policies")).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "rego") {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

fn no_problems(folder: &Path, document: &Path) {
    let mut config = Config::default();
    config.policies.folder = folder.to_owned();
    let loaded = admit_folder(&config).unwrap_or_else(|e| panic!("{}: {e}", document.display()));
    assert!(loaded.refused.is_empty(), "{}: {:?}", document.display(), loaded.refused);
}

/// The table of policies in docs/policies.md knows all of them, and their reasons and parameters.
#[test]
fn the_shipped_policies_are_documented() {
    let guide = document("docs/policies.md");
    let mut config = Config::default();
    config.policies.folder = root().join("policies");
    let loaded = admit_folder(&config).unwrap();
    assert!(loaded.refused.is_empty(), "{:?}", loaded.refused);
    for entry in &loaded.entries {
        let policy = entry.policy();
        let begin =
            format!("| `{}` `{}` | {} |", policy.name, policy.package, policy.severity.as_str());
        let row = guide
            .lines()
            .find(|line| line.starts_with(&begin))
            .unwrap_or_else(|| panic!("docs/policies.md has no row `{begin}`"));
        for parameter in policy.parameters.keys() {
            assert!(row.contains(&format!("`{parameter}`")), "{}: {parameter}", policy.name);
        }
        for rule in ["deny_reasons contains \"", "warnings contains \""] {
            let said = policy.rego.split(rule).skip(1).filter_map(|rest| rest.split('"').next());
            for reason in said {
                assert!(row.contains(&format!("`{reason}`")), "{}: {reason}", policy.name);
            }
        }
    }
}

/// The queries of the documents, and the tables of columns, over ClickHouse's real engine.
#[tokio::test]
async fn queries_run_and_columns_exist() {
    let server = ClickHouse::start();
    let config = config::ClickHouse { url: server.url(), ..config::ClickHouse::default() };
    let store = Store::connect(&config);
    migrate(&store).await.unwrap();
    let analytics = document("docs/analytics.md");
    let queries = fences(&analytics, "sql");
    assert!(queries.len() >= 12, "{} recipes", queries.len());
    // Once over empty tables, once with the rows of the documented events.
    for round in 0..2 {
        for query in &queries {
            ask(&config, query).await;
        }
        if round == 0 {
            insert_examples(&store).await;
        }
    }
    assert_eq!(ask(&config, "SELECT count() FROM decisions").await, "1");
    assert_eq!(ask(&config, "SELECT count() FROM violations WHERE notified").await, "1");
    let beside = "SELECT outcome FROM decision_outcomes WHERE decision = 'deny'";
    assert_eq!(ask(&config, beside).await, "error", "the examples speak of one decision");

    let readme = document("README.md");
    let urls = readme.split("'http://127.0.0.1:8123/?query=").skip(1);
    let mut asked = 0;
    for url in urls.filter_map(|rest| rest.split('\'').next()) {
        let answer = reqwest::get(format!("{}/?query={url}", config.url)).await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{url}: {}", answer.text().await.unwrap());
        asked += 1;
    }
    assert!(asked > 0, "the README asks ClickHouse");

    let views = [
        "decisions",
        "violations",
        "notifications",
        "outcomes",
        "decision_outcomes",
        "enforcement_coverage",
        "policy_versions",
        "policy_changes",
        "enforcement_changes",
        "audit_batches",
        "audit_workers",
    ];
    for view in views {
        let (_, rest) = analytics.split_once(&format!("## Columns of `{view}`")).unwrap();
        let section = rest.split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let named: BTreeSet<&str> =
            rows.flat_map(|row| code_spans(row.split('|').nth(1).unwrap())).collect();
        let names = format!("SELECT name FROM system.columns WHERE table = '{view}' FORMAT TSV");
        let there = ask(&config, &names).await;
        assert_eq!(named, there.lines().collect(), "columns of {view}");
    }
}

async fn insert_examples(store: &Store) {
    let subjects = document("docs/subjects.md");
    let at = StreamPosition { epoch: Utc::now(), sequence: 1 };
    for example in fences(&subjects, "json") {
        let mut value: Value = serde_json::from_str(&example).unwrap();
        if value.get("schema").is_none() || value.get("cause").is_some() {
            continue;
        }
        value["timestamp"] = Utc::now().to_rfc3339().into();
        if value.get("outcome").is_some() {
            value["id"] = uuid::Uuid::now_v7().to_string().into();
            let event: OutcomeEvent = serde_json::from_value(value).unwrap();
            store.insert(&[&OutcomeRow::new(event, at).unwrap()], "outcome").await.unwrap();
        } else if value.get("violation_id").is_some() {
            let event: NotificationEvent = serde_json::from_value(value).unwrap();
            let row = NotificationRow::new(event, at).unwrap();
            store.insert(&[&row], "notification").await.unwrap();
            assert!(store.apply_notifications(&[row.violation_id], true).await.unwrap().is_empty());
        } else if value.get("violation_type").is_some() {
            let event: ViolationEvent = serde_json::from_value(value).unwrap();
            store.insert(&[&ViolationRow::new(event, at).unwrap()], "violation").await.unwrap();
        } else {
            let event: DecisionEvent = serde_json::from_value(value).unwrap();
            store.insert(&[&DecisionRow::new(event, at).unwrap()], "decision").await.unwrap();
        }
    }
}

async fn ask(config: &config::ClickHouse, sql: &str) -> String {
    let answer = reqwest::Client::new()
        .post(format!("{}/?database={}", config.url, config.database))
        .body(sql.to_owned())
        .send()
        .await
        .unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{sql}\n{text}");
    text.trim().to_owned()
}

//! What is asked: one check again and again, or many that differ as those of a fleet do.

use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

/// Checks that are read of a file.
const MOST: usize = 100_000;
/// Bytes of them together.
const MOST_BYTES: usize = 256 << 20;
/// Checks of the mixed workload.
const MANY: u64 = 4_096;
/// Sessions, runs and agents of it.
const SESSIONS: u64 = 64;
const AGENTS: [&str; 6] = ["planner", "engineer", "researcher", "analyst", "reviewer", "writer"];
const MODELS: [&str; 5] = ["gpt-4", "gpt-4o-mini", "claude-sonnet-4", "gemini-2.5-flash", "o3-pro"];
const FOLDERS: [&str; 4] = ["notes", "data/survey", "results/plots", "src/model"];
const ENDINGS: [&str; 4] = ["md", "csv", "py", "pem"];

/// Numbers that are the same in every run.
struct Numbers(oorandom::Rand64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0.rand_range(0..bound)
    }

    fn one_of<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let at = self.below(u64::try_from(of.len()).unwrap_or(1));
        usize::try_from(at).ok().and_then(|at| of.get(at)).copied().unwrap_or_default()
    }

    /// An amount with cents.
    fn dollars(&mut self, most: u64) -> f64 {
        super::figures::real(self.below(most * 100)) / 100.0
    }
}

/// What a fleet of researchers asks: six of ten are calls of models, each with a cost and a budget of
/// its own, two read files, the others write them, run code, and call the web. No two are alike; always
/// the same ones.
pub(super) fn mixed(agent: &str) -> Vec<Value> {
    let mut numbers = Numbers(oorandom::Rand64::new(20_261_123));
    (0..MANY).map(|number| request(&mut numbers, agent, number)).collect()
}

fn request(numbers: &mut Numbers, agent: &str, number: u64) -> Value {
    let spent = numbers.dollars(5);
    let context = json!({
        "agent": format!("{agent}-{}", numbers.one_of(&AGENTS)),
        "user": "alice",
        "session_id": format!("{agent}-{}", number % SESSIONS),
        "run_id": format!("run-{}", number / SESSIONS),
        "step_id": format!("step-{number}"),
        "project_id": "galaxy-survey",
        "budget": {"limit_usd": 5.0, "spent_usd": spent, "remaining_usd": 5.0 - spent},
        "task": "summarise the abstracts of the last query",
    });
    let mut about = json!({});
    let (action, resource) = match numbers.below(10) {
        0..6 => {
            about = json!({
                "estimated_cost_usd": numbers.dollars(2),
                "task_priority": numbers.one_of(&["low", "normal", "high"]),
            });
            let resource = json!({
                "model": numbers.one_of(&MODELS),
                "provider": "openai",
                "prompt_length": 200 + numbers.below(4_000),
                "max_tokens": 2_048,
            });
            ("llm_call", resource)
        }
        6 | 7 => ("file_read", json!({"path": path(numbers)})),
        8 => ("file_write", json!({"path": path(numbers), "bytes": numbers.below(100_000)})),
        _ if numbers.below(2) == 0 => {
            ("code_execution", json!({"language": "python", "lines": 1 + numbers.below(200)}))
        }
        _ => {
            let page = numbers.below(1_000);
            ("external_api_call", json!({"url": format!("https://api.example.org/papers/{page}")}))
        }
    };
    let members = [context, about].into_iter().filter_map(|value| match value {
        Value::Object(members) => Some(members),
        _ => None,
    });
    let context: Map<String, Value> = members.flatten().collect();
    json!({"action": action, "resource": resource, "context": context})
}

fn path(numbers: &mut Numbers) -> String {
    let (folder, ending) = (numbers.one_of(&FOLDERS), numbers.one_of(&ENDINGS));
    format!("{folder}/{}.{ending}", numbers.below(500))
}

/// Reads JSON lines: checks, or decisions as they are exported.
pub(super) fn read(path: &Path) -> anyhow::Result<Vec<Value>> {
    let mut checks = Vec::new();
    let mut bytes = 0;
    for (number, line) in BufReader::new(std::fs::File::open(path)?).lines().enumerate() {
        let line = line.with_context(|| format!("line {}", number + 1))?;
        if line.trim().is_empty() {
            continue;
        }
        bytes += line.len();
        if checks.len() == MOST || bytes > MOST_BYTES {
            bail!("more than {MOST} checks, or {} MiB; give a part of it", MOST_BYTES >> 20);
        }
        let check = serde_json::from_str(&line).map_err(anyhow::Error::new).and_then(check_of);
        checks.push(check.with_context(|| format!("line {}", number + 1))?);
    }
    if checks.is_empty() {
        bail!("the file has no checks: one on each line, as JSON");
    }
    Ok(checks)
}

/// The check itself, or the one that a decision is about.
fn check_of(line: Map<String, Value>) -> anyhow::Result<Value> {
    let input = match line.get("input") {
        // Tables hold it as a text.
        Some(Value::String(text)) => serde_json::from_str(text).context("its member input")?,
        Some(Value::Object(input)) => input.clone(),
        Some(_) => bail!("its member input is no object"),
        None => line,
    };
    if !input.contains_key("action") {
        bail!("it has neither the member action of a check nor the member input of a decision");
    }
    let members = ["action", "resource", "context", "package"];
    let named = members.iter().filter_map(|name| Some((*name, input.get(*name)?.clone())));
    Ok(Value::Object(named.map(|(name, value)| (name.to_owned(), value)).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashSet};

    use super::*;

    #[test]
    fn the_mixed_workload_is_always_the_same_and_differs_in_itself() {
        let requests = mixed("bench");
        assert_eq!(requests, mixed("bench"));
        let texts: HashSet<String> = requests.iter().map(Value::to_string).collect();
        assert_eq!(texts.len(), requests.len());
        let mut actions = BTreeMap::new();
        for request in &requests {
            *actions.entry(request["action"].as_str().unwrap()).or_insert(0) += 1;
        }
        assert_eq!(actions.len(), 5, "{actions:?}");
        assert!((2_300..2_600).contains(&actions["llm_call"]), "{actions:?}");
        let mean = texts.iter().map(String::len).sum::<usize>() / texts.len();
        assert!((350..450).contains(&mean), "{mean} bytes, as agents send them");
    }

    #[test]
    fn checks_and_exported_decisions_are_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |text: &str| std::fs::write(file.path(), text).unwrap();
        let check = json!({"action": "a", "resource": "r", "context": {"agent": "x"}});
        let decision = json!({"id": "1", "input": {"action": "a", "resource": "r", "context": {"agent": "x"},
            "timestamp": "now", "agent": "x"}});
        let row = json!({"id": "2", "input": decision["input"].to_string()});
        write(&format!("{check}\n\n{decision}\n{row}\n"));
        assert_eq!(read(file.path()).unwrap(), vec![check; 3]);
        for (text, part) in [
            ("", "no checks"),
            ("{}\n", "line 1"),
            ("{\"action\": \"a\"}\nx\n", "line 2"),
            ("{\"input\": 1}\n", "no object"),
        ] {
            write(text);
            let error = format!("{:#}", read(file.path()).unwrap_err());
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}

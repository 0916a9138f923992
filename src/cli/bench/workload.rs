//! What is asked: one check again and again, or many that differ as those of a fleet do.

use serde_json::{Value, json};

/// Checks of the mixed workload.
const MANY: u64 = 4_096;
/// Sessions, runs and agents of it.
const SESSIONS: u64 = 64;
const AGENTS: [&str; 6] = ["planner", "engineer", "researcher", "analyst", "reviewer", "writer"];
const MODELS: [&str; 5] = ["gpt-4", "gpt-4o-mini", "claude-sonnet-4", "gemini-2.5-flash", "o3-pro"];
const FOLDERS: [&str; 4] = ["notes", "data/survey", "results/plots", "src/model"];
const ENDINGS: [&str; 4] = ["md", "csv", "py", "pem"];

/// Numbers that are the same in every run: the multiplier and increment of Knuth's MMIX generator.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound.max(1)
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
    let mut numbers = Numbers(20_261_123);
    (0..MANY).map(|number| request(&mut numbers, agent, number)).collect()
}

fn request(numbers: &mut Numbers, agent: &str, number: u64) -> Value {
    let spent = numbers.dollars(5);
    let mut context = json!({
        "agent": format!("{agent}-{}", numbers.one_of(&AGENTS)),
        "user": "alice",
        "session_id": format!("{agent}-{}", number % SESSIONS),
        "run_id": format!("run-{}", number / SESSIONS),
        "step_id": format!("step-{number}"),
        "project_id": "galaxy-survey",
        "budget": {"limit_usd": 5.0, "spent_usd": spent, "remaining_usd": 5.0 - spent},
        "task": "summarise the abstracts of the last query",
    });
    let (action, resource) = match numbers.below(10) {
        0..6 => {
            context["estimated_cost_usd"] = json!(numbers.dollars(2));
            context["task_priority"] = json!(numbers.one_of(&["low", "normal", "high"]));
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
    json!({"action": action, "resource": resource, "context": context})
}

fn path(numbers: &mut Numbers) -> String {
    let (folder, ending) = (numbers.one_of(&FOLDERS), numbers.one_of(&ENDINGS));
    format!("{folder}/{}.{ending}", numbers.below(500))
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
}

//! The examples of docs/http.md, run by a shell as they stand there.

use std::process::Command;

use serde_json::Value;

use super::support::{House, SECRET};
use crate::support::documents::document;
use crate::worker::support::Fleet;

/// The fenced blocks of a document with their languages, in order.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.to_owned(), String::new())),
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some((_, block)), None) => {
                block.push_str(line);
                block.push('\n');
            }
            (None, None) => (),
        }
    }
    blocks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_examples_of_the_guide_work() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _audit) = fleet.start().await;
    let house = House::with_tokens(&fleet.config).await;
    let blocks = blocks(&document("docs/http.md"));
    let mut run = 0;
    for (at, (language, block)) in blocks.iter().enumerate() {
        if language != "sh" || !block.contains("curl") {
            continue;
        }
        let shell = format!("set -e\n{block}")
            .replace("http://127.0.0.1:8181", &house.url)
            .replace("curl -sS", "curl -sS --fail-with-body");
        let mut command = Command::new("sh");
        command.args(["-c", &shell]).env("TOKEN", format!("admin{SECRET}"));
        let said = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let out = String::from_utf8_lossy(&said.stdout);
        let err = String::from_utf8_lossy(&said.stderr);
        assert!(said.status.success(), "{block}\n{out}\n{err}");
        run += 1;
        let Some((_, shown)) = blocks.get(at + 1).filter(|(language, _)| language == "json") else {
            continue;
        };
        let mut shown: Value = serde_json::from_str(shown).unwrap();
        let mut answer: Value = serde_json::from_str(&out).unwrap();
        // The guide shows some of a package's rules.
        if let (Some(shown), Some(answer)) =
            (shown["result"].as_object(), answer.get_mut("result").and_then(Value::as_object_mut))
        {
            answer.retain(|rule, _| shown.contains_key(rule));
        }
        if shown.get("decision_id").is_some() {
            shown["decision_id"] = answer["decision_id"].clone();
        }
        assert_eq!(answer, shown, "{block}");
    }
    assert_eq!(run, 5, "the guide has examples");
}

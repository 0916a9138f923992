//! `schemas/openapi.json`: made of the API's types, and true of what it answers.

use std::path::Path;

use serde_json::Value;
use sluicegate::roles::console;

use crate::doors::support::House;
use crate::worker::support::Fleet;

#[test]
fn the_file_is_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/openapi/openapi.json");
    let text = format!("{}\n", serde_json::to_string_pretty(&console::openapi()).unwrap());
    if std::env::var_os("UPDATE_SCHEMAS").is_some_and(|value| value == "1") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, text, "UPDATE_SCHEMAS=1 writes it");
}

#[test]
fn every_reference_leads_somewhere() {
    fn walk(document: &Value, at: &Value) {
        match at {
            Value::Object(members) => {
                if let Some(Value::String(reference)) = members.get("$ref") {
                    let pointer = reference.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(|value| walk(document, value));
            }
            Value::Array(items) => items.iter().for_each(|value| walk(document, value)),
            _ => (),
        }
    }
    let document = console::openapi();
    walk(&document, &document);
}

#[tokio::test]
async fn every_operation_is_there_and_answers_as_it_says() {
    let fleet = Fleet::with_shipped("");
    let (_worker, _agent, _) = fleet.start().await;
    let house = House::open(&fleet.config).await;
    let served = house.get("/api/openapi.json").await.json(200);
    assert_eq!(served, console::openapi());
    let mut operations = 0;
    for (path, methods) in served["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let url = path
                .replace("{policy}", "cost_control")
                .replace("{version}", "1")
                .replace("{id}", "01900000-0000-7000-8000-000000000000");
            if url == "/api/events" {
                continue;
            }
            let said = house.send(&method.to_uppercase(), &url, "{}").await;
            assert_ne!(said.status, 405, "{method} {path}");
            assert!(!said.text.contains("nothing is at"), "{method} {path}");
            operations += 1;
            let content = "application/json";
            let pointer = format!("/responses/{}/content", said.status);
            let Some(schema) = operation.pointer(&pointer).and_then(|of| of[content].get("schema"))
            else {
                assert_eq!(
                    said.header("content-type"),
                    "application/problem+json",
                    "{method} {path}"
                );
                continue;
            };
            let mut root = schema.clone();
            root["components"] = served["components"].clone();
            let validator = jsonschema::validator_for(&root).unwrap();
            let body = said.json(said.status);
            let problems: Vec<String> =
                validator.iter_errors(&body).map(|problem| problem.to_string()).collect();
            assert!(problems.is_empty(), "{method} {path}: {problems:?} in {body}");
        }
    }
    assert!(operations > 20, "{operations}");
}

//! A package's document: the values of its rules beside those that decide, for callers who ask for
//! data as OPA's do.

use std::collections::BTreeSet;
use std::sync::Arc;

use regorus::Value;
use serde_json::Map;
use sha2::{Digest as _, Sha256};

use super::ast::{self, Kind};
use super::compile::{self, Compiled, ENTRY_RULES};
use super::error::EngineError;
use super::results;

/// What tells a document's program from the policy's own, where both are kept by digest.
const DIGEST_PREFIX: &[u8] = b"document\0";

/// The program that gathers the rules of a policy beside those that decide; none where it has no
/// others. Functions have no value, and tests are not for callers.
///
/// Runs on a thread with a stack of its own, as [`compile::compile`].
pub(super) fn compile(compiled: &Compiled, rego: &str) -> Result<Option<Compiled>, EngineError> {
    compile::with_stack("compile", 0, || compile_here(compiled, rego))
        .unwrap_or_else(|reason| Err(EngineError::Compile(reason)))
}

fn compile_here(compiled: &Compiled, rego: &str) -> Result<Option<Compiled>, EngineError> {
    let file = "package.rego";
    let module = compile::parse(file, rego)?;
    let names: BTreeSet<String> = ast::definitions(&module)
        .into_iter()
        .filter(|rule| rule.kind != Kind::Function && !rule.is_test())
        .map(|rule| rule.name)
        .filter(|name| is_path(name) && !ENTRY_RULES.contains(&name.as_str()))
        .collect();
    if names.is_empty() {
        return Ok(None);
    }
    let path = format!("data.{}", compiled.package);
    let gatherer = compile::gatherer(&path, names.iter().map(String::as_str));
    let mut engine = compile::bounded_engine(rego.len().max(gatherer.len()));
    engine
        .add_policy(file.to_owned(), rego.to_owned())
        .map_err(|e| EngineError::Parse(compile::shown(&e)))?;
    let program = compile::gathering(&mut engine, &path, gatherer)?;
    let digest = Sha256::new().chain_update(DIGEST_PREFIX).chain_update(compiled.digest).finalize();
    let telling = Arc::default();
    Ok(Some(Compiled { program, digest: digest.into(), telling, ..compiled.clone() }))
}

/// Whether a rule can be named in a path without brackets; the few others are left out.
fn is_path(name: &str) -> bool {
    let identifier = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    name.split('.').all(identifier)
}

/// The rules that are defined, as JSON: a set is an array, a key that isn't text is its JSON, and
/// `limits.daily` is a member of the object `limits`.
pub(super) fn read(result: &Value) -> Result<Map<String, serde_json::Value>, String> {
    let mut rules = Map::new();
    for (rule, value) in results::pairs(result) {
        let value = serde_json::to_value(value).map_err(|e| format!("`{rule}`: {e}"))?;
        lay(&mut rules, rule, value);
    }
    Ok(rules)
}

/// Lays a rule's value in its place; a set gives the rules above before those below.
fn lay(rules: &mut Map<String, serde_json::Value>, rule: &str, value: serde_json::Value) {
    match rule.split_once('.') {
        None => {
            rules.entry(rule).or_insert(value);
        }
        Some((first, rest)) => {
            let below = rules.entry(first).or_insert_with(|| Map::new().into());
            if let serde_json::Value::Object(below) = below {
                lay(below, rest, value);
            }
        }
    }
}

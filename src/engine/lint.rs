//! What is doubtful about a policy that compiles: it is taken, and its author is told.
//!
//! A lint must be right nearly always, or nobody reads it. So a member of the input that the
//! contract doesn't name is only doubtful where it looks like a misspelling of one that it does:
//! whatever a caller puts into the context is lifted to the top, and policies may read it.

use std::collections::BTreeSet;

use regorus::Value;
use regorus::unstable::{Expr, Literal, Module};

use super::admit::line_of_parameter;
use super::ast::{self, Definition, Kind, Lines};
use super::compile::{Compiled, ENTRY_RULES};
use super::conditions;
use super::entry_types::values;
use super::finding::Finding;
use super::reads::{self, Read};

/// Members of the input that the contract names, and those that the shipped policies read.
const KNOWN: &[&str] = &[
    "action",
    "agent",
    "budget",
    "calls_in_window",
    "context",
    "data_region",
    "estimated_cost",
    "estimated_cost_usd",
    "model",
    "parameters",
    "project_id",
    "region",
    "resource",
    "retention_tag",
    "review",
    "run_id",
    "session_id",
    "step_id",
    "task_priority",
    "timestamp",
    "usage",
    "user",
];
/// What the system itself says of the caller.
const USAGE: &[&str] = &["calls_in_window", "scope_calls_in_window", "window_seconds"];
/// The parameter that the system reads.
const READ_BY_SYSTEM: &str = "window_seconds";

/// All warnings about a policy.
pub(super) fn check(
    compiled: &Compiled,
    module: &Module,
    definitions: &[Definition<'_>],
    rego: &str,
    lines: &Lines,
) -> Vec<Finding> {
    let reads = reads::all(module, lines);
    let mut found: Vec<Finding> = never_denies(definitions, lines).into_iter().collect();
    found.extend(unused_rules(compiled, definitions, lines));
    found.extend(conditions::check(definitions, lines));
    found.extend(inputs(&reads));
    found.extend(parameters(compiled, &reads, rego));
    found
}

/// Reasons to deny where nothing denies: no `allow`, or one that can't be false.
fn never_denies(definitions: &[Definition<'_>], lines: &Lines) -> Option<Finding> {
    let reasons = definitions
        .iter()
        .find(|d| d.name == "deny_reasons" && !matches!(d.kind, Kind::Default))
        .filter(|d| !gives_nothing(d))?;
    let allow: Vec<_> = definitions.iter().filter(|d| d.name == "allow").collect();
    let help = "add `default allow := true` and `allow := false if count(deny_reasons) > 0`";
    let Some(first) = allow.first() else {
        let message = "there are `deny_reasons`, but no `allow`: the policy can never deny, since \
                       it denies when its `allow` is false";
        let place = lines.at(reasons.head.start);
        return Some(Finding::warning("deny-reasons-without-allow", message, help).at(place));
    };
    let always_true = |definition: &&Definition<'_>| {
        let given = values(definition);
        // Without a value it is true where its body holds, and undefined, which allows, elsewhere.
        given.iter().all(|value| ast::literal(value) == Some(Value::Bool(true)))
    };
    allow.iter().all(always_true).then(|| {
        let message = "`allow` is true or undefined, never false, and undefined means allowed: \
                       the policy can never deny";
        Finding::warning("never-denies", message, help).at(lines.at(first.head.start))
    })
}

/// Whether a definition gives an empty set, array or object.
fn gives_nothing(definition: &Definition<'_>) -> bool {
    definition.kind == Kind::Complete
        && definition.value.is_some_and(|value| match value.as_ref() {
            Expr::Array { items, .. } | Expr::Set { items, .. } => items.is_empty(),
            Expr::Object { fields, .. } => fields.is_empty(),
            Expr::Call { fcn, params, .. } => ast::called(fcn) == "set" && params.is_empty(),
            _ => false,
        })
}

/// Rules that no entry rule uses, directly or through others.
fn unused_rules(
    compiled: &Compiled,
    definitions: &[Definition<'_>],
    lines: &Lines,
) -> Vec<Finding> {
    let prefix = format!("data.{}.", compiled.package);
    let used: BTreeSet<&str> = compiled
        .program
        .rule_infos
        .iter()
        .filter_map(|info| info.name.strip_prefix(prefix.as_str()))
        .collect();
    let mut told = BTreeSet::new();
    definitions
        .iter()
        .filter(|d| !d.is_test() && !ENTRY_RULES.contains(&d.name.as_str()))
        .filter(|d| !used.contains(d.name.as_str()) && told.insert(d.name.clone()))
        .map(|d| {
            let message = format!(
                "nothing that `allow`, `deny_reasons` or `warnings` need uses `{}`",
                d.name
            );
            Finding::warning("unused-rule", message, "remove it, or use it")
                .at(lines.at(d.head.start))
        })
        .collect()
}

/// Members of the input that look like a misspelling.
fn inputs(reads: &[Read]) -> Vec<Finding> {
    let mut told = BTreeSet::new();
    let mut findings = Vec::new();
    for read in reads {
        let doubtful = match read.path.as_slice() {
            [first, second, ..] if first == "usage" && !USAGE.contains(&second.as_str()) => {
                Some((second, nearest(second, USAGE.iter().copied(), usize::MAX)))
            }
            [first, second, ..] if first == "context" => {
                misspelled(second).map(|n| (second, Some(n)))
            }
            [first, ..] => misspelled(first).map(|n| (first, Some(n))),
            [] => None,
        };
        let Some((name, near)) = doubtful else { continue };
        if !told.insert((name.clone(), read.line)) {
            continue;
        }
        let message = format!("no contract names `{name}` in `{}`", reads::written(&read.path));
        let help = near.map_or_else(String::new, |near| {
            format!("did you mean `{near}`? If a caller sends `{name}`, read it as input.context[\"{name}\"]")
        });
        findings
            .push(Finding::warning("unknown-input", message, help).at((read.line, read.column)));
    }
    findings
}

fn misspelled(name: &str) -> Option<&'static str> {
    if KNOWN.contains(&name) {
        return None;
    }
    // A plural is another thing, not a misspelling.
    let near = nearest(name, KNOWN.iter().copied(), if name.len() < 6 { 1 } else { 2 })?;
    let plural = name.strip_suffix('s') == Some(near) || near.strip_suffix('s') == Some(name);
    (!plural).then_some(near)
}

/// The nearest of some names, within so many changes of letters.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>, most: usize) -> Option<&'a str> {
    known
        .map(|known| (strsim::damerau_levenshtein(known, name), known))
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// Parameters that are read and not declared, and the other way round.
fn parameters(compiled: &Compiled, reads: &[Read], rego: &str) -> Vec<Finding> {
    let schema = &compiled.metadata.parameters;
    let declared: Vec<&str> = schema
        .get("properties")
        .and_then(serde_json::Value::as_object)
        .map(|properties| properties.keys().map(String::as_str).collect())
        .unwrap_or_default();
    let mut findings = Vec::new();
    let mut told = BTreeSet::new();
    let mut read_whole = false;
    let mut used = BTreeSet::new();
    for read in reads.iter().filter(|read| read.path.first().is_some_and(|p| p == "parameters")) {
        let Some(name) = read.path.get(1) else {
            read_whole = true;
            continue;
        };
        used.insert(name.as_str());
        if !declared.contains(&name.as_str()) && told.insert(name.clone()) {
            let help = match nearest(name, declared.iter().copied(), 3) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "declare it under custom.parameters.properties in the METADATA".to_owned(),
            };
            let message = format!("the parameter `{name}` is read but not declared");
            findings.push(
                Finding::warning("unknown-parameter", message, help).at((read.line, read.column)),
            );
        }
    }
    for name in declared {
        if !used.contains(name) && !read_whole && name != READ_BY_SYSTEM {
            let message = format!("the parameter `{name}` is declared but never read");
            let help = format!("read it as `input.parameters.{name}`, or remove it");
            let finding = Finding::warning("unused-parameter", message, help);
            findings.push(Finding { line: line_of_parameter(rego, name), ..finding });
        }
    }
    findings
}

/// Whether a statement is of no loop and no assignment, but a plain condition.
pub(super) fn condition(literal: &Literal) -> Option<&Expr> {
    match literal {
        Literal::Expr { expr, .. } => Some(expr.as_ref()),
        _ => None,
    }
}

#[cfg(test)]
#[path = "lint_tests.rs"]
mod tests;

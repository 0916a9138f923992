//! Whether a policy may come in: everything that compiling asks, and what else must be right
//! before somebody depends on it.

use regorus::unstable::{BUILTINS, Expr, Module};
use serde_json::{Map, Value};

use super::ast::{self, Definition, Lines, Node};
use super::compile::{CompileLimits, Compiled, compile_here, parse, with_stack};
use super::error::EngineError;
use super::evaluate::EvaluationLimits;
use super::finding::{Finding, FindingSeverity};
use super::rego_tests::{self, RegoTest};
use super::{builtins, entry_types, lint, nesting};

/// Lines of a policy.
const MOST_LINES: usize = 5_000;
/// Definitions of rules and functions in a policy.
const MOST_DEFINITIONS: usize = 1_000;
/// Statements and expressions in one definition.
const MOST_NODES: usize = 4_000;
/// Findings that are shown.
const MOST_FINDINGS: usize = 100;
/// Tests of a policy whose failures are shown.
const MOST_FAILURES: usize = 20;

/// A policy that may come in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// Ready to run.
    pub compiled: Compiled,
    /// What is doubtful about it.
    pub warnings: Vec<Finding>,
}

/// Checks a policy in every way: it compiles, its entry rules are of the right type, it calls only
/// what it may, it is not too large or complex, its METADATA is right, its own tests pass.
///
/// `file` is the name that the findings carry. Takes at most some seconds, whatever the text.
///
/// # Errors
/// All errors that could be found, and the warnings with them, by line.
pub fn admit(
    file: &str,
    rego: &str,
    limits: &CompileLimits,
    evaluation: &EvaluationLimits,
) -> Result<Admitted, Vec<Finding>> {
    let work = || {
        let admitted = examine_here(file, rego, limits)?;
        let findings = failed_tests(file, rego, evaluation);
        if findings.iter().any(|finding| finding.severity == FindingSeverity::Error) {
            return Err(findings);
        }
        Ok(admitted)
    };
    on_stack(file, work)
}

/// The same without its own tests: for those who run them apart.
///
/// # Errors
/// As [`admit`].
pub fn examine(file: &str, rego: &str, limits: &CompileLimits) -> Result<Admitted, Vec<Finding>> {
    on_stack(file, || examine_here(file, rego, limits))
}

fn on_stack(
    file: &str,
    work: impl FnOnce() -> Result<Admitted, Vec<Finding>>,
) -> Result<Admitted, Vec<Finding>> {
    let result = with_stack("admit", 0, work).unwrap_or_else(|reason| {
        Err(vec![Finding::error("compile", reason, "simplify the policy and try again")])
    });
    let named = |findings: Vec<Finding>| {
        let mut findings: Vec<Finding> =
            findings.into_iter().map(|finding| finding.in_file(file)).collect();
        findings.sort_by_key(|found| (found.line, found.column, found.severity));
        findings.truncate(MOST_FINDINGS);
        findings
    };
    match result {
        Ok(admitted) => Ok(Admitted { warnings: named(admitted.warnings), ..admitted }),
        Err(findings) => Err(named(findings)),
    }
}

fn examine_here(file: &str, rego: &str, limits: &CompileLimits) -> Result<Admitted, Vec<Finding>> {
    let one = |error: &EngineError| vec![Finding::from(error)];
    if rego.len() > limits.bytes {
        return Err(one(&EngineError::TooLarge { bytes: rego.len(), limit: limits.bytes }));
    }
    nesting::check(rego, limits.nesting).map_err(|error| one(&error))?;
    let lines = rego.lines().count();
    if lines > MOST_LINES {
        return Err(vec![Finding::error(
            "too-complex",
            format!("the policy has {lines} lines, at most {MOST_LINES} are taken"),
            "split it into several policies",
        )]);
    }
    let module = parse(file, rego).map_err(|error| one(&error))?;
    let lines = Lines::of(rego);
    let definitions = ast::definitions(&module);
    let mut findings = complexity(&definitions, &lines);
    if findings.is_empty() {
        findings.extend(entry_types::check(&definitions, &lines));
        findings.extend(forbidden_builtins(&definitions, &lines));
    }
    let compiled = match compile_here(file, rego, limits) {
        Ok(compiled) => {
            findings.extend(parameters(&compiled.metadata.parameters, rego));
            Some(compiled)
        }
        Err(error) => {
            let finding = placed(Finding::from(&error), &error, &module, &definitions, &lines);
            // The tree has shown the same with its line.
            if !findings.iter().any(|known| known.code == finding.code) {
                findings.push(finding);
            }
            None
        }
    };
    let Some(compiled) = compiled.filter(|_| findings.is_empty()) else {
        return Err(findings);
    };
    let warnings = lint::check(&compiled, &module, &definitions, rego, &lines);
    Ok(Admitted { compiled, warnings })
}

fn complexity(definitions: &[Definition<'_>], lines: &Lines) -> Vec<Finding> {
    if definitions.len() > MOST_DEFINITIONS {
        return vec![Finding::error(
            "too-complex",
            format!(
                "the policy has {} definitions of rules, at most {MOST_DEFINITIONS} are taken",
                definitions.len()
            ),
            "put the data of the rules into parameters, or split the policy",
        )];
    }
    let mut findings = Vec::new();
    for definition in definitions {
        let mut nodes = 0_usize;
        ast::walk(definition.rule, |_| {
            nodes += 1;
            nodes <= MOST_NODES
        });
        if nodes > MOST_NODES {
            findings.push(
                Finding::error(
                    "too-complex",
                    format!("`{}` has more than {MOST_NODES} parts", definition.name),
                    "put long lists into parameters, or give parts of the rule names of their own",
                )
                .at(lines.at(definition.head.start)),
            );
        }
    }
    findings
}

/// Calls of builtins that are there but not allowed, also in rules that nothing uses.
pub(super) fn forbidden_builtins(definitions: &[Definition<'_>], lines: &Lines) -> Vec<Finding> {
    let mut findings = Vec::new();
    for definition in definitions {
        ast::walk(definition.rule, |node| {
            if let Node::Expr(expr) = node
                && let Expr::Call { fcn, .. } = expr.as_ref()
            {
                let name = ast::called(fcn);
                let local = definitions.iter().any(|d| d.name == name);
                let known = BUILTINS.contains_key(name.as_str()) || name == "print";
                let tolerated = definition.is_test() && name == "print";
                let left_out = builtins::named_in(&name) == Some(name.as_str());
                if ((known && !builtins::is_allowed(&name)) || left_out) && !local && !tolerated {
                    let error = builtins::refused(&name);
                    findings.push(Finding::from(&error).at(lines.at(fcn.span().start)));
                }
            }
            true
        });
    }
    findings
}

/// Gives a compiler's refusal the place that the tree knows.
fn placed(
    finding: Finding,
    error: &EngineError,
    module: &Module,
    definitions: &[Definition<'_>],
    lines: &Lines,
) -> Finding {
    if finding.line.is_some() {
        return finding;
    }
    let place = match error {
        EngineError::Package { .. } | EngineError::NoEntry { .. } => {
            Some(module.package.span.start)
        }
        EngineError::Compile(text) => definitions
            .iter()
            .filter(|d| {
                text.contains(&format!(".{}`", d.name)) || text.contains(&format!(".{}'", d.name))
            })
            .map(|d| d.head.start)
            .next(),
        _ => None,
    };
    match place {
        Some(place) => finding.at(lines.at(place)),
        None => finding,
    }
}

/// The schema of the parameters must be one, of an object, and its defaults must satisfy it.
fn parameters(schema: &Map<String, Value>, rego: &str) -> Vec<Finding> {
    let help = "correct custom.parameters in the METADATA: a JSON Schema of an object";
    let found = |message: String, name: &str| {
        let line = line_of_parameter(rego, name);
        let finding = Finding::error("parameters", message, help);
        Finding { line, ..finding }
    };
    if schema.is_empty() {
        return Vec::new();
    }
    if let Some(kind) = schema.get("type")
        && kind != "object"
    {
        return vec![found(
            format!("the parameters must be of type object, not {kind}"),
            "parameters",
        )];
    }
    if let Err(error) = jsonschema::validator_for(&Value::Object(schema.clone())) {
        return vec![found(format!("custom.parameters is no JSON Schema: {error}"), "parameters")];
    }
    let mut findings = Vec::new();
    let Some(Value::Object(properties)) = schema.get("properties") else { return findings };
    for (name, property) in properties {
        let Some(default) = property.get("default") else { continue };
        let mut own = property.clone();
        if let (Some(own), Some(shared)) = (own.as_object_mut(), schema.get("$defs")) {
            own.insert("$defs".to_owned(), shared.clone());
        }
        // What a default leaves out inside of an object is filled in from further defaults.
        let mut given = Map::new();
        given.insert(name.clone(), default.clone());
        let one = Map::from_iter([(
            "properties".to_owned(),
            Value::Object(Map::from_iter([(name.clone(), own)])),
        )]);
        if let Err(error) = super::parameters::with_defaults(&one, &given) {
            findings.push(found(
                format!("the default of `{name}` is not allowed by its own schema: {error}"),
                name,
            ));
        }
    }
    findings
}

/// Line of the METADATA comment that declares a parameter.
pub(super) fn line_of_parameter(rego: &str, name: &str) -> Option<usize> {
    let declares = |line: &str| {
        line.strip_prefix('#').is_some_and(|comment| {
            comment.trim_start().strip_prefix(name).is_some_and(|rest| rest.starts_with(':'))
        })
    };
    rego.lines().position(declares).map(|index| index + 1)
}

/// Runs the policy's own tests.
fn failed_tests(file: &str, rego: &str, limits: &EvaluationLimits) -> Vec<Finding> {
    let modules = [(file.to_owned(), rego.to_owned())];
    let tests = match rego_tests::run_here(&modules, limits, None) {
        Ok(tests) => tests,
        Err(findings) => return findings,
    };
    let failed = |test: &RegoTest| {
        let reason = test.error.as_deref().unwrap_or("it is not true");
        Finding::error(
            "test-failed",
            format!("the policy's own test `{}` fails: {reason}", test.name),
            "correct the policy or the test; `sluicegate test` runs it",
        )
        .at((test.line, 1))
    };
    tests.iter().filter(|t| !t.passed && !t.skipped).take(MOST_FAILURES).map(failed).collect()
}

#[cfg(test)]
#[path = "admit_tests.rs"]
mod tests;

//! Why a policy says what it says: the definitions that held, the input they read, the lines that
//! ran.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use regorus::unstable::{Literal, Module, Ref};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ast::{self, Kind, Lines, Node};
use super::compile::{Compiled, ENTRY_POINT, parse, with_stack};
use super::evaluate::{EvaluationLimits, say, stack_bytes};
use super::probe::{Body, Noted, Probed};
use super::reads;
use super::warm::limited;
use crate::domain::Verdict;
pub use crate::domain::trace::{FiredRule, InputRead, LineCoverage};

/// Instructions of a program with probes for each one without.
const PROBED: usize = 5;
/// Bytes of the JSON of one value; a longer one is described instead.
const MOST_VALUE_BYTES: usize = 2_048;
/// References that are shown.
const MOST_READS: usize = 256;

/// What one evaluation of a policy did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Trace {
    /// What it decided; `allow` where it failed.
    pub verdict: Verdict,
    /// Why it denied, sorted and unique.
    pub deny_reasons: Vec<String>,
    /// What it warned of, sorted and unique.
    pub warnings: Vec<String>,
    /// Why it could not be evaluated.
    pub error: Option<String>,
    /// The definitions whose body held, in the order of the text; functions are left out.
    pub rules: Vec<FiredRule>,
    /// The members of the input that lines which ran refer to, by path.
    pub reads: Vec<InputRead>,
    /// Which lines ran.
    pub lines: LineCoverage,
    /// How long the evaluation took, in microseconds, without the tracing.
    pub duration_us: u64,
}

/// Evaluates a policy on a complete input (`parameters` and `usage` already in it) and says how it
/// came to its result.
///
/// The verdict is that of the program which decides; the trace is of the same program with probes
/// in it. `rego` is the text that `compiled` was made of. Costs about ten evaluations and runs
/// within the same limits; where one ends the evaluation, the trace shows what ran until then.
#[must_use]
pub fn trace(
    compiled: &Compiled,
    rego: &str,
    input: &Map<String, Value>,
    limits: &EvaluationLimits,
) -> Trace {
    let failed = |error: String| Trace {
        verdict: Verdict::Allow,
        deny_reasons: Vec::new(),
        warnings: Vec::new(),
        error: Some(error),
        rules: Vec::new(),
        reads: Vec::new(),
        lines: LineCoverage::default(),
        duration_us: 0,
    };
    let stack = stack_bytes(limits.instructions.saturating_mul(PROBED));
    with_stack("trace", stack, || trace_here(compiled, rego, input, limits)).unwrap_or_else(failed)
}

fn trace_here(
    compiled: &Compiled,
    rego: &str,
    input: &Map<String, Value>,
    limits: &EvaluationLimits,
) -> Trace {
    let value = regorus::Value::from(Value::Object(input.clone()));
    let mut vm = limited(compiled.program.clone(), limits);
    let start = Instant::now();
    let said = say(&mut vm, value.clone(), limits);
    let duration = start.elapsed();

    let probed = Probed::new(&compiled.program);
    let more = EvaluationLimits {
        instructions: limits.instructions.saturating_mul(PROBED),
        // Bounded by the instructions already; a slow start must not cut the trace short.
        time: limits.time.saturating_mul(4),
        ..*limits
    };
    let mut vm = limited(probed.program.clone(), &more);
    let (_, noted) = probed.record(|| say(&mut vm, value, &more));

    let (error, said) = match said {
        Ok(said) => (None, Some(said)),
        Err(error) => (Some(error), None),
    };
    let mut trace = Trace {
        verdict: said.as_ref().map_or(Verdict::Allow, |said| said.verdict),
        deny_reasons: said.as_ref().map(|said| said.deny_reasons.clone()).unwrap_or_default(),
        warnings: said.map(|said| said.warnings).unwrap_or_default(),
        error,
        rules: Vec::new(),
        reads: Vec::new(),
        lines: LineCoverage { covered: noted.lines.clone(), coverable: probed.lines.clone() },
        duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
    };
    match parse("traced.rego", rego) {
        Ok(module) => describe(&mut trace, compiled, &module, rego, input, &noted),
        Err(error) => trace.error = trace.error.or(Some(error.to_string())),
    }
    trace
}

/// Adds what only the text can say.
fn describe(
    trace: &mut Trace,
    compiled: &Compiled,
    module: &Ref<Module>,
    rego: &str,
    input: &Map<String, Value>,
    noted: &Noted,
) {
    let lines = Lines::of(rego);
    let definitions = ast::definitions(module);
    let mut by_name: BTreeMap<&str, Vec<&ast::Definition<'_>>> = BTreeMap::new();
    for definition in definitions.iter().filter(|d| d.kind != Kind::Default) {
        by_name.entry(&definition.name).or_default().push(definition);
    }

    let mut rules: Vec<FiredRule> = Vec::new();
    for (body, values) in &noted.held {
        let Some(name) = rule_name(compiled, *body) else { continue };
        let definition = by_name.get(name).and_then(|all| all.get(body.definition));
        let line = definition.map_or(0, |definition| {
            let otherwise = definition.bodies.get(body.body).filter(|_| body.body > 0);
            lines.line(otherwise.map_or(definition.head, |body| &body.span))
        });
        rules.push(FiredRule { rule: name.to_owned(), value: fired_value(values), line });
    }
    let place = |rule: &FiredRule| (rule.line, rule.rule.clone(), rule.value.to_string());
    rules.sort_by_cached_key(place);
    trace.rules = rules;

    // Rules that nothing calls are not in the program, and no run can cover them.
    let compiled_rules: BTreeSet<&str> = compiled
        .program
        .rule_infos
        .iter()
        .filter_map(|info| local_name(compiled, &info.name))
        .collect();
    for definition in definitions.iter().filter(|d| d.kind != Kind::Default && !d.is_test()) {
        if !compiled_rules.contains(definition.name.as_str()) {
            trace.lines.coverable.extend(statement_lines(definition, &lines));
        }
    }

    let mut read: BTreeMap<Vec<String>, BTreeSet<usize>> = BTreeMap::new();
    for found in reads::all(module, &lines) {
        if trace.lines.covered.contains(&found.line) {
            read.entry(found.path).or_default().insert(found.line);
        }
    }
    trace.reads = read
        .into_iter()
        .take(MOST_READS)
        .map(|(path, lines)| InputRead {
            value: reads::value_at(input, &path).map(shortened),
            path: reads::written(&path),
            lines: lines.into_iter().collect(),
        })
        .collect();
}

/// Lines of a definition's head and of what is in its bodies.
fn statement_lines(definition: &ast::Definition<'_>, lines: &Lines) -> BTreeSet<usize> {
    let mut found = BTreeSet::from([lines.line(definition.head)]);
    ast::walk(definition.rule, |node| {
        if let Node::Statement(statement) = node
            && !matches!(statement.literal, Literal::SomeVars { .. })
        {
            found.insert(lines.line(&statement.span));
        }
        true
    });
    found
}

fn rule_name(compiled: &Compiled, body: Body) -> Option<&str> {
    local_name(compiled, &compiled.program.rule_infos.get(body.rule)?.name)
}

/// A rule's name without its package.
fn local_name<'a>(compiled: &Compiled, path: &'a str) -> Option<&'a str> {
    if path == ENTRY_POINT {
        return None;
    }
    path.strip_prefix("data.")?.strip_prefix(compiled.package.as_str())?.strip_prefix('.')
}

fn fired_value(values: &[Value]) -> Value {
    match values {
        [key, value] => {
            let key = key.as_str().map_or_else(|| key.to_string(), str::to_owned);
            Value::Object(Map::from_iter([(key, value.clone())]))
        }
        _ => values.first().cloned().unwrap_or_default(),
    }
}

/// A value of the input, or its description where it is large.
fn shortened(value: &Value) -> Value {
    let bytes = value.to_string().len();
    if bytes <= MOST_VALUE_BYTES {
        return value.clone();
    }
    Value::String(match value {
        Value::Array(items) => format!("(a list of {} items, {bytes} bytes)", items.len()),
        Value::Object(members) => {
            format!("(an object of {} members, {bytes} bytes)", members.len())
        }
        _ => format!("(a text of {bytes} bytes)"),
    })
}

#[cfg(test)]
#[path = "trace_tests.rs"]
mod tests;

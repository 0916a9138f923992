//! Candidates for a remedy, the likeliest first.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{Expr, Module};
use serde_json::{Map, Value};

use super::ast::{self, Lines, Node};
use super::reads::{self, Roots};
use super::remedy::Change;
use super::trace::Trace;
use super::variant::{Origin, Part, Place};

/// Candidates that are tried.
const MOST: usize = 120;
/// Values that are tried at one place.
const MOST_AT_PLACE: usize = 16;
/// Members of an object or list that is read as a whole.
const MOST_MEMBERS: usize = 16;
/// A text that no list holds, to see whether any other value would do.
const ANY_TEXT: &str = "sluicegate-any-other-value";
/// The mark of what somebody else grants.
const GRANTED: u8 = u8::MAX;
/// Who asks, and on whose behalf: never to be changed.
const IDENTITY: [&str; 6] = ["agent", "user", "session_id", "run_id", "step_id", "project_id"];

/// How sure it is that the change is what is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Way {
    /// A number to a bound.
    Number,
    /// Any other text: then the policy has something against this one.
    Any,
    /// The value that it is compared with.
    Compared,
    /// A value of a list that it is not in: then the policy asks for one of them.
    Listed,
    /// The other boolean.
    Flip,
    /// Nothing.
    Remove,
}

/// One change to try.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) place: Place,
    value: Option<Value>,
    way: Way,
}

impl Candidate {
    /// The change for [`Origin::with`].
    pub(super) fn change(&self) -> (&Place, Option<&Value>) {
        (&self.place, self.value.as_ref())
    }

    /// The change in words.
    pub(super) fn described(&self, origin: &Origin) -> Change {
        let from = origin.get(&self.place).cloned();
        let name = self.place.spoken();
        let to = match self.way {
            Way::Any | Way::Remove => None,
            _ => self.value.clone(),
        };
        let text = match (&self.way, &from, &self.value) {
            (Way::Number, Some(from), Some(to)) => {
                if number(from) > number(to) {
                    format!("lower `{name}` from {from} to at most {to}")
                } else {
                    format!("raise `{name}` from {from} to at least {to}")
                }
            }
            (Way::Any, Some(from), _) => format!("use another `{name}` than {from}"),
            (Way::Any, None, _) => format!("give `{name}` a value"),
            (Way::Remove, ..) | (_, _, None) => format!("leave out `{name}`"),
            (_, None, Some(to)) => format!("set `{name}` to {to}"),
            (_, Some(from), Some(to)) => format!("change `{name}` from {from} to {to}"),
        };
        Change { path: self.place.written(), from, to, text }
    }
}

/// What a policy compares with what.
#[derive(Default)]
struct Compared {
    /// Literals that a member is compared with.
    with: BTreeMap<Vec<String>, Vec<Value>>,
    /// Numbers that were anywhere in a comparison, a parameter, or a rule's value.
    numbers: Vec<f64>,
    /// Texts in lists, in their order.
    listed: Vec<String>,
}

/// Changes to try, the best first.
pub(super) struct Candidates {
    /// What the one who asks may choose.
    pub(super) own: Vec<Candidate>,
    /// What somebody else would have to grant: tried when nothing else is found.
    pub(super) granted: Vec<Candidate>,
}

/// Changes to try for an input that was denied.
pub(super) fn candidates(
    module: &Module,
    rego: &str,
    trace: &Trace,
    input: &Map<String, Value>,
    origin: &Origin,
) -> Candidates {
    let lines = Lines::of(rego);
    let compared = compared(module, &lines, trace, input);
    // In the order of the text: what is asked first is meant first. What was not asked this time,
    // because another condition failed before it, comes last.
    let (ran, not_run): (Vec<_>, Vec<_>) = reads::all(module, &lines)
        .into_iter()
        .partition(|read| trace.lines.covered.contains(&read.line));
    let mut places: Vec<(Place, Vec<String>, bool)> = Vec::new();
    for (read, later) in ran.iter().map(|r| (r, false)).chain(not_run.iter().map(|r| (r, true))) {
        let Some(place) = origin.place(&read.path) else { continue };
        for place in leaves(place, origin) {
            let known = places.iter().any(|(p, path, _)| *p == place && *path == read.path);
            if places.len() < MOST && !known && origin.takes(&place) {
                places.push((place, read.path.clone(), later));
            }
        }
    }
    let mut found: Vec<(u8, bool, Candidate)> = Vec::new();
    let mut seen = BTreeSet::new();
    for (place, path, later) in places {
        let in_context = place.part != Part::Resource;
        let first = place.path.first().map(String::as_str).unwrap_or_default();
        if in_context && IDENTITY.contains(&first) {
            continue;
        }
        // What is asked for comes before the circumstances.
        let reluctance = match first {
            _ if !in_context => 0,
            "estimated_cost" | "estimated_cost_usd" | "model" => 0,
            "budget" => GRANTED,
            _ => 1,
        };
        let with = compared.with.get(&path).map(Vec::as_slice).unwrap_or_default();
        for (way, value) in values_for(origin.get(&place), with, &compared) {
            let key = (place.clone(), value.as_ref().map(ToString::to_string));
            if seen.insert(key) {
                found.push((reluctance, later, Candidate { place: place.clone(), value, way }));
            }
        }
    }
    // Stable, so that the nearest value at each place stays first.
    found.sort_by_key(|(reluctance, later, candidate)| (*later, candidate.way, *reluctance));
    let (granted, own): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(reluctance, ..)| *reluctance == GRANTED);
    let best =
        |all: Vec<(u8, bool, Candidate)>| all.into_iter().map(|(.., c)| c).take(MOST).collect();
    Candidates { own: best(own), granted: best(granted) }
}

/// The members of a place that is read as a whole, or the place itself.
fn leaves(place: Place, origin: &Origin) -> Vec<Place> {
    let below = |key: String| {
        let path = place.path.iter().cloned().chain([key]).collect();
        Place { part: place.part, path }
    };
    match origin.get(&place) {
        Some(Value::Object(members)) => {
            members.keys().take(MOST_MEMBERS).cloned().map(below).collect()
        }
        Some(Value::Array(items)) => {
            (0..items.len().min(MOST_MEMBERS)).map(|index| below(index.to_string())).collect()
        }
        _ => vec![place],
    }
}

/// Values to try at one place, the nearest first.
fn values_for(
    now: Option<&Value>,
    with: &[Value],
    compared: &Compared,
) -> Vec<(Way, Option<Value>)> {
    let mut found: Vec<(Way, Option<Value>)> = Vec::new();
    let other = with.iter().filter(|value| Some(*value) != now).cloned();
    match now {
        None | Some(Value::Null) => {
            found.extend(other.map(|value| (Way::Compared, Some(value))));
            found.extend(listed(compared, None));
            found.push((Way::Any, Some(Value::from(ANY_TEXT))));
        }
        Some(value) if number(value).is_some() => {
            found.extend(nearest_numbers(number(value).unwrap_or_default(), compared));
            found.push((Way::Remove, None));
        }
        Some(Value::Bool(value)) => {
            found.push((Way::Flip, Some(Value::Bool(!value))));
            found.push((Way::Remove, None));
        }
        Some(Value::String(text)) => {
            found.extend(other.map(|value| (Way::Compared, Some(value))));
            found.extend(listed(compared, Some(text)));
            found.push((Way::Any, Some(Value::from(ANY_TEXT))));
            found.push((Way::Remove, None));
        }
        Some(_) => found.push((Way::Remove, None)),
    }
    found
}

/// Texts of lists, unless the text is in one: then the list may be of what is denied.
fn listed(compared: &Compared, now: Option<&str>) -> Vec<(Way, Option<Value>)> {
    let lower = |text: &str| text.to_lowercase();
    let matches = |entry: &str, text: &str| match entry.strip_suffix('*') {
        Some(beginning) => lower(text).starts_with(&lower(beginning)),
        None => lower(entry) == lower(text),
    };
    let (patterns, whole): (Vec<&String>, Vec<&String>) =
        compared.listed.iter().partition(|entry| entry.ends_with('*'));
    whole
        .into_iter()
        .chain(patterns)
        .filter(|entry| now.is_none_or(|text| !matches(entry, text)))
        .take(MOST_AT_PLACE)
        .map(|entry| (Way::Listed, Some(Value::from(entry.trim_end_matches('*')))))
        .collect()
}

/// Bounds to move a number to: each number that was compared, and the one beside it.
fn nearest_numbers(now: f64, compared: &Compared) -> Vec<(Way, Option<Value>)> {
    let mut numbers: Vec<f64> = Vec::new();
    for bound in &compared.numbers {
        let step = if bound.fract() == 0.0 && now.fract() == 0.0 { 1.0 } else { 0.01 };
        numbers.extend([*bound, bound - step, bound + step]);
    }
    numbers.retain(|number| number.is_finite() && *number != now && *number >= 0.0);
    numbers.sort_by(|a, b| (a - now).abs().total_cmp(&(b - now).abs()));
    numbers.dedup();
    // A bound as it was written, not with the crumbs of a sum.
    let rounded = |number: f64| (number * 1e6).round() / 1e6;
    let json = |number: f64| match number {
        whole if whole.fract() == 0.0 && whole.abs() < 1e15 => {
            serde_json::from_str(&format!("{whole:.0}")).unwrap_or_default()
        }
        other => Value::from(rounded(other)),
    };
    numbers.into_iter().take(MOST_AT_PLACE).map(|n| (Way::Number, Some(json(n)))).collect()
}

/// A number, also one written as text.
fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

fn compared(module: &Module, lines: &Lines, trace: &Trace, input: &Map<String, Value>) -> Compared {
    let roots = Roots::of(module);
    let mut found = Compared::default();
    for definition in ast::definitions(module).iter().filter(|d| !d.is_test()) {
        ast::walk(definition.rule, |node| {
            if let Node::Expr(expr) = node
                && trace.lines.covered.contains(&lines.line(expr.span()))
            {
                literals(expr, &roots, &mut found);
            }
            true
        });
    }
    for read in &trace.reads {
        // Not the text of what is being asked for, which is no bound of anything.
        if let Some(value) = &read.value {
            found.numbers.extend(number(value));
        }
    }
    for rule in
        trace.rules.iter().filter(|rule| rule.rule != "deny_reasons" && rule.rule != "warnings")
    {
        gather(&rule.value, &mut found);
    }
    if let Some(parameters) = input.get("parameters").and_then(Value::as_object) {
        let read = |name: &str| {
            let path = format!("input.parameters.{name}");
            trace.reads.iter().any(|read| read.path == path)
        };
        parameters
            .iter()
            .filter(|(name, _)| read(name))
            .for_each(|(_, value)| gather(value, &mut found));
    }
    found
}

/// Literals in comparisons and lists.
fn literals(expr: &Expr, roots: &Roots, found: &mut Compared) {
    let json = |expr: &Expr| serde_json::to_value(ast::literal(expr)?).ok();
    let mut pair = |a: &Expr, b: &Expr| {
        let Some(literal) = json(b) else { return };
        found.numbers.extend(literal.as_f64());
        if let Some(path) = roots.path(a).filter(|path| !path.is_empty()) {
            found.with.entry(path).or_default().push(literal);
        }
    };
    match expr {
        Expr::BoolExpr { lhs, rhs, .. } => {
            pair(lhs, rhs);
            pair(rhs, lhs);
        }
        Expr::Membership { value, collection, .. } => {
            if let Expr::Array { items, .. } | Expr::Set { items, .. } = collection.as_ref() {
                items.iter().for_each(|item| pair(value, item));
            }
        }
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            let texts = items.iter().filter_map(|item| json(item)?.as_str().map(str::to_owned));
            found.listed.extend(texts);
        }
        _ => (),
    }
}

/// Numbers and lists of texts in a value.
fn gather(value: &Value, found: &mut Compared) {
    match value {
        Value::Number(_) => found.numbers.extend(number(value)),
        Value::Array(items) => {
            found.listed.extend(items.iter().filter_map(Value::as_str).map(str::to_owned));
            found.numbers.extend(items.iter().filter_map(Value::as_f64));
        }
        _ => (),
    }
}

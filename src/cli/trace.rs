//! Why a policy said what it said, for people: the rules that held with their lines, what they read,
//! and what would have made it allow. `eval` and `explain` share it.

use std::collections::BTreeSet;

use serde_json::Value;

use super::ask::{Desk, Source};
use super::check::policy_line;
use super::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::contract::admin::{GetRequest, PolicyView, Verb};
use crate::contract::evaluate::{Advice, EvaluatedPolicy};
use crate::domain::PolicyRecord;
use crate::domain::trace::{Change, FiredRule, InputRead, LineCoverage};

/// Characters of a value that are shown.
const SHOWN: usize = 160;

/// The Rego of a stored policy, and whose it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stored {
    /// The text; empty where it can't be had.
    pub(crate) source: Source,
    /// The policy whose Rego it uses, as it is now.
    pub(crate) template: Option<PolicyRecord>,
}

/// The Rego that a version of a stored policy uses.
pub(crate) async fn stored(desk: &Desk, name: &str, version: u64) -> Stored {
    let Some(record) = record_of(desk, name, Some(version)).await else {
        return Stored::default();
    };
    let template = match &record.template {
        Some(template) => record_of(desk, template, None).await,
        None => None,
    };
    let owner = template.as_ref().unwrap_or(&record);
    let source = Source { name: format!("{}.rego", owner.name), text: owner.rego.clone() };
    Stored { source, template }
}

async fn record_of(desk: &Desk, name: &str, version: Option<u64>) -> Option<PolicyRecord> {
    let request = GetRequest { policy: name.to_owned(), version };
    let view: PolicyView = desk.admin(Verb::Get, &request).await.ok()?;
    Some(view.record)
}

/// Shows what a policy said and why.
pub(crate) fn show(policy: &EvaluatedPolicy, source: &Source, coverage: bool) {
    let time = styled(DIM, format!("{} µs", policy.duration_us));
    print::line(format!("{}  {time}", policy_line(&policy.said).trim_end()));
    if let Some(error) = &policy.said.error {
        print::line(format!("      {}", styled(BAD, error)));
    }
    for warning in &policy.said.warnings {
        print::line(format!("      {}  {warning}", styled(WARN, "warning")));
    }
    rules(&policy.rules, source);
    reads(&policy.reads);
    way_out(&policy.advice, &policy.remedy);
    if let (true, Some(lines)) = (coverage, &policy.lines) {
        covered(lines, source);
    }
}

/// The definitions that held, each with its line.
fn rules(rules: &[FiredRule], source: &Source) {
    for rule in rules {
        let place = format!("{}:{}", source.name, rule.line);
        print::line(format!(
            "      {}  {} = {}",
            styled(DIM, place),
            styled(STRONG, &rule.rule),
            short(&rule.value)
        ));
        let index = rule.line.checked_sub(1);
        if let Some(text) = index.and_then(|index| source.text.lines().nth(index)) {
            print::line(format!("        {}", text.trim()));
        }
    }
}

/// What it read of the input.
fn reads(reads: &[InputRead]) {
    let width = reads.iter().map(|read| read.path.len()).max().unwrap_or_default().min(48);
    for read in reads {
        let value = match &read.value {
            Some(value) => short(value),
            None => styled(WARN, "not there"),
        };
        let lines: Vec<String> = read.lines.iter().map(ToString::to_string).collect();
        let word = if lines.len() == 1 { "line" } else { "lines" };
        let lines = match lines.as_slice() {
            [] => String::new(),
            lines => format!("  ({word} {})", lines.join(", ")),
        };
        print::line(format!(
            "      {} {:width$}  {value}{}",
            styled(DIM, "read"),
            read.path,
            styled(DIM, lines)
        ));
    }
}

/// What its author says, and what would have made it allow.
pub(crate) fn way_out(advice: &[Advice], remedy: &[Change]) {
    for advice in advice {
        print::line(format!("      {}: {}", styled(STRONG, &advice.reason), advice.text.trim()));
    }
    for change in remedy {
        // Without a value to set, the words say what to do.
        let place = match (&change.from, &change.to) {
            (Some(from), Some(to)) => format!("({}: {} → {})", change.path, short(from), short(to)),
            (None, Some(to)) => format!("({}: {})", change.path, short(to)),
            (_, None) => format!("({})", change.path),
        };
        print::line(format!(
            "      {}  {}  {}",
            styled(GOOD, "would allow"),
            change.text,
            styled(DIM, place)
        ));
    }
}

/// The Rego with a mark for each line: `+` it went through, `-` it could have.
fn covered(lines: &LineCoverage, source: &Source) {
    let through: BTreeSet<&usize> = lines.covered.intersection(&lines.coverable).collect();
    print::line(format!(
        "      {} of {} lines that could be executed were",
        through.len(),
        lines.coverable.len()
    ));
    for (index, text) in source.text.lines().enumerate() {
        let number = index + 1;
        let (mark, style) = if lines.covered.contains(&number) {
            ("+", GOOD)
        } else if lines.coverable.contains(&number) {
            ("-", BAD)
        } else {
            (" ", DIM)
        };
        print::line(format!("      {} {text}", styled(style, format!("{number:>4} {mark}"))));
    }
}

/// A value on one line, cut where it is long.
pub(crate) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        assert_eq!(short(&json!({"a": [1, "x"]})), "{\"a\":[1,\"x\"]}");
        let long = short(&json!("ä".repeat(500)));
        assert_eq!(long.chars().count(), SHOWN + 1);
        assert!(long.ends_with('…'));
    }
}

//! The result for people.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::cli::print::{self, BAD, DIM, GOOD, STRONG, WARN, styled};
use crate::suites::coverage::ranges;
use crate::suites::{
    CaseReport, Difference, Outcome, PolicyCoverage, PolicyMutation, Report, SuiteReport,
};

/// Reads of the input that are shown of one failed case.
const MOST_READS: usize = 20;
/// Characters of a value.
const MOST_CHARACTERS: usize = 100;

/// Shows suites, what failed in them, and what can't be run.
pub(super) fn report(report: &Report, verbose: bool) {
    let mut after_failures = false;
    for suite in &report.suites {
        if after_failures {
            print::line("");
        }
        self::suite(suite, verbose);
        after_failures = suite.cases.iter().any(|case| case.outcome == Outcome::Failed);
    }
    if after_failures && !(report.invalid.is_empty() && report.hints.is_empty()) {
        print::line("");
    }
    for hint in &report.hints {
        print::line(format!("{}  {hint}", styled(WARN, "hint")));
    }
    for error in &report.invalid {
        print::line(format!("{}  {error}", styled(BAD, "INVALID")));
    }
}

fn suite(suite: &SuiteReport, verbose: bool) {
    let count = |outcome| suite.cases.iter().filter(|case| case.outcome == outcome).count();
    let failed = count(Outcome::Failed);
    let mark = if failed > 0 {
        styled(BAD, "FAILED")
    } else if count(Outcome::Passed) > 0 {
        styled(GOOD, "ok")
    } else {
        styled(WARN, "skipped")
    };
    let counts = counts(count(Outcome::Passed), failed, count(Outcome::Skipped));
    print::line(format!(
        "{mark}  {}  {counts}  {}",
        styled(STRONG, &suite.policy),
        styled(DIM, suite.file.display())
    ));
    for case in &suite.cases {
        match case.outcome {
            Outcome::Failed => self::failed(suite, case),
            Outcome::Passed if verbose => {
                let time = styled(DIM, format!("{} µs", case.duration_us));
                print::line(format!("  {}  {}  {time}", styled(GOOD, "ok"), case.name));
            }
            Outcome::Skipped if verbose => {
                let why = case.message.as_deref().unwrap_or_default();
                print::line(format!("  {}  {}: {why}", styled(WARN, "skipped"), case.name));
            }
            _ => (),
        }
    }
}

fn failed(suite: &SuiteReport, case: &CaseReport) {
    let place = format!("{}:{}", suite.file.display(), case.line);
    print::line(format!(
        "\n  {}  {}  {}",
        styled(BAD, "FAILED"),
        styled(STRONG, &case.name),
        styled(DIM, place)
    ));
    if !case.description.is_empty() {
        print::line(format!("    {}", styled(DIM, &case.description)));
    }
    if let Some(message) = &case.message {
        print::line(format!("    {message}"));
    }
    for difference in &case.differences {
        self::difference(difference);
    }
    for rule in &case.rules {
        let value = short(&rule.value);
        let line = styled(DIM, format!("line {}", rule.line));
        print::line(format!("    fired  {} = {value}  {line}", rule.rule));
    }
    for read in case.reads.iter().take(MOST_READS) {
        let value = read.value.as_ref().map_or_else(|| "undefined".to_owned(), short);
        let lines: Vec<String> = read.lines.iter().map(ToString::to_string).collect();
        let lines = styled(DIM, format!("line {}", lines.join(", ")));
        print::line(format!("    read   {} = {value}  {lines}", read.path));
    }
    if case.reads.len() > MOST_READS {
        let more = format!("           and {} more, see --json", case.reads.len() - MOST_READS);
        print::line(styled(DIM, more));
    }
}

/// What was expected and what came, as a diff.
fn difference(difference: &Difference) {
    print::line(format!("    {}", difference.field));
    let texts = |value: &Value| -> Option<BTreeSet<String>> {
        value.as_array()?.iter().map(|text| text.as_str().map(ToOwned::to_owned)).collect()
    };
    let minus = |text: &str, note: &str| {
        print::line(format!("      {}{note}", styled(BAD, format!("- {text}"))));
    };
    let plus = |text: &str, note: &str| {
        print::line(format!("      {}{note}", styled(GOOD, format!("+ {text}"))));
    };
    if let (Some(expected), Some(got)) = (texts(&difference.expected), texts(&difference.got)) {
        for text in expected.union(&got) {
            match (expected.contains(text), got.contains(text)) {
                (true, false) => minus(text, "  expected, not given"),
                (false, true) => plus(text, "  given, not expected"),
                _ => {
                    print::line(format!("        {}", styled(DIM, text)));
                }
            }
        }
        return;
    }
    let shown = |value: &Value| match value {
        Value::Null => "no error".to_owned(),
        Value::Bool(true) => "an error".to_owned(),
        Value::String(text) => text.replace('\n', " "),
        other => other.to_string(),
    };
    minus(&shown(&difference.expected), "  expected");
    plus(&shown(&difference.got), "  given");
}

/// The lines that the cases go through.
pub(super) fn coverage(policies: &[PolicyCoverage], threshold: Option<f64>) {
    print::line(format!("\n{}", styled(STRONG, "coverage")));
    for policy in policies {
        let enough = threshold.is_none_or(|threshold| policy.percent >= threshold);
        let style = if !enough {
            BAD
        } else if policy.uncovered.is_empty() {
            GOOD
        } else {
            WARN
        };
        let lines = counted(policy.coverable, "line", "lines");
        let missing = if policy.uncovered.is_empty() {
            String::new()
        } else {
            format!("  not covered: {}", ranges(&policy.uncovered))
        };
        print::line(format!(
            "  {}  {} of {lines}  {}{missing}",
            styled(style, format!("{:5.1}%", policy.percent)),
            policy.covered,
            styled(DIM, policy.file.display())
        ));
        if let (false, Some(threshold)) = (enough, threshold) {
            let text = format!("below --coverage-threshold {threshold}");
            print::line(format!("          {}", styled(BAD, text)));
        }
    }
}

/// The changes that no test notices.
pub(super) fn mutation(policies: &[PolicyMutation]) {
    print::line(format!("\n{}", styled(STRONG, "mutation")));
    for policy in policies {
        let style = if policy.survivors.is_empty() { GOOD } else { WARN };
        print::line(format!(
            "  {}  {} of {} noticed  {}",
            styled(style, format!("{:5.1}%", policy.percent)),
            policy.caught,
            counted(policy.mutants, "change", "changes"),
            styled(DIM, policy.file.display())
        ));
        for survivor in &policy.survivors {
            let place = format!("{}:{}:{}", policy.file.display(), survivor.line, survivor.column);
            print::line(format!(
                "    {}  {}  {}",
                styled(WARN, "not noticed"),
                survivor.description,
                styled(DIM, place)
            ));
        }
    }
}

/// Why there is no mutation.
pub(super) fn no_mutation() {
    let text = "no mutation: it begins where all tests pass";
    print::line(format!("\n{}", styled(WARN, text)));
}

/// The last line.
pub(super) fn sum(report: &Report) {
    let mut text = counts(report.passed, report.failed, report.skipped);
    if !report.invalid.is_empty() {
        text = format!("{text}, {}", styled(BAD, format!("{} invalid", report.invalid.len())));
    }
    let suites = counted(report.suites.len(), "suite", "suites");
    let time = styled(DIM, format!("{suites} in {}", seconds(report.duration)));
    print::line(format!("\n{text}  {time}"));
}

fn counts(passed: usize, failed: usize, skipped: usize) -> String {
    let mut parts = vec![styled(if passed > 0 { GOOD } else { DIM }, format!("{passed} passed"))];
    if failed > 0 {
        parts.push(styled(BAD, format!("{failed} failed")));
    }
    if skipped > 0 {
        parts.push(styled(WARN, format!("{skipped} skipped")));
    }
    parts.join(", ")
}

/// A number with its noun.
pub(super) fn counted(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Seconds with as many digits as say something.
fn seconds(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 1.0 { format!("{:.1} ms", seconds * 1e3) } else { format!("{seconds:.1} s") }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= MOST_CHARACTERS {
        return text;
    }
    text.chars().take(MOST_CHARACTERS - 1).chain(['…']).collect()
}

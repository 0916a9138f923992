//! What is said of a policy's text, as compilers say it: file, line, column, and the line itself.

use super::ask::Source;
use super::print::{self, BAD, DIM, STRONG, WARN, styled};
use crate::domain::{Finding, FindingSeverity};

/// A finding as lines of text.
pub(crate) fn lines(finding: &Finding, source: &Source) -> Vec<String> {
    // The name that the author knows, before the one that the worker gave it.
    let mut place = match (source.name.as_str(), &finding.file) {
        ("", Some(file)) => file.clone(),
        ("", None) => "policy".to_owned(),
        (name, _) => name.to_owned(),
    };
    for number in [finding.line, finding.column].into_iter().map_while(|number| number) {
        place.push_str(&format!(":{number}"));
    }
    let severity = match finding.severity {
        FindingSeverity::Error => styled(BAD, "error"),
        FindingSeverity::Warning => styled(WARN, "warning"),
    };
    let mut lines = vec![format!(
        "{}: {severity}: {} {}",
        styled(STRONG, place),
        finding.message,
        styled(DIM, format!("[{}]", finding.code))
    )];
    lines.extend(snippet(finding, source));
    if !finding.help.is_empty() {
        lines.push(format!("  help: {}", finding.help));
    }
    lines
}

/// The line that it is about, with a mark below the column.
fn snippet(finding: &Finding, source: &Source) -> Vec<String> {
    let line = finding.line.and_then(|line| source.text.lines().nth(line.checked_sub(1)?));
    let (Some(text), Some(number)) = (line, finding.line) else { return Vec::new() };
    let mut lines = vec![format!("{} {text}", styled(DIM, format!("{number:>4} |")))];
    // Columns count bytes.
    let before = finding.column.and_then(|column| text.get(..column.checked_sub(1)?));
    if let Some(before) = before {
        // Tabs stay tabs, so that the mark stands where the reader's editor puts the text.
        let before: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        lines.push(format!("{} {before}{}", styled(DIM, "     |"), styled(BAD, "^")));
    }
    lines
}

/// Prints findings to standard output.
pub(crate) fn show(findings: &[Finding], source: &Source) {
    for finding in findings {
        for line in lines(finding, source) {
            print::line(line);
        }
    }
}

/// Errors and warnings among findings.
pub(crate) fn count(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|f| f.severity == FindingSeverity::Error).count();
    (errors, findings.len() - errors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: Option<usize>, column: Option<usize>) -> Vec<String> {
        let finding = Finding {
            severity: FindingSeverity::Warning,
            code: "unknown-field".into(),
            message: "input.budgte is no field".into(),
            help: String::new(),
            file: Some("rego".into()),
            line,
            column,
        };
        let source =
            Source { name: "p.rego".into(), text: "package p\n\tallow := \"ä\" x\n".into() };
        let lines = lines(&finding, &source);
        lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect()
    }

    #[test]
    fn as_compilers_say_it() {
        assert_eq!(
            said(Some(2), Some(2)),
            [
                "p.rego:2:2: warning: input.budgte is no field [unknown-field]",
                "   2 | \tallow := \"ä\" x",
                "     | \t^",
            ]
        );
        assert_eq!(said(None, Some(2)).len(), 1);
        assert!(said(None, None)[0].starts_with("p.rego: warning"));
        // A place beyond the text is named and not shown.
        assert_eq!(said(Some(9), Some(1)).len(), 1);
        assert_eq!(said(Some(2), Some(400)).len(), 2);
        assert_eq!(said(Some(0), Some(0)).len(), 1);
        assert_eq!(said(Some(2), Some(16))[2], "     | \t             ^", "columns count bytes");
        assert_eq!(said(Some(2), Some(13)).len(), 2, "in the middle of a letter");
    }
}

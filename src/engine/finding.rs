//! What is wrong with a policy, or doubtful about it: where, and what to do.

use super::error::EngineError;
pub(super) use crate::domain::{Finding, FindingSeverity};

impl Finding {
    /// Something that must be mended: its kind, what it is, and what to do.
    pub fn error(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            severity: FindingSeverity::Error,
            code: code.to_owned(),
            message: message.into(),
            help: help.into(),
            file: None,
            line: None,
            column: None,
        }
    }

    pub(super) fn warning(code: &str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { severity: FindingSeverity::Warning, ..Self::error(code, message, help) }
    }

    pub(super) fn at(mut self, (line, column): (usize, usize)) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    pub(super) fn in_file(mut self, file: &str) -> Self {
        self.file = Some(file.to_owned());
        self
    }
}

impl From<&EngineError> for Finding {
    fn from(error: &EngineError) -> Self {
        let text = error.to_string();
        match error {
            EngineError::TooLarge { .. } => {
                Self::error("too-large", text, "split it, or raise limits.policy_bytes")
            }
            EngineError::TooDeep { line, .. } => {
                Self::error("too-deep", text, "give the inner parts names of their own")
                    .at((*line, 1))
            }
            EngineError::Parse(text) => of_regorus("parse", text),
            EngineError::Compile(text) if text.contains("calls itself") => {
                Self::error("recursion", text, "use `every` or a comprehension instead")
            }
            EngineError::Compile(text) => of_regorus("compile", text),
            EngineError::Package { .. } => {
                Self::error("package", text, "choose a package of your own")
            }
            EngineError::NoEntry { .. } => {
                Self::error("no-entry", text, "add a rule `allow`, `deny_reasons` or `warnings`")
            }
            EngineError::Metadata(_) => of_metadata(&text),
            EngineError::Builtin { name, reason } => Self::error(
                "builtin",
                format!("the builtin function `{name}` is not available"),
                reason,
            ),
            EngineError::Parameters(_) => {
                Self::error("parameters", text, "correct custom.parameters in the METADATA")
            }
            EngineError::Duplicate { .. } => Self::error("duplicate", text, "rename one of them"),
        }
    }
}

/// The YAML parser counts from the comment's first line, and shows the text below its message.
fn of_metadata(text: &str) -> Finding {
    let number_after = |word: &str| -> Option<usize> {
        let rest = text.split(word).nth(1)?;
        rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
    };
    let finding = Finding::error(
        "metadata",
        text.lines().next().unwrap_or_default(),
        "the comment after `# METADATA` must be YAML with title, description, custom",
    );
    let Some(start) = number_after("starts in line ") else { return finding };
    match (number_after("error: line "), number_after(" column ")) {
        (Some(line), Some(column)) => finding.at((start + line, column + 2)),
        _ => Finding { line: Some(start), ..finding },
    }
}

/// regorus shows `--> file:line:column`, the line of source, and then `error: what`.
fn of_regorus(code: &str, text: &str) -> Finding {
    let place = text.split("--> ").nth(1).and_then(|rest| rest.lines().next());
    let mut parts = place.unwrap_or_default().rsplit(':');
    let column = parts.next().and_then(|part| part.trim().parse().ok());
    let line: Option<usize> = parts.next().and_then(|part| part.trim().parse().ok());
    let message = text.rsplit("error: ").next().unwrap_or(text);
    let message: Vec<&str> = message.split_whitespace().collect();
    let message = message.join(" ");
    let help = help_for(code, &message);
    let finding = Finding::error(code, message, help);
    Finding { column: line.and(column), line, ..finding }
}

fn help_for(code: &str, message: &str) -> String {
    let has = |part: &str| message.contains(part);
    let help = if has("`if` keyword") {
        "write `if` before the body: this is Rego v1"
    } else if has("`contains` keyword") {
        "write `name contains value if { … }`: this is Rego v1"
    } else if has("unsafe") || has("undefined var") || has("Undefined variable") {
        "correct the spelling, define it with `:=`, or declare it with `some`"
    } else if has("package") {
        "begin with a line like `package example.name`"
    } else if has("nknown function") || has("not find function") || has("no such function") {
        "correct the spelling, or define the function in this package"
    } else if has("egister") {
        "the rule is too large: give parts of it names of their own"
    } else if code == "parse" {
        "correct the text at this place; the language is Rego v1"
    } else {
        "change the policy at this place"
    };
    help.to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::compile::{CompileLimits, compile};
    use super::*;

    fn finding(rego: &str) -> Finding {
        let limits = CompileLimits { bytes: 4_096, nesting: 8 };
        Finding::from(&compile("p.rego", rego, &limits).unwrap_err())
    }

    #[test]
    fn every_refusal_has_a_code_a_place_and_help() {
        let cases = [
            ("package a\n\nallow = if", "parse", Some(3)),
            ("package a\n\nallow { true }", "parse", Some(3)),
            ("package a\nallow if {\n\tx == 1\n}", "compile", Some(3)),
            ("package a\n\nallow if no_such(1)", "compile", Some(3)),
            ("package a\nallow := [[[[[[[[[1]]]]]]]]]", "too-deep", Some(2)),
            ("# METADATA\n# title: [\npackage a\nallow := true", "metadata", Some(2)),
            ("package a\nx := 1", "no-entry", None),
            ("package sluicegate.x\nallow := true", "package", None),
            ("package a\nallow if time.now_ns() > 0", "builtin", None),
            ("package a\nallow if f(1)\nf(x) := f(x)", "recursion", None),
        ];
        for (rego, code, line) in cases {
            let finding = finding(rego);
            assert_eq!(finding.code, code, "{finding:?}");
            assert_eq!(finding.line, line, "{rego}: {finding:?}");
            assert!(!finding.help.is_empty() && !finding.message.contains("-->"), "{finding:?}");
        }
        assert_eq!(finding(&"x".repeat(5_000)).code, "too-large");
        assert!(finding("package a\n\nallow { true }").help.contains("Rego v1"));
    }

    #[test]
    fn is_shown_as_compilers_do() {
        let finding = Finding::error("x", "what", "do this").at((3, 7)).in_file("p.rego");
        assert_eq!(finding.to_string(), "p.rego:3:7: error: what (help: do this)");
        let bare = Finding::warning("x", "what", "");
        assert_eq!(bare.to_string(), "warning: what");
        let json = serde_json::to_value(&finding).unwrap();
        assert_eq!(json["severity"], "error");
        assert_eq!(serde_json::from_value::<Finding>(json).unwrap(), finding);
    }
}

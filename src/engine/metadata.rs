//! OPA's `# METADATA` annotation of a package: title, description, severity and the JSON Schema of
//! the parameters. Format: <https://www.openpolicyagent.org/docs/policy-language#metadata>.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::error::EngineError;
use crate::domain::Severity;

/// What the author says of a policy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// One line for people.
    pub title: String,
    /// What it does.
    pub description: String,
    /// How much its violations matter, where the author says.
    pub severity: Option<Severity>,
    /// JSON Schema of its parameters; an empty object where it has none.
    pub parameters: Map<String, Value>,
    /// What each deny reason means and what to do about it, for whoever is denied.
    pub reasons: BTreeMap<String, String>,
    /// The same of each warning.
    pub warnings: BTreeMap<String, String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    title: String,
    description: String,
    custom: Custom,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Custom {
    severity: Option<Severity>,
    parameters: Map<String, Value>,
    reasons: BTreeMap<String, String>,
    warnings: BTreeMap<String, String>,
}

/// Reads the annotation that stands before the `package` line; a policy without one has none.
pub(super) fn read(rego: &str) -> Result<Metadata, EngineError> {
    let Some((line, yaml)) = block(rego) else { return Ok(Metadata::default()) };
    let annotations: Annotations = serde_saphyr::from_str(&yaml).map_err(|e| {
        EngineError::Metadata(format!("the comment that starts in line {line} can't be read: {e}"))
    })?;
    Ok(Metadata {
        title: annotations.title.trim().to_owned(),
        description: annotations.description.trim().to_owned(),
        severity: annotations.custom.severity,
        parameters: annotations.custom.parameters,
        reasons: trimmed(annotations.custom.reasons),
        warnings: trimmed(annotations.custom.warnings),
    })
}

fn trimmed(texts: BTreeMap<String, String>) -> BTreeMap<String, String> {
    texts.into_iter().map(|(name, text)| (name, text.trim().to_owned())).collect()
}

/// The YAML of the last annotation before the package, with its first line's number.
fn block(rego: &str) -> Option<(usize, String)> {
    let mut found: Option<(usize, String)> = None;
    let mut inside = false;
    for (index, line) in rego.lines().enumerate() {
        let line = line.trim_end();
        match line.strip_prefix('#') {
            Some(comment) if comment.trim() == "METADATA" => {
                found = Some((index + 1, String::new()));
                inside = true;
            }
            Some(comment) if inside => {
                if let Some((_, yaml)) = &mut found {
                    yaml.push_str(comment.strip_prefix(' ').unwrap_or(comment));
                    yaml.push('\n');
                }
            }
            _ if line.starts_with("package") => break,
            _ => inside = false,
        }
    }
    found.filter(|(_, yaml)| !yaml.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_annotation_of_the_package() {
        let metadata = read(
            "# A comment.\n\n# METADATA\n# title: Cost control\n# description: |\n#   Two\n#   lines.\n\
             # custom:\n#   severity: critical\n#   parameters:\n#     type: object\n#     properties:\n\
             #       limit: {type: number, default: 1.5}\n#   reasons:\n#     much: >-\n\
             #       Spend\n#       less.\n#   warnings: {odd: Look twice.}\npackage a.b\n\n# METADATA\n# title: a rule\nallow := true\n",
        )
        .unwrap();
        assert_eq!(metadata.title, "Cost control");
        assert_eq!(metadata.description, "Two\nlines.");
        assert_eq!(metadata.severity, Some(Severity::Critical));
        assert_eq!(metadata.parameters["properties"]["limit"]["default"], 1.5);
        assert_eq!(metadata.reasons["much"], "Spend less.");
        assert_eq!(metadata.warnings["odd"], "Look twice.");
    }

    #[test]
    fn none_is_fine_and_a_broken_one_is_named() {
        assert_eq!(read("package a\nallow := true").unwrap(), Metadata::default());
        let error = read("# METADATA\n# title: [\npackage a\n").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
        let error = read("# METADATA\n# custom: {severity: awful}\npackage a\n").unwrap_err();
        assert!(error.to_string().contains("awful"), "{error}");
    }
}

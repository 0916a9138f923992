//! What is said of a policy's text: why it is refused, or what its author should look at.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Whether a finding stands in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FindingSeverity {
    /// The policy is refused.
    Error,
    /// The policy is taken; its author should look at it.
    Warning,
}

/// One thing that is wrong, or looks wrong, with a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// Whether it stands in the way.
    pub severity: FindingSeverity,
    /// What kind it is, in one short word such as `parse` or `never-fires`.
    pub code: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it; empty where the message says it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub help: String,
    /// Line of the Rego, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column of the line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}")?;
            if let Some(column) = self.column {
                write!(f, ", column {column}")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.message)?;
        if !self.help.is_empty() {
            write!(f, " ({})", self.help)?;
        }
        Ok(())
    }
}

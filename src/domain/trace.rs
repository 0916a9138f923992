//! Why a policy said what it said: the rules that held, the input they read, and what would have
//! made it allow.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A definition of a rule whose body held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FiredRule {
    /// Name of the rule, such as `deny_reasons`.
    pub rule: String,
    /// What it gave: the value, or the member of a set, or the member of an object by its key. A
    /// large one is described in words.
    pub value: Value,
    /// Line of the definition, from 1.
    pub line: usize,
}

/// A place of the input that a policy read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InputRead {
    /// The place, such as `input.budget.remaining_usd`.
    pub path: String,
    /// What stood there; left out where nothing did. A large value is described in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// Lines that read it.
    pub lines: Vec<usize>,
}

/// Lines of a policy's Rego that an evaluation went through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LineCoverage {
    /// Lines that were executed.
    pub covered: BTreeSet<usize>,
    /// Lines that could be.
    pub coverable: BTreeSet<usize>,
}

impl LineCoverage {
    /// Adds what another run covered.
    pub fn add(&mut self, other: &Self) {
        self.covered.extend(&other.covered);
        self.coverable.extend(&other.coverable);
    }

    /// Lines that could run and did not.
    pub fn missed(&self) -> impl Iterator<Item = usize> {
        self.coverable.difference(&self.covered).copied()
    }

    /// The covered share in percent; 100 where there is nothing to cover.
    #[must_use]
    pub fn percent(&self) -> f64 {
        let count =
            |lines: &BTreeSet<usize>| f64::from(u32::try_from(lines.len()).unwrap_or(u32::MAX));
        if self.coverable.is_empty() {
            return 100.0;
        }
        100.0 * count(&self.covered) / count(&self.coverable)
    }
}

/// One change of a request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Change {
    /// The member of the request, for example `context.estimated_cost_usd` or `resource.model`.
    pub path: String,
    /// What it is; nothing where it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Value>,
    /// What it would have to be; nothing where it would have to be left out, or where the policy
    /// takes any other value: the text says which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Value>,
    /// The change in words, for a person or an agent.
    pub text: String,
}

//! The immutable set of policies that a worker decides by. A change makes a new set beside the old
//! one, which is then swapped whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::compile::Compiled;
use super::error::EngineError;
use crate::domain::{Identity, Mode, Policy, PolicyMode, ScopeKind, Status};

/// One policy of a set.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The policy with its settings.
    pub policy: Policy,
    /// Its program, or why there is none: such a policy fails at every check it applies to, so
    /// that its fail mode holds and everyone sees it.
    pub compiled: Result<Compiled, String>,
}

impl Entry {
    /// How the policy takes part.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        match (self.policy.status, self.policy.mode) {
            (Status::Draft, _) => Mode::Shadow,
            (_, PolicyMode::Warn) => Mode::Warn,
            (_, PolicyMode::Enforce) => Mode::Enforce,
        }
    }
}

/// Policies with an index by scope and by package: a check finds those that apply without looking
/// at the others.
#[derive(Debug, Default)]
pub struct PolicySet {
    entries: Vec<Entry>,
    global: Vec<usize>,
    scoped: HashMap<(ScopeKind, String), Vec<usize>>,
    by_package: BTreeMap<String, Vec<usize>>,
    revision: Arc<str>,
}

impl PolicySet {
    /// Builds the index and the revision.
    ///
    /// # Errors
    /// Two policies of the same name.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, EngineError> {
        entries.sort_by(|a, b| a.policy.name.cmp(&b.policy.name));
        for pair in entries.windows(2) {
            if let [a, b] = pair
                && a.policy.name == b.policy.name
            {
                return Err(EngineError::Duplicate {
                    what: "name",
                    value: a.policy.name.clone(),
                    first: a.policy.package.clone(),
                    second: b.policy.package.clone(),
                });
            }
        }
        let mut set = Self { revision: revision(&entries).into(), ..Self::default() };
        for (index, entry) in entries.iter().enumerate() {
            set.by_package.entry(entry.policy.package.clone()).or_default().push(index);
            if entry.policy.status == Status::Inactive {
                continue;
            }
            match entry.policy.scope.kind {
                ScopeKind::Global => set.global.push(index),
                kind => {
                    let key = (kind, entry.policy.scope.id.clone());
                    set.scoped.entry(key).or_default().push(index);
                }
            }
        }
        set.entries = entries;
        Ok(set)
    }

    /// Digest of everything that decides: policies that take part, their Rego, settings and
    /// versions. The same set has the same revision on every worker.
    #[must_use]
    pub fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// All policies, by name.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Policies that take part in checks of their scope: active ones and drafts.
    #[must_use]
    pub fn taking_part(&self) -> usize {
        self.global.len() + self.scoped.values().map(Vec::len).sum::<usize>()
    }

    /// Every package, by name.
    pub fn packages(&self) -> impl Iterator<Item = &str> {
        self.by_package.keys().map(String::as_str)
    }

    /// The policies that apply to a check: those of its scopes, and those of the package it names,
    /// which adds and never replaces.
    pub(super) fn applying(&self, identity: &Identity, package: Option<&str>) -> Vec<usize> {
        let mut found = self.global.clone();
        for (kind, id) in [
            (ScopeKind::Session, &identity.session_id),
            (ScopeKind::Project, &identity.project_id),
            (ScopeKind::User, &identity.user),
        ] {
            if !id.is_empty()
                && !self.scoped.is_empty()
                && let Some(indices) = self.scoped.get(&(kind, id.clone()))
            {
                found.extend(indices);
            }
        }
        if let Some(indices) = package.and_then(|package| self.by_package.get(package)) {
            for index in indices {
                if !found.contains(index) {
                    found.push(*index);
                }
            }
        }
        found
    }

    /// Whether a policy has this package.
    pub(super) fn has_package(&self, package: &str) -> bool {
        self.by_package.contains_key(package)
    }

    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }
}

/// SHA-256 over the policies in order of name, shortened to 32 hexadecimal digits. Inactive ones
/// count too: a check can name their package.
fn revision(entries: &[Entry]) -> String {
    let mut hash = Sha256::new();
    for Entry { policy, .. } in entries {
        let settings = serde_json::json!([
            policy.name,
            policy.package,
            policy.version,
            policy.status,
            policy.mode,
            policy.fail_mode,
            policy.severity,
            policy.scope.to_string(),
            policy.parameters,
        ]);
        hash.update(settings.to_string().as_bytes());
        hash.update([0]);
        hash.update(policy.rego.as_bytes());
        hash.update([0]);
    }
    let mut digest = hex::encode(hash.finalize());
    digest.truncate(32);
    digest
}

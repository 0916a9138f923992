//! The immutable set of policies that a worker decides by. A change makes a new set beside the old
//! one, which is then swapped whole.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use regorus::Value;
use sha2::{Digest, Sha256};

use super::compile::Compiled;
use super::document;
use super::error::EngineError;
use crate::domain::{Identity, Mode, Policy, PolicyMode, Scope, ScopeKind, Status};

/// One policy of a set, never changed: what is different is another entry.
#[derive(Clone, Debug)]
pub struct Entry {
    policy: Policy,
    compiled: Result<Compiled, String>,
    digest: [u8; 32],
    names_usage: bool,
    parameters: Value,
    document: OnceLock<Result<Option<Compiled>, String>>,
}

impl Entry {
    /// A policy with its program, or with why there is none: such a policy fails at every check it
    /// applies to, so that its fail mode holds and everyone sees it.
    ///
    /// Computes the digest of all that decides, so that a set of many entries, of which few are
    /// new, is made quickly: keep the `Arc`s of those that stay the same.
    #[must_use]
    pub fn new(policy: Policy, compiled: Result<Compiled, String>) -> Self {
        let digest = digest(&policy, compiled.as_ref().err());
        let names_usage = policy.rego.contains("usage");
        let parameters = Value::from(serde_json::Value::Object(policy.parameters.clone()));
        Self { policy, compiled, digest, names_usage, parameters, document: OnceLock::new() }
    }

    /// The policy with its settings.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Its program, or why there is none.
    pub const fn compiled(&self) -> &Result<Compiled, String> {
        &self.compiled
    }

    /// The program of its rules beside those that decide, or why there is none. Compiled when it is
    /// first asked for, which few policies ever are, once for all threads.
    pub(super) fn document(&self) -> Result<Option<&Compiled>, String> {
        let compiled = self.compiled.as_ref().map_err(Clone::clone)?;
        let document = self.document.get_or_init(|| {
            document::compile(compiled, &self.policy.rego).map_err(|error| error.to_string())
        });
        document.as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// SHA-256 of everything that decides: name, package, version, status, mode, fail mode,
    /// severity, scope, template, parameters, Rego, and the problem where there is one.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Whether its Rego names `usage`, so that what it was told of it belongs to the record.
    pub(super) const fn names_usage(&self) -> bool {
        self.names_usage
    }

    /// Its parameters as the VM reads them.
    pub(super) const fn parameters(&self) -> &Value {
        &self.parameters
    }

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
    entries: Vec<Arc<Entry>>,
    global: Vec<usize>,
    scoped: HashMap<(ScopeKind, String), Vec<usize>>,
    by_package: BTreeMap<String, Vec<usize>>,
    revision: Arc<str>,
}

impl PolicySet {
    /// Builds the index and the revision. A few milliseconds for ten thousand entries, whose
    /// digests are known.
    ///
    /// # Errors
    /// Two policies of the same name.
    pub fn new<E: Into<Arc<Entry>>>(
        entries: impl IntoIterator<Item = E>,
    ) -> Result<Self, EngineError> {
        let mut entries: Vec<Arc<Entry>> = entries.into_iter().map(Into::into).collect();
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
            // A check that names a package means the policy whose own it is, not the many that
            // use its Rego for a scope of their own.
            if entry.policy.template.is_none() {
                set.by_package.entry(entry.policy.package.clone()).or_default().push(index);
            }
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
    pub fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The scopes of a caller that policies are for.
    pub fn scopes_of(&self, identity: &Identity) -> impl Iterator<Item = Scope> {
        [
            (ScopeKind::Session, &identity.session_id),
            (ScopeKind::Project, &identity.project_id),
            (ScopeKind::User, &identity.user),
        ]
        .into_iter()
        .filter(|(_, id)| !id.is_empty() && !self.scoped.is_empty())
        .map(|(kind, id)| (kind, id.clone()))
        .filter(|key| self.scoped.contains_key(key))
        .map(|(kind, id)| Scope { kind, id })
    }

    /// The policy of a name.
    #[must_use]
    pub fn by_name(&self, name: &str) -> Option<&Arc<Entry>> {
        let index = self.entries.binary_search_by(|entry| entry.policy.name.as_str().cmp(name));
        index.ok().and_then(|index| self.entries.get(index))
    }

    /// The policies that own a package; one, where names are checked before.
    pub fn by_package(&self, package: &str) -> impl Iterator<Item = &Arc<Entry>> {
        let indices = self.by_package.get(package).map(Vec::as_slice).unwrap_or_default();
        indices.iter().filter_map(|index| self.entries.get(*index))
    }

    /// Policies that take part in checks of their scope: active ones and drafts.
    #[must_use]
    pub fn taking_part(&self) -> usize {
        self.global.len() + self.scoped.values().map(Vec::len).sum::<usize>()
    }

    /// Every package that a policy owns, by name.
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

    /// The entries that apply to a check.
    #[must_use]
    pub fn applying_to(&self, identity: &Identity, package: Option<&str>) -> Vec<&Arc<Entry>> {
        let found = self.applying(identity, package);
        found.into_iter().filter_map(|index| self.entries.get(index)).collect()
    }

    /// Whether a policy has this package.
    pub(super) fn has_package(&self, package: &str) -> bool {
        self.by_package.contains_key(package)
    }

    pub(super) fn entry(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index).map(AsRef::as_ref)
    }
}

/// SHA-256 over the entries' digests in order of name, shortened to 32 hexadecimal digits.
/// Inactive ones count too: a check can name their package.
fn revision(entries: &[Arc<Entry>]) -> String {
    let mut hash = Sha256::new();
    for entry in entries {
        hash.update(entry.digest);
    }
    let mut digest = hex::encode(hash.finalize());
    digest.truncate(32);
    digest
}

fn digest(policy: &Policy, problem: Option<&String>) -> [u8; 32] {
    let settings = serde_json::json!([
        policy.name,
        policy.package,
        policy.version,
        policy.status,
        policy.mode,
        policy.fail_mode,
        policy.severity,
        policy.scope.to_string(),
        policy.template,
        policy.parameters,
        problem,
    ]);
    let mut hash = Sha256::new();
    hash.update(settings.to_string().as_bytes());
    hash.update([0]);
    hash.update(policy.rego.as_bytes());
    hash.finalize().into()
}

#[cfg(test)]
#[path = "set_tests.rs"]
mod tests;

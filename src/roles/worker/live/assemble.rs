//! From records to the set of policies: what hasn't changed is not compiled again, and policies
//! that share their Rego share the program.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::domain::{FailMode, Policy, PolicyRecord};
use crate::engine::{self, CompileLimits, Compiled, EngineError, Entry, PolicySet};

/// Makes sets, each from the one before.
pub(in crate::roles::worker) struct Assembler {
    limits: CompileLimits,
    fail_mode: FailMode,
    built: HashMap<String, Built>,
    programs: HashMap<[u8; 32], (Compiled, Arc<str>)>,
}

/// An entry and what it was made from.
struct Built {
    record: Arc<PolicyRecord>,
    source: Option<Arc<PolicyRecord>>,
    entry: Arc<Entry>,
    problem: Option<String>,
}

impl Assembler {
    /// `fail_mode` is that of policies that don't say.
    pub(in crate::roles::worker) fn new(limits: CompileLimits, fail_mode: FailMode) -> Self {
        Self { limits, fail_mode, built: HashMap::new(), programs: HashMap::new() }
    }

    /// The set of these records, and what is wrong, by name. A policy that can't be made stays as
    /// it was; without a last good one it fails at every check it applies to.
    pub(in crate::roles::worker) fn assemble(
        &mut self,
        records: &BTreeMap<String, Arc<PolicyRecord>>,
    ) -> (PolicySet, BTreeMap<String, String>) {
        let mut problems = BTreeMap::new();
        let mut entries = Vec::with_capacity(records.len());
        // What stays is only looked at: nearly all do, and there may be thousands.
        for record in records.values().filter(|record| !record.deleted) {
            let source = source_of(record, records);
            let stays = self.built.get(&record.name).is_some_and(|before| {
                Arc::ptr_eq(&before.record, record) && same(before.source.as_ref(), source)
            });
            if !stays {
                let before = self.built.remove(&record.name);
                let built = self.build(record, source.cloned(), before);
                self.built.insert(record.name.clone(), built);
            }
            let Some(built) = self.built.get(&record.name) else { continue };
            if let Some(problem) = &built.problem {
                problems.insert(record.name.clone(), problem.clone());
            }
            entries.push(Arc::clone(&built.entry));
        }
        if self.built.len() > entries.len() {
            self.built.retain(|name, _| records.get(name).is_some_and(|record| !record.deleted));
        }
        self.forget_unused(records);
        match PolicySet::new(entries) {
            Ok(set) => {
                shared_packages(&set, &mut problems);
                (set, problems)
            }
            // Names are keys, so there are no two.
            Err(error) => {
                problems.insert(String::new(), error.to_string());
                (PolicySet::default(), problems)
            }
        }
    }

    fn build(
        &mut self,
        record: &Arc<PolicyRecord>,
        source: Option<Arc<PolicyRecord>>,
        before: Option<Built>,
    ) -> Built {
        let made = match &source {
            Some(source) => self.entry(record, source),
            None => Err(no_source(record)),
        };
        let (entry, problem) = match made {
            Ok(entry) => (Arc::new(entry), None),
            Err(problem) => {
                let last_good = before.filter(|before| before.entry.compiled().is_ok());
                match last_good {
                    Some(before) => (
                        before.entry,
                        Some(format!("{problem}; the version before stays in force")),
                    ),
                    None => (Arc::new(failing(record, &problem, self.fail_mode)), Some(problem)),
                }
            }
        };
        Built { record: Arc::clone(record), source, entry, problem }
    }

    fn entry(&mut self, record: &PolicyRecord, source: &PolicyRecord) -> Result<Entry, String> {
        let (compiled, rego) = self.compiled(source)?;
        entry(record, rego, compiled, self.fail_mode)
    }

    /// The program of a Rego text, and the text, which all who use it share.
    fn compiled(&mut self, source: &PolicyRecord) -> Result<(Compiled, Arc<str>), String> {
        let key = digest(&source.rego);
        if let Some(known) = self.programs.get(&key) {
            return Ok(known.clone());
        }
        let compiled = engine::compile(&file_name(&source.name), &source.rego, &self.limits)
            .map_err(|e| e.to_string())?;
        let made = (compiled, Arc::from(source.rego.as_str()));
        self.programs.insert(key, made.clone());
        Ok(made)
    }

    fn forget_unused(&mut self, records: &BTreeMap<String, Arc<PolicyRecord>>) {
        // Looked at only now and then: a program more or less does no harm.
        if self.programs.len() > records.len().saturating_mul(2).saturating_add(16) {
            let used: std::collections::HashSet<[u8; 32]> =
                records.values().map(|record| digest(&record.rego)).collect();
            self.programs.retain(|key, _| used.contains(key));
        }
    }
}

/// Adds those whose package is another's too; the first by name, of those without a problem, may
/// keep it.
fn shared_packages(set: &PolicySet, problems: &mut BTreeMap<String, String>) {
    for package in set.packages() {
        let mut first: Option<&str> = None;
        for entry in set.by_package(package) {
            let name = &entry.policy().name;
            if problems.contains_key(name) {
                continue;
            }
            let Some(first) = first else {
                first = Some(name);
                continue;
            };
            problems.insert(
                name.clone(),
                format!(
                    "its package `{package}` is that of `{first}` too; a package must be unique"
                ),
            );
        }
    }
}

/// The policy of a record with the program of its Rego.
///
/// # Errors
/// Parameters that its schema refuses.
pub(in crate::roles) fn entry(
    record: &PolicyRecord,
    rego: Arc<str>,
    compiled: Compiled,
    default: FailMode,
) -> Result<Entry, String> {
    let parameters = engine::with_defaults(&compiled.metadata.parameters, &record.parameters)
        .map_err(|error| match error {
            EngineError::Parameters(problem) => problem,
            other => other.to_string(),
        })?;
    let metadata = &compiled.metadata;
    let description = if record.description.is_empty() {
        metadata.description.clone()
    } else {
        record.description.clone()
    };
    let policy = Policy {
        name: record.name.clone(),
        title: metadata.title.clone(),
        description,
        package: compiled.package.clone(),
        template: record.template.clone(),
        rego,
        status: record.status,
        mode: record.mode,
        severity: record.severity.or(metadata.severity).unwrap_or_default(),
        fail_mode: record.fail_mode.unwrap_or(default),
        scope: record.applies_to(),
        parameters,
        version: record.version,
    };
    Ok(Entry::new(policy, Ok(compiled)))
}

/// A policy that fails at every check it applies to.
fn failing(record: &PolicyRecord, problem: &str, default: FailMode) -> Entry {
    let policy = Policy {
        name: record.name.clone(),
        title: String::new(),
        description: record.description.clone(),
        package: record.package.clone(),
        template: record.template.clone(),
        rego: record.rego.as_str().into(),
        status: record.status,
        mode: record.mode,
        severity: record.severity.unwrap_or_default(),
        fail_mode: record.fail_mode.unwrap_or(default),
        scope: record.applies_to(),
        parameters: record.parameters.clone(),
        version: record.version,
    };
    Entry::new(policy, Err(problem.to_owned()))
}

/// The record that has the Rego: the policy's own, or its template's, which must have its own.
pub(in crate::roles::worker) fn source_of<'a>(
    record: &'a Arc<PolicyRecord>,
    records: &'a BTreeMap<String, Arc<PolicyRecord>>,
) -> Option<&'a Arc<PolicyRecord>> {
    match &record.template {
        None => Some(record),
        Some(template) => {
            records.get(template).filter(|source| !source.deleted && source.template.is_none())
        }
    }
}

fn no_source(record: &PolicyRecord) -> String {
    let template = record.template.as_deref().unwrap_or_default();
    format!(
        "its template `{template}` doesn't exist or uses a template itself; name the policy that \
         has the Rego"
    )
}

/// What a policy's Rego is called in messages about it.
pub(in crate::roles::worker) fn file_name(name: &str) -> String {
    format!("{name}.rego")
}

fn same(a: Option<&Arc<PolicyRecord>>, b: Option<&Arc<PolicyRecord>>) -> bool {
    match (a, b) {
        // A template whose settings change is no reason to make all that use it anew.
        (Some(a), Some(b)) => Arc::ptr_eq(a, b) || (a.rego == b.rego && a.name == b.name),
        (None, None) => true,
        _ => false,
    }
}

fn digest(rego: &str) -> [u8; 32] {
    Sha256::digest(rego).into()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use serde_json::json;

    use super::*;

    fn record(name: &str, package: &str) -> PolicyRecord {
        serde_json::from_value(json!({
            "id": "00000000-0000-0000-0000-000000000000",
            "name": name,
            "package": package,
            "rego": format!("package {package}\nimport rego.v1\ndefault allow := true\n"),
            "status": "active",
            "version": 1,
            "created_at": DateTime::UNIX_EPOCH,
            "updated_at": DateTime::UNIX_EPOCH,
        }))
        .unwrap()
    }

    #[test]
    fn only_what_changed_is_made_anew() {
        let mut assembler =
            Assembler::new(CompileLimits { bytes: 10_000, nesting: 8 }, FailMode::Open);
        let mut records: BTreeMap<String, Arc<PolicyRecord>> =
            [record("a", "test.same"), record("b", "test.same"), record("c", "test.other")]
                .into_iter()
                .map(|record| (record.name.clone(), Arc::new(record)))
                .collect();
        let (before, problems) = assembler.assemble(&records);
        assert_eq!(problems.keys().collect::<Vec<_>>(), ["b"], "the package of `a` too");

        // The first owner goes: its package is free for the second, which itself didn't change.
        let gone = PolicyRecord { deleted: true, version: 2, ..record("a", "test.same") };
        records.insert("a".into(), Arc::new(gone));
        let changed = PolicyRecord { version: 2, ..record("c", "test.other") };
        records.insert("c".into(), Arc::new(changed));
        let (after, problems) = assembler.assemble(&records);
        assert_eq!(problems, BTreeMap::new());
        assert_eq!(after.entries().len(), 2);
        assert!(after.by_name("a").is_none());
        let same = |name| Arc::ptr_eq(before.by_name(name).unwrap(), after.by_name(name).unwrap());
        assert!(same("b") && !same("c"));
        assert_eq!(assembler.built.len(), 2, "nothing is kept of what is gone");
    }
}

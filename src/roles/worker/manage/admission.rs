//! What is looked at before a policy gets into the bucket: its own fields, its Rego, its parameters,
//! and whether it goes together with the policies that are there.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::super::decide::{evaluation_limits, fail_mode};
use super::super::live::{compile_limits, entry, file_name, source_of};
use crate::config::Config;
use crate::contract::admin::{Authored, PolicyDraft};
use crate::contract::{FaultCode, RequestFault};
use crate::domain::{FailMode, Finding, FindingSeverity, PolicyRecord};
use crate::engine::{self, CompileLimits, Compiled, Entry, EvaluationLimits};

/// Looks at policies before they get in.
#[derive(Clone, Copy, Debug)]
pub(in crate::roles::worker) struct Admission {
    compile: CompileLimits,
    evaluate: EvaluationLimits,
    fail_mode: FailMode,
    most: usize,
}

/// A policy that may get in.
#[derive(Debug)]
pub(in crate::roles::worker) struct Admitted {
    /// What it would be in the set.
    pub(in crate::roles::worker) entry: Entry,
    /// What its author should look at.
    pub(in crate::roles::worker) findings: Vec<Finding>,
}

impl Admitted {
    /// Its package.
    pub(in crate::roles::worker) fn package(&self) -> &str {
        &self.entry.policy().package
    }
}

type Records = BTreeMap<String, Arc<PolicyRecord>>;

impl Admission {
    pub(in crate::roles::worker) const fn limits(&self) -> (CompileLimits, EvaluationLimits) {
        (self.compile, self.evaluate)
    }

    pub(in crate::roles::worker) fn new(config: &Config) -> Self {
        Self {
            compile: compile_limits(config),
            evaluate: evaluation_limits(config),
            fail_mode: fail_mode(config.enforcement.fail_mode),
            most: config.policies.max_policies,
        }
    }

    /// Looks at a record that shall join, or replace its namesake among, these records. `known` is
    /// the program of its Rego where that is in force already and needn't be looked at again.
    ///
    /// # Errors
    /// Which field or line is wrong, and what would be right.
    pub(in crate::roles::worker) fn admit(
        &self,
        record: &PolicyRecord,
        records: &Records,
        known: Option<Compiled>,
    ) -> Result<Admitted, RequestFault> {
        record
            .check()
            .map_err(|fault| RequestFault::new(FaultCode::Refused, fault.field, fault.message))?;
        self.room(record, records)?;
        let source = source(record, records)?;
        let (compiled, findings) = match known {
            Some(compiled) => (compiled, Vec::new()),
            None => self.examined(&source)?,
        };
        unique_package(record, &compiled, records)?;
        let program = compiled.clone();
        let entry = entry(record, Arc::from(source.rego.as_str()), compiled, self.fail_mode)
            .map_err(|message| RequestFault::new(FaultCode::Refused, "parameters", message))?;
        if record.template.is_none() {
            self.uses_still_fit(record, &program, records)?;
        }
        Ok(Admitted { entry, findings })
    }

    /// The program of a Rego text.
    fn examined(&self, source: &PolicyRecord) -> Result<(Compiled, Vec<Finding>), RequestFault> {
        self.examine(&file_name(&source.name), &source.rego)
    }

    /// Looks at a Rego text by itself.
    ///
    /// # Errors
    /// What is wrong, by line.
    pub(in crate::roles::worker) fn examine(
        &self,
        file: &str,
        rego: &str,
    ) -> Result<(Compiled, Vec<Finding>), RequestFault> {
        match engine::admit(file, rego, &self.compile, &self.evaluate) {
            Ok(admitted) => Ok((admitted.compiled, admitted.warnings)),
            Err(findings) => {
                let first = findings.iter().find(|f| f.severity == FindingSeverity::Error);
                let message = first.map_or_else(String::new, ToString::to_string);
                let mut fault = RequestFault::new(FaultCode::Refused, "rego", message);
                fault.findings = findings;
                Err(fault)
            }
        }
    }

    fn room(&self, record: &PolicyRecord, records: &Records) -> Result<(), RequestFault> {
        let others = records.values().filter(|other| !other.deleted && other.name != record.name);
        if others.count() < self.most {
            return Ok(());
        }
        let message = format!(
            "there are {} policies, as many as may be (setting policies.max_policies)",
            self.most
        );
        Err(RequestFault::new(FaultCode::Refused, "name", message))
    }

    /// A template's new Rego must fit those that use it.
    fn uses_still_fit(
        &self,
        record: &PolicyRecord,
        compiled: &Compiled,
        records: &Records,
    ) -> Result<(), RequestFault> {
        let wrong: Vec<String> = used_by(&record.name, records)
            .filter_map(|user| {
                engine::with_defaults(&compiled.metadata.parameters, &user.parameters)
                    .err()
                    .map(|error| format!("{}: {error}", user.name))
            })
            .take(10)
            .collect();
        if wrong.is_empty() {
            return Ok(());
        }
        let message = format!(
            "its new schema refuses policies that use it as their template; change those first: {}",
            wrong.join("; ")
        );
        Err(RequestFault::new(FaultCode::Refused, "rego", message))
    }
}

/// Policies that use another's Rego.
pub(super) fn used_by<'a>(
    name: &'a str,
    records: &'a Records,
) -> impl Iterator<Item = &'a Arc<PolicyRecord>> {
    records.values().filter(move |other| !other.deleted && other.template.as_deref() == Some(name))
}

/// The record that has the Rego.
fn source(record: &PolicyRecord, records: &Records) -> Result<Arc<PolicyRecord>, RequestFault> {
    let own = Arc::new(record.clone());
    let Some(template) = &record.template else { return Ok(own) };
    if let Some(user) = used_by(&record.name, records).next() {
        let message = format!(
            "can't be set: `{}` uses this policy as its template, and a template has Rego of its own",
            user.name
        );
        return Err(RequestFault::new(FaultCode::Refused, "template", message));
    }
    if let Some(source) = source_of(&own, records) {
        return Ok(Arc::clone(source));
    }
    let message = match records.get(template).filter(|other| !other.deleted) {
        Some(other) => format!(
            "`{template}` uses a template itself: name `{}`, which has the Rego",
            other.template.as_deref().unwrap_or_default()
        ),
        None => {
            let names = records.values().filter(|other| !other.deleted && other.template.is_none());
            let nearest = names
                .map(|other| (strsim::jaro_winkler(&other.name, template), &other.name))
                .max_by(|a, b| a.0.total_cmp(&b.0))
                .filter(|(similarity, _)| *similarity > 0.8)
                .map_or_else(String::new, |(_, name)| format!("; did you mean `{name}`?"));
            format!("no policy is called `{template}`{nearest}")
        }
    };
    Err(RequestFault::new(FaultCode::Refused, "template", message))
}

fn unique_package(
    record: &PolicyRecord,
    compiled: &Compiled,
    records: &Records,
) -> Result<(), RequestFault> {
    let other = records.values().find(|other| {
        !other.deleted
            && other.template.is_none()
            && other.name != record.name
            && other.package == compiled.package
    });
    match other {
        Some(other) if record.template.is_none() => Err(RequestFault::new(
            FaultCode::Refused,
            "package",
            format!(
                "`{}` is the package of `{}` already: choose another, or use that policy's Rego \
                 with `template: {}`",
                compiled.package, other.name, other.name
            ),
        )),
        _ => Ok(()),
    }
}

/// The next version of a policy, as a draft wants it.
pub(in crate::roles::worker) fn record_of(
    draft: &PolicyDraft,
    before: Option<&PolicyRecord>,
    change: &Authored,
    new_id: Uuid,
    now: DateTime<Utc>,
) -> PolicyRecord {
    let exists = before.filter(|before| !before.deleted);
    PolicyRecord {
        id: exists.map_or(new_id, |before| before.id),
        name: draft.name.clone(),
        description: draft.description.clone(),
        package: exists.map(|before| before.package.clone()).unwrap_or_default(),
        rego: draft.rego.clone(),
        template: draft.template.clone(),
        status: draft.status,
        mode: draft.mode,
        severity: draft.severity,
        fail_mode: draft.fail_mode,
        scope: draft.scope,
        scope_id: draft.scope_id.clone(),
        parameters: draft.parameters.clone(),
        version: before.map_or(0, |before| before.version).saturating_add(1),
        created_at: exists.map_or(now, |before| before.created_at),
        updated_at: now,
        created_by: exists.map_or_else(|| change.author.clone(), |b| b.created_by.clone()),
        updated_by: change.author.clone(),
        comment: change.comment.clone(),
        deleted: false,
    }
}

//! What `apply` would do: every step tried before the first is taken.

use std::collections::{BTreeMap, BTreeSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::change;
use crate::cli::ask::{Desk, Refusal, Source};
use crate::config::Config;
use crate::contract::admin::{
    Authored, ChangeReply, NamedChange, PolicyDraft, PolicyList, PutRequest, Verb,
};
use crate::domain::{Finding, PolicyRecord};
use crate::engine::{self, CompileLimits};
use crate::roles::policies_diff::{Side, unified};

/// Requests at the same time.
const AT_ONCE: usize = 4;

/// What becomes of a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum What {
    Create,
    Change,
    Unchanged,
    Delete,
}

/// One policy of the plan.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Step {
    pub(crate) name: String,
    pub(crate) what: What,
    /// The stored version that it starts from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<u64>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) diff: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) findings: Vec<Finding>,
    /// Why it would be refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    /// The refusal line by line, for people.
    #[serde(skip)]
    pub(crate) told: Vec<String>,
    /// The policy as it shall be.
    #[serde(skip)]
    pub(crate) draft: Option<PolicyDraft>,
    /// Whether it builds on steps before it, which every worker must know first.
    #[serde(skip)]
    pub(crate) builds_on: bool,
}

impl Step {
    fn new(name: &str, version: Option<u64>, draft: Option<&PolicyDraft>) -> Self {
        Self {
            name: name.to_owned(),
            what: match (draft, version) {
                (None, _) => What::Delete,
                (Some(_), None) => What::Create,
                (Some(_), Some(_)) => What::Change,
            },
            version,
            diff: String::new(),
            findings: Vec::new(),
            refused: None,
            told: Vec::new(),
            draft: draft.cloned(),
            builds_on: false,
        }
    }

    fn tried(mut self, tried: anyhow::Result<ChangeReply>, source: Source) -> anyhow::Result<Self> {
        match tried {
            Ok(reply) => {
                if !reply.changed {
                    self.what = What::Unchanged;
                }
                self.diff = change::diff(&reply);
                self.findings = reply.findings;
            }
            Err(error) => {
                let refusal = error.downcast::<Refusal>()?.about(source);
                self.findings.clone_from(&refusal.detail().findings);
                self.refused = Some(refusal.to_string());
                self.told = refusal.lines();
            }
        }
        Ok(self)
    }

    fn refuse(mut self, reason: String) -> Self {
        self.told = vec![reason.clone()];
        self.refused = Some(reason);
        self
    }
}

/// Plans how the stored policies become those of the folder: templates before what uses them,
/// deletions last.
pub(crate) async fn plan(
    desk: &Desk,
    config: &Config,
    drafts: &[PolicyDraft],
    prune: bool,
) -> anyhow::Result<Vec<Step>> {
    let list: PolicyList = desk.list().await?;
    let stored: BTreeMap<String, PolicyRecord> =
        list.policies.into_iter().map(|view| (view.record.name.clone(), view.record)).collect();
    let wanted: BTreeMap<&str, &PolicyDraft> =
        drafts.iter().map(|draft| (draft.name.as_str(), draft)).collect();
    let planner = Planner { desk, config, wanted, stored, prune };
    let mut steps: Vec<Step> = Vec::with_capacity(drafts.len());
    let mut moving = BTreeSet::new();
    for wave in waves(drafts, |draft| (draft.name.as_str(), draft.template.as_deref())) {
        let tries = wave.into_iter().map(|draft| planner.try_put(draft, &moving));
        let tried: Vec<Step> = stream::iter(tries).buffered(AT_ONCE).try_collect().await?;
        moving.extend(
            tried.iter().filter(|step| step.what != What::Unchanged).map(|step| step.name.clone()),
        );
        steps.extend(tried);
    }
    if prune {
        steps.extend(planner.deletions().await?);
    }
    Ok(steps)
}

/// Groups of which each only uses templates of the groups before it. What is in a cycle comes last.
fn waves<'a, T>(
    items: &'a [T],
    of: impl Fn(&'a T) -> (&'a str, Option<&'a str>),
) -> Vec<Vec<&'a T>> {
    let mut left: Vec<&T> = items.iter().collect();
    let mut waves = Vec::new();
    while !left.is_empty() {
        let names: BTreeSet<&str> = left.iter().map(|item| of(item).0).collect();
        let waits = |item: &&'a T| of(item).1.is_some_and(|template| names.contains(template));
        let (later, now): (Vec<&T>, Vec<&T>) = left.into_iter().partition(waits);
        if now.is_empty() {
            waves.push(later);
            break;
        }
        waves.push(now);
        left = later;
    }
    waves
}

struct Planner<'a> {
    desk: &'a Desk,
    config: &'a Config,
    wanted: BTreeMap<&'a str, &'a PolicyDraft>,
    stored: BTreeMap<String, PolicyRecord>,
    prune: bool,
}

impl Planner<'_> {
    async fn try_put(
        &self,
        draft: &PolicyDraft,
        moving: &BTreeSet<String>,
    ) -> anyhow::Result<Step> {
        let version = self.stored.get(&draft.name).map(|record| record.version);
        let step = Step::new(&draft.name, version, Some(draft));
        if let Some(template) = &draft.template {
            let goes = self.prune && !self.wanted.contains_key(template.as_str());
            if goes && self.stored.contains_key(template) {
                return Ok(step.refuse(format!(
                    "{}: uses the Rego of `{template}`, which isn't in the folder and would be \
                     deleted by --prune",
                    draft.name
                )));
            }
            if let Some(other) = self.template_of(draft).and_then(|t| t.template.as_ref()) {
                return Ok(step.refuse(format!(
                    "{}: its template `{template}` uses a template itself; name `{other}`",
                    draft.name
                )));
            }
            // The worker knows the template as it is, not as it will be.
            if moving.contains(template) {
                return self.try_here(step, draft).await;
            }
        }
        let change = Authored { if_version: version, dry_run: true, ..Authored::default() };
        let tried = self.desk.admin(Verb::Put, &PutRequest { policy: draft.clone(), change }).await;
        let source = Source { name: format!("{}.rego", draft.name), text: draft.rego.clone() };
        step.tried(tried, source)
    }

    /// The folder's policy whose Rego it uses.
    fn template_of(&self, draft: &PolicyDraft) -> Option<&PolicyDraft> {
        self.wanted.get(draft.template.as_deref()?).copied()
    }

    /// Tries a policy whose template is new or changes too: its settings against that Rego.
    async fn try_here(&self, mut step: Step, draft: &PolicyDraft) -> anyhow::Result<Step> {
        let rego = self.template_of(draft).map_or("", |template| template.rego.as_str());
        let limits = CompileLimits {
            bytes: usize::try_from(self.config.limits.policy_bytes.as_u64()).unwrap_or(usize::MAX),
            nesting: self.config.limits.policy_nesting,
        };
        // Rego that doesn't compile is refused where it stands, in the template's own step.
        if let Ok(compiled) = engine::compile(&format!("{}.rego", draft.name), rego, &limits)
            && let Err(error) =
                engine::with_defaults(&compiled.metadata.parameters, &draft.parameters)
        {
            return Ok(step.refuse(format!("{}: {error}", draft.name)));
        }
        step.builds_on = true;
        let stored = self.desk.find(&draft.name).await?.map(|view| view.record);
        let before = stored.as_ref().map(PolicyDraft::from);
        if before.as_ref() == Some(draft) {
            step.what = What::Unchanged;
        }
        let label = stored.map_or_else(String::new, |r| format!("{} v{}", r.name, r.version));
        step.diff = unified(
            Side { label: &label, policy: before.as_ref() },
            Side { label: &draft.name, policy: Some(draft) },
        );
        Ok(step)
    }

    /// What the folder doesn't have, users of templates before the templates.
    async fn deletions(&self) -> anyhow::Result<Vec<Step>> {
        let gone: Vec<&PolicyRecord> = self
            .stored
            .values()
            .filter(|record| !self.wanted.contains_key(record.name.as_str()))
            .collect();
        let used: BTreeSet<&str> =
            self.stored.values().filter_map(|record| record.template.as_deref()).collect();
        let mut steps = Vec::with_capacity(gone.len());
        let waves = waves(&gone, |record| (record.name.as_str(), record.template.as_deref()));
        for record in waves.into_iter().rev().flatten() {
            let mut step = Step::new(&record.name, Some(record.version), None);
            // As long as it is used it can't go. Its users go first, or get another template; one
            // that keeps it is refused in its own step.
            if used.contains(record.name.as_str()) {
                step.builds_on = true;
                steps.push(step);
                continue;
            }
            let change =
                Authored { if_version: Some(record.version), dry_run: true, ..Authored::default() };
            let request = NamedChange { policy: record.name.clone(), change };
            let tried = self.desk.admin(Verb::Delete, &request).await;
            steps.push(step.tried(tried, Source::default())?);
        }
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_come_before_what_uses_them() {
        let items = [
            ("a", Some("c")),
            ("b", None),
            ("c", Some("b")),
            ("d", Some("elsewhere")),
            ("x", Some("y")),
            ("y", Some("x")),
        ];
        let waves: Vec<Vec<&str>> = waves(&items, |item| (item.0, item.1))
            .into_iter()
            .map(|wave| wave.into_iter().map(|item| item.0).collect())
            .collect();
        assert_eq!(waves, [vec!["b", "d"], vec!["c"], vec!["a"], vec!["x", "y"]]);
    }
}

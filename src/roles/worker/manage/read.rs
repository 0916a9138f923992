//! What is asked of the policies: lists, versions, differences, the live workers.

use std::ops::Bound;

use super::{Manager, apart, called, unavailable};
use crate::bus::Roll;
use crate::contract::admin::{
    DiffReply, DiffRequest, EffectiveRequest, GetRequest, ListRequest, PolicyDraft, PolicyList,
    PolicyView, VersionList, WorkerList, WorkerStatus,
};
use crate::contract::{FaultCode, RequestFault};
use crate::domain::{CheckRequest, PolicyRecord, did_you_mean};
use crate::engine::Entry;
use crate::roles::policies_diff::{Side, unified};

impl Manager {
    /// Policies by name, without their Rego: so many as a message holds, the rest on request.
    pub(super) fn list(&self, request: &ListRequest) -> PolicyList {
        let now = self.inner.live.current();
        let after = request.after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut room = self.largest_answer() / 2;
        let mut list = self.listed(Vec::new());
        for record in
            now.records.range::<str, _>((after, Bound::Unbounded)).map(|(_, record)| record)
        {
            if record.deleted {
                continue;
            }
            let entry = now.set.by_name(&record.name);
            let view = self.view_of(record, entry.map(AsRef::as_ref), false);
            let bytes = serde_json::to_vec(&view).map_or(0, |text| text.len());
            if bytes > room && !list.policies.is_empty() {
                list.next = list.policies.last().map(|last| last.record.name.clone());
                break;
            }
            room = room.saturating_sub(bytes);
            list.policies.push(view);
        }
        list
    }

    /// The policies that apply to a check of this context.
    pub(super) fn effective(&self, request: EffectiveRequest) -> PolicyList {
        let now = self.inner.live.current();
        let check = CheckRequest { context: request.context, ..CheckRequest::default() };
        let applying = now.set.applying_to(&check.identity(), request.package.as_deref());
        let policies = applying
            .into_iter()
            .filter_map(|entry| {
                let record = now.records.get(&entry.policy().name)?;
                Some(self.view_of(record, Some(entry), false))
            })
            .collect();
        self.listed(policies)
    }

    fn listed(&self, policies: Vec<PolicyView>) -> PolicyList {
        let now = self.inner.live.current();
        PolicyList {
            policies,
            next: None,
            enforcement: now.enforcement,
            revision: now.set.revision().to_string(),
            sequence: now.sequence,
        }
    }

    /// One policy, with its Rego.
    pub(super) async fn get(&self, request: GetRequest) -> Result<PolicyView, RequestFault> {
        let now = self.inner.live.current();
        if let Some(version) = request.version {
            let record = self.version_of(&request.policy, version).await?;
            return Ok(self.view_of(&record, None, true));
        }
        let record = called(&now.records, &request.policy)
            .filter(|record| !record.deleted)
            .ok_or_else(|| self.no_such(&request.policy))?;
        let entry = now.set.by_name(&record.name);
        Ok(self.view_of(record, entry.map(AsRef::as_ref), true))
    }

    /// The versions that the bucket has, newest first.
    pub(super) async fn versions(&self, request: GetRequest) -> Result<VersionList, RequestFault> {
        let name = self.name_of(&request.policy)?;
        let mut versions = self.history(&name).await?;
        versions.reverse();
        versions.iter_mut().for_each(|record| record.rego.clear());
        let mut missing = Vec::new();
        let mut above = versions.first().map_or(0, |newest| newest.version.saturating_add(1));
        for record in &versions {
            if record.version.saturating_add(1) < above {
                missing.push((record.version.saturating_add(1), above.saturating_sub(1)));
            }
            above = record.version;
        }
        if above > 1 {
            missing.push((1, above.saturating_sub(1)));
        }
        Ok(VersionList { versions, missing })
    }

    /// Two versions, side by side.
    pub(super) async fn diff(&self, request: DiffRequest) -> Result<DiffReply, RequestFault> {
        let name = self.name_of(&request.policy)?;
        let versions = self.history(&name).await?;
        let newest = versions.last().map_or(0, |record| record.version);
        let to = request.to.unwrap_or(newest);
        let before = versions.iter().rev().find(|record| record.version < to);
        let from = match (request.from, before) {
            (Some(from), _) => from,
            (None, Some(before)) => before.version,
            (None, None) => {
                return Err(RequestFault::new(
                    FaultCode::NotFound,
                    "from",
                    format!("there is no version before version {to} of `{name}` in the bucket"),
                ));
            }
        };
        let pick = |version| found(&versions, &name, version);
        let (from, to) = (pick(from)?, pick(to)?);
        // Large texts take their time.
        apart(0, move || DiffReply { unified: difference(&from, &to), from, to }).await
    }

    /// What every live worker has in force.
    pub(super) async fn workers(&self) -> Result<WorkerList, RequestFault> {
        let roll = Roll::open(&self.inner.connection, &self.inner.config);
        let said = roll.all(self.inner.timeout).await.map_err(|e| unavailable(&e))?;
        let mut workers: Vec<WorkerStatus> =
            said.iter().filter_map(|status| serde_json::from_slice(status).ok()).collect();
        workers.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(WorkerList { workers })
    }

    /// One version, from the bucket.
    pub(super) async fn version_of(
        &self,
        policy: &str,
        version: u64,
    ) -> Result<PolicyRecord, RequestFault> {
        let name = self.name_of(policy)?;
        found(&self.history(&name).await?, &name, version)
    }

    /// The versions that the bucket has, oldest first; of policies that were deleted too.
    async fn history(&self, name: &str) -> Result<Vec<PolicyRecord>, RequestFault> {
        let held = self.inner.bucket.history(name, self.inner.timeout).await;
        let held = held.map_err(|e| unavailable(&e))?;
        Ok(held
            .iter()
            .filter_map(|held| serde_json::from_slice(held.value.as_ref()?).ok())
            .collect())
    }

    fn name_of(&self, policy: &str) -> Result<String, RequestFault> {
        let now = self.inner.live.current();
        called(&now.records, policy)
            .map(|record| record.name.clone())
            .ok_or_else(|| self.no_such(policy))
    }

    fn no_such(&self, policy: &str) -> RequestFault {
        let now = self.inner.live.current();
        let live = now.records.values().filter(|record| !record.deleted);
        let mut fault = missing(policy);
        fault.message.push_str(&did_you_mean(policy, live.map(|record| record.name.as_str())));
        fault
    }

    /// A record with what follows from its Rego.
    pub(super) fn view_of(
        &self,
        record: &PolicyRecord,
        entry: Option<&Entry>,
        with_rego: bool,
    ) -> PolicyView {
        let shown = if with_rego { record.clone() } else { without_rego(record) };
        let mut view = PolicyView {
            title: String::new(),
            effective_description: record.description.clone(),
            effective_severity: record.severity.unwrap_or_default(),
            effective_fail_mode: record.fail_mode.unwrap_or(self.inner.fail_mode),
            effective_parameters: record.parameters.clone(),
            parameters_schema: serde_json::Map::new(),
            reasons: std::collections::BTreeMap::new(),
            problem: None,
            content: if with_rego { record.rego.clone() } else { String::new() },
            record: shown,
        };
        let Some(entry) = entry else { return view };
        let policy = entry.policy();
        view.title.clone_from(&policy.title);
        view.effective_severity = policy.severity;
        view.effective_parameters.clone_from(&policy.parameters);
        view.effective_description.clone_from(&policy.description);
        if with_rego {
            view.content = policy.rego.to_string();
        }
        match entry.compiled() {
            Ok(compiled) if with_rego => {
                view.parameters_schema.clone_from(&compiled.metadata.parameters);
                view.reasons.clone_from(&compiled.metadata.reasons);
            }
            Ok(_) => (),
            Err(problem) => view.problem = Some(problem.clone()),
        }
        if policy.version != record.version {
            view.problem = Some(format!(
                "version {} can't be taken up; version {} stays in force",
                record.version, policy.version
            ));
        }
        view
    }
}

/// A copy for lists.
fn without_rego(record: &PolicyRecord) -> PolicyRecord {
    PolicyRecord {
        id: record.id,
        name: record.name.clone(),
        description: record.description.clone(),
        package: record.package.clone(),
        rego: String::new(),
        template: record.template.clone(),
        scope_id: record.scope_id.clone(),
        parameters: record.parameters.clone(),
        created_by: record.created_by.clone(),
        updated_by: record.updated_by.clone(),
        comment: record.comment.clone(),
        ..*record
    }
}

/// No policy is called so.
pub(super) fn missing(policy: &str) -> RequestFault {
    let shown: String = policy.chars().take(80).collect();
    RequestFault::new(FaultCode::NotFound, "policy", format!("`{shown}` doesn't exist"))
}

fn found(
    versions: &[PolicyRecord],
    name: &str,
    version: u64,
) -> Result<PolicyRecord, RequestFault> {
    versions.iter().find(|record| record.version == version).cloned().ok_or_else(|| {
        let has: Vec<String> = versions.iter().map(|record| record.version.to_string()).collect();
        RequestFault::new(
            FaultCode::NotFound,
            "version",
            format!(
                "the bucket has no version {version} of `{name}`; it has {}. Older ones are in \
                 ClickHouse, table policy_rules",
                has.join(", ")
            ),
        )
    })
}

/// Settings and Rego of two versions as a unified diff.
fn difference(from: &PolicyRecord, to: &PolicyRecord) -> String {
    let drafts = [from, to].map(PolicyDraft::from);
    let labels = [from, to].map(|record| format!("{} v{}", record.name, record.version));
    let [before, after] = &drafts;
    let [older, newer] = &labels;
    unified(
        Side { label: older, policy: (!from.deleted).then_some(before) },
        Side { label: newer, policy: (!to.deleted).then_some(after) },
    )
}

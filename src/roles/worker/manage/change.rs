//! Changes: each is looked at against the state that it was made for, and written only on top of
//! that state. Whoever is slower looks at the newer state and tries again.

use std::sync::Arc;

use chrono::{SubsecRound, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::admission::{Admitted, record_of, used_by};
use super::{Manager, apart, called, check_authored};
use crate::bus::{BusError, PutError};
use crate::contract::admin::{
    Authored, ChangeReply, EnableRequest, NamedChange, PatchRequest, PolicyDraft, PutRequest,
    RollbackRequest,
};
use crate::contract::{FaultCode, RequestFault};
use crate::domain::{PolicyRecord, Status};

use super::super::live::{InForce, source_of};

/// Which policy a change is about.
#[derive(Clone, Copy)]
enum Target<'a> {
    /// The one of exactly this name.
    Named(&'a str),
    /// The one of this name, else of this id.
    Called(&'a str),
}

impl<'a> Target<'a> {
    fn find(self, base: &InForce) -> Option<&Arc<PolicyRecord>> {
        match self {
            Self::Named(name) => base.records.get(name),
            Self::Called(policy) => called(&base.records, policy),
        }
    }

    const fn text(self) -> &'a str {
        match self {
            Self::Named(text) | Self::Called(text) => text,
        }
    }
}

/// What a change makes of a policy.
enum Wanted {
    /// The policy shall be so.
    Draft(Box<PolicyDraft>),
    /// The policy shall go.
    Gone,
}

impl Manager {
    /// Makes a policy or replaces one.
    pub(super) async fn put(&self, request: PutRequest) -> Result<ChangeReply, RequestFault> {
        let PutRequest { policy: draft, change } = request;
        let name = draft.name.clone();
        let if_version = change.if_version;
        self.change(Target::Named(&name), &change, true, move |current| match current {
            Some(current) if if_version.is_none() => {
                let mut fault = RequestFault::new(
                    FaultCode::Conflict,
                    "change.if_version",
                    format!(
                        "`{}` exists, at version {}; to replace it, say so with if_version {}",
                        current.name, current.version, current.version
                    ),
                );
                fault.current_version = Some(current.version);
                Err(fault)
            }
            _ => Ok(Wanted::Draft(Box::new(draft.clone()))),
        })
        .await
    }

    /// Changes some members.
    pub(super) async fn patch(&self, request: PatchRequest) -> Result<ChangeReply, RequestFault> {
        let PatchRequest { policy, changes, change } = request;
        self.change(Target::Called(&policy), &change, changes.contains_key("rego"), |current| {
            patched(existing(current, &policy)?, &changes)
        })
        .await
    }

    /// Makes a policy active.
    pub(super) async fn enable(&self, request: EnableRequest) -> Result<ChangeReply, RequestFault> {
        let status = if request.draft { Status::Draft } else { Status::Active };
        let mut changes = Map::new();
        changes.insert("status".into(), json!(status));
        if let Some(scope) = request.scope {
            changes.insert("scope".into(), json!(scope));
            if request.scope_id.is_none() {
                changes.insert("scope_id".into(), Value::Null);
            }
        }
        if let Some(scope_id) = request.scope_id {
            changes.insert("scope_id".into(), json!(scope_id));
        }
        if let Some(mode) = request.mode {
            changes.insert("mode".into(), json!(mode));
        }
        if !request.parameters.is_empty() {
            changes.insert("parameters".into(), Value::Object(request.parameters));
        }
        self.patch(PatchRequest { policy: request.policy, changes, change: request.change }).await
    }

    /// Makes a policy inactive.
    pub(super) async fn disable(&self, request: NamedChange) -> Result<ChangeReply, RequestFault> {
        let changes = [("status".to_owned(), json!(Status::Inactive))].into_iter().collect();
        self.patch(PatchRequest { policy: request.policy, changes, change: request.change }).await
    }

    /// Takes a policy away.
    pub(super) async fn delete(&self, request: NamedChange) -> Result<ChangeReply, RequestFault> {
        let NamedChange { policy, change } = request;
        self.change(Target::Called(&policy), &change, false, |current| {
            existing(current, &policy).map(|_| Wanted::Gone)
        })
        .await
    }

    /// Makes an older version the newest.
    pub(super) async fn rollback(
        &self,
        request: RollbackRequest,
    ) -> Result<ChangeReply, RequestFault> {
        let RollbackRequest { policy, version, mut change } = request;
        let old = self.version_of(&policy, version).await?;
        if old.deleted {
            return Err(RequestFault::new(
                FaultCode::Refused,
                "version",
                format!("version {version} says that the policy was deleted; choose another"),
            ));
        }
        if change.comment.is_empty() {
            change.comment = format!("rollback to version {version}");
        }
        let name = old.name.clone();
        self.change(Target::Named(&name), &change, true, move |_| {
            Ok(Wanted::Draft(Box::new(PolicyDraft::from(&old))))
        })
        .await
    }

    /// Tries a change until it is made on top of the newest state, or can't be.
    async fn change(
        &self,
        target: Target<'_>,
        change: &Authored,
        new_rego: bool,
        wanted: impl Fn(Option<&PolicyRecord>) -> Result<Wanted, RequestFault> + Send,
    ) -> Result<ChangeReply, RequestFault> {
        check_authored(change)?;
        for _ in 0..self.inner.config.policies.change_attempts {
            let base = self.inner.live.current();
            let before = target.find(&base).cloned();
            let live = before.as_deref().filter(|record| !record.deleted);
            expected_version(live, target.text(), change)?;
            let next = match wanted(live)? {
                Wanted::Draft(draft) => draft,
                Wanted::Gone => {
                    if let Some(reply) = self.remove(&base, live, change).await? {
                        return Ok(reply);
                    }
                    continue;
                }
            };
            let now = Utc::now().trunc_subsecs(6);
            let record = record_of(&next, before.as_deref(), change, Uuid::new_v4(), now);
            let changed = live.is_none_or(|live| PolicyDraft::from(live) != *next);
            // Whatever is wrong with a policy, it can be made inactive.
            let (record, entry, findings) = if live.is_some_and(|live| only_disables(live, &next)) {
                (record, None, Vec::new())
            } else {
                let (record, admitted) = self.admitted(record, &base, new_rego).await?;
                (record, Some(admitted.entry), admitted.findings)
            };
            let mut reply = ChangeReply {
                policy: self.view_of(&record, entry.as_ref(), true),
                before: live.cloned().map(Box::new),
                changed,
                dry_run: change.dry_run,
                findings,
                sequence: base.sequence,
            };
            if let (false, Some(live)) = (changed, live) {
                let entry = base.set.by_name(&live.name);
                reply.policy = self.view_of(live, entry.map(AsRef::as_ref), true);
            }
            if change.dry_run || !changed {
                return Ok(reply);
            }
            if let Some(sequence) = self.write(&base, &record).await? {
                reply.sequence = sequence;
                return Ok(reply);
            }
        }
        Err(self.too_busy())
    }

    /// Admits a record, on a thread of its own.
    async fn admitted(
        &self,
        mut record: PolicyRecord,
        base: &Arc<InForce>,
        new_rego: bool,
    ) -> Result<(PolicyRecord, Admitted), RequestFault> {
        let (admission, base) = (self.inner.admission, Arc::clone(base));
        let (_, limits) = admission.limits();
        apart(limits.instructions, move || {
            let known = if new_rego { None } else { known_program(&record, &base) };
            let admitted = admission.admit(&record, &base.records, known)?;
            record.package = admitted.package().to_owned();
            Ok((record, admitted))
        })
        .await?
    }

    async fn remove(
        &self,
        base: &Arc<InForce>,
        live: Option<&PolicyRecord>,
        change: &Authored,
    ) -> Result<Option<ChangeReply>, RequestFault> {
        let Some(live) = live else { return Ok(None) };
        let users: Vec<&str> =
            used_by(&live.name, &base.records).map(|user| user.name.as_str()).take(10).collect();
        if !users.is_empty() {
            return Err(RequestFault::new(
                FaultCode::Refused,
                "policy",
                format!(
                    "`{}` is the template of {}; delete those first, or give them another template",
                    live.name,
                    users.join(", ")
                ),
            ));
        }
        // What it was is in the versions before; who makes and deletes policies all day must not
        // fill the bucket with their texts.
        let record = PolicyRecord {
            deleted: true,
            rego: String::new(),
            parameters: Map::new(),
            status: Status::Inactive,
            version: live.version.saturating_add(1),
            updated_at: Utc::now().trunc_subsecs(6),
            updated_by: change.author.clone(),
            comment: change.comment.clone(),
            ..live.clone()
        };
        let mut reply = ChangeReply {
            policy: self.view_of(&record, None, true),
            before: Some(Box::new(live.clone())),
            changed: true,
            dry_run: change.dry_run,
            findings: Vec::new(),
            sequence: base.sequence,
        };
        if change.dry_run {
            return Ok(Some(reply));
        }
        Ok(self.write(base, &record).await?.map(|sequence| {
            reply.sequence = sequence;
            reply
        }))
    }

    /// Writes a record on top of the state that it was made for, and waits until it is in force
    /// here. None where that state is no longer the newest.
    async fn write(
        &self,
        base: &Arc<InForce>,
        record: &PolicyRecord,
    ) -> Result<Option<u64>, RequestFault> {
        let value = super::encoded(record)?;
        self.write_value(&record.name, value, base.sequence, |now| {
            now.records.get(&record.name).is_some_and(|newest| **newest == *record)
        })
        .await
    }

    /// As [`Self::write`], of any key; `is_ours` tells whether the newest state holds the value.
    pub(super) async fn write_value(
        &self,
        key: &str,
        value: Vec<u8>,
        last: u64,
        is_ours: impl Fn(&InForce) -> bool,
    ) -> Result<Option<u64>, RequestFault> {
        match self.inner.bucket.put(key, value, last).await {
            Ok(sequence) => {
                self.inner.live.reaches(sequence, self.inner.timeout).await;
                Ok(Some(sequence))
            }
            Err(PutError::Conflict) => {
                if !self.inner.live.reaches(last.saturating_add(1), self.inner.timeout).await {
                    return Err(RequestFault::unavailable(
                        "the bucket has changes that this worker has not been given yet; try again",
                    ));
                }
                Ok(None)
            }
            Err(error @ PutError::Refused(_)) => Err(RequestFault::unavailable(error.to_string())),
            Err(PutError::Bus(error @ BusError::TooLarge { .. })) => {
                Err(RequestFault::new(FaultCode::Refused, "rego", error.to_string()))
            }
            // Nobody knows whether it was taken: what comes back from the bucket tells.
            Err(PutError::Bus(error)) => {
                self.inner.live.reaches(last.saturating_add(1), self.inner.timeout).await;
                let now = self.inner.live.current();
                if is_ours(&now) {
                    return Ok(Some(now.sequence));
                }
                Err(RequestFault::unavailable(format!(
                    "{error}; whether the change was made is not known: look at it before you try \
                     again"
                )))
            }
        }
    }

    pub(super) fn too_busy(&self) -> RequestFault {
        RequestFault::new(
            FaultCode::Conflict,
            "",
            format!(
                "others changed policies {} times while this change was tried (setting \
                 policies.change_attempts); try again",
                self.inner.config.policies.change_attempts
            ),
        )
    }
}

/// Whether all that changes is that the policy no longer takes part.
fn only_disables(live: &PolicyRecord, next: &PolicyDraft) -> bool {
    let disabled = PolicyDraft { status: Status::Inactive, ..PolicyDraft::from(live) };
    live.status != Status::Inactive && disabled == *next
}

/// The program of Rego that is in force already.
fn known_program(record: &PolicyRecord, base: &InForce) -> Option<crate::engine::Compiled> {
    let own = Arc::new(record.clone());
    let source = source_of(&own, &base.records)?;
    let entry = base.set.by_name(&source.name)?;
    let same = *entry.policy().rego == *source.rego;
    entry.compiled().as_ref().ok().filter(|_| same).cloned()
}

/// The policy that a change is about.
fn existing<'a>(
    current: Option<&'a PolicyRecord>,
    policy: &str,
) -> Result<&'a PolicyRecord, RequestFault> {
    current.ok_or_else(|| super::read::missing(policy))
}

/// A lost update is refused with both versions named.
fn expected_version(
    live: Option<&PolicyRecord>,
    policy: &str,
    change: &Authored,
) -> Result<(), RequestFault> {
    let Some(expected) = change.if_version else { return Ok(()) };
    let current = live.map_or(0, |live| live.version);
    if expected == current {
        return Ok(());
    }
    let message = match live {
        Some(live) => format!(
            "the change starts from version {expected} of `{}`, which is at version {current} by \
             now (by {}, {}); look at what is new, then change that",
            live.name,
            if live.updated_by.is_empty() { "somebody" } else { &live.updated_by },
            live.updated_at.format("%Y-%m-%d %H:%M:%S UTC"),
        ),
        None => format!(
            "the change starts from version {expected} of `{policy}`, which doesn't exist; use \
             version 0 for a policy that is new"
        ),
    };
    let mut fault = RequestFault::new(FaultCode::Conflict, "change.if_version", message);
    fault.current_version = Some(current);
    Err(fault)
}

/// A merge patch (RFC 7396) on what can be set of a policy.
fn patched(current: &PolicyRecord, changes: &Map<String, Value>) -> Result<Wanted, RequestFault> {
    let at = |field: &str| format!("changes.{field}");
    if changes.get("name").is_some_and(|name| name.as_str() != Some(current.name.as_str())) {
        return Err(RequestFault::field(
            at("name"),
            "a policy's name can't be changed; make a new one and delete this one",
        ));
    }
    let mut draft = serde_json::to_value(PolicyDraft::from(current)).map_err(|error| {
        RequestFault::new(FaultCode::Failed, "", format!("the policy can't be encoded: {error}"))
    })?;
    // Rego of its own takes the place of a template, and the other way round.
    for (given, other) in [("rego", "template"), ("template", "rego")] {
        if changes.get(given).is_some_and(|value| !value.is_null())
            && !changes.contains_key(other)
            && let Some(members) = draft.as_object_mut()
        {
            members.remove(other);
        }
    }
    merge(&mut draft, &Value::Object(changes.clone()));
    serde_path_to_error::deserialize(draft).map(|draft| Wanted::Draft(Box::new(draft))).map_err(
        |error| RequestFault::field(at(&error.path().to_string()), error.into_inner().to_string()),
    )
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(members) = target.as_object_mut() else { return };
    for (key, change) in changes {
        if change.is_null() {
            members.remove(key);
        } else {
            merge(members.entry(key.clone()).or_insert(Value::Null), change);
        }
    }
}

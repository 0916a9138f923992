//! Trying policies on an input: nothing is enforced, counted or recorded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::admission::{Admission, record_of};
use super::{Manager, apart, called, encoded};
use crate::contract::admin::{Authored, PolicyDraft};
use crate::contract::evaluate::{Choice, ChosenVersion, EvaluatedPolicy};
use crate::contract::{EvaluateReply, EvaluateRequest, FaultCode, PolicyReply, RequestFault};
use crate::domain::{
    CheckRequest, FailMode, Finding, Identity, PolicyOutcome, PolicyRecord, Status, Verdict,
    combine, input,
};
use crate::engine::{Check, Entry, Evaluator, PolicySet, remedy, trace};

use super::super::live::{InForce, entry, source_of};
use super::super::remedy::advice;

/// What the policy is called that is tried from a text.
const TRIED: &str = "tried";
/// Evaluations that are tried to find a remedy.
const MOST_EVALUATIONS: usize = 512;
/// Policies that are tried at once.
const MOST_TRIED: usize = 100;

/// A policy to try.
struct Tried {
    entry: Arc<Entry>,
    usage: Option<Value>,
}

impl Manager {
    /// Tries policies on an input.
    pub(super) async fn evaluate(&self, body: &[u8]) -> Result<Vec<u8>, RequestFault> {
        let request: EvaluateRequest = self.read(body)?;
        let check = check_of(&request)?;
        let now = self.inner.live.current();
        if request.policies.len() > MOST_TRIED {
            return Err(RequestFault::field(
                "policies",
                format!(
                    "holds {} policies, at most {MOST_TRIED} are tried at once",
                    request.policies.len()
                ),
            ));
        }
        let mut versions = Vec::with_capacity(request.policies.len());
        for choice in &request.policies {
            let chosen = match choice {
                Choice::Name(name) => {
                    ChosenVersion { policy: name.clone(), version: None, usage: None }
                }
                Choice::Version(chosen) => chosen.clone(),
            };
            let record = self.chosen(&now, &chosen).await?;
            versions.push((record, chosen.usage));
        }
        let trial = Trial {
            admission: self.inner.admission,
            fail_mode: self.inner.fail_mode,
            now,
            patience: self.inner.timeout,
        };
        let (_, limits) = self.inner.admission.limits();
        let reply =
            apart(limits.instructions, move || trial.run(&request, &check, versions)).await??;
        encoded(&reply)
    }

    async fn chosen(
        &self,
        now: &InForce,
        chosen: &ChosenVersion,
    ) -> Result<Arc<PolicyRecord>, RequestFault> {
        let newest = called(&now.records, &chosen.policy)
            .ok_or_else(|| super::read::missing(&chosen.policy))?;
        match chosen.version {
            Some(version) if version != newest.version => {
                self.version_of(&newest.name, version).await.map(Arc::new)
            }
            _ if newest.deleted => Err(super::read::missing(&chosen.policy)),
            _ => Ok(Arc::clone(newest)),
        }
    }
}

/// What a trial needs, on its own thread.
struct Trial {
    admission: Admission,
    fail_mode: FailMode,
    now: Arc<InForce>,
    /// How long all of it may take.
    patience: Duration,
}

impl Trial {
    fn run(
        &self,
        request: &EvaluateRequest,
        check: &CheckRequest,
        versions: Vec<(Arc<PolicyRecord>, Option<Value>)>,
    ) -> Result<EvaluateReply, RequestFault> {
        let mut findings = Vec::new();
        let mut tried = Vec::new();
        if let Some(rego) = &request.rego {
            tried.push(self.text(rego, request, &mut findings)?);
        }
        for (record, usage) in versions {
            tried.push(Tried { entry: self.stored(&record, request)?, usage });
        }
        if request.rego.is_none() && request.policies.is_empty() {
            let applying = self.now.set.applying_to(&check.identity(), request.package.as_deref());
            if applying.len() > MOST_TRIED {
                return Err(RequestFault::new(
                    FaultCode::Refused,
                    "policies",
                    format!(
                        "{} policies apply to such a check, at most {MOST_TRIED} are tried at once: \
                         name some",
                        applying.len()
                    ),
                ));
            }
            for entry in applying {
                let record = self.now.records.get(&entry.policy().name);
                let entry = match record {
                    Some(record) if !request.parameters.is_empty() => {
                        self.stored(record, request)?
                    }
                    _ => Arc::clone(entry),
                };
                tried.push(Tried { entry, usage: None });
            }
        }
        let shared = shared_input(request, check);
        let start = Instant::now();
        let deadline = start + self.patience;
        let mut outcomes = Vec::with_capacity(tried.len());
        let mut policies = Vec::with_capacity(tried.len());
        for one in &tried {
            if Instant::now() >= deadline {
                return Err(RequestFault::unavailable(format!(
                    "trying the policies takes longer than {:?} (setting nats.request_timeout); try \
                     fewer at once",
                    self.patience
                )));
            }
            let usage = one.usage.clone().or_else(|| request.usage.clone());
            let (outcome, evaluated) =
                self.one(&one.entry, &shared, usage, request.explain.then_some(deadline));
            outcomes.push(outcome);
            policies.push(evaluated);
        }
        let decision = combine(outcomes, request.package.as_deref());
        policies.sort_by(|a: &EvaluatedPolicy, b| a.said.name.cmp(&b.said.name));
        Ok(EvaluateReply {
            allowed: decision.verdict == Verdict::Allow,
            decision: decision.verdict,
            reason: decision.reason,
            deny_reasons: decision.deny_reasons,
            warnings: decision.warnings,
            would_deny: decision.would_deny,
            policies,
            policy_revision: self.now.set.revision().to_string(),
            error: decision.error,
            error_message: decision.error_message,
            findings,
            input: shared,
            duration_us: micros(start),
        })
    }

    /// The policy of a text.
    fn text(
        &self,
        rego: &str,
        request: &EvaluateRequest,
        findings: &mut Vec<Finding>,
    ) -> Result<Tried, RequestFault> {
        let (compiled, found) = self.admission.examine("rego", rego)?;
        findings.extend(found);
        let draft = PolicyDraft {
            name: TRIED.to_owned(),
            rego: rego.to_owned(),
            status: Status::Active,
            parameters: request.parameters.clone(),
            ..PolicyDraft::default()
        };
        let record = record_of(&draft, None, &Authored::default(), Uuid::nil(), Utc::now());
        let entry = entry(&record, Arc::from(rego), compiled, self.fail_mode)
            .map_err(|message| RequestFault::new(FaultCode::Refused, "parameters", message))?;
        Ok(Tried { entry: Arc::new(entry), usage: None })
    }

    /// A stored policy, as if it were active, with the request's parameters laid over its own.
    fn stored(
        &self,
        record: &Arc<PolicyRecord>,
        request: &EvaluateRequest,
    ) -> Result<Arc<Entry>, RequestFault> {
        let source = source_of(record, &self.now.records).ok_or_else(|| {
            RequestFault::new(
                FaultCode::NotFound,
                "policies",
                format!("the template of `{}` doesn't exist any more", record.name),
            )
        })?;
        let mut tried = (**record).clone();
        if tried.status == Status::Inactive || !request.policies.is_empty() {
            tried.status = Status::Active;
        }
        for (key, value) in &request.parameters {
            tried.parameters.insert(key.clone(), value.clone());
        }
        let in_force = self
            .now
            .set
            .by_name(&source.name)
            .filter(|entry| *entry.policy().rego == *source.rego)
            .and_then(|entry| {
                Some((entry.compiled().as_ref().ok()?.clone(), Arc::clone(&entry.policy().rego)))
            });
        let (compiled, rego) = match in_force {
            Some(known) => known,
            None => {
                let (compiled, _) = self.admission.examine(&source.name, &source.rego)?;
                (compiled, Arc::from(source.rego.as_str()))
            }
        };
        entry(&tried, rego, compiled, self.fail_mode).map(Arc::new).map_err(|message| {
            RequestFault::new(
                FaultCode::Refused,
                "parameters",
                format!("{}: {message}", tried.name),
            )
        })
    }

    fn one(
        &self,
        entry: &Arc<Entry>,
        shared: &Map<String, Value>,
        usage: Option<Value>,
        explain_until: Option<Instant>,
    ) -> (PolicyOutcome, EvaluatedPolicy) {
        let (_, limits) = self.admission.limits();
        let mut whole = shared.clone();
        if let Some(usage) = usage {
            whole.insert("usage".to_owned(), usage);
        }
        let start = Instant::now();
        let outcome = evaluated(entry, &whole, limits, self.fail_mode);
        let duration_us = micros(start);
        let policy = entry.policy();
        let mut shown = EvaluatedPolicy {
            said: PolicyReply::from(&outcome),
            parameters: policy.parameters.clone(),
            duration_us,
            rules: Vec::new(),
            reads: Vec::new(),
            remedy: Vec::new(),
            advice: Vec::new(),
            lines: None,
        };
        if let (Some(deadline), Ok(compiled)) = (explain_until, entry.compiled()) {
            whole.insert("parameters".to_owned(), Value::Object(policy.parameters.clone()));
            let traced = trace(compiled, &policy.rego, &whole, &limits);
            if outcome.verdict == Verdict::Deny {
                shown.remedy = remedy(
                    compiled,
                    &policy.rego,
                    &whole,
                    &limits,
                    &traced,
                    MOST_EVALUATIONS,
                    deadline,
                );
            }
            shown.rules = traced.rules;
            shown.reads = traced.reads;
            shown.lines = Some(traced.lines);
            shown.advice = advice(compiled, &outcome);
        }
        (outcome, shown)
    }
}

/// What one policy says of an input, as a worker would evaluate it.
fn evaluated(
    entry: &Arc<Entry>,
    input: &Map<String, Value>,
    limits: crate::engine::EvaluationLimits,
    fail_mode: FailMode,
) -> PolicyOutcome {
    let failed = |error: String| PolicyOutcome {
        name: entry.policy().name.clone(),
        package: entry.policy().package.clone(),
        error: Some(error),
        ..PolicyOutcome::default()
    };
    // Alone in a set where it applies to everyone: its own scope is not the question here.
    let mut policy = entry.policy().clone();
    let scope = std::mem::take(&mut policy.scope);
    let alone = Entry::new(policy, entry.compiled().clone());
    let set = match PolicySet::new([alone]) {
        Ok(set) => set,
        Err(error) => return failed(error.to_string()),
    };
    let check = Check {
        request: &CheckRequest::default(),
        identity: &Identity::default(),
        input,
        usage: None,
        fail_mode,
        shadow: false,
    };
    let mut outcomes = Evaluator::new(limits).evaluate(&set, &check);
    match outcomes.pop() {
        Some(outcome) => PolicyOutcome { scope: scope.to_string(), ..outcome },
        None => failed("it was not evaluated".to_owned()),
    }
}

/// The check that the request describes, by its members or by a whole input.
fn check_of(request: &EvaluateRequest) -> Result<CheckRequest, RequestFault> {
    let required = |field: &str| {
        RequestFault::field(
            field,
            "is required, as in a check; or give a whole `input` instead, such as a recorded one",
        )
    };
    if let Some(whole) = &request.input {
        if request.action.is_some() || request.resource.is_some() || !request.context.is_empty() {
            return Err(RequestFault::field(
                "input",
                "and action, resource, context exclude each other: the input holds them",
            ));
        }
        let context = whole.get("context").and_then(Value::as_object).cloned().unwrap_or_default();
        return Ok(CheckRequest {
            action: whole.get("action").and_then(Value::as_str).unwrap_or_default().to_owned(),
            resource: whole.get("resource").cloned().unwrap_or_default(),
            context,
            package: request.package.clone(),
            extra: Map::new(),
        });
    }
    let action = request.action.clone().ok_or_else(|| required("action"))?;
    let resource = match request.resource.clone() {
        Some(resource @ (Value::Object(_) | Value::String(_))) => resource,
        Some(_) => return Err(RequestFault::field("resource", "must be an object or a string")),
        None => return Err(required("resource")),
    };
    Ok(CheckRequest {
        action,
        resource,
        context: request.context.clone(),
        package: request.package.clone(),
        extra: Map::new(),
    })
}

fn shared_input(request: &EvaluateRequest, check: &CheckRequest) -> Map<String, Value> {
    let now = request.now.unwrap_or_else(Utc::now);
    match &request.input {
        Some(whole) => {
            let mut whole = whole.clone();
            if request.now.is_some() || !whole.contains_key("timestamp") {
                whole.insert("timestamp".to_owned(), Value::String(input::timestamp(now)));
            }
            whole
        }
        None => input::build(check, now),
    }
}

fn micros(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX)
}

//! From a request's bytes to the reply and the events of its decision.

mod document;
mod unchecked;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use chrono::{SubsecRound, Utc};
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use uuid::Uuid;

use super::fit;
use super::live::{InForce, LivePolicies};
use super::numbers::Numbers;
use super::remedy::{Remedies, Search};
use super::usage::{self, Usage};
use crate::bus::{Outgoing, Record, Subjects};
use crate::config::{self, Config, OnUnavailable};
use crate::contract::check::Stamp;
use crate::contract::evaluate::Remedy;
use crate::contract::{
    CheckReply, DecisionEvent, RequestBounds, RequestFault, ViolationEvent, parse_batch,
    parse_check,
};
use crate::domain::usage::UsageKey;
use crate::domain::{
    AuditState, CheckRequest, Decision, EnforcementMode, FailMode, Identity, Mode, Scope, Verdict,
    Violation, combine, input, violation,
};

pub(super) use self::unchecked::{Assessed, Reported, Unusable};
use crate::engine::{Check, EvaluationLimits, Evaluator};
use crate::roles::bytes;
use crate::runtime::metrics::{self, CheckOutcome, FailOpenReason};

/// The warning where a check's body claims to be another agent than its subject says.
const IDENTITY_MISMATCH: &str = "identity_mismatch";
/// Bytes of a message's headers and subject, at most.
const HEADROOM: usize = 4_096;

/// What a request says beside its body.
#[derive(Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    /// Who asks, where NATS bound it.
    pub(super) agent: Option<&'a str>,
    /// W3C trace context.
    pub(super) traceparent: Option<&'a str>,
    /// Whether the other rules of the named package are wanted too.
    pub(super) document: bool,
}

/// The search for what would have been allowed.
pub(super) type Searching = JoinHandle<Option<Vec<Remedy>>>;

/// A decided check: what to answer and what to record.
pub(super) struct Answer {
    pub(super) reply: CheckReply,
    pub(super) record: Record,
    search: Option<Search>,
    largest: usize,
    /// What is needed should an allowed check be denied because it can't be recorded; none where
    /// it wouldn't be.
    strict: Option<Box<Unrecorded>>,
}

/// A decision whose event may not be stored yet.
pub(super) struct Unrecorded {
    event: DecisionEvent,
    traceparent: Option<String>,
}

impl Answer {
    /// Notes whether the stream has acknowledged the record. Where it hasn't and must, the answer
    /// becomes a denial; what is to be recorded of that is given back.
    pub(super) fn audited(&mut self, recorded: bool) -> Option<Box<Unrecorded>> {
        self.reply.audit = if recorded { AuditState::Recorded } else { AuditState::Pending };
        if recorded || !self.reply.allowed {
            return None;
        }
        let Some(mut unrecorded) = self.strict.take() else {
            metrics::fail_open(FailOpenReason::AuditUnavailable).increment(1);
            return None;
        };
        metrics::audit_denied().increment(1);
        // The decision stays in history as it was evaluated; its violation says what was told.
        unrecorded.event.decision = Verdict::Deny;
        self.reply.allowed = false;
        self.reply.decision = Verdict::Deny;
        self.reply.reason = violation::AUDIT_UNAVAILABLE.to_owned();
        self.reply.deny_reasons = vec![violation::AUDIT_UNAVAILABLE.to_owned()];
        Some(unrecorded)
    }

    /// Begins the search for what would have been allowed, if there is one, beside this task.
    pub(super) fn searching(&mut self, runtime: &Handle) -> Option<Searching> {
        self.search.take().map(|search| runtime.spawn(search.begin()))
    }

    /// Takes in what the search found.
    pub(super) async fn remedied(&mut self, searching: Option<Searching>) {
        if let Some(searching) = searching
            && let Ok(Some(found)) = searching.await
        {
            self.reply.remedy = found;
        }
    }

    /// Bytes of the largest message that can carry it.
    pub(super) const fn largest(&self) -> usize {
        self.largest
    }

    /// The reply as JSON, shortened where no message could carry it.
    pub(super) fn encoded(&mut self) -> Result<Vec<u8>, serde_json::Error> {
        fit::reply(&mut self.reply, self.largest)
    }

    /// Counts the check.
    pub(super) fn counted(&self, duration: Duration) {
        let outcome = match self.reply.decision {
            Verdict::Deny => CheckOutcome::Deny,
            Verdict::Allow if self.reply.error => CheckOutcome::Error,
            Verdict::Allow => CheckOutcome::Allow,
        };
        metrics::checks(outcome).increment(1);
        metrics::check_duration().record(duration.as_secs_f64());
    }
}

/// Decides checks. Shared by the threads, each of which brings its own evaluator.
pub(super) struct Decider {
    policies: LivePolicies,
    usage: Usage,
    subjects: Subjects,
    worker: String,
    fail_mode: FailMode,
    bounds: RequestBounds,
    limits: EvaluationLimits,
    remedies: Arc<Remedies>,
    numbers: Arc<Numbers>,
    strict: bool,
    largest: usize,
}

impl Decider {
    /// `largest` is the bytes of the largest message that server and stream take.
    pub(super) fn new(
        config: &Config,
        worker: &str,
        policies: LivePolicies,
        usage: Usage,
        subjects: Subjects,
        numbers: Arc<Numbers>,
        largest: usize,
    ) -> Self {
        Self {
            policies,
            usage,
            subjects,
            worker: worker.to_owned(),
            fail_mode: fail_mode(config.enforcement.fail_mode),
            bounds: RequestBounds {
                bytes: bytes(config.worker.max_request_bytes),
                nesting: config.worker.max_nesting,
                batch: config.worker.max_batch,
            },
            limits: evaluation_limits(config),
            remedies: Arc::new(Remedies::new(
                evaluation_limits(config),
                config.worker.remedies_per_second,
            )),
            numbers,
            strict: config.audit.on_unavailable == OnUnavailable::Deny,
            largest: largest.saturating_sub(HEADROOM),
        }
    }

    /// What one evaluation may cost.
    pub(super) const fn limits(&self) -> EvaluationLimits {
        self.limits
    }

    /// Decides one check.
    pub(super) fn check(
        &self,
        body: &[u8],
        asked: Asked<'_>,
        evaluator: &mut Evaluator,
    ) -> Result<Answer, RequestFault> {
        let request = parse_check(body, &self.bounds)?;
        Ok(self.decide(request, asked, evaluator))
    }

    /// Decides the checks of a batch, one by one.
    pub(super) fn batch(
        &self,
        body: &[u8],
        asked: Asked<'_>,
        evaluator: &mut Evaluator,
    ) -> Result<Vec<Result<Answer, RequestFault>>, RequestFault> {
        let checks = parse_batch(body, &self.bounds)?;
        Ok(checks
            .into_iter()
            .map(|check| check.map(|check| self.decide(check, asked, evaluator)))
            .collect())
    }

    fn decide(
        &self,
        mut request: CheckRequest,
        asked: Asked<'_>,
        evaluator: &mut Evaluator,
    ) -> Answer {
        let timestamp = Utc::now().trunc_subsecs(6);
        let start = Instant::now();
        let mismatch = asked.agent.is_some_and(|agent| bind_agent(&mut request, agent));
        let identity = request.identity();
        let input = input::build(&request, timestamp);
        let in_force = self.policies.current();
        let second = usage::now();
        let before = evaluator.remembered();
        let mut decision = self.weigh(&in_force, &request, &identity, &input, second, evaluator);
        let elapsed = start.elapsed();
        let document = if asked.document {
            self.document(&in_force, &request, &identity, &input, second, evaluator)
        } else {
            None
        };
        if in_force.enforcement != EnforcementMode::Off && decision.verdict == Verdict::Allow {
            self.count(&in_force, &request, &identity, second);
        }
        let set = &in_force.set;
        if mismatch {
            decision.warnings.push(IDENTITY_MISMATCH.to_owned());
            decision.warnings.sort();
            decision.warnings.dedup();
        }
        metrics::evaluation_duration().record(elapsed.as_secs_f64());
        metrics::remembered().increment(evaluator.remembered().saturating_sub(before));
        counted(&decision, &request);

        let stamp = Stamp {
            id: Uuid::now_v7(),
            timestamp,
            revision: set.revision().to_string(),
            duration_us: u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
        };
        let mut reply = CheckReply::new(&decision, &stamp, AuditState::Pending);
        let (told, search) = self.remedies.of(&decision, set, &input, elapsed);
        reply.remedy = told;
        reply.document = document;
        let number = self.numbers.next();
        let event =
            DecisionEvent::new(&request, &identity, input, &decision, &stamp, &self.worker, number);
        let strict = (self.strict && decision.verdict == Verdict::Allow).then(|| {
            let traceparent = asked.traceparent.map(str::to_owned);
            Box::new(Unrecorded { event: event.clone(), traceparent })
        });
        let record = self.record(event, &decision, asked.traceparent);
        Answer { reply, record, search, largest: self.largest, strict }
    }

    /// What the policies in force say of a request, by the usage as it was at a second.
    fn weigh(
        &self,
        in_force: &InForce,
        request: &CheckRequest,
        identity: &Identity,
        input: &Map<String, Value>,
        second: u64,
        evaluator: &mut Evaluator,
    ) -> Decision {
        if in_force.enforcement == EnforcementMode::Off {
            return combine::disabled();
        }
        let count = self.counting(request, identity, second);
        let shadow = in_force.enforcement == EnforcementMode::Shadow;
        let outcomes = evaluator.evaluate(
            &in_force.set,
            &Check {
                request,
                identity,
                input,
                usage: Some(&count),
                fail_mode: self.fail_mode,
                shadow,
            },
        );
        if shadow {
            combine::combine_shadow(outcomes)
        } else {
            combine(outcomes, request.package.as_deref())
        }
    }

    /// How calls of a request's action are counted, itself included, as it was at a second.
    fn counting<'a>(
        &'a self,
        request: &'a CheckRequest,
        identity: &Identity,
        second: u64,
    ) -> impl Fn(Option<&Scope>, u64) -> Option<u64> + 'a {
        let key =
            UsageKey { subject: identity.subject().to_owned(), action: request.action.clone() };
        move |scope, window| {
            let count = |key: &UsageKey| self.usage.count(key, second, window).saturating_add(1);
            match scope {
                Some(scope) => Some(count(&UsageKey::of_scope(scope, &request.action))),
                None => (!key.subject.is_empty()).then(|| count(&key)),
            }
        }
    }

    /// Counts a call that went on.
    fn count(&self, in_force: &InForce, request: &CheckRequest, identity: &Identity, second: u64) {
        for scope in in_force.set.scopes_of(identity) {
            self.usage.add(UsageKey::of_scope(&scope, &request.action), second);
        }
        let subject = identity.subject();
        if !subject.is_empty() {
            let key = UsageKey { subject: subject.to_owned(), action: request.action.clone() };
            self.usage.add(key, second);
        }
    }

    /// The events of a decision: its own first, then one for each violation.
    fn record(
        &self,
        mut event: DecisionEvent,
        decision: &Decision,
        traceparent: Option<&str>,
    ) -> Record {
        let violations = violation::violations_of(decision);
        let mut events = Vec::with_capacity(1 + violations.len());
        match fit::event(&mut event, self.largest) {
            Ok(payload) => events.push(Outgoing {
                subject: self.subjects.decision(event.decision, &event.action),
                id: event.id.to_string(),
                payload: Bytes::from(payload),
                traceparent: traceparent.map(str::to_owned),
                number: event.number,
            }),
            Err(error) => tracing::error!(%error, id = %event.id, "an event can't be encoded"),
        }
        for violation in violations {
            events.extend(self.violation(&violation, &event, traceparent));
        }
        Record { events }
    }

    fn violation(
        &self,
        violation: &Violation,
        decision: &DecisionEvent,
        traceparent: Option<&str>,
    ) -> Option<Outgoing> {
        let event = ViolationEvent::new(violation, Uuid::now_v7(), self.numbers.next(), decision);
        match fit::encode(&event) {
            Ok(payload) => Some(Outgoing {
                subject: self.subjects.violation(violation.severity, &violation.policy_name),
                id: event.id.to_string(),
                payload: Bytes::from(payload),
                traceparent: traceparent.map(str::to_owned),
                number: event.number,
            }),
            Err(error) => {
                tracing::error!(%error, id = %event.id, "a violation can't be encoded");
                None
            }
        }
    }

    /// What is recorded beside a decision whose event the stream didn't take in time, and which was
    /// therefore answered with a denial.
    pub(super) fn refused_unrecorded(&self, unrecorded: &Unrecorded) -> Option<Outgoing> {
        let violation = violation::audit_unavailable();
        self.violation(&violation, &unrecorded.event, unrecorded.traceparent.as_deref())
    }
}

/// Takes the identity from where NATS bound it; true when the body claimed another one.
fn bind_agent(request: &mut CheckRequest, agent: &str) -> bool {
    let claimed = request.context.insert("agent".to_owned(), Value::String(agent.to_owned()));
    let mismatch = claimed.is_some_and(|claimed| claimed.as_str() != Some(agent));
    if mismatch {
        tracing::warn!(agent, "a check's body claims to be another agent than its subject says");
    }
    mismatch
}

/// Counts what each policy said. The label is the policy's name, of which there are as many as
/// policies; a package that no policy has is the caller's text and counts under one name.
fn counted(decision: &Decision, request: &CheckRequest) {
    for policy in &decision.policies {
        let outcome = match (&policy.error, policy.verdict, policy.mode) {
            (Some(_), ..) => metrics::PolicyOutcome::Error,
            (None, Verdict::Allow, _) => metrics::PolicyOutcome::Allow,
            (None, Verdict::Deny, Mode::Enforce) => metrics::PolicyOutcome::Deny,
            (None, Verdict::Deny, Mode::Warn) => metrics::PolicyOutcome::Warn,
            (None, Verdict::Deny, Mode::Shadow) => metrics::PolicyOutcome::ShadowDeny,
        };
        let unknown = policy.version == 0 && Some(&policy.package) == request.package.as_ref();
        let name = if unknown { "unknown" } else { policy.name.as_str() };
        metrics::policy_decisions(name, outcome).increment(1);
    }
    if decision.error && decision.verdict == Verdict::Allow {
        metrics::fail_open(FailOpenReason::PolicyError).increment(1);
    }
    if !decision.enforced {
        metrics::fail_open(FailOpenReason::EnforcementOff).increment(1);
    }
}

/// The configuration's word as the domain's.
pub(super) const fn fail_mode(mode: config::FailMode) -> FailMode {
    match mode {
        config::FailMode::Open => FailMode::Open,
        config::FailMode::Closed => FailMode::Closed,
    }
}

pub(crate) fn evaluation_limits(config: &Config) -> EvaluationLimits {
    EvaluationLimits {
        instructions: config.limits.instructions,
        time: config.limits.time,
        memory: config.limits.memory.as_u64(),
        reasons: config.limits.reasons,
        reason_bytes: bytes(config.limits.reason_bytes),
    }
}

//! Asking workers on behalf of those who call over HTTP: only workers decide, whatever the door.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::unchecked::{Cause, Reports, UncheckedCall};
use crate::bus::{BusError, Connection, DOCUMENT, Subjects, WANT};
use crate::config::{Config, FailMode};
use crate::contract::admin::{EnforcementReply, EnforcementRequest, ListRequest, PolicyList, Verb};
use crate::contract::fault::{ServiceError, ServiceErrorDetail};
use crate::contract::{CheckReply, EvaluateReply, EvaluateRequest};

/// What comes of a check.
pub(super) enum Answer {
    /// A worker decided.
    Decided(Box<CheckReply>),
    /// The request is wrong, and a worker, or NATS, says why: the caller's mistake, so nothing is let
    /// through for it.
    Refused(String),
    /// No worker answered; the fail mode did.
    Unchecked(UncheckedCall),
}

/// Why a request of management failed.
pub(super) enum Unmanaged {
    /// A worker refused it.
    Refused(Box<ServiceErrorDetail>),
    /// No worker answered.
    Unavailable(String),
}

/// Asks workers. Cheap to clone.
#[derive(Clone)]
pub(super) struct Asker {
    inner: Arc<Inner>,
}

struct Inner {
    connection: OnceLock<Connection>,
    subjects: Subjects,
    check_timeout: Duration,
    manage_timeout: Duration,
    fail_mode: FailMode,
    reports: Reports,
}

impl Asker {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            inner: Arc::new(Inner {
                connection: OnceLock::new(),
                subjects: Subjects::new(&config.nats.subject_prefix),
                check_timeout: config.http.check_timeout,
                // Less than the request itself may take, so that what is said is this.
                manage_timeout: config.http.request_timeout.mul_f64(0.9),
                fail_mode: config.http.fail_mode,
                reports: Reports::new(super::super::bytes(config.http.unchecked_bytes)),
            }),
        }
    }

    /// From now on there is a connection, which comes back by itself when it is lost.
    pub(super) fn connected(&self, connection: Connection) {
        // A second one would be a second run of the same console; the first goes on working.
        let _ = self.inner.connection.set(connection);
    }

    pub(super) fn reports(&self) -> &Reports {
        &self.inner.reports
    }

    pub(super) fn subjects(&self) -> &Subjects {
        &self.inner.subjects
    }

    /// How long one check may take.
    pub(super) fn check_timeout(&self) -> Duration {
        self.inner.check_timeout
    }

    /// Whether NATS is there now.
    pub(super) fn is_up(&self) -> bool {
        self.connection().is_some()
    }

    /// The connection to NATS; none while NATS isn't there.
    pub(super) fn connection(&self) -> Option<&Connection> {
        self.inner.connection.get().filter(|connection| connection.is_up())
    }

    /// The answer to one check, within `http.check_timeout` and not after `deadline`. Never fails: who
    /// asks is always told something. `document` asks for the other rules of the package too.
    pub(super) async fn check(
        &self,
        request: &Map<String, Value>,
        document: bool,
        deadline: Instant,
    ) -> Answer {
        let patience =
            self.inner.check_timeout.min(deadline.saturating_duration_since(Instant::now()));
        match self.decided(request, document, patience).await {
            Ok(answer) => answer,
            Err((cause, message)) => {
                let call = UncheckedCall {
                    id: Uuid::now_v7(),
                    cause,
                    message,
                    allowed: self.inner.fail_mode == FailMode::Open,
                };
                self.inner.reports.report(&call, request);
                Answer::Unchecked(call)
            }
        }
    }

    async fn decided(
        &self,
        request: &Map<String, Value>,
        document: bool,
        patience: Duration,
    ) -> Result<Answer, (Cause, String)> {
        let connection = self
            .connection()
            .ok_or_else(|| (Cause::Disconnected, "NATS can't be reached".to_owned()))?;
        let body = serde_json::to_vec(request)
            .map_err(|error| (Cause::InvalidReply, format!("the request has no JSON: {error}")))?;
        if body.len() > connection.max_payload() {
            let (bytes, most) = (body.len(), connection.max_payload());
            return Ok(Answer::Refused(format!(
                "the request has {bytes} bytes, the NATS server takes at most {most}"
            )));
        }
        if patience.is_zero() {
            return Err((Cause::Timeout, "no time was left for this check".to_owned()));
        }
        let subject = self.inner.subjects.check();
        let header = document.then_some((WANT, DOCUMENT));
        let answered = connection.request_with(&subject, header, body, patience).await;
        let answered = answered.map_err(|error| match error {
            BusError::NoResponders { .. } => (Cause::NoResponders, error.to_string()),
            BusError::TimedOut { .. } => (Cause::Timeout, error.to_string()),
            _ => (Cause::Disconnected, error.to_string()),
        })?;
        if answered.error_code.is_some() {
            let fault: ServiceError = serde_json::from_slice(&answered.payload)
                .map_err(|error| (Cause::InvalidReply, format!("a worker's refusal: {error}")))?;
            let said = said(&fault.error);
            return match fault.error.code {
                400..=499 if fault.error.code != 429 => Ok(Answer::Refused(said)),
                _ => Err((Cause::ServiceError, said)),
            };
        }
        serde_json::from_slice(&answered.payload)
            .map(|reply| Answer::Decided(Box::new(reply)))
            .map_err(|error| (Cause::InvalidReply, format!("a worker's answer: {error}")))
    }

    /// Asks for management.
    pub(super) async fn manage<T: DeserializeOwned>(
        &self,
        verb: Verb,
        request: &(impl Serialize + Sync),
    ) -> Result<T, Unmanaged> {
        self.asked(&self.inner.subjects.admin(verb), request).await
    }

    /// Tries policies on an input.
    pub(super) async fn evaluate(
        &self,
        request: &EvaluateRequest,
    ) -> Result<EvaluateReply, Unmanaged> {
        self.asked(&self.inner.subjects.evaluate(), request).await
    }

    async fn asked<T: DeserializeOwned>(
        &self,
        subject: &str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, Unmanaged> {
        let unavailable = |error: &dyn std::fmt::Display| Unmanaged::Unavailable(error.to_string());
        let connection = self.connection().ok_or_else(|| unavailable(&"NATS can't be reached"))?;
        let body = serde_json::to_vec(request).map_err(|error| unavailable(&error))?;
        let (bytes, most) = (body.len(), connection.max_payload());
        if bytes > most {
            return Err(Unmanaged::Refused(Box::new(ServiceErrorDetail {
                code: 400,
                status: "request too large".into(),
                field: String::new(),
                message: format!(
                    "the request has {bytes} bytes, the NATS server takes at most {most}"
                ),
                findings: Vec::new(),
                current_version: None,
            })));
        }
        let answered = connection
            .request(subject, body, self.inner.manage_timeout)
            .await
            .map_err(|error| unavailable(&error))?;
        if answered.error_code.is_some() {
            let fault: ServiceError =
                serde_json::from_slice(&answered.payload).map_err(|error| unavailable(&error))?;
            return Err(match fault.error.code {
                400..=499 => Unmanaged::Refused(Box::new(fault.error)),
                _ => Unmanaged::Unavailable(said(&fault.error)),
            });
        }
        serde_json::from_slice(&answered.payload).map_err(|error| unavailable(&error))
    }

    /// Whether a worker answers.
    pub(super) async fn answers(&self) -> Result<(), Unmanaged> {
        let read = EnforcementRequest::default();
        self.manage::<EnforcementReply>(Verb::Enforcement, &read).await.map(drop)
    }

    /// All policies, page by page, without their Rego.
    pub(super) async fn list(&self) -> Result<PolicyList, Unmanaged> {
        let mut list: PolicyList = self.manage(Verb::List, &ListRequest::default()).await?;
        while let Some(after) = list.next.take() {
            let next = ListRequest { after: Some(after) };
            let mut page: PolicyList = self.manage(Verb::List, &next).await?;
            list.policies.append(&mut page.policies);
            list.next = page.next;
        }
        Ok(list)
    }
}

/// A worker's refusal in a line.
fn said(detail: &ServiceErrorDetail) -> String {
    if detail.field.is_empty() {
        detail.message.clone()
    } else {
        format!("{}: {}", detail.field, detail.message)
    }
}

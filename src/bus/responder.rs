//! The responder: takes checks as a NATS micro service and answers them.
//!
//! Service protocol: NATS ADR-32 (`$SRV.PING`, `$SRV.INFO`, `$SRV.STATS`). Several workers share
//! one queue group.

use std::time::Instant;

use async_nats::HeaderMap;
use async_nats::service::{Request, Service, ServiceExt};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, select_all};

use super::connection::Connection;
use super::error::BusError;
use super::subjects::Subjects;
use crate::config::Nats;
use crate::contract::RequestFault;

/// Name under which the standard tools see the service.
const SERVICE_NAME: &str = "sluicegate";

/// What kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One check.
    Check,
    /// Many checks.
    Batch,
    /// Policies to try on an input.
    Evaluate,
    /// Management of policies.
    Admin,
}

/// A request that waits for its answer.
pub struct Incoming {
    /// What kind.
    pub kind: Kind,
    /// The agent that the subject names, if it names one.
    pub agent: Option<String>,
    /// When it was taken.
    pub received: Instant,
    request: Request,
}

impl Incoming {
    /// The body.
    #[must_use]
    pub fn payload(&self) -> &Bytes {
        &self.request.message.payload
    }

    /// The last token of the NATS subject: the verb of a request of management.
    #[must_use]
    pub fn verb(&self) -> &str {
        self.request.message.subject.rsplit('.').next().unwrap_or_default()
    }

    /// W3C trace context of the request.
    #[must_use]
    pub fn traceparent(&self) -> Option<&str> {
        let value = self.request.message.headers.as_ref()?.get("traceparent")?.as_str();
        is_traceparent(value).then_some(value)
    }

    /// Answers.
    ///
    /// # Errors
    /// When the connection is gone; the caller then runs into its timeout and its fail mode.
    pub async fn reply(self, body: Vec<u8>) -> Result<(), BusError> {
        self.request.respond(Ok(body.into())).await.map_err(|e| BusError::request("reply", &e))
    }

    /// Answers with a service error: the headers say so to tools, the body says which field and
    /// the way out.
    ///
    /// # Errors
    /// As [`Self::reply`].
    pub async fn refuse(self, fault: &RequestFault) -> Result<(), BusError> {
        let mut headers = HeaderMap::new();
        // A header is one line.
        let text = fault.to_string().replace(['\r', '\n'], " ");
        headers.insert("Nats-Service-Error", text.as_str());
        headers.insert("Nats-Service-Error-Code", fault.code.number().to_string().as_str());
        let body = serde_json::to_vec(&fault.body())
            .map_err(|e| BusError::request("encode a service error", &e))?;
        self.request
            .respond_with_headers(Ok(body.into()), headers)
            .await
            .map_err(|e| BusError::request("reply", &e))
    }
}

/// Format: <https://www.w3.org/TR/trace-context/#traceparent-header>; anything else is dropped.
fn is_traceparent(value: &str) -> bool {
    let hex = |part: &str, len: usize| {
        part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    match value.split('-').collect::<Vec<_>>().as_slice() {
        [version, trace, parent, flags] => {
            hex(version, 2) && hex(trace, 32) && hex(parent, 16) && hex(flags, 2)
        }
        _ => false,
    }
}

/// The registered service and the requests that come in.
pub struct Responder {
    service: Option<Service>,
    requests: BoxStream<'static, (Kind, Request)>,
    subjects: Subjects,
    reply_prefixes: Vec<String>,
}

impl Responder {
    /// Registers the service and subscribes in the queue group.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn start(
        connection: &Connection,
        settings: &Nats,
        subjects: &Subjects,
        worker: &str,
    ) -> Result<Self, BusError> {
        let refused = |e| BusError::request("register the service", &e);
        let service = connection
            .client
            .service_builder()
            .description("Permission checks: may this agent do this?")
            .metadata([("worker".to_owned(), worker.to_owned())].into())
            .queue_group(&settings.queue_group)
            .start(SERVICE_NAME, env!("CARGO_PKG_VERSION"))
            .await
            .map_err(refused)?;
        let mut endpoints = Vec::new();
        for (name, subject, kind) in [
            ("check", subjects.check(), Kind::Check),
            ("check-agent", subjects.check_of(None), Kind::Check),
            ("check_batch", subjects.check_batch(), Kind::Batch),
            ("check_batch-agent", subjects.check_batch_of(None), Kind::Batch),
            ("evaluate", subjects.evaluate(), Kind::Evaluate),
            ("admin", subjects.admins(), Kind::Admin),
        ] {
            let endpoint =
                service.endpoint_builder().name(name).add(subject).await.map_err(refused)?;
            endpoints.push(endpoint.map(move |request| (kind, request)).boxed());
        }
        // Whoever is told that we take checks may ask at once.
        match connection.settled(settings.request_timeout).await {
            Err(error @ BusError::TimedOut { .. }) => {
                tracing::warn!(%error, "the server does not say whether the subscriptions hold");
            }
            outcome => outcome?,
        }
        Ok(Self {
            service: Some(service),
            requests: select_all(endpoints).boxed(),
            subjects: subjects.clone(),
            reply_prefixes: settings.reply_prefixes.clone(),
        })
    }

    /// The next request that may be answered; none once the service has stopped and all that had
    /// arrived is taken.
    ///
    /// A request without a reply subject, or with one that isn't an inbox, is dropped: its answer
    /// could be made to land in the audit stream or the JetStream API.
    pub async fn next(&mut self) -> Option<Incoming> {
        loop {
            let (kind, request) = self.requests.next().await?;
            let message = &request.message;
            let answerable = message.reply.as_ref().is_some_and(|reply| {
                self.reply_prefixes.iter().any(|prefix| reply.starts_with(prefix.as_str()))
            });
            if answerable {
                return Some(Incoming {
                    kind,
                    agent: self.subjects.agent_of(&message.subject),
                    received: Instant::now(),
                    request,
                });
            }
            tracing::warn!(
                subject = %message.subject,
                reply = message.reply.as_ref().map(ToString::to_string),
                "a check without an inbox to reply to is dropped (setting nats.reply_prefixes)"
            );
        }
    }

    /// Stops taking new requests: those that have arrived are still given out by [`Self::next`],
    /// which then ends.
    pub async fn stop(&mut self) {
        if let Some(service) = self.service.take()
            && let Err(error) = service.stop().await
        {
            tracing::debug!(%error, "the service had stopped already");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_trace_contexts_are_honoured() {
        assert!(is_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"));
        for bad in
            ["", "00-4bf9-00f0-01", "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"]
        {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }
}

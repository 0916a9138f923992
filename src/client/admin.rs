//! What is asked beside checks: which policies there are, and what a policy would say.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::error::Failure;
use super::{Cause, Client, ClientError};
use crate::contract::admin::{ListRequest, PolicyList, PolicyView, Verb};
use crate::contract::evaluate::{EvaluateReply, EvaluateRequest};
use crate::domain::Status;

/// Pages of policies that are read at most.
const MOST_PAGES: usize = 1_000;

impl Client {
    /// The policies that take part in checks, by name, without their Rego. The NATS user must be
    /// permitted to publish to `policy.admin.list`.
    ///
    /// # Errors
    /// When nobody answers, or the answer can't be read.
    pub async fn active_policies(&self) -> Result<Vec<PolicyView>, ClientError> {
        let mut found = Vec::new();
        let mut request = ListRequest::default();
        for _ in 0..MOST_PAGES {
            let page: PolicyList =
                self.ask(self.inner.subjects.admin(Verb::List), &request).await?;
            let active = page.policies.into_iter();
            found.extend(active.filter(|policy| policy.record.status == Status::Active));
            match page.next {
                // A page that leads back to itself would never end.
                Some(next) if request.after.as_ref() != Some(&next) => request.after = Some(next),
                _ => return Ok(found),
            }
        }
        Err(ClientError::InvalidReply(format!("more than {MOST_PAGES} pages of policies")))
    }

    /// What a policy says of some inputs, in their order. Nothing is enforced, counted or recorded.
    /// An input is what the policy reads as `input`: `action`, `resource`, `context` and so on. The
    /// NATS user must be permitted to publish to `policy.evaluate`.
    ///
    /// # Errors
    /// When the Rego is refused ([`ClientError::Refused`] has the findings), nobody answers, or an
    /// answer can't be read.
    pub async fn test_policy(
        &self,
        rego: &str,
        inputs: &[Map<String, Value>],
    ) -> Result<Vec<EvaluateReply>, ClientError> {
        let mut replies = Vec::with_capacity(inputs.len());
        for input in inputs {
            let request = EvaluateRequest {
                rego: Some(rego.to_owned()),
                input: Some(input.clone()),
                ..EvaluateRequest::default()
            };
            replies.push(self.ask(self.inner.subjects.evaluate(), &request).await?);
        }
        Ok(replies)
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        subject: String,
        request: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Failure::new(Cause::Unserializable, error.to_string()))?;
        let reply = self.request_within(subject, Bytes::from(body), self.patience()).await?;
        serde_json::from_slice(&reply).map_err(|error| ClientError::InvalidReply(error.to_string()))
    }
}

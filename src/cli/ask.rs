//! Asking workers: one request, one answer, and refusals as people and programs read them.

use std::fmt;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::Exit;
use super::findings;
use super::print;
use crate::bus::{self, Connection, Subjects};
use crate::config::Config;
use crate::contract::admin::{GetRequest, ListRequest, PolicyList, PolicyView, Verb};
use crate::contract::fault::{ServiceError, ServiceErrorDetail};
use crate::contract::{EvaluateReply, EvaluateRequest};

/// How long an answer may take: admission compiles and runs a policy's tests.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where a policy's text came from, for findings that name its lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// What its place is called, such as a file's path.
    pub(crate) name: String,
    /// The text; empty where it isn't known.
    pub(crate) text: String,
}

/// A worker refused, and said why.
#[derive(Debug)]
pub(crate) struct Refusal {
    fault: ServiceError,
    source: Source,
}

impl Refusal {
    /// What the worker said.
    pub(crate) fn detail(&self) -> &ServiceErrorDetail {
        &self.fault.error
    }

    /// How a command ends that was refused so.
    pub(crate) fn exit(&self) -> Exit {
        match self.fault.error.code {
            400 => Exit::Refused,
            503 => Exit::Unavailable,
            _ => Exit::Failed,
        }
    }

    /// Names the text that findings are about.
    pub(crate) fn about(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// The refusal in words, findings line by line.
    pub(crate) fn lines(&self) -> Vec<String> {
        let detail = self.detail();
        let mut lines = Vec::new();
        if detail.findings.is_empty() || !self.told_by_findings() {
            lines.push(self.to_string());
        }
        for finding in &detail.findings {
            lines.extend(findings::lines(finding, &self.source));
        }
        lines
    }

    /// The findings alone say it where the message only repeats one of them.
    fn told_by_findings(&self) -> bool {
        let message = &self.detail().message;
        self.detail().findings.iter().any(|finding| message.contains(&finding.message))
    }

    /// Shows it: JSON to standard output, words to standard error.
    pub(crate) fn show(&self, json: bool) {
        if json {
            // Nothing can be done where even this can't be printed.
            let _ = print::json(&self.fault);
            return;
        }
        for line in self.lines() {
            print::aside(line);
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail();
        write!(f, "{}: ", detail.status)?;
        if !detail.field.is_empty() {
            write!(f, "{}: ", detail.field)?;
        }
        f.write_str(&detail.message)?;
        match detail.current_version {
            Some(version) if !detail.message.contains(&version.to_string()) => {
                write!(f, " (it has version {version} now)")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Refusal {}

/// Where a command asks.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    connection: Connection,
    subjects: Subjects,
}

impl Desk {
    /// Connects now or not at all.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let connection = bus::connect_once(&config.nats, "cli").await?;
        Ok(Self { connection, subjects: Subjects::new(&config.nats.subject_prefix) })
    }

    /// Bytes of the largest request.
    pub(crate) fn max_request(&self) -> usize {
        self.connection.max_payload()
    }

    /// Asks for management.
    pub(crate) async fn admin<T: DeserializeOwned>(
        &self,
        verb: Verb,
        request: &impl Serialize,
    ) -> anyhow::Result<T> {
        self.ask(&self.subjects.admin(verb), serde_json::to_vec(request)?).await
    }

    /// All policies, page by page.
    pub(crate) async fn list(&self) -> anyhow::Result<PolicyList> {
        let mut list: PolicyList = self.admin(Verb::List, &ListRequest::default()).await?;
        while let Some(after) = list.next.take() {
            let next = ListRequest { after: Some(after) };
            let mut page: PolicyList = self.admin(Verb::List, &next).await?;
            list.policies.append(&mut page.policies);
            list.next = page.next;
        }
        Ok(list)
    }

    /// Tries policies on an input.
    pub(crate) async fn evaluate(
        &self,
        request: &EvaluateRequest,
    ) -> anyhow::Result<EvaluateReply> {
        self.ask(&self.subjects.evaluate(), serde_json::to_vec(request)?).await
    }

    /// A policy, or none where there is none of that name.
    pub(crate) async fn find(&self, policy: &str) -> anyhow::Result<Option<PolicyView>> {
        let request = GetRequest { policy: policy.to_owned(), version: None };
        match self.admin(Verb::Get, &request).await {
            Ok(view) => Ok(Some(view)),
            Err(error) => match error.downcast_ref::<Refusal>() {
                Some(refusal) if refusal.detail().code == 404 => Ok(None),
                _ => Err(error),
            },
        }
    }

    async fn ask<T: DeserializeOwned>(&self, subject: &str, body: Vec<u8>) -> anyhow::Result<T> {
        let (bytes, most) = (body.len(), self.max_request());
        if bytes > most {
            bail!("the request has {bytes} bytes, the NATS server takes at most {most}");
        }
        let answer = self.connection.request(subject, body, PATIENCE).await?;
        if answer.error_code.is_some() {
            let fault: ServiceError = serde_json::from_slice(&answer.payload)
                .context("the worker's refusal is unreadable")?;
            return Err(Refusal { fault, source: Source::default() }.into());
        }
        serde_json::from_slice(&answer.payload).context("the worker's answer is unreadable")
    }
}

/// A refusal with the text that its findings are about; any other error as it is.
pub(crate) fn about(error: anyhow::Error, source: &Source) -> anyhow::Error {
    match error.downcast::<Refusal>() {
        Ok(refusal) => refusal.about(source.clone()).into(),
        Err(other) => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{FaultCode, RequestFault};
    use crate::domain::{Finding, FindingSeverity};

    fn refusal(fault: &RequestFault) -> Refusal {
        Refusal { fault: fault.body(), source: Source::default() }
    }

    #[test]
    fn refusals_in_words_and_as_exit_codes() {
        let mut conflict = RequestFault::new(FaultCode::Conflict, "", "changed by somebody else");
        conflict.current_version = Some(7);
        let conflict = refusal(&conflict);
        assert_eq!(
            conflict.to_string(),
            "conflict: changed by somebody else (it has version 7 now)"
        );
        let codes = [
            (FaultCode::BadRequest, Exit::Refused),
            (FaultCode::NotFound, Exit::Failed),
            (FaultCode::Conflict, Exit::Failed),
            (FaultCode::Refused, Exit::Failed),
            (FaultCode::Unavailable, Exit::Unavailable),
        ];
        for (code, exit) in codes {
            assert_eq!(refusal(&RequestFault::new(code, "", "x")).exit(), exit);
        }
    }

    #[test]
    fn findings_stand_by_line_and_are_not_said_twice() {
        let mut fault = RequestFault::new(FaultCode::Refused, "policy.rego", "1 error: no good");
        fault.findings.push(Finding {
            severity: FindingSeverity::Error,
            code: "parse".into(),
            message: "no good".into(),
            help: "do good".into(),
            file: None,
            line: Some(2),
            column: Some(3),
        });
        let source = Source { name: "a.rego".into(), text: "package a\n\tx x\n".into() };
        let lines = refusal(&fault).about(source).lines();
        let plain: Vec<String> =
            lines.iter().map(|line| anstream::adapter::strip_str(line).to_string()).collect();
        assert_eq!(plain[0], "a.rego:2:3: error: no good [parse]");
        assert!(plain.iter().any(|line| line.contains("help: do good")), "{plain:?}");
        assert!(!plain.iter().any(|line| line.contains("1 error")), "{plain:?}");
    }
}

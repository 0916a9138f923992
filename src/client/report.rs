//! What is said of calls that nobody decided: to the audit, and to the log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::check::Check;
use super::decision::Cause;
use super::error::Failure;
use super::spool::Spool;
use super::stats::Counters;

/// Who says so.
pub(super) const CLIENT: &str = concat!("sluicegate-rust/", env!("CARGO_PKG_VERSION"));
/// Version of the messages' shape.
pub(super) const SCHEMA: u32 = 1;
/// Characters of the longest message in a report.
const LONGEST_MESSAGE: usize = 500;
/// Characters of the longest message in the log.
const LONGEST_LINE: usize = 300;
/// How often the log says the same cause.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A call that went on, or was refused, without a worker: the message on `policy.unchecked`.
#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    id: Uuid,
    timestamp: String,
    cause: &'a str,
    message: String,
    allowed: bool,
    client: &'a str,
    request: Map<String, Value>,
}

/// Takes reports in.
pub(super) struct Reports {
    spool: Arc<Spool>,
    counters: Arc<Counters>,
    said: Mutex<HashMap<Cause, Said>>,
}

/// What the log was told of a cause.
struct Said {
    at: Instant,
    /// Calls since then.
    since: u64,
}

impl Reports {
    pub(super) fn new(spool: Arc<Spool>, counters: Arc<Counters>) -> Self {
        Self { spool, counters, said: Mutex::default() }
    }

    /// Remembers the call until it is reported, and logs it unless that was just done.
    pub(super) fn take(&self, id: Uuid, allowed: bool, failure: &Failure, check: &Check) {
        let request = match failure.cause {
            Cause::Unserializable => check.outline(),
            _ => check.members(),
        };
        let report = Report {
            schema: SCHEMA,
            id,
            timestamp: timestamp(Utc::now()),
            cause: failure.cause.as_str(),
            message: line(&failure.message, LONGEST_MESSAGE),
            allowed,
            client: CLIENT,
            request,
        };
        let kept = match serde_json::to_vec(&report) {
            Ok(report) => self.spool.push(id, report.into()),
            Err(_) => false,
        };
        if !kept {
            self.counters.lost();
        }
        self.log(allowed, kept, failure, check.action());
    }

    /// One line for each cause now and then, with how many calls it speaks for.
    fn log(&self, allowed: bool, kept: bool, failure: &Failure, action: &str) {
        let calls = {
            let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            match said.get_mut(&failure.cause) {
                Some(said) if said.at.elapsed() < SAY_EVERY => {
                    said.since = said.since.saturating_add(1);
                    return;
                }
                Some(said) => {
                    said.at = Instant::now();
                    1 + std::mem::take(&mut said.since)
                }
                None => {
                    said.insert(failure.cause, Said { at: Instant::now(), since: 0 });
                    1
                }
            }
        };
        let told = if allowed { "went on" } else { "were denied" };
        let (cause, message) = (failure.cause.as_str(), line(&failure.message, LONGEST_LINE));
        let action = line(action, LONGEST_LINE);
        if failure.code == Some(400) || failure.cause == Cause::Unserializable {
            // Not NATS, not the workers: the caller's own code must change.
            tracing::error!(
                calls,
                cause,
                action,
                kept,
                "calls {told} unchecked, the request is wrong: {message}"
            );
        } else {
            tracing::warn!(calls, cause, action, kept, "calls {told} unchecked: {message}");
        }
    }
}

/// RFC 3339 in UTC, with microseconds, as everywhere in the product.
pub(super) fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn line(text: &str, most: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(most).collect()
}

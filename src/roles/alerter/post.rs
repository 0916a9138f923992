//! Posting to one target, again and again until it is through, is refused for good, or the time for
//! it is over.

use std::error::Error as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::AlerterError;
use super::target::Target;
use crate::runtime::health::Reporter;
use crate::runtime::metrics::{self, PostOutcome};
use crate::runtime::retry::{Retry, RetryPolicy};

/// By which a receiver knows a post that it has had already.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// Bytes of an answer that are read, so that the connection can be used again.
const ANSWER: usize = 64 * 1_024;

/// The longest that a target may ask us to wait.
const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// How long a connection that nobody uses stays open.
const IDLE: Duration = Duration::from_secs(30);

type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The bounds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// How long one attempt may take.
    pub(super) timeout: Duration,
    /// How long it is tried again.
    pub(super) give_up: Duration,
    pub(super) retry: RetryPolicy,
}

/// Posts to one target.
pub(super) struct Poster {
    http: Http,
    pub(super) target: Target,
    settings: Settings,
    health: Reporter,
    /// The target asked to be left alone until then.
    not_before: Mutex<Instant>,
}

/// What became of a post.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) notified: bool,
    pub(super) attempts: u32,
    /// The last answer's status.
    pub(super) status: Option<u16>,
    /// Why it didn't get through.
    pub(super) error: Option<String>,
}

/// What became of one attempt.
struct Attempt {
    status: Option<StatusCode>,
    error: String,
    retry_after: Option<Duration>,
}

/// A client for all targets: follows no redirect and no proxy.
pub(super) fn client() -> Result<Http, AlerterError> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_native_roots()
        .map_err(|error| AlerterError::Roots(error.to_string()))?
        .https_or_http()
        .enable_http1()
        .wrap_connector(connector);
    Ok(Client::builder(TokioExecutor::new())
        .pool_idle_timeout(IDLE)
        .pool_timer(TokioTimer::new())
        .build(connector))
}

impl Poster {
    pub(super) fn new(http: Http, target: Target, settings: Settings, health: Reporter) -> Self {
        Self { http, target, settings, health, not_before: Mutex::new(Instant::now()) }
    }

    /// Posts until something is final; none when stopped before.
    pub(super) async fn post(
        &self,
        id: Uuid,
        body: &Bytes,
        stop: &CancellationToken,
    ) -> Option<Outcome> {
        let end = Instant::now() + self.settings.give_up;
        let mut retry = Retry::new(self.settings.retry);
        let mut attempts = 0;
        loop {
            self.wait_until(self.not_before(), end, stop).await?;
            attempts += 1;
            let Attempt { status, error, retry_after } = self.attempt(id, body).await;
            let outcome = |notified, error| Outcome {
                notified,
                attempts,
                status: status.map(|status| status.as_u16()),
                error,
            };
            if status.is_some_and(|status| status.is_success()) {
                self.health.ready();
                self.count(PostOutcome::Ok);
                return Some(outcome(true, None));
            }
            let wait = retry.next_delay();
            let wait = retry_after.map_or(wait, |asked| asked.min(LONGEST_WAIT).max(wait));
            let again = status.is_none_or(is_transient);
            if !again || Instant::now() + wait >= end {
                let what = if again { "given up" } else { "refused" };
                self.health.degraded(format!("{}: {error} ({what})", self.target.name));
                self.count(PostOutcome::Failed);
                return Some(outcome(false, Some(error)));
            }
            self.health.degraded(format!("{}: {error}; it is tried again", self.target.name));
            self.count(PostOutcome::Retried);
            if retry_after.is_some() {
                self.leave_alone(Instant::now() + wait);
            }
            self.wait_until(Instant::now() + wait, end, stop).await?;
        }
    }

    async fn attempt(&self, id: Uuid, body: &Bytes) -> Attempt {
        let failed = |error: String| Attempt { status: None, error, retry_after: None };
        let request = Request::post(self.target.uri.clone())
            .header(CONTENT_TYPE, self.target.channel.content_type())
            .header(USER_AGENT, concat!("sluicegate/", env!("CARGO_PKG_VERSION")))
            .header(IDEMPOTENCY_KEY, id.to_string())
            .body(Full::new(body.clone()));
        let request = match request {
            Ok(request) => request,
            Err(error) => return failed(format!("no request can be made: {error}")),
        };
        let exchange = async {
            let answer = match self.http.request(request).await {
                Ok(answer) => answer,
                Err(error) => return failed(causes(&error)),
            };
            let status = answer.status();
            let retry_after = answer
                .headers()
                .get(RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| wait_of(value, chrono::Utc::now()));
            // What it says may repeat the URL, or anything else: nobody is shown it.
            drop(Limited::new(answer.into_body(), ANSWER).collect().await);
            let error = format!("the answer is {}", status.as_u16());
            Attempt { status: Some(status), error, retry_after }
        };
        let limit = self.settings.timeout;
        match tokio::time::timeout(limit, exchange).await {
            Ok(attempt) => attempt,
            Err(_) => failed(format!("no answer within {}", humantime::format_duration(limit))),
        }
    }

    fn count(&self, outcome: PostOutcome) {
        metrics::alerter_posts(self.target.channel.as_str(), outcome).increment(1);
    }

    fn not_before(&self) -> Instant {
        *self.not_before.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave_alone(&self, until: Instant) {
        let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        *not_before = until.max(*not_before);
    }

    /// Waits, not beyond the end; none when stopped.
    async fn wait_until(
        &self,
        time: Instant,
        end: Instant,
        stop: &CancellationToken,
    ) -> Option<()> {
        tokio::select! {
            () = tokio::time::sleep_until(time.min(end)) => Some(()),
            () = stop.cancelled(), if time > Instant::now() => None,
        }
    }
}

/// Whether another attempt may have another answer.
fn is_transient(status: StatusCode) -> bool {
    status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS)
}

/// The wait that `Retry-After` asks for: seconds, or a date.
fn wait_of(value: &str, now: chrono::DateTime<chrono::Utc>) -> Option<Duration> {
    if let Ok(seconds) = value.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = chrono::DateTime::parse_from_rfc2822(value.trim()).ok()?;
    date.to_utc().signed_duration_since(now).to_std().ok()
}

/// The error with its causes, none of which names the URL.
fn causes(error: &hyper_util::client::legacy::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_seconds_or_a_date() {
        let now = "2026-03-04T05:06:07Z".parse().unwrap();
        for (value, wait) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("Wed, 04 Mar 2026 05:07:07 GMT", Some(60)),
            ("Wed, 04 Mar 2026 05:00:00 GMT", None),
            ("-1", None),
            ("soon", None),
        ] {
            assert_eq!(wait_of(value, now), wait.map(Duration::from_secs), "{value}");
        }
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for (status, again) in
            [(500, true), (503, true), (429, true), (408, true), (404, false), (302, false)]
        {
            assert_eq!(is_transient(StatusCode::from_u16(status).unwrap()), again, "{status}");
        }
    }
}

//! `/api/events`: decisions and violations as they happen, as server-sent events.
//!
//! Format: <https://html.spec.whatwg.org/multipage/server-sent-events.html>

use std::convert::Infallible;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::stream;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use super::query::{Parameters, text};
use crate::bus::{Connection, Subscription};
use crate::domain::Verdict;
use crate::roles::console::doors::Doors;
use crate::roles::console::problem::Problem;

/// Events that wait for a slow reader; beyond them he is told how many he missed.
const WAITING: usize = 256;
/// Events per second that one reader is shown.
const PER_SECOND: u32 = 200;
/// The time of which that is counted.
const SECOND: Duration = Duration::from_secs(1);
/// How often a quiet stream says that it lives.
const HEARTBEAT: Duration = Duration::from_secs(10);

pub(super) fn routes() -> Router<Doors> {
    Router::new().route("/api/events", get(tail))
}

/// What kind of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Decisions.
    Decision,
    /// Violations.
    Violation,
    /// Both.
    #[default]
    All,
}

/// Which events. Empty means all.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Watched {
    /// `decision`, `violation` or `all`.
    kind: Kind,
    /// `allow` or `deny`.
    #[schemars(with = "Option<String>")]
    decision: Option<Verdict>,
    /// The action.
    action: Option<String>,
    /// The agent.
    agent: Option<String>,
    /// The person.
    user: Option<String>,
    /// The session.
    session_id: Option<String>,
    /// The run.
    run_id: Option<String>,
    /// The project.
    project_id: Option<String>,
    /// A policy that took part, or whose violation it is.
    policy: Option<String>,
    /// One of the reasons for denying.
    reason: Option<String>,
    /// Only those where a policy could not be evaluated.
    error: bool,
    /// Only those that drafts would have denied.
    shadow: bool,
    /// A part of the resource, the reason, the action or the agent, whatever its case.
    text: Option<String>,
}

async fn tail(
    State(doors): State<Doors>,
    Parameters(mut watched): Parameters<Watched>,
) -> Result<Response, Problem> {
    watched.action = text("action", watched.action)?;
    watched.agent = text("agent", watched.agent)?;
    watched.user = text("user", watched.user)?;
    watched.session_id = text("session_id", watched.session_id)?;
    watched.run_id = text("run_id", watched.run_id)?;
    watched.project_id = text("project_id", watched.project_id)?;
    watched.policy = text("policy", watched.policy)?;
    watched.reason = text("reason", watched.reason)?;
    watched.text = text("text", watched.text)?.map(|text| text.to_lowercase());
    let Some(place) = doors.tail_place() else {
        return Err(Problem::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many look at live events already; close one, or try again later",
        ));
    };
    let unavailable = |error: String| Problem::new(StatusCode::SERVICE_UNAVAILABLE, error);
    let connection: &Connection = doors
        .asker()
        .connection()
        .ok_or_else(|| unavailable("NATS can't be reached".to_owned()))?;
    let subjects = doors.asker().subjects();
    let mut subscriptions = Vec::new();
    for (kind, subject) in
        [(Kind::Decision, subjects.decisions()), (Kind::Violation, subjects.violations())]
    {
        if watched.kind == Kind::All || watched.kind == kind {
            let subscription = connection.subscribe(&subject).await;
            subscriptions
                .push((kind, subscription.map_err(|error| unavailable(error.to_string()))?));
        }
    }
    let (send, receive) = mpsc::channel(WAITING);
    tokio::spawn(
        Watcher { watched, send, stop: doors.stop(), missed: 0, second: Second::new() }
            .watch(subscriptions, place),
    );
    let events = stream::unfold(receive, |mut receive| async move {
        receive.recv().await.map(|event| (Ok::<_, Infallible>(event), receive))
    });
    let alive = KeepAlive::new().interval(HEARTBEAT).text("alive");
    Ok(Sse::new(events).keep_alive(alive).into_response())
}

/// Carries events to one reader until he goes.
struct Watcher {
    watched: Watched,
    send: mpsc::Sender<Event>,
    stop: CancellationToken,
    missed: u64,
    second: Second,
}

impl Watcher {
    async fn watch(
        mut self,
        subscriptions: Vec<(Kind, Subscription)>,
        _place: OwnedSemaphorePermit,
    ) {
        let streams = subscriptions.into_iter().map(|(kind, subscription)| {
            Box::pin(stream::unfold(subscription, move |mut subscription| async move {
                subscription.next().await.map(|payload| ((kind, payload), subscription))
            }))
        });
        let mut events = stream::select_all(streams);
        loop {
            let next = tokio::select! {
                next = futures::StreamExt::next(&mut events) => next,
                // Else nobody would learn what was left out where nothing follows.
                () = sleep_until(self.second.end().into()), if self.missed > 0 => {
                    self.second = Second::new();
                    self.tell_missed();
                    continue;
                }
                () = self.send.closed() => break,
                () = self.stop.cancelled() => break,
            };
            let Some((kind, payload)) = next else { break };
            if let Some((name, event)) = self.shown(kind, &payload) {
                self.tell(name, &event);
            }
        }
    }

    /// What the reader is shown of an event: all but the input, which can be large and is in the
    /// history.
    fn shown(&self, kind: Kind, payload: &[u8]) -> Option<(&'static str, Value)> {
        let mut event: Map<String, Value> = serde_json::from_slice(payload).ok()?;
        if !self.watched.wants(&event) {
            return None;
        }
        event.remove("input");
        let name = if kind == Kind::Violation { "violation" } else { "decision" };
        Some((name, Value::Object(event)))
    }

    fn tell(&mut self, name: &str, event: &Value) {
        if !self.second.has_room() {
            self.missed += 1;
            return;
        }
        self.tell_missed();
        let event = Event::default().event(name).data(event.to_string());
        if self.send.try_send(event).is_err() {
            self.missed += 1;
        }
    }

    fn tell_missed(&mut self) {
        if self.missed == 0 {
            return;
        }
        let lagged =
            Event::default().event("lagged").data(json!({"missed": self.missed}).to_string());
        if self.send.try_send(lagged).is_ok() {
            self.missed = 0;
        }
    }
}

impl Watched {
    fn wants(&self, event: &Map<String, Value>) -> bool {
        let text = |key: &str| event.get(key).and_then(Value::as_str).unwrap_or_default();
        let is = |wanted: &Option<String>, key: &str| {
            wanted.as_deref().is_none_or(|wanted| wanted == text(key))
        };
        let took_part = |policy: &str| {
            text("policy_name") == policy
                || event.get("policies").and_then(Value::as_array).is_some_and(|policies| {
                    policies.iter().any(|said| said.get("name").is_some_and(|name| name == policy))
                })
        };
        let list = |key: &str| event.get(key).and_then(Value::as_array).into_iter().flatten();
        // Those of a violation are called so.
        let reasons = || list("deny_reasons").chain(list("reasons")).filter_map(Value::as_str);
        self.decision.is_none_or(|verdict| verdict.as_str() == text("decision"))
            && is(&self.action, "action")
            && is(&self.agent, "agent")
            && is(&self.user, "user")
            && is(&self.session_id, "session_id")
            && is(&self.run_id, "run_id")
            && is(&self.project_id, "project_id")
            && self.policy.as_deref().is_none_or(took_part)
            && self.reason.as_deref().is_none_or(|reason| reasons().any(|given| given == reason))
            && (!self.error || event.get("error").is_some_and(|error| error == true))
            && (!self.shadow || list("would_deny").next().is_some())
            && self.text.as_deref().is_none_or(|part| {
                ["resource", "reason", "action", "agent"]
                    .iter()
                    .any(|place| text(place).to_lowercase().contains(part))
            })
    }
}

/// How many events this second has had.
struct Second {
    since: Instant,
    events: u32,
}

impl Second {
    fn new() -> Self {
        Self { since: Instant::now(), events: 0 }
    }

    fn end(&self) -> Instant {
        self.since + SECOND
    }

    fn has_room(&mut self) -> bool {
        if self.since.elapsed() >= SECOND {
            *self = Self::new();
        }
        self.events = self.events.saturating_add(1);
        self.events <= PER_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_watched() {
        let event = json!({"decision": "deny", "action": "a", "agent": "planner",
            "resource": "path=Notes/a.md", "reason": "too_dear", "deny_reasons": ["too_dear"], "error": false,
            "would_deny": [], "policies": [{"name": "cost"}], "policy_name": ""});
        let wants = |filter: Value| {
            let watched: Watched = serde_json::from_value(filter).unwrap();
            watched.wants(event.as_object().unwrap())
        };
        assert!(wants(json!({})));
        assert!(wants(json!({"decision": "deny", "agent": "planner", "policy": "cost"})));
        assert!(wants(json!({"reason": "too_dear", "text": "notes/a.md"})));
        assert!(wants(json!({"text": "dear"})) && wants(json!({"text": "plan"})));
        for other in [
            json!({"decision": "allow"}),
            json!({"action": "b"}),
            json!({"policy": "privacy"}),
            json!({"session_id": "s"}),
            json!({"reason": "dear"}),
            json!({"error": true}),
            json!({"shadow": true}),
            json!({"text": "b.md"}),
        ] {
            assert!(!wants(other.clone()), "{other}");
        }
    }

    #[test]
    fn a_second_has_room_for_some() {
        let mut second = Second::new();
        let shown = (0..PER_SECOND + 5).filter(|_| second.has_room()).count();
        assert_eq!(shown, PER_SECOND as usize);
        second.since -= Duration::from_secs(2);
        assert!(second.has_room());
    }
}

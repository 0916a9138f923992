//! What is counted while requests run, and the figures that come of it.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::bus::{Answered, BusError};
use crate::domain::{AuditState, Verdict};

/// Longest latency that is told from longer ones, in microseconds.
const LONGEST_US: u64 = 120_000_000;

/// What is counted of the requests of one kind. A few hundred kilobytes, however many they are.
pub(super) struct Counts {
    latency: Times,
    evaluation: Times,
    seconds: f64,
    requests: u64,
    timed_out: u64,
    failed: u64,
    failure: Option<String>,
    outcomes: Outcomes,
}

/// What became of the checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Outcomes {
    pub(super) allow: u64,
    pub(super) deny: u64,
    /// Service errors: malformed, or shed by a worker that is overloaded.
    pub(super) refused: u64,
    /// Decisions among them that a failing policy was skipped in.
    pub(super) policy_errors: u64,
    /// Decisions whose event the stream had acknowledged before the reply.
    pub(super) recorded: u64,
    /// Decisions whose event the worker keeps and sends again.
    pub(super) pending: u64,
    /// Decisions that are not recorded at all.
    pub(super) unrecorded: u64,
}

/// What came of one request.
pub(super) enum Seen {
    /// Decisions; of a single one also how long its evaluation took, in microseconds, as the worker
    /// says.
    Decided(Outcomes, Option<u64>),
    /// A service error.
    Refused,
    /// No answer in time.
    TimedOut,
    /// Neither.
    Failed(String),
}

/// How fast something was.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Speed {
    /// Messages sent.
    pub(super) requests: u64,
    /// Decisions that came back.
    pub(super) checks: u64,
    pub(super) seconds: f64,
    /// Decisions per second.
    pub(super) rate: f64,
    pub(super) timed_out: u64,
    /// Neither an answer nor a time-out: nobody listened, or the connection was lost.
    pub(super) failed: u64,
    /// What the first failure said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) failure: Option<String>,
    /// From request to answer; none where there was no answer.
    pub(super) latency_us: Option<Latency>,
}

/// Quantiles, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) mean: f64,
    pub(super) p50: u64,
    pub(super) p90: u64,
    pub(super) p99: u64,
    pub(super) p999: u64,
    pub(super) max: u64,
}

/// The answer to one check, or to a batch of them, as far as it is counted. An untagged enum would put
/// all of it aside first, at the cost of the one who is measured.
#[derive(Deserialize)]
struct Reply {
    #[serde(rename = "decisions")]
    batch: Option<Vec<Item>>,
    decision: Option<Verdict>,
    audit: Option<AuditState>,
    duration_us: Option<u64>,
    #[serde(default)]
    error: Flag,
}

#[derive(Deserialize)]
struct Item {
    decision: Option<Verdict>,
    audit: Option<AuditState>,
    #[serde(default)]
    error: Flag,
}

/// `error` is a flag of a decision, and the fault where there is none.
#[derive(Deserialize)]
#[serde(untagged)]
enum Flag {
    Flag(bool),
    Fault(serde::de::IgnoredAny),
}

impl Default for Flag {
    fn default() -> Self {
        Self::Flag(false)
    }
}

/// Times of one kind, however many, with three significant digits.
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self(Histogram::new_with_bounds(1, LONGEST_US, 3)?))
    }

    /// Adds one; what is shorter than a microsecond counts as one.
    pub(super) fn note(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.0.saturating_record(us.max(1));
    }

    fn add(&mut self, more: &Self) -> anyhow::Result<()> {
        Ok(self.0.add(&more.0)?)
    }

    /// Their quantiles; none where there are no times.
    pub(super) fn latency(&self) -> Option<Latency> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| Latency {
            mean: self.0.mean(),
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.0.max(),
        })
    }
}

impl Counts {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            latency: Times::new()?,
            evaluation: Times::new()?,
            seconds: 0.0,
            requests: 0,
            timed_out: 0,
            failed: 0,
            failure: None,
            outcomes: Outcomes::default(),
        })
    }

    /// Counts one request and what came of it.
    pub(super) fn note(&mut self, took: Duration, seen: Seen) {
        self.requests += 1;
        match seen {
            Seen::Decided(outcomes, evaluation_us) => {
                self.latency.note(took);
                if let Some(us) = evaluation_us {
                    self.evaluation.note(Duration::from_micros(us));
                }
                self.outcomes.add(outcomes);
            }
            Seen::Refused => self.outcomes.refused += 1,
            Seen::TimedOut => self.timed_out += 1,
            Seen::Failed(why) => {
                self.failed += 1;
                self.failure.get_or_insert(why);
            }
        }
    }

    /// Adds the time in which the last requests were counted.
    pub(super) fn lasted(&mut self, from: Instant, last: Instant) {
        self.seconds += last.saturating_duration_since(from).as_secs_f64();
    }

    /// Adds what others counted.
    pub(super) fn add(&mut self, more: &Self) -> anyhow::Result<()> {
        self.latency.add(&more.latency)?;
        self.evaluation.add(&more.evaluation)?;
        self.seconds += more.seconds;
        self.requests += more.requests;
        self.timed_out += more.timed_out;
        self.failed += more.failed;
        if self.failure.is_none() {
            self.failure.clone_from(&more.failure);
        }
        self.outcomes.add(more.outcomes);
        Ok(())
    }

    /// How long evaluations took, as the worker says of each check.
    pub(super) fn evaluation(&self) -> Option<Latency> {
        self.evaluation.latency()
    }

    pub(super) const fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    pub(super) fn speed(&self) -> Speed {
        let checks = self.outcomes.allow + self.outcomes.deny;
        Speed {
            requests: self.requests,
            checks,
            seconds: self.seconds,
            rate: per_second(checks, self.seconds),
            timed_out: self.timed_out,
            failed: self.failed,
            failure: self.failure.clone(),
            latency_us: self.latency.latency(),
        }
    }
}

impl Seen {
    /// Reads an answer.
    pub(super) fn of(answer: &Result<Answered, BusError>) -> Self {
        match answer {
            Ok(answer) if answer.error_code.is_some() => Self::Refused,
            Ok(answer) => match serde_json::from_slice(&answer.payload) {
                Ok(Reply { batch: Some(decisions), .. }) => {
                    let mut outcomes = Outcomes::default();
                    decisions.iter().for_each(|item| outcomes.add(item.outcome()));
                    Self::Decided(outcomes, None)
                }
                Ok(Reply { decision, audit, duration_us, error, batch: None }) => {
                    Self::Decided(Item { decision, audit, error }.outcome(), duration_us)
                }
                Err(error) => Self::Failed(format!("the worker's reply is unreadable: {error}")),
            },
            Err(BusError::TimedOut { .. }) => Self::TimedOut,
            Err(error) => Self::Failed(error.to_string()),
        }
    }
}

impl Item {
    fn outcome(&self) -> Outcomes {
        let Some(verdict) = self.decision else {
            return Outcomes { refused: 1, ..Outcomes::default() };
        };
        Outcomes {
            allow: u64::from(verdict == Verdict::Allow),
            deny: u64::from(verdict == Verdict::Deny),
            refused: 0,
            policy_errors: u64::from(matches!(self.error, Flag::Flag(true))),
            recorded: u64::from(self.audit == Some(AuditState::Recorded)),
            pending: u64::from(self.audit == Some(AuditState::Pending)),
            unrecorded: u64::from(matches!(self.audit, Some(AuditState::Off) | None)),
        }
    }
}

impl Outcomes {
    const fn add(&mut self, more: Self) {
        self.allow += more.allow;
        self.deny += more.deny;
        self.refused += more.refused;
        self.policy_errors += more.policy_errors;
        self.recorded += more.recorded;
        self.pending += more.pending;
        self.unrecorded += more.unrecorded;
    }
}

/// So many in a second; 0 where no time has passed.
pub(super) fn per_second(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 { real(count) / seconds } else { 0.0 }
}

/// How many times `b` goes into `a`; none where that says nothing.
pub(super) fn ratio(a: f64, b: f64) -> Option<f64> {
    (a > 0.0 && b > 0.0).then(|| a / b)
}

/// Counts here are far below 2^52.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(super) const fn real(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(body: &serde_json::Value, code: Option<&str>) -> Result<Answered, BusError> {
        Ok(Answered {
            payload: serde_json::to_vec(body).unwrap().into(),
            error_code: code.map(ToOwned::to_owned),
        })
    }

    #[test]
    fn every_request_is_counted_once() {
        let mut counts = Counts::new().unwrap();
        let allow = json!({"decision": "allow", "audit": "pending", "error": true});
        let deny = json!({"decision": "deny", "audit": "recorded", "error": false});
        let fault = json!({"error": {"code": 400, "status": "", "field": "", "message": ""}});
        let ms = Duration::from_millis;
        let mut note = |took, answer| counts.note(ms(took), Seen::of(&answer));
        note(2, answered(&allow, None));
        note(4, answered(&json!({"decisions": [deny, fault, deny]}), None));
        note(1, answered(&fault, Some("503")));
        note(1, answered(&json!([]), None));
        note(9_000, Err(BusError::TimedOut { subject: "s".into(), timeout: ms(9_000) }));
        note(1, Err(BusError::NoResponders { subject: "s".into() }));
        let from = Instant::now();
        counts.lasted(from, from + ms(500));

        let speed = counts.speed();
        assert_eq!((speed.requests, speed.checks), (6, 3));
        assert_eq!((speed.timed_out, speed.failed), (1, 2));
        assert!((speed.rate - 6.0).abs() < 1e-9);
        let latency = speed.latency_us.unwrap();
        assert!(latency.p50 >= 1_990 && latency.max >= 3_990 && latency.max < 9_000, "{latency:?}");
        assert_eq!(
            counts.outcomes(),
            Outcomes {
                allow: 1,
                deny: 2,
                refused: 2,
                policy_errors: 1,
                recorded: 2,
                pending: 1,
                unrecorded: 0
            }
        );
    }

    #[test]
    fn nothing_measured_is_no_figure() {
        let speed = Counts::new().unwrap().speed();
        assert!(speed.latency_us.is_none());
        assert!(speed.rate.abs() < f64::EPSILON);
        assert_eq!(ratio(1.0, speed.rate), None);
    }
}

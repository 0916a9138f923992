//! The promises, held against what there is. Pure: the same ledger and evidence give the same verdict.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;
use uuid::Uuid;

use super::evidence::Evidence;
use super::ledger::{Asked, Ledger, Outcome};

/// Ids that a finding names; it counts the others.
const NAMED: usize = 20;

/// A promise that is broken.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The promise.
    pub promise: &'static str,
    /// How often it is broken.
    pub count: usize,
    /// Where: ids, steps, and when they were asked; the first of them.
    pub named: Vec<String>,
    /// When the checks were asked, in seconds since the run began, where that is known.
    #[serde(skip)]
    pub times: Vec<(f64, f64)>,
}

/// The verdict on a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Verdict {
    /// The promises that were held against the evidence.
    pub proven: Vec<&'static str>,
    /// Those that are broken.
    pub broken: Vec<Finding>,
    /// Denials that nobody was told of and that have no violation: their worker was killed between
    /// the two events.
    pub torn: u64,
}

/// One promise being looked at.
struct Promise<'l> {
    promise: &'static str,
    found: Vec<(String, Option<&'l Asked>)>,
}

impl<'l> Promise<'l> {
    const fn new(promise: &'static str) -> Self {
        Self { promise, found: Vec::new() }
    }

    fn broken(&mut self, what: impl Into<String>, asked: Option<&'l Asked>) {
        self.found.push((what.into(), asked));
    }

    fn judge(self, verdict: &mut Verdict) {
        if self.found.is_empty() {
            verdict.proven.push(self.promise);
            return;
        }
        let named = self.found.iter().take(NAMED).map(|(what, asked)| match asked {
            Some(asked) => {
                let (from, to) = asked.between;
                format!("{what} (step {}, asked at {from:.2} s, known at {to:.2} s)", asked.step)
            }
            None => what.clone(),
        });
        verdict.broken.push(Finding {
            promise: self.promise,
            count: self.found.len(),
            named: named.collect(),
            times: self.found.iter().filter_map(|(_, asked)| Some((*asked)?.between)).collect(),
        });
    }
}

/// Holds every promise against the evidence.
#[must_use]
pub fn prove(ledger: &Ledger, evidence: &Evidence) -> Verdict {
    let mut verdict = Verdict::default();
    let asked: HashMap<&str, &Asked> =
        ledger.asked.iter().map(|asked| (asked.step.as_str(), asked)).collect();
    answers_have_rows(ledger, evidence, &mut verdict);
    rows_were_asked(ledger, &asked, evidence, &mut verdict);
    nothing_twice(evidence, &mut verdict);
    stream_and_rows_agree(evidence, &mut verdict);
    violations_once(&asked, evidence, &mut verdict);
    subscriber_once(evidence, &mut verdict);
    alerts(evidence, &mut verdict);

    let mut verdicts = Promise::new("every answer is what the policies say");
    for asked in &ledger.asked {
        if let Outcome::Answered { decision, allowed, .. } = asked.outcome
            && allowed != asked.should_allow
        {
            verdicts.broken(format!("decision {decision} allowed: {allowed}"), Some(asked));
        }
    }
    verdicts.judge(&mut verdict);

    let mut letters = Promise::new("no dead letters");
    for _ in 0..evidence.dead_letters {
        letters.broken("a dead letter", None);
    }
    for _ in 0..evidence.stream.unreadable.saturating_add(evidence.received.unreadable) {
        letters.broken("an unreadable event", None);
    }
    letters.judge(&mut verdict);

    let mut certificate = Promise::new("the chains hold, and `audit verify` gives its certificate");
    for finding in &evidence.certificate {
        certificate.broken(finding.clone(), None);
    }
    certificate.judge(&mut verdict);
    verdict
}

fn answers_have_rows(ledger: &Ledger, evidence: &Evidence, verdict: &mut Verdict) {
    let mut promise = Promise::new("every answer has exactly one row, with its verdict");
    let mut rows: HashMap<Uuid, Vec<_>> = HashMap::new();
    for row in &evidence.rows.decisions {
        rows.entry(row.id).or_default().push(row);
    }
    for asked in &ledger.asked {
        let Outcome::Answered { decision, allowed, recorded } = asked.outcome else { continue };
        let state = if recorded { "recorded" } else { "pending" };
        match rows.get(&decision).map(Vec::as_slice) {
            None | Some([]) => {
                promise.broken(format!("decision {decision} ({state}) has no row"), Some(asked));
            }
            Some([row]) => {
                if row.step_id != asked.step {
                    let other = &row.step_id;
                    promise.broken(format!("decision {decision} is of step {other}"), Some(asked));
                }
                if (row.decision == "allow") != allowed {
                    let other = &row.decision;
                    promise.broken(format!("decision {decision} is stored: {other}"), Some(asked));
                }
            }
            Some(several) => {
                let count = several.len();
                promise.broken(format!("decision {decision} has {count} rows"), Some(asked));
            }
        }
    }
    promise.judge(verdict);
}

fn rows_were_asked(
    ledger: &Ledger,
    asked: &HashMap<&str, &Asked>,
    evidence: &Evidence,
    verdict: &mut Verdict,
) {
    let mut unasked = Promise::new("no row without a request");
    let mut often = Promise::new("no request has more rows than attempts");
    let mut attempts: HashMap<&str, usize> = HashMap::new();
    for asked in &ledger.asked {
        *attempts.entry(&asked.step).or_default() += 1;
    }
    let mut rows: BTreeMap<&str, Vec<Uuid>> = BTreeMap::new();
    for row in &evidence.rows.decisions {
        if row.run_id != ledger.run || !asked.contains_key(row.step_id.as_str()) {
            let (id, run, step) = (row.id, &row.run_id, &row.step_id);
            unasked.broken(format!("decision {id} of run {run:?}, step {step:?}"), None);
        }
        rows.entry(&row.step_id).or_default().push(row.id);
    }
    for (step, ids) in rows {
        if ids.len() > attempts.get(step).copied().unwrap_or_default() {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            often.broken(format!("decisions {}", ids.join(", ")), asked.get(step).copied());
        }
    }
    unasked.judge(verdict);
    often.judge(verdict);
}

fn nothing_twice(evidence: &Evidence, verdict: &mut Verdict) {
    let mut rows = Promise::new("no id has two rows");
    let mut events = Promise::new("no event is twice in the stream");
    let decisions = evidence.rows.decisions.iter().map(|row| row.id);
    let violations = evidence.rows.violations.iter().map(|row| row.id);
    for id in repeated(decisions.chain(violations)) {
        rows.broken(format!("{id}"), None);
    }
    let stream = evidence.stream.decisions.iter().chain(&evidence.stream.violations);
    for id in repeated(stream.map(|(id, _)| *id)) {
        events.broken(format!("{id}"), None);
    }
    rows.judge(verdict);
    events.judge(verdict);
}

fn repeated(ids: impl Iterator<Item = Uuid>) -> BTreeSet<Uuid> {
    let mut seen = BTreeSet::new();
    ids.filter(|id| !seen.insert(*id)).collect()
}

fn stream_and_rows_agree(evidence: &Evidence, verdict: &mut Verdict) {
    let mut promise = Promise::new("the stream and ClickHouse hold the same events");
    for (what, events, rows) in [
        (
            "decision",
            ids(&evidence.stream.decisions),
            evidence.rows.decisions.iter().map(|row| row.id).collect::<BTreeSet<_>>(),
        ),
        (
            "violation",
            ids(&evidence.stream.violations),
            evidence.rows.violations.iter().map(|row| row.id).collect(),
        ),
    ] {
        for id in events.difference(&rows) {
            promise.broken(format!("{what} {id} is in the stream and has no row"), None);
        }
        for id in rows.difference(&events) {
            promise.broken(format!("{what} {id} has a row and is not in the stream"), None);
        }
    }
    promise.judge(verdict);
}

fn ids(events: &[(Uuid, u64)]) -> BTreeSet<Uuid> {
    events.iter().map(|(id, _)| *id).collect()
}

/// The policies of a run give one violation for each denial.
fn violations_once(asked: &HashMap<&str, &Asked>, evidence: &Evidence, verdict: &mut Verdict) {
    let mut promise = Promise::new("every denial has its violation exactly once");
    let mut of: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
    for row in &evidence.rows.violations {
        of.entry(row.decision_id).or_default().push(row.id);
    }
    let mut torn = 0;
    let mut seen = BTreeSet::new();
    for row in &evidence.rows.decisions {
        if !seen.insert(row.id) {
            // Named by another promise.
            continue;
        }
        let violations = of.remove(&row.id).unwrap_or_default().len();
        let due = usize::from(row.decision == "deny");
        let asked = asked.get(row.step_id.as_str()).copied();
        if violations == due {
            continue;
        }
        let told = asked.is_some_and(|asked| matches!(asked.outcome, Outcome::Answered { .. }));
        if violations == 0 && !told {
            torn += 1;
            continue;
        }
        let id = row.id;
        promise.broken(format!("decision {id} has {violations} violations, not {due}"), asked);
    }
    for (decision, violations) in of {
        for violation in violations {
            let row = evidence.rows.violations.iter().find(|row| row.id == violation);
            let asked = row.and_then(|row| asked.get(row.step_id.as_str()).copied());
            let told = asked.is_none_or(|asked| matches!(asked.outcome, Outcome::Answered { .. }));
            if told {
                let what = format!("violation {violation} without its decision {decision}");
                promise.broken(what, asked);
            } else {
                torn += 1;
            }
        }
    }
    verdict.torn = torn;
    promise.judge(verdict);
}

fn subscriber_once(evidence: &Evidence, verdict: &mut Verdict) {
    let mut promise = Promise::new("a durable subscriber gets every violation, from one place");
    let due = ids(&evidence.stream.violations);
    let received = &evidence.received.violations;
    for id in &due {
        match received.get(id).map(BTreeSet::len) {
            Some(1) => (),
            None | Some(0) => promise.broken(format!("violation {id} was not delivered"), None),
            Some(_) => promise.broken(format!("violation {id} came from two places"), None),
        }
    }
    for id in received.keys().filter(|id| !due.contains(id)) {
        promise.broken(format!("violation {id} was delivered and is not in the stream"), None);
    }
    promise.judge(verdict);
}

/// The receiver takes a post again where the alerter died before its report: the key tells.
fn alerts(evidence: &Evidence, verdict: &mut Verdict) {
    let mut posted = Promise::new("the alerter posts every violation, and nothing else");
    let due = ids(&evidence.stream.violations);
    let posts = &evidence.posted;
    for id in due.iter().filter(|id| !posts.violations.contains_key(id)) {
        posted.broken(format!("violation {id} was not posted"), None);
    }
    for id in posts.violations.keys().filter(|id| !due.contains(id)) {
        posted.broken(format!("violation {id} was posted and is not in the stream"), None);
    }
    for _ in 0..posts.strange {
        posted.broken("a post that is no violation", None);
    }
    posted.judge(verdict);

    let mut told = Promise::new("every violation's row says that somebody was told");
    for row in evidence.rows.violations.iter().filter(|row| !row.notified) {
        told.broken(format!("violation {}", row.id), None);
    }
    told.judge(verdict);
}

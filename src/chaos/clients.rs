//! Clients that ask without a pause longer than a blink, each check once, whatever happens around
//! them, and write down what they were told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use oorandom::Rand64;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::ledger::{Asked, Ledger, Outcome};
use super::log::Log;
use crate::bus::{self, BusError, Connection, Subjects};
use crate::config::Nats;
use crate::contract::CheckReply;
use crate::contract::batch::{BatchItem, BatchReply};
use crate::contract::fault::ServiceError;
use crate::domain::AuditState;

/// How long a client waits for an answer: longer than a worker waits for the stream.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Clients on one connection.
const SHARE: usize = 4;
/// Checks in the largest batch.
const LARGEST_BATCH: u64 = 10;

/// Clients that ask.
#[derive(Debug)]
pub struct Clients {
    tasks: JoinSet<()>,
    ledger: Arc<Mutex<Ledger>>,
    stop: CancellationToken,
}

impl Clients {
    /// Connects so many and lets them ask from now on.
    ///
    /// # Errors
    /// When they can't connect.
    pub async fn start(
        count: usize,
        nats: &Nats,
        run: &str,
        seed: u64,
        log: &Log,
    ) -> Result<Self, BusError> {
        let ledger = Arc::new(Mutex::new(Ledger { run: run.to_owned(), asked: Vec::new() }));
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let mut connections = Vec::new();
        for _ in 0..count.div_ceil(SHARE) {
            connections.push(bus::connect_once(nats, "chaos-client").await?);
        }
        for (number, connection) in (0..count).zip(connections.iter().cycle()) {
            let seed = u128::from(seed) << 64 | u128::try_from(number).unwrap_or_default();
            let client = Client {
                number,
                run: run.to_owned(),
                connection: connection.clone(),
                subjects: Subjects::new(&nats.subject_prefix),
                random: Rand64::new(seed),
                asked: 0,
                ledger: Arc::clone(&ledger),
                log: log.clone(),
            };
            tasks.spawn(client.ask_until(stop.clone()));
        }
        Ok(Self { tasks, ledger, stop })
    }

    /// How many checks have an outcome.
    #[must_use]
    pub fn asked(&self) -> usize {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner).asked.len()
    }

    /// Lets them finish what they are waiting for.
    pub async fn finish(mut self) -> Ledger {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        std::mem::take(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

struct Client {
    number: usize,
    run: String,
    connection: Connection,
    subjects: Subjects,
    random: Rand64,
    asked: u64,
    ledger: Arc<Mutex<Ledger>>,
    log: Log,
}

/// A check that is to be asked.
struct Question {
    step: String,
    should_allow: bool,
    body: Value,
}

impl Client {
    async fn ask_until(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let blink = Duration::from_millis(self.random.rand_range(5..60));
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(blink) => (),
            }
            self.ask().await;
        }
    }

    /// Asks one check or a batch of them, and notes the outcome of each.
    async fn ask(&mut self) {
        let many = self.random.rand_range(0..20) == 0;
        let count = if many { self.random.rand_range(1..LARGEST_BATCH + 1) } else { 1 };
        let questions: Vec<Question> = (0..count).map(|_| self.question()).collect();
        let agent = format!("chaos-{}", self.number);
        // Both the subject that names the agent and the one that doesn't.
        let agent = (self.random.rand_range(0..2) == 0).then_some(agent.as_str());
        let (subject, body) = if many {
            let checks: Vec<&Value> = questions.iter().map(|question| &question.body).collect();
            let subject = agent.map_or_else(
                || self.subjects.check_batch(),
                |agent| self.subjects.check_batch_of(Some(agent)),
            );
            (subject, json!({"checks": checks}))
        } else {
            let body = questions.first().map(|question| question.body.clone());
            let subject = agent
                .map_or_else(|| self.subjects.check(), |agent| self.subjects.check_of(Some(agent)));
            (subject, body.unwrap_or_default())
        };
        let began = self.log.seconds();
        let body = serde_json::to_vec(&body).unwrap_or_default();
        let outcomes = match self.connection.request(&subject, body, TIMEOUT).await {
            Ok(answer) if answer.error_code.is_some() => {
                vec![refused(&answer.payload); questions.len()]
            }
            Ok(answer) if many => batch(&answer.payload, questions.len()),
            Ok(answer) => vec![single(&answer.payload)],
            Err(_) => vec![Outcome::Unanswered; questions.len()],
        };
        let between = (began, self.log.seconds());
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        for (question, outcome) in questions.into_iter().zip(outcomes) {
            let Question { step, should_allow, .. } = question;
            ledger.asked.push(Asked { step, between, should_allow, outcome });
        }
    }

    /// A check that nobody has asked before; a third of them are denied.
    fn question(&mut self) -> Question {
        self.asked += 1;
        let step = format!("c{}-{}", self.number, self.asked);
        let should_allow = self.random.rand_range(0..3) != 0;
        let cost = if should_allow { 0.05 } else { 0.5 };
        let body = json!({
            "action": "llm_call",
            // A URL of its own: the alerter tells of equal violations once.
            "resource": {
                "url": format!("https://models.example/{step}"), "model": "gpt-4o-mini",
                "provider": "openai", "max_tokens": 2048,
            },
            "context": {
                "agent": format!("chaos-{}", self.number), "user": "chaos",
                "run_id": self.run, "step_id": step, "estimated_cost_usd": cost,
                "budget": {"limit_usd": 5.0, "spent_usd": 4.9, "remaining_usd": 0.1},
            }
        });
        Question { step, should_allow, body }
    }
}

fn single(payload: &[u8]) -> Outcome {
    serde_json::from_slice::<CheckReply>(payload)
        .map_or(Outcome::Unanswered, |reply| answered(&reply))
}

fn answered(reply: &CheckReply) -> Outcome {
    Outcome::Answered {
        decision: reply.decision_id,
        allowed: reply.allowed,
        recorded: reply.audit == AuditState::Recorded,
    }
}

/// The outcomes of a batch; as many as there were checks.
fn batch(payload: &[u8], count: usize) -> Vec<Outcome> {
    let items = serde_json::from_slice::<BatchReply>(payload).map(|reply| reply.decisions);
    let outcomes = items.unwrap_or_default().into_iter().map(|item| match item {
        BatchItem::Decision(reply) => answered(&reply),
        BatchItem::Fault(fault) => Outcome::Refused(fault.error.code),
    });
    outcomes.chain(std::iter::repeat(Outcome::Unanswered)).take(count).collect()
}

fn refused(payload: &[u8]) -> Outcome {
    serde_json::from_slice::<ServiceError>(payload)
        .map_or(Outcome::Unanswered, |fault| Outcome::Refused(fault.error.code))
}

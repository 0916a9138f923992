//! A crowd of agents: each asks one check after the other, until told to end.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::RequestErrorKind;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{Agent, until};

/// How agents ask.
#[derive(Clone, Copy)]
pub(crate) struct Manner {
    /// How long they wait for an answer.
    pub(crate) patience: Duration,
    /// How long they pause after one.
    pub(crate) pause: Duration,
}

/// Agents that ask in the background.
pub(crate) struct Crowd {
    enough: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    recorded: Arc<AtomicUsize>,
    asking: Vec<JoinHandle<Tally>>,
}

/// How the checks of a crowd ended.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Ids of the decisions that were answered as recorded.
    pub(crate) recorded: Vec<String>,
    /// Ids of those that were answered as pending.
    pub(crate) pending: Vec<String>,
    /// Refused with 503.
    pub(crate) refused: usize,
    /// Without an answer in time.
    pub(crate) unanswered: usize,
    /// While nobody was there.
    pub(crate) nobody: usize,
}

impl Tally {
    /// Ids of all that were answered with a decision.
    pub(crate) fn decided(&self) -> impl Iterator<Item = &String> {
        self.recorded.iter().chain(&self.pending)
    }
}

impl Crowd {
    /// So many connections to each of these servers, with so many agents each, who ask without a
    /// pause.
    pub(crate) async fn start(urls: &[String], connections: usize, agents: usize) -> Self {
        let manner = Manner { patience: Duration::from_secs(20), pause: Duration::ZERO };
        Self::asking(urls, connections, agents, manner).await
    }

    /// The same, in a manner of their own.
    pub(crate) async fn asking(
        urls: &[String],
        connections: usize,
        agents: usize,
        manner: Manner,
    ) -> Self {
        let (enough, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicUsize>::default());
        let recorded = Arc::<AtomicUsize>::default();
        let mut asking = Vec::new();
        for url in urls.iter().cycle().take(urls.len() * connections) {
            let agent = Agent::connect(url).await;
            for _ in 0..agents {
                let counts = [Arc::clone(&answered), Arc::clone(&recorded)];
                let one = ask_on(agent.clone(), manner, Arc::clone(&enough), counts);
                asking.push(tokio::spawn(one));
            }
        }
        Self { enough, answered, recorded, asking }
    }

    /// Waits until so many more checks are answered.
    pub(crate) async fn answers_more(&self, count: usize) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        until("the crowd is answered", async || {
            (self.answered.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Waits until so many more checks are answered as recorded.
    pub(crate) async fn answers_recorded(&self, count: usize) {
        let goal = self.recorded.load(Ordering::Relaxed) + count;
        until("checks are recorded", async || {
            (self.recorded.load(Ordering::Relaxed) >= goal).then_some(())
        })
        .await;
    }

    /// Lets each finish its last check.
    pub(crate) async fn end(self) -> Tally {
        self.enough.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for asked in self.asking {
            let one = asked.await.unwrap();
            all.recorded.extend(one.recorded);
            all.pending.extend(one.pending);
            all.refused += one.refused;
            all.unanswered += one.unanswered;
            all.nobody += one.nobody;
        }
        all
    }
}

async fn ask_on(
    agent: Agent,
    manner: Manner,
    enough: Arc<AtomicBool>,
    [answered, recorded]: [Arc<AtomicUsize>; 2],
) -> Tally {
    let mut tally = Tally::default();
    let request = json!({"action": "a", "resource": "r"});
    while !enough.load(Ordering::Relaxed) {
        tokio::time::sleep(manner.pause).await;
        match agent.try_ask(&request, manner.patience).await {
            Ok(message) => {
                let reply: Value = serde_json::from_slice(&message.payload).unwrap();
                if reply["error"]["code"] == 503 {
                    tally.refused += 1;
                    continue;
                }
                let id = reply["decision_id"].as_str().unwrap().to_owned();
                match reply["audit"].as_str() {
                    Some("recorded") => {
                        recorded.fetch_add(1, Ordering::Relaxed);
                        tally.recorded.push(id);
                    }
                    Some("pending") => tally.pending.push(id),
                    other => panic!("{other:?}: {reply}"),
                }
                answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                tally.nobody += 1;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Err(_) => {
                tally.unanswered += 1;
            }
        }
    }
    tally
}

//! The REST API over real HTTP, NATS, workers, sinks and ClickHouse.

mod history;
mod live;
mod openapi;
mod policies;
mod session;
mod trial;

use serde_json::{Value, json};

use crate::doors::support::House;
use crate::sink::{Rig, Running, rig};
use crate::worker::support::{Agent, Fleet, Worker};

/// All that a console shows: a worker with the shipped policies and a sink behind it.
struct Stack {
    rig: Rig,
    house: House,
    agent: Agent,
    _worker: Worker,
    _sink: Running,
    _fleet: Fleet,
}

impl Stack {
    /// With settings for the shipped policies.
    async fn start(settings: &str) -> Self {
        let rig = rig().await;
        let sink = rig.sink();
        sink.ready().await;
        let fleet = Fleet::with_shipped(settings);
        let worker = fleet.spawn("worker-1", rig.worker_config(&fleet));
        worker.taking_checks().await;
        let house = House::open(rig.config()).await;
        let agent = Agent::connect(&rig.config().nats.url).await;
        Self { rig, house, agent, _worker: worker, _sink: sink, _fleet: fleet }
    }

    /// Asks, and gives the reply.
    async fn ask(&self, action: &str, agent: &str, more: Value) -> Value {
        let mut context = json!({"agent": agent, "session_id": "s-1"});
        for (key, value) in more.as_object().unwrap() {
            context[key] = value.clone();
        }
        let check = json!({"action": action, "resource": {"model": "gpt-4"}, "context": context});
        self.agent.check(check).await
    }

    /// Waits until ClickHouse has so many decisions.
    async fn stored(&self, decisions: u64) {
        crate::store::eventually("the decisions are stored", async || {
            self.rig.number("SELECT count() FROM decisions").await >= decisions
        })
        .await;
    }

    async fn get(&self, path: &str) -> Value {
        self.house.get(path).await.json(200)
    }
}

//! An agent: wants something, asks, and does it if it may.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::mind::{Mind, Operation, Step};
use super::tally::Tally;
use super::world::World;
use super::{Happening, Watcher};
use crate::client::{Check, Client, Decision, Outcome};

pub(super) struct Agent {
    pub(super) mind: Mind,
    pub(super) project: String,
    pub(super) client: Client,
    pub(super) world: Arc<World>,
    pub(super) tally: Arc<Mutex<Tally>>,
    pub(super) watcher: Watcher,
    pub(super) pause: Duration,
}

impl Agent {
    /// Works until told to stop; what it has begun it finishes.
    pub(super) async fn work_until(mut self, stop: CancellationToken) {
        loop {
            let pause = self.mind.pause(self.pause);
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(pause) => (),
            }
            let step = self.mind.next();
            let happening = self.take(&step).await;
            self.mind.paid(happening.cost_usd);
            if !happening.allowed {
                self.mind.denied(&happening.deny_reasons);
            }
            self.tally.lock().unwrap_or_else(PoisonError::into_inner).add(&happening);
            (self.watcher)(&happening);
        }
    }

    async fn take(&self, step: &Step) -> Happening {
        let (resource, on) = self.resource(&step.operation);
        let mut check = Check::new(step.operation.action(), resource)
            .agent(self.mind.name())
            .user(step.user)
            .session(&*step.session)
            .run(self.mind.run())
            .step(format!("{}-{}", step.session, step.number))
            .project(&*self.project)
            .with("task_priority", step.priority);
        if let Some(estimate) = self.world.estimate(&step.operation) {
            check = check
                .with("estimated_cost_usd", rounded(estimate))
                .with("budget", json!({"remaining_usd": rounded(step.remaining_usd)}));
        }
        let mut guard = match self.client.guard(&check).await {
            Ok(guard) => guard,
            Err(denied) => return self.happened(step, on, &denied.decision),
        };
        let done = self.world.perform(&step.operation).await;
        let mut happening = self.happened(step, on, guard.decision());
        match done {
            Ok(cost) => {
                if let Some(cost) = cost {
                    guard.cost_usd(cost);
                    happening.cost_usd = cost;
                }
                guard.finish(Outcome::Ok);
            }
            Err(error) => {
                happening.failed = error.as_str();
                guard.finish(Outcome::Error { exception_type: error.as_str().to_owned() });
            }
        }
        happening
    }

    fn happened(&self, step: &Step, on: String, decision: &Decision) -> Happening {
        Happening {
            agent: self.mind.name().to_owned(),
            action: step.operation.action(),
            on,
            decision_id: decision.id,
            allowed: decision.allowed,
            checked: decision.unchecked.is_none(),
            deny_reasons: decision.deny_reasons.clone(),
            warnings: decision.warnings.clone(),
            failed: "",
            cost_usd: 0.0,
        }
    }

    /// What a check says of it, and what people are told.
    fn resource(&self, operation: &Operation) -> (Value, String) {
        match operation {
            Operation::Ask { model, prompt, .. } => {
                // Four characters are about a token.
                (json!({"model": model, "prompt_length": prompt * 4}), (*model).to_owned())
            }
            Operation::Read(path) | Operation::Delete(path) => {
                (json!({"path": path}), path.clone())
            }
            Operation::Write(path, bytes) => (json!({"path": path, "bytes": bytes}), path.clone()),
            Operation::Fetch(path) => {
                let url = self.world.url(path);
                (json!({"url": url, "method": "GET"}), url)
            }
        }
    }
}

/// To a hundredth of a cent.
fn rounded(usd: f64) -> f64 {
    (usd * 10_000.0).round() / 10_000.0
}

//! Management: `policy.admin.<verb>` and `policy.evaluate`, answered by any worker.

pub(super) mod admission;
mod change;
mod read;
mod restore;
mod switch;
mod trial;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use self::admission::Admission;
use super::live::LivePolicies;
use crate::bus::{Bucket, BusError, Connection, Incoming, Kind};
use crate::config::Config;
use crate::contract::admin::{Authored, ChangeReply, Verb};
use crate::contract::{FaultCode, RequestBounds, RequestFault, parse_message};
use crate::domain::{FailMode, PolicyRecord, record};
use crate::engine::stack_bytes;
use crate::roles::bytes;

/// Bytes of a message's headers and subject, at most.
const HEADROOM: usize = 4_096;
/// How long an answer waits for changes that are on their way to this worker.
const LONGEST_CATCH_UP: Duration = Duration::from_secs(1);

/// Answers management and trials. Cheap to clone.
#[derive(Clone)]
pub(super) struct Manager {
    inner: Arc<Inner>,
}

struct Inner {
    live: LivePolicies,
    bucket: Bucket,
    connection: Connection,
    config: Arc<Config>,
    admission: Admission,
    fail_mode: FailMode,
    bounds: RequestBounds,
    timeout: Duration,
    /// Of management, of trials, and of the switch: none keeps another out.
    places: Arc<Semaphore>,
    trials: Arc<Semaphore>,
    switches: Arc<Semaphore>,
}

impl Manager {
    pub(super) fn new(
        config: &Arc<Config>,
        live: LivePolicies,
        bucket: Bucket,
        connection: Connection,
    ) -> Self {
        // A policy may be as large as the limit, and JSON makes it larger.
        let largest = bytes(config.limits.policy_bytes).saturating_mul(3);
        let inner = Inner {
            live,
            bucket,
            connection,
            admission: Admission::new(config),
            fail_mode: super::decide::fail_mode(config.enforcement.fail_mode),
            bounds: RequestBounds {
                bytes: bytes(config.worker.max_request_bytes).max(largest),
                nesting: config.worker.max_nesting,
                batch: config.worker.max_batch,
            },
            timeout: config.nats.request_timeout,
            places: Arc::new(Semaphore::new(config.worker.max_admin)),
            trials: Arc::new(Semaphore::new(config.worker.max_admin)),
            switches: Arc::new(Semaphore::new(config.worker.max_admin)),
            config: Arc::clone(config),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Answers a request in the background, or gives it back with the reason where too many are
    /// worked on.
    pub(super) fn answer(&self, incoming: Incoming) -> Result<(), Box<(Incoming, RequestFault)>> {
        let places = match incoming.kind {
            Kind::Evaluate => &self.inner.trials,
            // Whatever else goes on: who wants to switch enforcement off is heard.
            _ if Verb::parse(incoming.verb()) == Some(Verb::Enforcement) => &self.inner.switches,
            _ => &self.inner.places,
        };
        let Ok(place) = Arc::clone(places).try_acquire_owned() else {
            let fault = RequestFault::unavailable(
                "too many requests of management are worked on (setting worker.max_admin); try again",
            );
            return Err(Box::new((incoming, fault)));
        };
        let manager = self.clone();
        tokio::spawn(async move {
            manager.catch_up().await;
            let answer = match incoming.kind {
                Kind::Evaluate => manager.evaluate(incoming.payload()).await,
                _ => manager.manage(incoming.verb(), incoming.payload()).await,
            };
            match answer.and_then(|body| manager.fits(body)) {
                Ok(body) => {
                    if let Err(error) = incoming.reply(body).await {
                        tracing::warn!(%error, "an answer of management could not be sent");
                    }
                }
                Err(fault) => refuse(incoming, &fault).await,
            }
            drop(place);
        });
        Ok(())
    }

    /// Waits until what was begun is answered; takes in nothing more.
    pub(super) async fn finished(&self) {
        let all = u32::try_from(self.inner.config.worker.max_admin).unwrap_or(u32::MAX);
        for places in [&self.inner.places, &self.inner.trials, &self.inner.switches] {
            // Closed only here, so this can't fail before.
            if let Ok(all) = places.acquire_many(all).await {
                all.forget();
            }
        }
    }

    /// Takes in what was written before the request came: who has just made a policy by another
    /// worker must find it here. Without an answer from NATS, what is in force has to do.
    async fn catch_up(&self) {
        if let Ok(Some(state)) = self.inner.bucket.state().await {
            self.inner.live.reaches(state.sequence, self.inner.timeout.min(LONGEST_CATCH_UP)).await;
        }
    }

    /// An answer that a message can hold.
    fn fits(&self, body: Vec<u8>) -> Result<Vec<u8>, RequestFault> {
        let most = self.largest_answer();
        if body.len() <= most {
            return Ok(body);
        }
        Err(RequestFault::new(
            FaultCode::Refused,
            "",
            format!(
                "the answer has {} bytes, a message of this server holds {most}: ask for less, or \
                 raise max_payload in the configuration of the NATS server",
                body.len()
            ),
        ))
    }

    /// The answer to a change, which is made: where no message holds it, it goes without the texts.
    fn changed(&self, mut reply: ChangeReply) -> Result<Vec<u8>, RequestFault> {
        let without: [fn(&mut ChangeReply); 3] = [
            |reply| reply.policy.content.clear(),
            |reply| reply.before.iter_mut().for_each(|before| before.rego.clear()),
            |reply| reply.policy.record.rego.clear(),
        ];
        let mut answer = encoded(&reply)?;
        for step in without {
            if answer.len() <= self.largest_answer() {
                break;
            }
            step(&mut reply);
            answer = encoded(&reply)?;
        }
        Ok(answer)
    }

    fn largest_answer(&self) -> usize {
        self.inner.connection.max_payload().saturating_sub(HEADROOM)
    }

    async fn manage(&self, verb: &str, body: &[u8]) -> Result<Vec<u8>, RequestFault> {
        let verb = Verb::parse(verb).ok_or_else(|| unknown_verb(verb))?;
        match verb {
            Verb::List => encoded(&self.list(&self.read_or_default(body)?)),
            Verb::Get => encoded(&self.get(self.read(body)?).await?),
            Verb::Put => self.changed(self.put(self.read(body)?).await?),
            Verb::Patch => self.changed(self.patch(self.read(body)?).await?),
            Verb::Delete => self.changed(self.delete(self.read(body)?).await?),
            Verb::Versions => encoded(&self.versions(self.read(body)?).await?),
            Verb::Diff => encoded(&self.diff(self.read(body)?).await?),
            Verb::Rollback => self.changed(self.rollback(self.read(body)?).await?),
            Verb::Enable => self.changed(self.enable(self.read(body)?).await?),
            Verb::Disable => self.changed(self.disable(self.read(body)?).await?),
            Verb::Effective => encoded(&self.effective(self.read_or_default(body)?)),
            Verb::Enforcement => encoded(&self.enforcement(self.read_or_default(body)?).await?),
            Verb::Workers => encoded(&self.workers().await?),
            Verb::Restore => encoded(&self.restore(self.read_or_default(body)?).await?),
        }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, RequestFault> {
        parse_message(body, &self.inner.bounds)
    }

    /// An empty body asks for what needs no words.
    fn read_or_default<T: DeserializeOwned + Default>(
        &self,
        body: &[u8],
    ) -> Result<T, RequestFault> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Ok(T::default());
        }
        self.read(body)
    }
}

/// Runs what may take its time, or much stack, on a thread of its own.
async fn apart<T: Send + 'static>(
    instructions: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RequestFault> {
    let failed = |reason: &dyn std::fmt::Display| {
        RequestFault::new(FaultCode::Failed, "", format!("the worker could not do it: {reason}"))
    };
    let (done, wait) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("manage".to_owned())
        .stack_size(stack_bytes(instructions))
        .spawn(move || {
            let _ = done.send(work());
        })
        .map_err(|error| failed(&error))?;
    wait.await.map_err(|error| failed(&error))
}

fn encoded(answer: &impl Serialize) -> Result<Vec<u8>, RequestFault> {
    serde_json::to_vec(answer).map_err(|error| {
        RequestFault::new(FaultCode::Failed, "", format!("the answer can't be encoded: {error}"))
    })
}

async fn refuse(incoming: Incoming, fault: &RequestFault) {
    if let Err(error) = incoming.refuse(fault).await {
        tracing::warn!(%error, "a refusal could not be sent");
    }
}

fn unknown_verb(verb: &str) -> RequestFault {
    let verbs: Vec<&str> = Verb::ALL.iter().map(|verb| verb.as_str()).collect();
    RequestFault::new(
        FaultCode::NotFound,
        "",
        format!("`{verb}` is none of the verbs of management: {}", verbs.join(", ")),
    )
}

/// NATS did not do its part.
fn unavailable(error: &BusError) -> RequestFault {
    RequestFault::unavailable(error.to_string())
}

/// The newest record of a policy, by its name, else by its id.
fn called<'a>(
    records: &'a BTreeMap<String, Arc<PolicyRecord>>,
    policy: &str,
) -> Option<&'a Arc<PolicyRecord>> {
    records.get(policy).or_else(|| {
        let id = uuid::Uuid::parse_str(policy).ok()?;
        records.values().find(|record| record.id == id)
    })
}

/// Who makes a change, and why, has its bounds.
fn check_authored(change: &Authored) -> Result<(), RequestFault> {
    for (field, text, limit) in [
        ("change.author", &change.author, record::MAX_NAME),
        ("change.comment", &change.comment, record::MAX_TEXT),
    ] {
        if text.len() > limit {
            let message = format!("has {} bytes, at most {limit} are taken", text.len());
            return Err(RequestFault::field(field, message));
        }
    }
    Ok(())
}

//! The turns of `sluicegate bench reload`: one change of a policy and the decisions that follow, or
//! one write to a plain bucket and the watchers that see it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::task::AbortOnDropHandle;

use super::fleet::{Fleet, Worker, ask};
use super::stored;
use crate::bus::{self, Bucket, Connection, Held};
use crate::config::Config;
use crate::contract::CheckReply;
use crate::contract::admin::{Authored, ChangeReply, PatchRequest, Verb};
use crate::domain::Verdict;

/// How long a change, or a write, may take to be known everywhere.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a worker is left alone between an answer and the next question: what is measured is
/// late by that at most, and the questions leave the machine time for the change.
const ASK_AGAIN: Duration = Duration::from_millis(1);
/// The only key of the plain bucket.
const KEY: &str = "plain";

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The settings of a policy that uses a template.
    Parameters,
    /// The Rego of a policy, which every worker compiles.
    Rego,
}

impl Kind {
    /// The policy that is changed.
    pub(super) const fn policy(self) -> &'static str {
        match self {
            Self::Parameters => "changing-parameters",
            Self::Rego => "changing-rego",
        }
    }

    /// After odd changes the policy denies the check, after even ones it lets it pass.
    fn changes(self, number: u64) -> Map<String, Value> {
        let denies = !number.is_multiple_of(2);
        let (member, value) = match self {
            Self::Parameters => {
                ("parameters", Value::Object(stored::parameters(self.policy(), denies)))
            }
            Self::Rego => ("rego", json!(stored::own_rego(self.policy(), number, denies))),
        };
        [(member.to_owned(), value)].into_iter().collect()
    }
}

/// One change, seen from all sides; times are since it was sent.
pub(super) struct Change {
    /// When each worker's first decision under the new revision arrived.
    pub(super) decided: Vec<Duration>,
    /// When the reply to the change arrived.
    pub(super) replied: Duration,
}

impl Change {
    /// When the last worker's arrived.
    pub(super) fn last(&self) -> Duration {
        last(&self.decided)
    }
}

/// The last of these times.
pub(super) fn last(times: &[Duration]) -> Duration {
    times.iter().max().copied().unwrap_or_default()
}

/// The turns, and what they need.
pub(super) struct Bench {
    admin: Connection,
    check: Vec<u8>,
    /// By which every worker decides before the next change.
    revision: String,
    plain: Bucket,
    last_plain: u64,
    value: Vec<u8>,
    seen: mpsc::UnboundedReceiver<Saw>,
    watching: Vec<AbortOnDropHandle<()>>,
}

impl Bench {
    /// Starts as many watchers of a plain bucket as there are workers.
    pub(super) async fn new(
        fleet: &mut Fleet,
        check: &Value,
        ready: &[CheckReply],
        config: &Config,
    ) -> anyhow::Result<Self> {
        let revision = ready.first().map(|reply| reply.policy_revision.clone()).unwrap_or_default();
        if ready.iter().any(|reply| reply.policy_revision != revision) {
            bail!("the workers don't decide by the same policies");
        }
        let (plain, _) = fleet.bucket("plain", 64 << 10, config.policies.history).await?;
        let (tell, seen) = mpsc::unbounded_channel();
        let mut watching = Vec::new();
        for number in 0..fleet.workers().len() {
            let connection = bus::connect_once(&config.nats, "bench-watcher").await?;
            connection.settled(config.nats.request_timeout).await?;
            let watcher = watch(plain.over(&connection), number, tell.clone());
            watching.push(AbortOnDropHandle::new(tokio::spawn(watcher)));
        }
        Ok(Self {
            admin: bus::connect_once(&config.nats, "bench-admin").await?,
            check: serde_json::to_vec(check)?,
            revision,
            plain,
            last_plain: 0,
            value: serde_json::to_vec(&stored::by_template(KEY, KEY, false))?,
            seen,
            watching,
        })
    }

    /// Writes as many bytes as a policy by template has to the plain bucket; returns when each
    /// watcher saw them.
    pub(super) async fn put(&mut self) -> anyhow::Result<Vec<Duration>> {
        let sent = Instant::now();
        self.last_plain = self.plain.put(KEY, self.value.clone(), self.last_plain).await?;
        let mut times = BTreeMap::new();
        while times.len() < self.watching.len() {
            let next = tokio::time::timeout(PATIENCE, self.seen.recv()).await;
            let next = next.with_context(|| format!("a watcher saw nothing for {PATIENCE:?}"))?;
            let seen = next.context("the watchers of the plain bucket have ended")?;
            if seen.sequence == self.last_plain {
                times.entry(seen.watcher).or_insert(seen.at.saturating_duration_since(sent));
            }
        }
        Ok(times.into_values().collect())
    }

    /// Changes a policy through one of the workers, each in turn, and asks all of them until they
    /// decide by it.
    pub(super) async fn change(
        &mut self,
        kind: Kind,
        number: u64,
        workers: &[Worker],
    ) -> anyhow::Result<Change> {
        let through = usize::try_from(number)? % workers.len().max(1);
        let through = workers.get(through).context("there is no worker")?;
        let request = serde_json::to_vec(&PatchRequest {
            policy: kind.policy().to_owned(),
            changes: kind.changes(number),
            change: Authored { author: "bench".to_owned(), ..Authored::default() },
        })?;
        let mut asking = JoinSet::new();
        for worker in workers {
            let asker = Asker {
                connection: worker.connection.clone(),
                subject: worker.subjects.check(),
                check: self.check.clone(),
                before: self.revision.clone(),
            };
            asking.spawn(asker.first_by_another_revision());
        }
        let sent = Instant::now();
        let subject = through.subjects.admin(Verb::Patch);
        let reply: ChangeReply = ask(&self.admin, &subject, request).await?;
        let replied = sent.elapsed();
        let mut decided = Vec::with_capacity(workers.len());
        let mut revision = None;
        while let Some(first) = asking.join_next().await {
            let (at, first) = first??;
            check_decision(&first, kind, number, &reply)?;
            if *revision.get_or_insert_with(|| first.policy_revision.clone())
                != first.policy_revision
            {
                bail!("the workers decide by different policies after the same change");
            }
            decided.push(at.saturating_duration_since(sent));
        }
        if let Some(revision) = revision {
            self.revision = revision;
        }
        Ok(Change { decided, replied })
    }
}

/// One value as one watcher saw it.
struct Saw {
    watcher: usize,
    sequence: u64,
    at: Instant,
}

/// Follows a bucket, and again where that was interrupted, until nobody listens.
async fn watch(bucket: Bucket, watcher: usize, tell: mpsc::UnboundedSender<Saw>) {
    while let Ok(Some(mut following)) = bucket.follow().await {
        while let Some(Held { sequence, .. }) = following.next().await {
            if tell.send(Saw { watcher, sequence, at: Instant::now() }).is_err() {
                return;
            }
        }
    }
}

/// Whether the decision is made by the change, the whole change, and says so.
fn check_decision(
    decision: &CheckReply,
    kind: Kind,
    number: u64,
    reply: &ChangeReply,
) -> anyhow::Result<()> {
    let said = decision.policies.iter().find(|policy| policy.name == kind.policy());
    let said = said.with_context(|| format!("`{}` took no part in a decision", kind.policy()))?;
    let expected = if number.is_multiple_of(2) { Verdict::Allow } else { Verdict::Deny };
    if said.version != reply.policy.record.version || said.decision != expected {
        bail!(
            "a decision under the new revision was made by version {} of `{}`, which said {}; the \
             change made version {}, which says {}",
            said.version,
            said.name,
            said.decision.as_str(),
            reply.policy.record.version,
            expected.as_str()
        );
    }
    Ok(())
}

/// Asks one worker.
struct Asker {
    connection: Connection,
    subject: String,
    check: Vec<u8>,
    before: String,
}

impl Asker {
    async fn first_by_another_revision(self) -> anyhow::Result<(Instant, CheckReply)> {
        let asking = async {
            loop {
                let reply: CheckReply =
                    ask(&self.connection, &self.subject, self.check.clone()).await?;
                let now = Instant::now();
                if reply.policy_revision != self.before {
                    return anyhow::Ok((now, reply));
                }
                tokio::time::sleep(ASK_AGAIN).await;
            }
        };
        tokio::time::timeout(PATIENCE, asking)
            .await
            .with_context(|| format!("a worker didn't take up a change within {PATIENCE:?}"))?
    }
}

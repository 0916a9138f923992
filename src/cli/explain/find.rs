//! The decision that is to be explained, from ClickHouse.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::Explain;
use crate::cli::request;
use crate::config::Config;
use crate::contract::{CheckReply, DecisionEvent};
use crate::domain::AuditState;
use crate::store::{DecisionFilter, Store};

/// A decision takes about a second to the history; a busy sink may take longer.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// Between two looks for it.
const LOOK: Duration = Duration::from_millis(200);

/// The reply that the flags name, if they do.
pub(super) fn reply(command: &Explain) -> anyhow::Result<Option<CheckReply>> {
    let Some(path) = &command.reply else { return Ok(None) };
    let text = request::read(path, "--reply")?;
    serde_json::from_slice(&text)
        .with_context(|| format!("{} holds no reply to a check", path.display()))
        .map(Some)
}

/// The event of the decision that the flags or the reply name.
pub(super) async fn event(
    command: &Explain,
    reply: Option<&CheckReply>,
    config: &Config,
) -> anyhow::Result<DecisionEvent> {
    let store = Store::connect(&config.clickhouse);
    if let Some(reply) = reply {
        if reply.audit == AuditState::Off {
            bail!(
                "the decision {} was not recorded (setting audit.acknowledge is off); try the \
                 request with `sluicegate eval`",
                reply.decision_id
            );
        }
        return by_id(&store, reply.decision_id, Some(reply.timestamp)).await;
    }
    if let Some(id) = command.decision {
        return by_id(&store, id, time_of(id)).await;
    }
    let filter = DecisionFilter {
        agent: command.agent.clone(),
        session_id: command.session.clone(),
        decision: command.denied.then(|| "deny".to_owned()),
        limit: Some(1),
        ..DecisionFilter::default()
    };
    let found = store.recent_decisions(&filter).await?;
    let last = found.first().context("no decision matches")?;
    by_id(&store, last.id, None).await
}

/// Waits a little for a decision that was made just now: it is on its way.
async fn by_id(
    store: &Store,
    id: Uuid,
    made: Option<DateTime<Utc>>,
) -> anyhow::Result<DecisionEvent> {
    let start = Instant::now();
    let age = made.map(|made| Utc::now().signed_duration_since(made));
    let fresh = age.is_some_and(|age| age < TimeDelta::minutes(1));
    loop {
        if let Some(stored) = store.decision_by_id(id).await? {
            return Ok(stored.event);
        }
        if !fresh || start.elapsed() >= ON_ITS_WAY {
            let waited = if fresh { "; is a sink running?" } else { "" };
            bail!("ClickHouse has no decision {id}{waited}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The time in an id of version 7; none in others.
fn time_of(id: Uuid) -> Option<DateTime<Utc>> {
    let (seconds, nanos) = id.get_timestamp()?.to_unix();
    DateTime::from_timestamp(i64::try_from(seconds).ok()?, nanos)
}

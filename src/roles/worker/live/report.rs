//! What this worker has in force, on the roll of live workers: at every change, and every now and
//! then so that it is known to live.

use chrono::{DateTime, Utc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::LivePolicies;
use crate::bus::{Connection, Roll};
use crate::contract::admin::WorkerStatus;
use crate::roles::RoleContext;
use crate::roles::worker::recording::Checkpoints;

/// Reports until told to stop, then takes the worker off the roll.
pub(super) fn start(
    context: &RoleContext,
    connection: &Connection,
    live: &LivePolicies,
    audit: Checkpoints,
    stop: &CancellationToken,
) -> JoinHandle<()> {
    let (context, connection, live, stop) =
        (context.clone(), connection.clone(), live.clone(), stop.clone());
    tokio::spawn(async move {
        let started_at = Utc::now();
        let mut changes = live.changes();
        let mut ticks = tokio::time::interval(context.config.policies.report);
        let mut roll = None;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = ticks.tick() => (),
                changed = changes.changed() => if changed.is_err() { break },
            }
            changes.mark_unchanged();
            let status = status(&context, &live, &audit, started_at);
            roll = report(&context, &connection, &status, roll).await;
        }
        if let Some(roll) = roll
            && let Err(error) = roll.leave(&context.name).await
        {
            tracing::debug!(%error, "the roll of workers keeps us until it forgets");
        }
    })
}

async fn report(
    context: &RoleContext,
    connection: &Connection,
    status: &WorkerStatus,
    roll: Option<Roll>,
) -> Option<Roll> {
    let status = serde_json::to_vec(status).unwrap_or_default();
    let reporting = async {
        let roll = match roll {
            Some(roll) => roll,
            None => Roll::ensure(connection, &context.config).await?,
        };
        roll.report(&context.name, status).await?;
        Ok::<Roll, crate::bus::BusError>(roll)
    };
    match reporting.await {
        Ok(roll) => Some(roll),
        // The bucket lives in memory: a server that restarts has lost it, and it is made anew.
        Err(error) => {
            tracing::debug!(%error, "what is in force could not be reported");
            None
        }
    }
}

fn status(
    context: &RoleContext,
    live: &LivePolicies,
    audit: &Checkpoints,
    started_at: DateTime<Utc>,
) -> WorkerStatus {
    let now = live.current();
    WorkerStatus {
        name: context.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        revision: now.set.revision().to_string(),
        sequence: now.sequence,
        policies: now.set.entries().len(),
        taking_part: now.set.taking_part(),
        enforcement: now.enforcement,
        problems: now.problems.clone(),
        started_at,
        reported_at: Utc::now(),
        audit: audit.status(),
    }
}

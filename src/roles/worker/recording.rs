//! How this worker records: the recorder with its files, and the checkpoints by which it can be told
//! whether an event is missing.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{SubsecRound as _, Utc};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::numbers::Numbers;
use crate::bus::{
    BusError, Connection, Destination, Outgoing, Record, Recorder, RecorderSettings, SpillSettings,
    Subjects,
};
use crate::config::{Acknowledge, OnUnavailable};
use crate::contract::{AuditStatus, CheckpointEvent, EVENT_SCHEMA, Number};
use crate::roles::{RoleContext, bytes};

/// The recorder of a run, with files where there is a folder for them.
///
/// # Errors
/// When the connection has ended, or there is no thread for the files.
pub(super) async fn start(
    context: &RoleContext,
    connection: &Connection,
    run: Uuid,
) -> Result<Recorder, BusError> {
    let audit = &context.config.audit;
    let settings = RecorderSettings {
        timeout: audit.acknowledge_timeout,
        in_flight: audit.max_in_flight,
        backlog: audit.retry_queue,
        backlog_bytes: bytes(audit.retry_queue_bytes),
        retry: context.retry(),
        run,
    };
    let health = context.health.part("audit");
    let spills =
        !audit.spill_folder.as_os_str().is_empty() && audit.acknowledge != Acknowledge::Off;
    let spill = spills.then(|| {
        let settings = SpillSettings {
            folder: audit.spill_folder.clone(),
            destination: Destination::new(
                &context.config.nats.url,
                &context.config.nats.subject_prefix,
                &context.config.stream.name,
            ),
            max_bytes: audit.spill_max_bytes.as_u64(),
        };
        (settings, context.health.part("spill"))
    });
    Recorder::start(connection, settings, health, spill).await
}

/// Tells, every now and then and at the end, how far this run has counted.
#[derive(Clone)]
pub(super) struct Checkpoints {
    context: RoleContext,
    subject: String,
    recorder: Recorder,
    numbers: Arc<Numbers>,
}

impl Checkpoints {
    pub(super) fn new(
        context: &RoleContext,
        subjects: &Subjects,
        recorder: &Recorder,
        numbers: &Arc<Numbers>,
    ) -> Self {
        Self {
            context: context.clone(),
            subject: subjects.checkpoint(),
            recorder: recorder.clone(),
            numbers: Arc::clone(numbers),
        }
    }

    /// Tells until stopped, whenever something has changed. One that doesn't get through is made up
    /// for by the next.
    async fn tell(self, stop: CancellationToken) {
        if !self.records() {
            return;
        }
        let mut ticks = tokio::time::interval(self.context.config.audit.checkpoint);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told = None;
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let event = self.event(false);
            let state = (event.numbered, event.recorded, event.kept, event.given_up.len());
            if told == Some(state) {
                continue;
            }
            let given_up = event.given_up.clone();
            if self.recorder.offer(self.outgoing(&event)).await {
                told = Some((state.0, state.1, state.2, 0));
            } else {
                self.recorder.return_given_up(given_up);
            }
        }
    }

    /// Tells that this run has ended. Kept, if the stream doesn't take it.
    async fn last(&self) {
        if self.records() {
            let event = self.event(true);
            self.recorder.record(Record { events: vec![self.outgoing(&event)] }).await;
        }
    }

    /// How recording stands, for those who look at this worker from outside.
    pub(super) fn status(&self) -> AuditStatus {
        let audit = &self.context.config.audit;
        AuditStatus {
            acknowledge: match audit.acknowledge {
                Acknowledge::BeforeReply => "before_reply",
                Acknowledge::AfterReply => "after_reply",
                Acknowledge::Off => "off",
            }
            .to_owned(),
            on_unavailable: match audit.on_unavailable {
                OnUnavailable::Allow => "allow",
                OnUnavailable::Deny => "deny",
            }
            .to_owned(),
            numbered: self.numbers.given(),
            ..self.recorder.status()
        }
    }

    fn records(&self) -> bool {
        self.context.config.audit.acknowledge != Acknowledge::Off
    }

    fn event(&self, last: bool) -> CheckpointEvent {
        let status = self.recorder.status();
        CheckpointEvent {
            schema: EVENT_SCHEMA,
            id: Uuid::now_v7(),
            timestamp: Utc::now().trunc_subsecs(6),
            worker: self.context.name.clone(),
            worker_run: self.numbers.run(),
            recorded: status.recorded,
            kept: status.kept,
            given_up: self.recorder.given_up(),
            // After what was counted: whatever was published has its number by now.
            numbered: self.numbers.given(),
            last,
        }
    }

    fn outgoing(&self, event: &CheckpointEvent) -> Outgoing {
        Outgoing {
            subject: self.subject.clone(),
            id: event.id.to_string(),
            payload: Bytes::from(serde_json::to_vec(event).unwrap_or_default()),
            traceparent: None,
            number: Number::default(),
        }
    }
}

/// The checkpoints of a run as they are told, one after the other.
pub(super) struct Telling {
    checkpoints: Checkpoints,
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Telling {
    pub(super) fn start(checkpoints: &Checkpoints) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(checkpoints.clone().tell(stop.clone()));
        Self { checkpoints: checkpoints.clone(), task, stop }
    }

    /// Tells the last one, when the one before is told or has failed: what that one took along must be
    /// in it, else.
    pub(super) async fn end(mut self) {
        self.stop.cancel();
        let _ = (&mut self.task).await;
        self.checkpoints.last().await;
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

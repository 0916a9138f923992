//! Threads that evaluate, apart from those that do I/O: a policy that takes its time never keeps
//! the connection from answering the server.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::decide::{Answer, Asked, Decider, Searching, Unrecorded};
use super::fit;
use crate::bus::{Incoming, Kind, Recorder};
use crate::config::{Acknowledge, Config};
use crate::contract::batch::BatchItem;
use crate::contract::{BatchReply, RequestFault};
use crate::domain::AuditState;
use crate::engine::{Evaluator, stack_bytes};
use crate::runtime::eager::run_or_spawn;
use crate::runtime::metrics::{self, CheckOutcome};

/// A request with its place among those in flight.
pub(super) struct Job {
    pub(super) incoming: Incoming,
    pub(super) permit: OwnedSemaphorePermit,
}

/// The threads and the queue before them.
pub(super) struct Pool {
    queue: flume::Sender<Job>,
    stopped: Vec<oneshot::Receiver<()>>,
}

impl Pool {
    /// Starts the threads.
    pub(super) fn start(
        config: &Config,
        decider: Arc<Decider>,
        recorder: Recorder,
    ) -> std::io::Result<Self> {
        let threads = match config.worker.evaluation_threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let acknowledge = config.audit.acknowledge;
        let finish = Arc::new(Finish { recorder, decider, acknowledge });
        let (queue, jobs) = flume::bounded::<Job>(config.worker.queue);
        let mut stopped = Vec::with_capacity(threads);
        for number in 0..threads {
            let (jobs, finish) = (jobs.clone(), Arc::clone(&finish));
            let remembered = config.worker.remembered;
            let (done, wait) = oneshot::channel();
            std::thread::Builder::new()
                .name(format!("evaluate-{number}"))
                .stack_size(stack_bytes(config.limits.instructions))
                .spawn(move || {
                    let mut evaluator = Evaluator::remembering(finish.decider.limits(), remembered);
                    while let Ok(job) = jobs.recv() {
                        finish.job(job, &mut evaluator);
                    }
                    let _ = done.send(());
                })?;
            stopped.push(wait);
        }
        Ok(Self { queue, stopped })
    }

    /// Queues a request, or gives it back when the queue is full.
    pub(super) fn submit(&self, job: Job) -> Result<(), Box<Job>> {
        self.queue.try_send(job).map_err(|error| Box::new(error.into_inner()))
    }

    /// Lets the threads finish the queue and waits for them.
    pub(super) async fn stop(self) {
        drop(self.queue);
        for stopped in self.stopped {
            let _ = stopped.await;
        }
    }
}

/// What happens after the evaluation.
struct Finish {
    recorder: Recorder,
    decider: Arc<Decider>,
    acknowledge: Acknowledge,
}

impl Finish {
    /// Evaluates on this thread, and sends what is to be recorded; what has to wait for the stream's
    /// acknowledgement goes on when that comes.
    fn job(self: &Arc<Self>, job: Job, evaluator: &mut Evaluator) {
        let Job { incoming, permit } = job;
        let asked = Asked {
            agent: incoming.agent.as_deref(),
            traceparent: incoming.traceparent(),
            document: incoming.wants_document(),
        };
        match incoming.kind {
            Kind::Check => match self.decider.check(incoming.payload(), asked, evaluator) {
                Ok(answer) => self.one(incoming, answer, permit),
                Err(fault) => refuse(incoming, fault, permit, self.recorder.runtime()),
            },
            // The others never get here: management has threads of its own.
            Kind::Batch | Kind::Evaluate | Kind::Admin => {
                match self.decider.batch(incoming.payload(), asked, evaluator) {
                    Ok(answers) => {
                        let finish = Arc::clone(self);
                        self.recorder.runtime().spawn(async move {
                            finish.many(incoming, answers).await;
                            drop(permit);
                        });
                    }
                    Err(fault) => refuse(incoming, fault, permit, self.recorder.runtime()),
                }
            }
        }
    }

    fn one(self: &Arc<Self>, incoming: Incoming, mut answer: Answer, permit: OwnedSemaphorePermit) {
        let record = std::mem::take(&mut answer.record);
        // Searched while the stream acknowledges.
        let searching = answer.searching(self.recorder.runtime());
        match self.acknowledge {
            Acknowledge::BeforeReply => {
                let finish = Arc::clone(self);
                self.recorder.record_then(record, move |recorded| {
                    let refused = answer.audited(recorded);
                    let runtime = finish.recorder.runtime().clone();
                    run_or_spawn(&runtime, async move {
                        finish.keep_refusals(refused).await;
                        tell(incoming, answer, searching).await;
                        drop(permit);
                    });
                });
            }
            Acknowledge::AfterReply => {
                answer.reply.audit = AuditState::Pending;
                let recorder = self.recorder.clone();
                run_or_spawn(self.recorder.runtime(), async move {
                    tell(incoming, answer, searching).await;
                    recorder.record_then(record, move |_| drop(permit));
                });
            }
            Acknowledge::Off => {
                answer.reply.audit = AuditState::Off;
                run_or_spawn(self.recorder.runtime(), async move {
                    tell(incoming, answer, searching).await;
                    drop(permit);
                });
            }
        }
    }

    async fn many(&self, incoming: Incoming, mut answers: Vec<Result<Answer, RequestFault>>) {
        let received = incoming.received;
        let records: Vec<_> = answers
            .iter_mut()
            .map(|answer| answer.as_mut().map(|a| std::mem::take(&mut a.record)).ok())
            .collect();
        let searches: Vec<_> = answers
            .iter_mut()
            .flatten()
            .map(|answer| answer.searching(self.recorder.runtime()))
            .collect();
        let recording = futures::future::join_all(records.into_iter().map(|record| async {
            match record {
                Some(record) => self.recorder.record(record).await,
                None => true,
            }
        }));
        let after = match self.acknowledge {
            Acknowledge::BeforeReply => {
                let recorded = recording.await;
                let refused = answers.iter_mut().zip(recorded).filter_map(|(answer, recorded)| {
                    answer.as_mut().ok().and_then(|answer| answer.audited(recorded))
                });
                self.keep_refusals(refused).await;
                None
            }
            Acknowledge::AfterReply => {
                answers.iter_mut().flatten().for_each(|a| a.reply.audit = AuditState::Pending);
                Some(recording)
            }
            Acknowledge::Off => {
                answers.iter_mut().flatten().for_each(|a| a.reply.audit = AuditState::Off);
                None
            }
        };
        for (answer, searching) in answers.iter_mut().flatten().zip(searches) {
            answer.remedied(searching).await;
            answer.counted(received.elapsed());
        }
        let largest = answers.iter().flatten().map(Answer::largest).min().unwrap_or(usize::MAX);
        let mut reply = BatchReply { decisions: answers.into_iter().map(item).collect() };
        send(incoming, fit::batch(&mut reply, largest)).await;
        if let Some(recording) = after {
            recording.await;
        }
    }
}

impl Finish {
    /// History must say what the agent was told: beside each decision that is kept, that it was
    /// answered with a denial.
    async fn keep_refusals(&self, refused: impl IntoIterator<Item = Box<Unrecorded>>) {
        let events: Vec<_> = refused
            .into_iter()
            .filter_map(|unrecorded| self.decider.refused_unrecorded(&unrecorded))
            .collect();
        if !events.is_empty() {
            self.recorder.keep(events).await;
        }
    }
}

fn item(answer: Result<Answer, RequestFault>) -> BatchItem {
    match answer {
        Ok(answer) => BatchItem::Decision(Box::new(answer.reply)),
        Err(fault) => {
            metrics::checks(CheckOutcome::Malformed).increment(1);
            BatchItem::Fault(fault.body())
        }
    }
}

/// Answers, when the search for what would have been allowed has ended.
async fn tell(incoming: Incoming, mut answer: Answer, searching: Option<Searching>) {
    let received = incoming.received;
    answer.remedied(searching).await;
    send(incoming, answer.encoded()).await;
    answer.counted(received.elapsed());
}

async fn send(incoming: Incoming, body: Result<Vec<u8>, serde_json::Error>) {
    let sent = match body {
        Ok(body) => incoming.reply(body).await.map_err(|e| e.to_string()),
        Err(error) => Err(error.to_string()),
    };
    if let Err(error) = sent {
        tracing::warn!(error, "a reply could not be sent; its decision is recorded");
    }
}

fn refuse(incoming: Incoming, fault: RequestFault, permit: OwnedSemaphorePermit, runtime: &Handle) {
    metrics::checks(CheckOutcome::Malformed).increment(1);
    run_or_spawn(runtime, async move {
        if let Err(error) = incoming.refuse(&fault).await {
            tracing::warn!(%error, "a refusal could not be sent");
        }
        drop(permit);
    });
}

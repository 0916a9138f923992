//! What all doors share: who asks the workers, which packages there are, and who may come in.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::ConsoleError;
use super::ask::Asker;
use super::directory::Directory;
use super::guard::Guard;
use super::problem::Problem;
use crate::bus;
use crate::config::Config;
use crate::engine::{CompileLimits, EvaluationLimits};
use crate::roles::{RoleContext, worker};
use crate::store::Store;

/// The part of the health that is ready while NATS is there.
pub(super) const NATS_PART: &str = "nats-console";

/// Suites and impacts that are computed at once; more wait.
const WORK_AT_ONCE: usize = 1;

/// The console's ways to ask. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    asker: Asker,
    store: Store,
    exports: Arc<Semaphore>,
    tails: Arc<Semaphore>,
    work: Arc<Semaphore>,
    stop: OnceLock<CancellationToken>,
    directory: Directory,
    guard: Guard,
    max_body: usize,
    max_batch: usize,
    patience: Duration,
    base: Base,
}

/// What compiling and evaluating may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) compile: CompileLimits,
    pub(super) evaluate: EvaluationLimits,
}

/// How this server is called.
#[derive(Clone, Debug)]
pub(super) struct Base {
    /// `http.public_url`; empty where the client's own word counts.
    pub(super) public: String,
    /// The address listened on.
    pub(super) listen: String,
}

impl Doors {
    /// The doors as configured. They answer at once; what needs a worker fails open or closed until
    /// [`super::run`] has found NATS.
    ///
    /// # Errors
    /// When the tokens can't be read.
    pub fn new(config: &Config) -> Result<Self, ConsoleError> {
        let http = &config.http;
        Ok(Self {
            inner: Arc::new(Inner {
                config: config.clone(),
                asker: Asker::new(config),
                store: Store::connect(&config.clickhouse),
                exports: Arc::new(Semaphore::new(http.max_exports)),
                tails: Arc::new(Semaphore::new(http.max_tails)),
                work: Arc::new(Semaphore::new(WORK_AT_ONCE)),
                stop: OnceLock::new(),
                directory: Directory::default(),
                guard: Guard::new(http)?,
                max_body: super::super::bytes(http.max_body),
                max_batch: http.max_batch,
                // Less than the request itself may take, so that a batch is answered in time.
                patience: http.request_timeout.mul_f64(0.9),
                base: Base {
                    public: http.public_url.trim_end_matches('/').to_owned(),
                    listen: http.listen.to_string(),
                },
            }),
        })
    }

    pub(super) fn asker(&self) -> &Asker {
        &self.inner.asker
    }

    pub(super) fn config(&self) -> &Config {
        &self.inner.config
    }

    /// The history.
    pub(super) fn store(&self) -> &Store {
        &self.inner.store
    }

    /// What goes on for long ends with this server.
    pub(super) fn end_with(&self, stop: CancellationToken) {
        // A second one would be a second server of the same console; the first ends it.
        let _ = self.inner.stop.set(stop);
    }

    /// When what goes on for long must end.
    pub(super) fn stop(&self) -> CancellationToken {
        self.inner.stop.get().cloned().unwrap_or_default()
    }

    /// A place among the exports under way; none while all are taken.
    pub(super) fn export_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.exports).try_acquire_owned().ok()
    }

    /// A place among those who look at live events; none while all are taken.
    pub(super) fn tail_place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.inner.tails).try_acquire_owned().ok()
    }

    /// What compiling and trying a policy here may cost: as on a worker.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            compile: worker::compile_limits(&self.inner.config),
            evaluate: worker::evaluation_limits(&self.inner.config),
        }
    }

    /// Does work that takes the processor, apart from the threads that answer, a little at a time.
    pub(super) async fn working<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let failed = |error: &dyn std::fmt::Display| {
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        };
        let place = Arc::clone(&self.inner.work).acquire_owned().await;
        let place = place.map_err(|error| failed(&error))?;
        // The work goes on when its caller has gone, and keeps its place until it ends.
        let placed = move || {
            let _place = place;
            work()
        };
        tokio::task::spawn_blocking(placed).await.map_err(|error| failed(&error))
    }

    /// Whether the server can be reached from this machine alone.
    pub(super) fn is_loopback(&self) -> bool {
        self.inner.config.http.listen.ip().is_loopback()
    }

    pub(super) fn directory(&self) -> &Directory {
        &self.inner.directory
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.inner.guard
    }

    pub(super) fn max_body(&self) -> usize {
        self.inner.max_body
    }

    pub(super) fn max_batch(&self) -> usize {
        self.inner.max_batch
    }

    /// How long the checks of one request may take together.
    pub(super) fn patience(&self) -> Duration {
        self.inner.patience
    }

    pub(super) fn base(&self) -> &Base {
        &self.inner.base
    }

    /// Waits until the reports of unchecked calls are delivered, so long at most: the last thing that
    /// a console does.
    pub async fn finish(&self, patience: Duration) {
        self.inner.asker.reports().finish(patience).await;
    }
}

impl std::fmt::Debug for Doors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Doors").finish_non_exhaustive()
    }
}

/// Connects to NATS and reports unchecked calls, until told to stop. The reports go on until the
/// process ends or [`Doors::finish`] has waited for them.
///
/// # Errors
/// When a setting makes any connection impossible.
pub async fn run(doors: Doors, context: RoleContext) -> Result<(), ConsoleError> {
    let health = context.health.part(NATS_PART);
    let (nats, retry, stop) = (&context.config.nats, context.retry(), &context.stop);
    let connection = match bus::connect(nats, &context.name, "console", retry, &health, stop).await
    {
        Ok(connection) => connection,
        Err(_) if stop.is_cancelled() => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    doors.asker().connected(connection.clone());
    let delivering = doors.clone();
    // Beyond this role's end: the last unchecked calls come while the other roles finish.
    tokio::spawn(async move {
        let asker = delivering.asker();
        asker.reports().deliver(&connection, asker.subjects(), retry).await;
    });
    stop.cancelled().await;
    Ok(())
}

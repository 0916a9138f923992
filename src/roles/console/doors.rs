//! What all doors share: who asks the workers, which packages there are, and who may come in.

use std::sync::Arc;
use std::time::Duration;

use super::ConsoleError;
use super::ask::Asker;
use super::directory::Directory;
use super::guard::Guard;
use crate::bus;
use crate::config::Config;
use crate::roles::RoleContext;

/// The part of the health that is ready while NATS is there.
pub(super) const NATS_PART: &str = "nats-console";

/// The console's ways to ask. Cheap to clone.
#[derive(Clone)]
pub struct Doors {
    inner: Arc<Inner>,
}

struct Inner {
    asker: Asker,
    directory: Directory,
    guard: Guard,
    max_body: usize,
    max_batch: usize,
    patience: Duration,
    base: Base,
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
                asker: Asker::new(config),
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

//! A fleet to look at: planners, researchers and engineers ask before everything they do, over the
//! client that users have. Files and HTTP are real, in a folder and on a server of their own; models
//! are simulated from a recorded price list.

mod agent;
mod mind;
mod tally;
mod world;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::agent::Agent;
use self::mind::Mind;
use self::world::World;
use crate::client::{self, Client, ClientError};

pub use self::mind::Job;
pub use self::tally::{Row, Tally};

/// How a fleet is made.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the agents reach the workers.
    pub client: client::Settings,
    /// How many agents.
    pub agents: usize,
    /// Checks in a second, of all agents together; about.
    pub rate: f64,
    /// How long it works; until told to stop where that is none.
    pub length: Option<Duration>,
    /// From it follows what agents want to do. When, and what is denied, does not.
    pub seed: u64,
    /// The project that all work belongs to.
    pub project: String,
    /// Where agents keep files. Made, and deleted at the end.
    pub folder: PathBuf,
}

/// Why there is no fleet.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The client's settings can't work.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// What the agents need can't be made.
    #[error("{what}: {source}")]
    Io {
        /// What failed.
        what: String,
        /// Why.
        source: std::io::Error,
    },
    /// The HTTP client of the agents can't be made.
    #[error("the agents' HTTP client: {0}")]
    Http(#[from] reqwest::Error),
    /// The recorded prices can't be read.
    #[error("the price list: {0}")]
    Prices(#[from] serde_json::Error),
}

impl DemoError {
    /// Whether the same may work later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_transient())
    }
}

/// One guarded operation, as it went.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Happening {
    /// Who.
    pub agent: String,
    /// What.
    pub action: &'static str,
    /// On what, for people.
    pub on: String,
    /// Under which id the audit has it.
    pub decision_id: uuid::Uuid,
    /// Whether it could go on.
    pub allowed: bool,
    /// Whether a worker decided.
    pub checked: bool,
    /// Why not.
    pub deny_reasons: Vec<String>,
    /// What policies warned of.
    pub warnings: Vec<String>,
    /// What the operation failed with; empty where it didn't.
    pub failed: &'static str,
    /// What it cost, in dollars.
    pub cost_usd: f64,
}

/// Is shown each operation.
pub type Watcher = Arc<dyn Fn(&Happening) + Send + Sync>;

/// Lets a fleet work until its time is over or it is told to stop.
///
/// # Errors
/// When the fleet can't be made. That nobody answers is none: agents go on, and their calls are
/// unchecked.
pub async fn run(
    settings: Settings,
    watcher: Watcher,
    stop: CancellationToken,
) -> Result<Tally, DemoError> {
    let world = Arc::new(World::open(settings.folder).await?);
    let client = Client::connect(settings.client).await?;
    let tally = Arc::<Mutex<Tally>>::default();
    let stop = stop.child_token();
    let mut agents = JoinSet::new();
    // By id, so that the sessions of two runs with the same seed are told apart.
    let run = format!("{:08x}", uuid::Uuid::new_v4().as_fields().0);
    let pause = agents_pause(settings.agents, settings.rate);
    for number in 0..settings.agents {
        let agent = Agent {
            mind: Mind::new(settings.seed, number, &run),
            project: settings.project.clone(),
            client: client.clone(),
            world: Arc::clone(&world),
            tally: Arc::clone(&tally),
            watcher: Arc::clone(&watcher),
            pause,
        };
        agents.spawn(agent.work_until(stop.clone()));
    }
    match settings.length {
        Some(length) => tokio::select! {
            () = stop.cancelled() => (),
            () = tokio::time::sleep(length) => stop.cancel(),
        },
        None => stop.cancelled().await,
    }
    agents.join_all().await;
    let unreported = client.close().await;
    let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tally.unreported = unreported;
    Ok(tally)
}

/// How long an agent waits between two operations, on average, so that all together ask so often.
fn agents_pause(agents: usize, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "some hundred agents")]
    let seconds = agents as f64 / rate;
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

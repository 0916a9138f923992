//! What agents work with: a folder with files, a web server, and models that are simulated.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::DemoError;
use super::mind::{Operation, SECRETS, TOPICS};

/// Dollars for a million tokens, as recorded once.
const PRICES: &str = include_str!("../../examples/research_fleet/prices.json");
/// How long a page may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// A model takes so long for a token of its answer: a tenth of what real ones take.
const PER_TOKEN: Duration = Duration::from_micros(250);
/// One in so many answers of models fails; chosen by the length of the answer, so by the seed.
const BUSY: u64 = 29;
/// Likewise of pages, by their number.
const MISSING: &str = "tidal-turbines";

#[derive(Deserialize)]
struct PriceList {
    models: BTreeMap<String, Price>,
}

#[derive(Clone, Copy, Deserialize)]
struct Price {
    input: f64,
    output: f64,
}

/// Why an operation failed. Its name is what the outcome tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WorkError {
    /// The model is busy.
    ModelBusy,
    /// A file can't be read or written.
    File,
    /// A page isn't there.
    PageMissing,
    /// The server can't be reached.
    Http,
}

impl WorkError {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::ModelBusy => "ModelBusy",
            Self::File => "FileError",
            Self::PageMissing => "PageMissing",
            Self::Http => "HttpError",
        }
    }
}

/// The folder, the server and the prices.
pub(super) struct World {
    folder: PathBuf,
    site: SocketAddr,
    http: reqwest::Client,
    prices: PriceList,
    _server: AbortOnDropHandle<()>,
}

impl World {
    pub(super) async fn open(folder: PathBuf) -> Result<Self, DemoError> {
        let io = |what: String| move |source| DemoError::Io { what, source };
        let prices = serde_json::from_str(PRICES)?;
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener =
            TcpListener::bind(local).await.map_err(io(format!("listening on {local}")))?;
        let site = listener.local_addr().map_err(io("the agents' server".to_owned()))?;
        let router = Router::new().route("/pages/{topic}", get(page));
        let server = tokio::spawn(async move {
            // It ends with the fleet; an error before shows as pages that can't be had.
            _ = axum::serve(listener, router).await;
        });
        let world = Self {
            folder,
            site,
            http: reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?,
            prices,
            _server: AbortOnDropHandle::new(server),
        };
        let made = furnish(&world.folder).await;
        made.map_err(io(format!("making {}", world.folder.display())))?;
        Ok(world)
    }

    /// What a call of a model is expected to cost, in dollars; nothing for another operation.
    pub(super) fn estimate(&self, operation: &Operation) -> Option<f64> {
        match operation {
            Operation::Ask { model, prompt, .. } => Some(self.price(model, *prompt, 800)),
            _ => None,
        }
    }

    /// The URL of a page.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.site)
    }

    /// Does it. Gives what it cost, in dollars, for what costs something.
    pub(super) async fn perform(&self, operation: &Operation) -> Result<Option<f64>, WorkError> {
        match operation {
            Operation::Ask { model, prompt, answer } => {
                tokio::time::sleep(PER_TOKEN * u32::try_from(*answer).unwrap_or_default()).await;
                if answer.is_multiple_of(BUSY) {
                    return Err(WorkError::ModelBusy);
                }
                Ok(Some(self.price(model, *prompt, *answer)))
            }
            Operation::Read(path) => {
                let read = tokio::fs::read(self.folder.join(path)).await;
                read.map(|_| None).map_err(|_| WorkError::File)
            }
            Operation::Write(path, bytes) => {
                let wrote = tokio::fs::write(self.folder.join(path), vec![b'.'; *bytes]).await;
                wrote.map(|()| None).map_err(|_| WorkError::File)
            }
            Operation::Delete(path) => {
                let deleted = tokio::fs::remove_file(self.folder.join(path)).await;
                deleted.map(|()| None).map_err(|_| WorkError::File)
            }
            Operation::Fetch(path) => {
                let reply = self.http.get(self.url(path)).send().await;
                let reply = reply.map_err(|_| WorkError::Http)?;
                if !reply.status().is_success() {
                    return Err(WorkError::PageMissing);
                }
                reply.bytes().await.map(|_| None).map_err(|_| WorkError::Http)
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "some thousand tokens")]
    fn price(&self, model: &str, prompt: u64, answer: u64) -> f64 {
        self.prices.models.get(model).map_or(0.0, |price| {
            (prompt as f64 * price.input + answer as f64 * price.output) / 1_000_000.0
        })
    }
}

/// The folder is of no use to anybody else.
impl Drop for World {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(folder = %self.folder.display(), %error, "the demo's folder can't be deleted");
        }
    }
}

async fn page(axum::extract::Path(topic): axum::extract::Path<String>) -> (StatusCode, String) {
    if TOPICS.contains(&topic.as_str()) && topic != MISSING {
        (StatusCode::OK, format!("<h1>{topic}</h1>{}", "<p>A measured fact.</p>".repeat(40)))
    } else {
        (StatusCode::NOT_FOUND, "no such page".to_owned())
    }
}

/// The files that the fleet finds, some of which are none of its business.
async fn furnish(folder: &Path) -> std::io::Result<()> {
    for name in ["notes", "reports", "deploy", "config"] {
        tokio::fs::create_dir_all(folder.join(name)).await?;
    }
    for topic in TOPICS {
        let text = format!("# {topic}\n\nWhat we know so far.\n");
        tokio::fs::write(folder.join(format!("notes/{topic}.md")), text).await?;
    }
    for secret in SECRETS {
        tokio::fs::write(folder.join(secret), "nothing that is really secret\n").await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_is_real_and_is_gone_afterwards() {
        let folder = tempfile::tempdir().unwrap().path().join("demo");
        let world = World::open(folder.clone()).await.unwrap();
        for secret in SECRETS {
            assert_eq!(world.perform(&Operation::Read(secret.to_owned())).await, Ok(None));
        }
        let path = "reports/a.md".to_owned();
        let read = Operation::Read(path.clone());
        assert_eq!(world.perform(&read).await, Err(WorkError::File));
        assert_eq!(world.perform(&Operation::Write(path.clone(), 10)).await, Ok(None));
        assert_eq!(std::fs::read(folder.join(&path)).unwrap().len(), 10);
        assert_eq!(world.perform(&Operation::Delete(path)).await, Ok(None));
        assert_eq!(world.perform(&read).await, Err(WorkError::File));
        let fetch = |topic: &str| Operation::Fetch(format!("/pages/{topic}"));
        assert_eq!(world.perform(&fetch(TOPICS[0])).await, Ok(None));
        assert_eq!(world.perform(&fetch(MISSING)).await, Err(WorkError::PageMissing));
        let ask = |answer| Operation::Ask { model: "gpt-4", prompt: 1_000, answer };
        let cost = world.perform(&ask(500)).await.unwrap().unwrap();
        assert!((cost - 0.06).abs() < 1e-9, "{cost}");
        assert_eq!(world.perform(&ask(BUSY * 10)).await, Err(WorkError::ModelBusy));
        assert!(world.estimate(&ask(1)).unwrap() > 0.0);
        assert_eq!(world.estimate(&read), None);
        drop(world);
        assert!(!folder.exists());
    }
}

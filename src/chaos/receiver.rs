//! What the alerter posts to: an HTTP server that now and then refuses, or hangs up.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::error::ChaosError;

/// One in so many posts is refused, in a way that says to come again.
const REFUSED: u64 = 10;

/// What was posted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Posted {
    /// How often each violation was taken, by its key.
    pub violations: BTreeMap<Uuid, u64>,
    /// All posts.
    pub posts: u64,
    /// Posts that were refused.
    pub refused: u64,
    /// Posts that are no violation, or whose key isn't its id.
    pub strange: u64,
}

/// The receiver. Ends when dropped.
#[derive(Debug)]
pub(super) struct Receiver {
    address: SocketAddr,
    posted: Arc<Mutex<Posted>>,
    _task: AbortOnDropHandle<()>,
}

#[derive(Deserialize)]
struct Post {
    id: Uuid,
    r#type: String,
}

impl Receiver {
    /// Listens on a free port of loopback.
    pub(super) async fn start() -> Result<Self, ChaosError> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let refused = || ChaosError::io("listen on", local.to_string());
        let listener = TcpListener::bind(local).await.map_err(refused())?;
        let address = listener.local_addr().map_err(refused())?;
        let posted = Arc::<Mutex<Posted>>::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&posted));
        let task = tokio::spawn(async move {
            // It ends with the process; nobody hears of an error before.
            _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, posted, _task: AbortOnDropHandle::new(task) })
    }

    /// Where to post.
    pub(super) fn url(&self) -> String {
        format!("http://{}/events", self.address)
    }

    /// What was posted so far.
    pub(super) fn posted(&self) -> Posted {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn take(
    State(posted): State<Arc<Mutex<Posted>>>,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> StatusCode {
    let mut posted = posted.lock().unwrap_or_else(PoisonError::into_inner);
    posted.posts += 1;
    if posted.posts.is_multiple_of(REFUSED) {
        posted.refused += 1;
        return StatusCode::SERVICE_UNAVAILABLE;
    }
    let key = headers.get("idempotency-key").and_then(|key| key.to_str().ok());
    match serde_json::from_slice::<Post>(&body) {
        Ok(Post { id, r#type })
            if r#type == "sluicegate.violation.v1" && key == Some(id.to_string().as_str()) =>
        {
            *posted.violations.entry(id).or_default() += 1;
        }
        _ => posted.strange += 1,
    }
    StatusCode::OK
}

//! What takes posts: an HTTP server that answers as it is told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

/// How a post is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    RetryAfter(u16, &'static str),
    Redirect(String),
    /// Never.
    Hang,
    /// By a body that doesn't end.
    Endless,
    Slow(Duration),
}

/// A post as it came.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) key: Uuid,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

#[derive(Default)]
struct Shared {
    posts: Mutex<Vec<Post>>,
    script: Mutex<VecDeque<Answer>>,
    always: Mutex<Option<Answer>>,
}

pub(crate) struct Receiver {
    port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::<Shared>::default();
        let router = Router::new().fallback(take).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, shared, server }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/services/s3cret", self.port)
    }

    pub(crate) fn name(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Answers the next posts so, one after the other; then with 200.
    pub(crate) fn script(&self, answers: impl IntoIterator<Item = Answer>) {
        self.shared.script.lock().unwrap().extend(answers);
    }

    /// Answers every post so that the script says nothing of.
    pub(crate) fn always(&self, answer: Answer) {
        *self.shared.always.lock().unwrap() = Some(answer);
    }

    pub(crate) fn posts(&self) -> Vec<Post> {
        self.shared.posts.lock().unwrap().clone()
    }

    pub(crate) fn keys(&self) -> Vec<Uuid> {
        self.posts().iter().map(|post| post.key).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn take(
    State(shared): State<Arc<Shared>>,
    uri: Uri,
    headers: HeaderMap,
    body: axum::body::Bytes,
) -> Response {
    let text = |name: &str| headers[name].to_str().unwrap().to_owned();
    shared.posts.lock().unwrap().push(Post {
        at: Instant::now(),
        path: uri.path().to_owned(),
        key: text("idempotency-key").parse().unwrap(),
        content_type: text("content-type"),
        body: serde_json::from_slice(&body).unwrap(),
    });
    let scripted = shared.script.lock().unwrap().pop_front();
    let answer = scripted.or_else(|| shared.always.lock().unwrap().clone());
    match answer.unwrap_or(Answer::Status(200)) {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::RetryAfter(status, wait) => {
            (StatusCode::from_u16(status).unwrap(), [(header::RETRY_AFTER, wait)]).into_response()
        }
        Answer::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Answer::Hang => std::future::pending().await,
        Answer::Endless => {
            let chunks =
                futures::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![b'x'; 65_536]));
            axum::body::Body::from_stream(chunks).into_response()
        }
        Answer::Slow(time) => {
            tokio::time::sleep(time).await;
            StatusCode::OK.into_response()
        }
    }
}

//! Taking connections: so many at once, none that says nothing for ever, and an orderly end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower_service::Service as _;

use super::guard::Peer;
use crate::runtime::metrics;

/// How long to wait when no connection can be taken, for example for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);
/// Bytes of a request's head.
const HEAD: usize = 64 << 10;

/// How connections are served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Connections at once; further ones wait in the operating system's queue.
    pub(super) connections: usize,
    /// How long a request's head may take, also that of a next one on the same connection.
    pub(super) idle: Duration,
}

/// Serves until told to stop, then finishes the requests under way.
pub(super) async fn serve(
    listener: TcpListener,
    router: Router,
    bounds: Bounds,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS)));
    let mut open = JoinSet::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        while open.try_join_next().is_some() {}
        match accepted {
            Ok((stream, address)) => {
                let connection =
                    Connection { stream, peer: Peer(address), router: router.clone(), place };
                open.spawn(connection.serve(bounds.idle, stop.clone()));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection could not be taken");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

struct Connection {
    stream: TcpStream,
    peer: Peer,
    router: Router,
    place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve(self, idle: Duration, stop: CancellationToken) {
        let Self { stream, peer, router, place } = self;
        let _ = stream.set_nodelay(true);
        metrics::http_connections().increment(1.0);
        let service = service_fn(move |mut request: Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            router.clone().call(request)
        });
        let mut builder = http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(idle).max_buf_size(HEAD);
        let mut connection =
            std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, peer = %peer.0, "a connection ended");
        }
        metrics::http_connections().decrement(1.0);
        drop(place);
    }
}

//! A way to a server that can be cut, frozen and slowed down, and that stays at its address when
//! the server moves to another one.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_util::task::AbortOnDropHandle;

use super::error::ChaosError;

/// Connections at once; beyond it new ones wait.
const CONNECTIONS: usize = 256;
/// Bytes that are passed on at once, in each direction of each connection.
const CHUNK: usize = 64 << 10;

/// How a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Passes on what comes.
    Open,
    /// Ends every connection.
    Cut,
    /// Keeps the connections and passes nothing on.
    Frozen,
    /// Passes on what comes so much later.
    Late(Duration),
}

/// A way to one server. Ends when dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    upstream: watch::Sender<Option<SocketAddr>>,
    _task: AbortOnDropHandle<()>,
}

impl Proxy {
    /// Listens on a free port of loopback. It leads nowhere yet.
    pub(super) async fn start() -> Result<Self, ChaosError> {
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let refused = || ChaosError::io("listen on", local.to_string());
        let listener = TcpListener::bind(local).await.map_err(refused())?;
        let address = listener.local_addr().map_err(refused())?;
        let (state, seen) = watch::channel(State::Open);
        let (upstream, whither) = watch::channel(None);
        let task = AbortOnDropHandle::new(tokio::spawn(accept(listener, seen, whither)));
        Ok(Self { address, state, upstream, _task: task })
    }

    /// Where it listens.
    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Leads to this server from now on; connections that are there stay where they are.
    pub(super) fn lead_to(&self, upstream: SocketAddr) {
        self.upstream.send_replace(Some(upstream));
    }

    /// Changes how it is, for connections that are there too.
    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

async fn accept(
    listener: TcpListener,
    state: watch::Receiver<State>,
    upstream: watch::Receiver<Option<SocketAddr>>,
) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((client, _)) = listener.accept().await else {
            // Out of file descriptors, for example: others will be given back.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let (state, whither) = (state.clone(), *upstream.borrow());
        tokio::spawn(async move {
            let _permit = permit;
            if let Some(upstream) = whither {
                pass(client, upstream, state).await;
            }
        });
    }
}

/// One connection, until either side ends it or the way is cut.
async fn pass(client: TcpStream, upstream: SocketAddr, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    if client.set_nodelay(true).is_err() || server.set_nodelay(true).is_err() {
        return;
    }
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (up, down) = (state.clone(), state.clone());
    tokio::select! {
        () = pump(from_client, to_server, up) => (),
        () = pump(from_server, to_client, down) => (),
        () = until(&mut state, |state| state == State::Cut) => (),
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let Ok(length @ 1..) = from.read(&mut chunk).await else { return };
        let now = *state.borrow();
        if let State::Late(late) = now {
            tokio::time::sleep(late).await;
        }
        until(&mut state, |state| state != State::Frozen).await;
        let Some(read) = chunk.get(..length) else { return };
        if to.write_all(read).await.is_err() {
            return;
        }
    }
}

/// Waits until the way is so, or is gone for good.
async fn until(state: &mut watch::Receiver<State>, is: impl Fn(State) -> bool) {
    // The answer borrows the channel, which must not outlive this.
    _ = state.wait_for(|state| is(*state)).await.map(|_| ());
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    /// A server that sends back what comes, and a way to it.
    async fn echo() -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start().await.unwrap();
        proxy.lead_to(listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut read, mut write) = client.split();
                    tokio::io::copy(&mut read, &mut write).await
                });
            }
        });
        proxy
    }

    async fn answers(stream: &mut TcpStream) -> bool {
        let mut byte = [0];
        stream.write_all(b"x").await.is_ok()
            && stream.read_exact(&mut byte).await.is_ok()
            && byte == *b"x"
    }

    #[tokio::test]
    async fn a_cut_ends_connections_and_takes_no_new_ones() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(answers(&mut stream).await);
        proxy.set(State::Cut);
        assert!(!tokio::time::timeout(SOON, answers(&mut stream)).await.unwrap());
        let mut another = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(!tokio::time::timeout(SOON, answers(&mut another)).await.unwrap());
        proxy.set(State::Open);
        let mut another = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(tokio::time::timeout(SOON, answers(&mut another)).await.unwrap());
    }

    #[tokio::test]
    async fn a_frozen_way_loses_nothing() {
        let proxy = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(answers(&mut stream).await);
        proxy.set(State::Frozen);
        let waiting = tokio::time::timeout(Duration::from_millis(100), answers(&mut stream)).await;
        assert!(waiting.is_err(), "nothing passes");
        proxy.set(State::Open);
        let mut byte = [0];
        tokio::time::timeout(SOON, stream.read_exact(&mut byte)).await.unwrap().unwrap();
        assert_eq!(byte, *b"x");
    }
}

//! A way to ClickHouse that loses answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on, except the answers to as many inserts as it is told.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) to_lose: Arc<AtomicU32>,
    pub(crate) lost: Arc<AtomicU32>,
}

impl Proxy {
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to_lose, lost) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        let counters = (Arc::clone(&to_lose), Arc::clone(&lost));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (to_lose, lost) = counters.clone();
                let upstream = upstream.clone();
                tokio::spawn(async move {
                    let server = TcpStream::connect(upstream).await.unwrap();
                    relay(client, server, &to_lose, &lost).await;
                });
            }
        });
        Self { port, to_lose, lost }
    }
}

async fn relay(client: TcpStream, server: TcpStream, to_lose: &AtomicU32, lost: &AtomicU32) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
    let mut inserting = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(read @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..read]);
                if text.starts_with("POST") {
                    inserting = text.contains("query=INSERT") && text.contains("policy_");
                }
                if to_server.write_all(&up[..read]).await.is_err() { return }
            }
            read = from_server.read(&mut down) => {
                let Ok(read @ 1..) = read else { return };
                let lose = |n: u32| n.checked_sub(1);
                if inserting && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                    // The server has answered, so the insert is done; nobody hears of it.
                    lost.fetch_add(1, Ordering::SeqCst);
                    return;
                }
                if to_client.write_all(&down[..read]).await.is_err() { return }
            }
        }
    }
}

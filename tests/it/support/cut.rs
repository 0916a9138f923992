//! A way to a server that can be cut and mended.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Passes everything on while it is whole; cut, it ends every connection and takes no new one.
pub(crate) struct Cut {
    address: SocketAddr,
    whole: watch::Sender<bool>,
}

impl Cut {
    /// A way to `upstream`, an address with a port.
    pub(crate) async fn start(upstream: &str) -> Self {
        let upstream = upstream.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, seen) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (mut seen, upstream) = (seen.clone(), upstream.clone());
                tokio::spawn(async move {
                    if !*seen.borrow() {
                        return;
                    }
                    // The server may be down.
                    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => (),
                        _ = seen.wait_for(|whole| !whole) => (),
                    }
                });
            }
        });
        Self { address, whole }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub(crate) fn mend(&self) {
        self.whole.send_replace(true);
    }
}

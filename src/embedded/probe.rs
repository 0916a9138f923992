//! Asking a server whether it is ready, and which one it is.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

use crate::config::Secret;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read.
const LONGEST_ANSWER: u64 = 64 * 1024;

/// How to ask one server.
#[derive(Clone, Debug)]
pub(super) enum Probe {
    /// The line with which a nats-server greets.
    Nats {
        /// Where it listens.
        address: SocketAddr,
        /// The name we gave it: another server that took the port in the meantime has another one.
        name: String,
    },
    /// ClickHouse's HTTP interface: `/ping`, then a query with user and password.
    ClickHouse {
        /// Where it listens.
        address: SocketAddr,
        /// User of the query.
        user: String,
        /// Password of the user.
        password: Secret,
    },
}

impl Probe {
    /// The version of the server that is ready, or what is missing until it is.
    pub(super) async fn version(&self) -> Result<String, String> {
        let attempt = async {
            match self {
                Self::Nats { address, name } => greeting(*address, name).await,
                Self::ClickHouse { address, user, password } => {
                    let (status, body) = get(*address, "/ping", "").await?;
                    if status != 200 {
                        return Err(format!("/ping answers {status}: {}", first_line(&body)));
                    }
                    select_version(*address, user, password).await
                }
            }
        };
        tokio::time::timeout(ATTEMPT, attempt)
            .await
            .unwrap_or_else(|_| Err(format!("no answer within {} s", ATTEMPT.as_secs())))
    }
}

#[derive(Deserialize)]
struct Info {
    server_name: String,
    version: String,
    #[serde(default)]
    jetstream: bool,
}

async fn greeting(address: SocketAddr, name: &str) -> Result<String, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST_ANSWER))
        .read_line(&mut line)
        .await
        .map_err(|error| error.to_string())?;
    let json = line.strip_prefix("INFO ").ok_or("what answers there is no nats-server")?;
    let info: Info = serde_json::from_str(json).map_err(|error| error.to_string())?;
    if info.server_name != name {
        return Err(format!("another nats-server ({}) answers there", info.server_name));
    }
    if !info.jetstream {
        return Err("JetStream is not available".into());
    }
    Ok(info.version)
}

async fn select_version(
    address: SocketAddr,
    user: &str,
    password: &Secret,
) -> Result<String, String> {
    let mut headers = format!("X-ClickHouse-User: {user}\r\n");
    if !password.is_empty() {
        headers.push_str(&format!("X-ClickHouse-Key: {}\r\n", password.expose()));
    }
    let (status, body) = get(address, "/?query=SELECT%20version()", &headers).await?;
    if status != 200 {
        return Err(format!("a query answers {status}: {}", first_line(&body)));
    }
    Ok(body.trim().to_owned())
}

/// One GET. HTTP/1.0, since its answers are neither chunked nor followed by another.
async fn get(address: SocketAddr, path: &str, headers: &str) -> Result<(u16, String), String> {
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(LONGEST_ANSWER).read_to_end(&mut answer).await?;
        std::io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    let answer = exchange.await.map_err(|error| error.to_string())?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| "what answers there does not speak HTTP".into())
}

fn first_line(body: &str) -> &str {
    body.lines().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// A server that gives each connection the same bytes.
    async fn answering(bytes: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(bytes.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                // Closing with unread bytes would reset the connection.
                tokio::io::copy(&mut stream, &mut tokio::io::sink()).await.unwrap();
            }
        });
        address
    }

    fn nats(address: SocketAddr) -> Probe {
        Probe::Nats { address, name: "ours".into() }
    }

    #[tokio::test]
    async fn a_nats_server_must_be_ours_and_have_jetstream() {
        let ours = "INFO {\"server_name\":\"ours\",\"version\":\"2.15.1\",\"jetstream\":true}\r\n";
        assert_eq!(nats(answering(ours).await).version().await.unwrap(), "2.15.1");
        let other = "INFO {\"server_name\":\"x\",\"version\":\"2.15.1\",\"jetstream\":true}\r\n";
        assert!(nats(answering(other).await).version().await.unwrap_err().contains("another"));
        let core = "INFO {\"server_name\":\"ours\",\"version\":\"2.15.1\"}\r\n";
        assert!(nats(answering(core).await).version().await.unwrap_err().contains("JetStream"));
        let web = "HTTP/1.1 400 Bad Request\r\n\r\n";
        assert!(nats(answering(web).await).version().await.unwrap_err().contains("no nats-server"));
    }

    #[tokio::test]
    async fn clickhouse_says_what_is_wrong() {
        let refused = "HTTP/1.0 403 Forbidden\r\n\r\nCode: 516. wrong password\nstack";
        let probe = Probe::ClickHouse {
            address: answering(refused).await,
            user: "default".into(),
            password: Secret::default(),
        };
        let error = probe.version().await.unwrap_err();
        assert!(error.contains("403") && !error.contains("stack"), "{error}");
    }
}

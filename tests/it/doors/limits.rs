//! What a caller may take: requests, bodies, time, connections.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::support::{House, SECRET, Said};
use crate::worker::support::{Fleet, until};

fn address(house: &House) -> String {
    house.url.strip_prefix("http://").unwrap().to_owned()
}

/// What comes back to bytes on a connection, until the server closes it.
async fn exchanged(house: &House, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address(house)).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let read = stream.read_to_end(&mut said);
    // A reset is an end too.
    let _ = tokio::time::timeout(Duration::from_secs(30), read).await.expect("it is closed");
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn callers_who_come_too_often_wait_each_for_himself() {
    let fleet = Fleet::new();
    let mut config = fleet.config.clone();
    (config.http.rate_limit, config.http.rate_burst) = (1, 3);
    let mut house = House::with_tokens(&config).await;
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(house.get("/v1/policies").await.status);
    }
    assert_eq!(codes[..3], [401; 3], "who may not come in is counted by his address");
    assert!(codes[3..].contains(&429), "{codes:?}");
    let said = until("a refusal", async || {
        let said = house.get("/v1/policies").await;
        (said.status == 429).then_some(said)
    })
    .await;
    assert_eq!(said.opa_code(429), "too_many_requests");
    assert_eq!(said.header("retry-after"), "1");
    let said = house.post("/access/v1/evaluation", json!({})).await;
    assert!([429, 401].contains(&said.status));
    // Health is never refused, and a token counts for itself.
    for _ in 0..10 {
        assert_eq!(house.get("/livez").await.status, 200);
    }
    house.as_role("viewer");
    assert_ne!(house.get("/v1/policies").await.status, 429);
    // After a while he may come again.
    let again = super::support::client();
    until("the limit lets him in again", async || {
        let sent = again.get(format!("{}/v1/policies", house.url));
        (Said::of(sent).await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn bodies_are_bounded_however_they_come() {
    let fleet = Fleet::new();
    let mut config = fleet.config.clone();
    config.http.max_body = bytesize::ByteSize::kib(4);
    let house = House::with_tokens(&config).await;
    let head = |more: &str| {
        format!(
            "POST /v1/data/a HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer checker{SECRET}\r\n\
             Connection: close\r\n{more}\r\n"
        )
    };
    let large = "x".repeat(5_000);
    for bytes in [
        format!("{}{large}", head("Content-Length: 5000\r\n")),
        format!("{}1388\r\n{large}\r\n0\r\n\r\n", head("Transfer-Encoding: chunked\r\n")),
    ] {
        let said = exchanged(&house, bytes.as_bytes()).await;
        assert!(said.starts_with("HTTP/1.1 413 ") && said.contains("http.max_body"), "{said}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-A: {}\r\n\r\n", "x".repeat(200_000));
    let said = exchanged(&house, long.as_bytes()).await;
    assert!(said.starts_with("HTTP/1.1 431 ") || said.is_empty(), "{said}");
    let said = exchanged(&house, b"\x16\x03\x01 nonsense\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 400 ") || said.is_empty(), "{said}");
}

#[tokio::test]
async fn slow_callers_do_not_hold_the_server() {
    let fleet = Fleet::new();
    let mut config = fleet.config.clone();
    config.http.idle_timeout = Duration::from_millis(300);
    config.http.request_timeout = Duration::from_millis(500);
    config.http.check_timeout = Duration::from_millis(300);
    let house = House::open(&config).await;
    let start = Instant::now();
    // A head that doesn't end, a connection that says nothing, one that says nothing more.
    let said = exchanged(&house, b"GET / HTTP/1.1\r\nHost: loc").await;
    assert!(said.is_empty() || said.starts_with("HTTP/1.1 408"), "{said}");
    assert!(exchanged(&house, b"").await.is_empty());
    let said = exchanged(&house, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    // A body that doesn't come.
    let waits = b"POST /v1/data/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n{";
    let said = exchanged(&house, waits).await;
    assert!(said.starts_with("HTTP/1.1 504 ") && said.contains("internal_error"), "{said}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn connections_are_bounded_and_come_back() {
    let fleet = Fleet::new();
    let mut config = fleet.config.clone();
    config.http.max_connections = 2;
    config.http.idle_timeout = Duration::from_secs(30);
    let house = House::open(&config).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut stream = TcpStream::connect(address(&house)).await.unwrap();
        // An answer, so that it is known to have been taken.
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut said = [0; 12];
        stream.read_exact(&mut said).await.unwrap();
        assert_eq!(&said, b"HTTP/1.1 200");
        held.push(stream);
    }
    let client = reqwest::Client::builder().timeout(Duration::from_millis(500)).build().unwrap();
    let url = format!("{}/livez", house.url);
    assert!(client.get(&url).send().await.is_err(), "there is no place");
    held.pop();
    until("a place is free", async || client.get(&url).send().await.ok()).await;
}

//! The connection: settings that every request carries, and time limits.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use clickhouse::{Client, Compression};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use super::error::StoreError;
use crate::config;

/// Below the shortest keep-alive of ClickHouse servers (3 s), so that a request rarely meets a
/// connection that the server is just closing.
const IDLE_CONNECTION: Duration = Duration::from_secs(2);

/// How long the way back may take beyond the time that ClickHouse allows itself for a query.
const GRACE: Duration = Duration::from_secs(5);

/// A ClickHouse server and a database on it. Cheap to clone; connects on first use.
#[derive(Clone)]
pub struct Store {
    client: Client,
    /// Without the database, which may not exist yet.
    server: Client,
    url: String,
    database: String,
    insert_timeout: Duration,
    query_timeout: Duration,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("url", &self.url)
            .field("database", &self.database)
            .finish_non_exhaustive()
    }
}

impl Store {
    /// Prepares the way to ClickHouse without going it.
    #[must_use]
    pub fn connect(config: &config::ClickHouse) -> Self {
        let mut server = transport(config)
            .with_url(config.url.trim_end_matches('/'))
            .with_user(&config.user)
            .with_compression(if config.compression { Compression::Lz4 } else { Compression::None })
            .with_product_info("sluicegate", env!("CARGO_PKG_VERSION"))
            // Since ClickHouse 26.2 inserts are asynchronous by default: they would be answered
            // before they are stored, and their tokens wouldn't deduplicate.
            .with_setting("async_insert", "0");
        if !config.password.is_empty() {
            server = server.with_password(config.password.expose());
        }
        Self {
            client: server.clone().with_database(&config.database),
            server,
            url: config.url.clone(),
            database: config.database.clone(),
            insert_timeout: config.insert_timeout,
            query_timeout: config.query_timeout,
        }
    }

    /// Where ClickHouse is, for people.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The database that holds the tables.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Asks ClickHouse for its version: whether it answers at all, whatever it holds.
    ///
    /// # Errors
    /// When it doesn't answer or refuses.
    pub async fn ping(&self) -> Result<String, StoreError> {
        let query = self.server.query_raw("SELECT version()").fetch_one::<String>();
        self.within_query_timeout("ping", query).await
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn server(&self) -> &Client {
        &self.server
    }

    pub(super) const fn insert_timeout(&self) -> Duration {
        self.insert_timeout
    }

    /// A read that ClickHouse itself stops when it takes too long.
    pub(super) fn read(&self, sql: &str) -> clickhouse::query::Query {
        self.client
            .query_raw(sql)
            .with_setting("max_execution_time", self.query_timeout.as_secs_f64().to_string())
    }

    /// Runs a statement that returns nothing, in the database.
    pub(super) async fn execute(&self, what: &'static str, sql: &str) -> Result<(), StoreError> {
        self.within_query_timeout(what, self.client.query_raw(sql).execute()).await
    }

    /// The crate has no time limit of its own for queries: a server that accepts and then falls
    /// silent would hold us for ever.
    pub(super) async fn within_query_timeout<T>(
        &self,
        what: &'static str,
        work: impl Future<Output = Result<T, clickhouse::error::Error>>,
    ) -> Result<T, StoreError> {
        let limit = self.query_timeout.saturating_add(GRACE);
        match tokio::time::timeout(limit, work).await {
            Ok(result) => Ok(result?),
            Err(_) => Err(StoreError::timeout(what, limit)),
        }
    }
}

/// The crate's own transport has Nagle's algorithm on, which costs up to 40 ms per small insert,
/// and no limit for connecting. With TLS it stays, since only the crate has a TLS connector.
fn transport(config: &config::ClickHouse) -> Client {
    if config.url.starts_with("https://") {
        return Client::default();
    }
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(Duration::from_secs(60)));
    connector.set_connect_timeout(Some(config.connection_timeout));
    Client::with_http_client(
        HyperClient::builder(TokioExecutor::new())
            .pool_idle_timeout(IDLE_CONNECTION)
            .pool_timer(hyper_util::rt::TokioTimer::new())
            .build(connector),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_password() {
        let config = config::ClickHouse {
            password: "hunter2".to_owned().into(),
            ..config::ClickHouse::default()
        };
        let shown = format!("{:?}", Store::connect(&config));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(shown.contains("127.0.0.1"), "{shown}");
    }
}

//! Making ClickHouse what the sink needs: tables and retention.

use tokio_util::sync::CancellationToken;

use crate::config::Retention;
use crate::runtime::health::Reporter;
use crate::runtime::retry::{Retry, RetryPolicy};
use crate::store::{ErrorClass, Store, StoreError, apply_retention, migrate};

/// Migrates and sets the retention, once.
pub(super) async fn prepare(store: &Store, retention: &Retention) -> Result<(), StoreError> {
    migrate(store).await?;
    apply_retention(store, retention).await?;
    Ok(())
}

/// Prepares, however long ClickHouse takes to be there. False when stopped before.
///
/// # Errors
/// When a person must act first.
pub(super) async fn until_prepared(
    store: &Store,
    retention: &Retention,
    health: &Reporter,
    retry: RetryPolicy,
    stop: &CancellationToken,
) -> Result<bool, StoreError> {
    let mut retry = Retry::new(retry);
    loop {
        let result = tokio::select! {
            result = prepare(store, retention) => result,
            () = stop.cancelled() => return Ok(false),
        };
        match result {
            Ok(()) => {
                health.ready();
                return Ok(true);
            }
            Err(error) if error.class() == ErrorClass::Permanent => return Err(error),
            Err(error) => health.waiting(waiting_for(store, &error)),
        }
        tokio::select! {
            () = tokio::time::sleep(retry.next_delay()) => (),
            () = stop.cancelled() => return Ok(false),
        }
    }
}

/// What health says while ClickHouse is not there.
pub(super) fn waiting_for(store: &Store, error: &StoreError) -> String {
    format!("ClickHouse at {}: {error}", store.url())
}

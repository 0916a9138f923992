//! Watching a sink at the points where its end would hurt most.

use futures::future::BoxFuture;

use crate::store::Table;

/// Is told where a sink stands and may hold it there. Tests end sinks at these points; nobody else
/// needs one.
pub trait Observer: Send + Sync + 'static {
    /// The rows of a batch are in ClickHouse, its events are not yet acknowledged.
    fn inserted(&self, table: Table, rows: usize) -> BoxFuture<'_, ()>;
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Observer for Nobody {
    fn inserted(&self, _: Table, _: usize) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

//! What is inserted at once, and by which token ClickHouse knows it again.

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use crate::bus::consumer::Delivered;
use crate::store::{StoredRow, StreamPosition};

/// A row with what is needed should it never be stored.
#[derive(Debug)]
pub(super) struct Item<R> {
    /// The row.
    pub(super) row: R,
    /// The event it was made from.
    pub(super) source: Source,
    /// When it came.
    pub(super) arrived: Instant,
    /// Whether it may be in the table already, whatever its sequence says.
    pub(super) doubtful: bool,
}

/// An event as it came.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) subject: String,
    pub(super) payload: Bytes,
    pub(super) published: DateTime<Utc>,
}

impl<R: StoredRow> Item<R> {
    /// An event is doubtful when the server remembers having delivered it; when it is older than its
    /// stream, so that an earlier stream may have held it; and when the stream took it so late that it
    /// may have forgotten its id, so that it may hold it twice.
    pub(super) fn new(row: R, delivered: Delivered, remembers: TimeDelta) -> Self {
        let made = row.timestamp();
        let doubtful = delivered.redelivered
            || made < row.position().epoch
            || delivered.published.signed_duration_since(made) > remembers;
        Self {
            row,
            source: Source {
                subject: delivered.subject,
                payload: delivered.payload,
                published: delivered.published,
            },
            arrived: Instant::now(),
            doubtful,
        }
    }

    /// Bytes that it holds, roughly: the event and the row made from it.
    pub(super) fn weight(&self) -> usize {
        self.source.payload.len()
    }

    pub(super) fn position(&self) -> StreamPosition {
        self.row.position()
    }
}

/// Items that were collected and will change no more.
#[derive(Debug)]
pub(super) struct Batch<R> {
    /// In the order they came.
    pub(super) items: Vec<Item<R>>,
    /// How often this process had become the one that reads when the batch was made.
    pub(super) generation: u64,
}

/// The items without those whose id came before, and how many those were.
pub(super) fn unique<R: StoredRow>(items: Vec<Item<R>>) -> (Vec<Item<R>>, usize) {
    let before = items.len();
    let mut seen = HashSet::with_capacity(before);
    let mut items = items;
    items.retain(|item| seen.insert(item.row.id()));
    let doubled = before - items.len();
    (items, doubled)
}

/// The items by partition: an insert into several is several blocks, and may be half done.
pub(super) fn by_partition<R: StoredRow>(items: Vec<Item<R>>) -> Vec<Vec<Item<R>>> {
    let mut parts: BTreeMap<(i32, u32), Vec<Item<R>>> = BTreeMap::new();
    for item in items {
        parts.entry(item.row.partition()).or_default().push(item);
    }
    parts.into_values().collect()
}

/// The token of exactly these rows in this order. The same rows have the same token in every process,
/// other rows another one.
pub(super) fn token(ids: impl Iterator<Item = Uuid>) -> String {
    let mut digest = Sha256::new();
    for id in ids {
        digest.update(id.as_bytes());
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_these_rows_in_this_order() {
        let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
        let of = |ids: &[Uuid]| token(ids.iter().copied());
        assert_eq!(of(&ids), of(&ids.clone()));
        assert_ne!(of(&ids), of(&ids[..2]));
        let turned: Vec<Uuid> = ids.iter().rev().copied().collect();
        assert_ne!(of(&ids), of(&turned));
    }
}

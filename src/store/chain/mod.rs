//! The chain over the rows: each link digests the rows of one range of the audit stream and names the
//! link before it, so that a row that was altered, deleted or inserted later can be named, and a link
//! that was, too.

mod batches;
mod digest;
mod keys;
mod link;
mod numbers;
mod places;
mod rows;

pub use batches::LINKS_PER_PAGE;
pub use digest::{Chained, Digested, RowDigest};
pub use keys::{KeyError, Signed, Signer, Trusted};
pub use link::{Index, Link, Range, SealedRow};
pub use numbers::{EDGE, Hole, Reordered, RunCheckpoint, RunNumbers, Span, Twice};
pub use places::{Doubled, Place};
pub use rows::{EpochRows, RowsFrom};

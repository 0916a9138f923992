//! NATS: connections, typed subjects, the responder, the recorder, consumers. The only place that
//! imports async-nats. No SQL.

pub mod bench;
pub mod bucket;
pub mod connection;
pub mod consumer;
pub mod deadletter;
pub mod error;
pub mod heads;
pub mod letters;
pub mod overview;
pub mod publisher;
pub mod reading;
pub mod recorder;
pub mod replay;
pub mod responder;
pub mod roll;
mod service;
pub mod spill;
pub mod stream;

// Subjects are a part of the contract: clients that have no bus use them too.
pub use crate::contract::subjects::{self, Subjects};
pub use bucket::{Bucket, BucketState, Following, Held, PutError};
pub use connection::{Answered, Connection, Subscription, connect, connect_once};
pub use error::BusError;
pub use heads::{Head, Heads};
pub use publisher::Publisher;
pub use recorder::{Outgoing, Record, Recorder, RecorderSettings};
pub use responder::{DOCUMENT, Incoming, Kind, Responder, WANT};
pub use roll::Roll;
pub use spill::{Destination, SpillSettings};

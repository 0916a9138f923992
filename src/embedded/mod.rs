//! The servers that `sluicegate up` starts by itself: a nats-server with JetStream and ClickHouse's
//! engine, both on loopback, with their data in one folder.
//!
//! [`Stack::start`] finds the programs, refuses what can't work (a taken port, a data folder in use)
//! with words that say what to change, starts both servers and waits until they answer. Then it
//! watches them: a server that ends is reported in the process's health and started again.
//! [`Stack::stop`] ends them in reverse order.
//!
//! A server must not outlive the `up` that started it, however that one ends. Three things see to
//! it: [`Stack::stop`]; a leash, which is a small shell that ends the server when this process is
//! gone (`leash`); and a record of the process ids, by which the next start ends what is left
//! (`leftovers`).

mod clickhouse;
mod endpoint;
mod error;
mod find;
mod launch;
mod leash;
mod leftovers;
mod lock;
mod nats;
mod output;
mod port;
mod probe;
mod spec;
mod stack;
mod supervisor;

pub use error::{EmbeddedError, Setting};
pub use launch::Launch;
pub use leash::Leash;
pub use stack::{CLICKHOUSE_PART, NATS_PART, Stack};

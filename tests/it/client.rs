//! The Rust client, and clients of others, over real servers.

mod decisions;
mod example;
mod faults;
mod outcomes;
mod recipes;
mod spooling;
pub(crate) mod support;
mod tree;

//! Sluicegate: an event-driven policy enforcer for fleets of autonomous agents, over NATS.
//!
//! Directories are layers; `ARCHITECTURE.md` says which may import which, and a test checks it.

pub mod bus;
pub mod chaos;
pub mod cli;
pub mod config;
pub mod contract;
pub mod domain;
pub mod embedded;
pub mod engine;
pub mod roles;
pub mod runtime;
pub mod store;
pub mod suites;

//! Sluicegate: an event-driven policy enforcer for fleets of autonomous agents, over NATS.
//!
//! Agents use [`client`]; with the feature `client` alone, nothing of the server is compiled.
//!
//! Directories are layers; `ARCHITECTURE.md` says which may import which, and a test checks it.

#[cfg(feature = "server")]
pub mod bus;
#[cfg(feature = "server")]
pub mod chaos;
#[cfg(feature = "server")]
pub mod cli;
#[cfg(feature = "client")]
pub mod client;
#[cfg(feature = "server")]
pub mod config;
pub mod contract;
#[cfg(feature = "server")]
pub mod demo;
pub mod domain;
#[cfg(feature = "server")]
pub mod embedded;
#[cfg(feature = "server")]
pub mod engine;
#[cfg(feature = "server")]
pub mod roles;
#[cfg(feature = "server")]
pub mod runtime;
#[cfg(feature = "server")]
pub mod store;
#[cfg(feature = "server")]
pub mod suites;

/// The program in the README compiles.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;

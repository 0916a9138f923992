//! Integration tests over real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may stop at the first surprise, also in what its functions share"
)]

mod alerter;
mod api;
mod audit;
mod bench;
mod chaos;
mod cli;
mod client;
mod cluster;
mod config;
mod deploy;
mod docs;
mod doors;
mod embedded;
mod guide;
mod layers;
mod policies;
mod rolling;
mod schemas;
mod sink;
mod store;
mod suites;
mod support;
mod worker;

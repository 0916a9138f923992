//! Integration tests over real servers.

mod sink;
mod store;

//! Integration tests over real servers.

mod store;

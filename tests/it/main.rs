//! Integration tests over real servers.

mod deploy;

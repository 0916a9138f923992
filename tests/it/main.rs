//! Integration tests over real servers.

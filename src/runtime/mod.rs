//! What every role needs to run: waiting, leaving, saying how it is, and telling what it does.
//!
//! Imports nothing of ours, so that every layer may use it.

pub mod eager;
pub mod health;
pub mod metrics;
pub mod retry;
pub mod shutdown;
pub mod telemetry;

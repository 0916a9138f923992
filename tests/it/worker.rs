//! The worker over a real NATS server.

mod audit;
mod contract;
mod reload;
pub(crate) mod support;
mod unchecked;

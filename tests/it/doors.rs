//! The console's doors over real HTTP, NATS and workers.

mod authzen;
mod clients;
mod guard;
mod guide;
mod limits;
mod opa;
mod policies;
pub(crate) mod support;
mod unchecked;

//! The check contract: what goes in, what comes out.

mod batch;
mod combining;
mod enforcement;
mod failing;
mod identity;
mod input;
mod malformed;
mod reply;
mod scopes;
mod service;

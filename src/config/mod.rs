//! Configuration: defaults, files, profile, environment and flags, merged and validated as a whole.

mod model;
mod secret;

pub use model::*;
pub use secret::Secret;

//! Configuration: defaults, main file, profile, environment and flags, merged and validated as a
//! whole.
//!
//! Each source is checked key by key on its way in (`intake.rs`), so that all problems of all
//! sources are reported at once, each with its place. Figment merges what is good and remembers
//! where it came from. Then the whole is validated: bounds, names, and what must fit together.
//!
//! Variables are named after their keys: `nats.url` is `SLUICEGATE_NATS_URL`. An unknown
//! `SLUICEGATE_…` variable is an error, except `SLUICEGATE_PROFILE`, `SLUICEGATE_CONFIG`,
//! `SLUICEGATE_CHDB_USER`, `SLUICEGATE_CHDB_PASSWORD`, `SLUICEGATE_TEST_…` and the links that
//! Kubernetes sets for services. `POLICY_ENFORCEMENT_ENABLED` sets `enforcement.enabled`, unless
//! `SLUICEGATE_ENFORCEMENT_ENABLED` is set too, which wins.

mod alerter;
mod env;
mod error;
mod files;
mod intake;
mod keys;
mod load;
mod model;
mod origin;
mod secret;
#[cfg(test)]
mod tests;
mod url;
mod validate;
mod value;

pub use env::{CONFIG_VARIABLE, ENFORCEMENT_VARIABLE, PROFILE_VARIABLE};
pub use error::{ConfigError, Problem};
pub use files::MAIN_FILE;
pub use keys::{Key, VARIABLE_PREFIX, keys};
pub use load::{Loaded, Override, Sources, load};
pub use model::*;
pub use origin::{Origin, Row};
pub use secret::Secret;

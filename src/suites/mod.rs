//! Suites: what policies are expected to say, as cases in YAML or as `test_` rules in Rego, and
//! running them. Reads files, never the network.
//!
//! A suite in YAML is about one policy. Its cases stand in a list (`tests`), in a table (`table`),
//! or in both; see [`format`](mod@format) for the members. The same cases run on the engine ([`run`]), on
//! mutants of the policy ([`mutation`]), and, by the command line, on a live worker.

pub mod about;
pub mod case;
pub mod compare;
pub mod coverage;
pub mod discover;
pub mod error;
pub mod filter;
pub mod format;
pub mod junit;
pub mod mutation;
pub mod plan;
pub mod policy;
pub mod rego;
pub mod report;
pub mod run;
mod table;

pub use about::About;
pub use case::{Case, Expected, ExpectedError};
pub use compare::{Difference, Said, differences};
pub use coverage::{Coverage, PolicyCoverage};
pub use discover::{Found, Source, find, find_policy};
pub use error::SuiteError;
pub use filter::Filter;
pub use format::{Suite, parse};
pub use mutation::{Mutation, PolicyMutation, Survivor};
pub use plan::{Job, Plan, Reading};
pub use policy::{PolicyUnderTest, Prepared};
pub use rego::RegoJob;
pub use report::{CaseReport, Outcome, Report, SuiteReport};

//! Rego: compilation, the immutable set of policies, and evaluation within limits. The only place
//! that imports regorus. No I/O.

mod ast;
mod builtins;
mod compile;
mod error;
mod evaluate;
mod metadata;
mod nesting;
mod parameters;
mod probe;
mod reads;
mod recursion;
mod results;
mod set;
mod trace;
mod warm;

pub use compile::{CompileLimits, Compiled, compile};
pub use error::EngineError;
pub use evaluate::{Check, EvaluationLimits, Evaluator, stack_bytes};
pub use metadata::Metadata;
pub use parameters::with_defaults;
pub use set::{Entry, PolicySet};
pub use trace::{FiredRule, InputRead, LineCoverage, Trace, trace};

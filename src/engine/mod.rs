//! Rego: compilation, the immutable set of policies, and evaluation within limits. The only place
//! that imports regorus. No I/O.

mod admit;
mod ast;
mod bench;
mod bounded;
mod bounded_builtins;
mod builtins;
mod compile;
mod conditions;
mod document;
mod entry_types;
mod error;
mod evaluate;
mod finding;
mod input_reads;
mod lint;
mod memo;
mod metadata;
mod mutants;
mod nesting;
mod parameters;
mod probe;
mod reads;
mod recursion;
mod rego_tests;
mod remedy;
mod results;
mod set;
mod suggest;
mod trace;
mod variant;
mod warm;

pub use crate::domain::trace::Change;
pub use crate::domain::{Finding, FindingSeverity};
pub use admit::{Admitted, admit, examine};
pub use bench::RuleByRule;
pub use compile::{CompileLimits, Compiled, compile};
pub use error::EngineError;
pub use evaluate::{Check, CountCalls, EvaluationLimits, Evaluator, stack_bytes};
pub use metadata::Metadata;
pub use mutants::{Mutant, mutants};
pub use parameters::with_defaults;
pub use rego_tests::{RegoTest, rego_tests};
pub use remedy::remedy;
pub use set::{Entry, PolicySet};
pub use trace::{FiredRule, InputRead, LineCoverage, Trace, trace};

//! Why a policy is not taken.

/// Why a policy is not taken: what is wrong with it, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Larger than the limit.
    #[error(
        "the policy has {bytes} bytes, at most {limit} are taken (setting limits.policy_bytes)"
    )]
    TooLarge {
        /// Bytes of the Rego text.
        bytes: usize,
        /// Bytes that are taken.
        limit: usize,
    },
    /// Nested deeper than the parser can take in reasonable time.
    #[error(
        "line {line}: brackets are nested {depth} levels deep, at most {limit} are taken (setting \
         limits.policy_nesting); give the inner parts names of their own"
    )]
    TooDeep {
        /// Line of the bracket that passes the limit, from 1.
        line: usize,
        /// Depth there.
        depth: usize,
        /// Depth that is taken.
        limit: usize,
    },
    /// Not Rego v1.
    #[error("the policy is not valid Rego v1:{0}")]
    Parse(String),
    /// A package that belongs to the system or can't be one.
    #[error("the package `{package}` can't be used: {reason}")]
    Package {
        /// The package.
        package: String,
        /// Why not.
        reason: String,
    },
    /// Neither `allow` nor reasons nor warnings.
    #[error(
        "the package `{package}` has none of the rules `allow`, `deny_reasons`, `warnings`, so it \
         could never say anything; a policy denies when its `allow` is false"
    )]
    NoEntry {
        /// The package.
        package: String,
    },
    /// The METADATA comment can't be read.
    #[error("METADATA: {0}")]
    Metadata(String),
    /// A builtin function that reaches out of the policy or can't be bounded.
    #[error("the builtin function `{name}` is not available: {reason}")]
    Builtin {
        /// Name of the function.
        name: String,
        /// Why, and what to use instead.
        reason: String,
    },
    /// Parses, but does not compile.
    #[error("the policy does not compile: {0}")]
    Compile(String),
    /// Settings that the policy's own schema refuses.
    #[error("parameters: {0}")]
    Parameters(String),
    /// Two policies of the same name or package.
    #[error("{what} `{value}` is used by both {first} and {second}; it must be unique")]
    Duplicate {
        /// `name` or `package`.
        what: &'static str,
        /// The name or package.
        value: String,
        /// Who used it first.
        first: String,
        /// Who uses it again.
        second: String,
    },
}

impl EngineError {
    /// Whether trying again could help: never, a policy must be changed.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        false
    }
}

//! From Rego text to a program for the register VM, with everything refused that could harm.

use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use regorus::PolicyLengthConfig;
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::program::Program;
use regorus::unstable::{Module, Ref};
use sha2::{Digest as _, Sha256};

use super::error::EngineError;
use super::input_reads::Telling;
use super::metadata::{self, Metadata};
use super::{bounded_builtins, builtins, nesting, recursion};

/// The rules of a package that the system reads.
pub(super) const ENTRY_RULES: [&str; 3] = ["allow", "deny_reasons", "warnings"];
/// Packages under this name are the system's own.
const OWN_PACKAGE: &str = "sluicegate";
/// The one rule that the VM runs: a set of pairs, name and value, of those gathered rules that are
/// defined.
pub(super) const ENTRY_POINT: &str = "data.sluicegate.entry.result";
const ENTRY_MODULE: &str = "sluicegate.entry.rego";
/// Columns of a line; longer ones are generated or hostile.
const MAX_COLUMNS: u32 = 1_024;
const MAX_LINES: usize = 20_000;
const STACK_BYTES: usize = 64 << 20;

/// How large a policy may be.
#[derive(Clone, Copy, Debug)]
pub struct CompileLimits {
    /// Bytes of the Rego text.
    pub bytes: usize,
    /// Levels of nested brackets.
    pub nesting: usize,
}

/// A policy's Rego, ready to run. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub(super) program: Arc<Program>,
    /// Digest of the Rego text: the same text makes the same program.
    pub(super) digest: [u8; 32],
    pub(super) telling: Arc<OnceLock<Option<Telling>>>,
    /// The package, without `data.`.
    pub package: String,
    /// What the author says of it.
    pub metadata: Metadata,
}

/// Compiles a policy. One program runs all entry rules at once: a module of the system's own
/// gathers them in one set, so that what they share is evaluated once.
///
/// Runs on a stack of its own, since parser and compiler recurse with the text.
///
/// # Errors
/// What is wrong with the policy, and where.
pub fn compile(file: &str, rego: &str, limits: &CompileLimits) -> Result<Compiled, EngineError> {
    with_stack("compile", STACK_BYTES, || compile_here(file, rego, limits))
        .unwrap_or_else(|reason| Err(EngineError::Compile(reason)))
}

/// Does something on a stack of so many bytes, at least [`STACK_BYTES`]. A panic in it is an error.
pub(super) fn with_stack<T>(
    name: &str,
    bytes: usize,
    work: impl FnOnce() -> T,
) -> Result<T, String> {
    let bytes = bytes.max(STACK_BYTES);
    // What is done is lost with the panic, so nobody sees it half done.
    std::panic::catch_unwind(AssertUnwindSafe(|| stacker::grow(bytes, work)))
        .map_err(|_| format!("{name}: regorus panicked"))
}

/// An engine that takes texts within the limits.
pub(super) fn bounded_engine(max_bytes: usize) -> regorus::Engine {
    let mut engine = regorus::Engine::new();
    engine.set_rego_v0(false);
    if let (Some(max_col), Some(max_file_bytes), Some(max_lines)) =
        (NonZeroU32::new(MAX_COLUMNS), NonZeroUsize::new(max_bytes), NonZeroUsize::new(MAX_LINES))
    {
        engine.set_policy_length_config(PolicyLengthConfig { max_col, max_file_bytes, max_lines });
    }
    engine
}

/// The syntax tree of a text that was compiled before.
pub(super) fn parse(file: &str, rego: &str) -> Result<Ref<Module>, EngineError> {
    let mut engine = bounded_engine(rego.len());
    engine
        .add_policy(file.to_owned(), rego.to_owned())
        .map_err(|e| EngineError::Parse(shown(&e)))?;
    let module = engine.get_modules().first().cloned();
    module.ok_or_else(|| EngineError::Parse(" nothing was read".to_owned()))
}

/// The same on this thread, whose stack must be large.
pub(super) fn compile_here(
    file: &str,
    rego: &str,
    limits: &CompileLimits,
) -> Result<Compiled, EngineError> {
    if rego.len() > limits.bytes {
        return Err(EngineError::TooLarge { bytes: rego.len(), limit: limits.bytes });
    }
    nesting::check(rego, limits.nesting)?;
    let metadata = metadata::read(rego)?;

    let mut engine = bounded_engine(limits.bytes);
    let path = engine
        .add_policy(file.to_owned(), rego.to_owned())
        .map_err(|e| EngineError::Parse(shown(&e)))?;
    let package = path.strip_prefix("data.").unwrap_or(&path).to_owned();
    if package.split('.').next() == Some(OWN_PACKAGE) {
        return Err(EngineError::Package {
            package,
            reason: format!("packages under `{OWN_PACKAGE}` are the system's own"),
        });
    }

    let present: Vec<&str> = ENTRY_RULES
        .into_iter()
        .filter(|rule| engine.has_declared_rule_rooted_at(file, rule).unwrap_or(false))
        .collect();
    if present.is_empty() {
        return Err(EngineError::NoEntry { package });
    }
    let program = gathering(&mut engine, &path, gatherer(&path, present))?;
    let digest = Sha256::digest(rego.as_bytes()).into();
    Ok(Compiled { program, digest, telling: Arc::default(), package, metadata })
}

impl Compiled {
    /// The program that tells what it reads, made when it is first asked for; none where that can't be
    /// told.
    pub(super) fn telling(&self) -> Option<&Telling> {
        self.telling.get_or_init(|| Telling::new(&self.program)).as_ref()
    }
}

/// A module that gathers rules of the package at `path`.
pub(super) fn gatherer<'a>(path: &str, rules: impl IntoIterator<Item = &'a str>) -> String {
    let gather = rules
        .into_iter()
        .map(|rule| format!("result contains [\"{rule}\", value] if value := {path}.{rule}\n"));
    std::iter::once("package sluicegate.entry\n\n".to_owned()).chain(gather).collect()
}

/// The program for what an engine holds, a policy, and a module that gathers its rules.
pub(super) fn gathering(
    engine: &mut regorus::Engine,
    path: &str,
    gatherer: String,
) -> Result<Arc<Program>, EngineError> {
    engine.add_policy(ENTRY_MODULE.to_owned(), gatherer).map_err(|e| {
        let package = path.strip_prefix("data.").unwrap_or(path).to_owned();
        EngineError::Package { package, reason: shown(&e) }
    })?;
    let policy = engine.compile_with_entrypoint(&ENTRY_POINT.into()).map_err(|e| refusal(&e))?;
    let program =
        Compiler::compile_from_policy(&policy, &[ENTRY_POINT]).map_err(|e| refusal(&e))?;
    let called: BTreeSet<&str> =
        program.builtin_info_table.iter().map(|builtin| builtin.name.as_str()).collect();
    builtins::check(called.into_iter())?;
    recursion::check(&program)?;
    let mut program = Arc::unwrap_or_clone(program);
    bounded_builtins::bound(&mut program);
    Ok(Arc::new(program))
}

/// A complaint of the compiler: about a builtin that was left out, or about the policy.
fn refusal(error: &impl std::fmt::Display) -> EngineError {
    let text = shown(error);
    builtins::named_in(&text).map_or_else(|| EngineError::Compile(text), builtins::refused)
}

/// regorus shows the place with the line of source, over several lines: kept, without the blank
/// ones around.
pub(super) fn shown(error: &impl std::fmt::Display) -> String {
    error.to_string().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: CompileLimits = CompileLimits { bytes: 65_536, nesting: 16 };

    fn refused(rego: &str) -> String {
        compile("p.rego", rego, &LIMITS).unwrap_err().to_string()
    }

    #[test]
    fn compiles_and_knows_its_package() {
        let compiled = compile("p.rego", "package a.b\n\nallow := true\n", &LIMITS).unwrap();
        assert_eq!(compiled.package, "a.b");
    }

    #[test]
    fn refusals_say_where_and_why() {
        let cases = [
            ("package a\n\nallow = if", "p.rego:3"),
            ("package a\n\nallow { true }", "Rego v1"),
            ("package a\nimport data.x\n\nx := 1\n", "none of the rules"),
            ("package sluicegate.mine\nallow := true", "system's own"),
            (
                "package a\nallow if http.send({\"method\": \"get\", \"url\": \"http://x\"})",
                "http.send",
            ),
            (
                "package a\nallow if not http.send({\"method\": \"get\", \"url\": \"http://x\"})",
                "http.send",
            ),
            ("package a\nallow if time.now_ns() > 0", "input.timestamp"),
            ("package a\nallow if count(numbers.range(1, 9)) > 0", "numbers.range"),
            (
                "package a\nallow if net.cidr_contains(\"10.0.0.0/8\", input.ip)",
                "net.cidr_contains",
            ),
            ("package a\nallow if no_such_function(1)", "no_such_function"),
            ("package a\nallow if { x == 1 }", "x"),
            ("package a\nf(x) := f(x)\nallow if f(1)", "calls itself"),
            (
                "package a\nallow if deny_reasons\ndeny_reasons contains \"x\" if not allow",
                "calls itself",
            ),
        ];
        for (rego, expected) in cases {
            let message = refused(rego);
            assert!(message.contains(expected), "{rego}\n→ {message}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_before_it_costs() {
        let rego = format!("package a\nallow := {}1{}", "[".repeat(31), "]".repeat(31));
        let start = std::time::Instant::now();
        assert!(refused(&rego).contains("line 2"));
        assert!(start.elapsed().as_millis() < 100);
    }

    #[test]
    fn size_is_bounded() {
        let rego = format!("package a\nallow := true # {}", "x".repeat(70_000));
        assert!(refused(&rego).contains("limits.policy_bytes"));
    }
}

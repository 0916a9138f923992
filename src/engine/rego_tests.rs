//! The tests that authors write in Rego, as `opa test` runs them: rules whose name begins with
//! `test_` must be true.
//!
//! They are run by regorus' interpreter, since they need `with`, which the deciding VM doesn't
//! have. Where the two differ (the policy guide names the places), only a suite of cases tests what
//! will decide.

use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use regorus::Value;
use regorus::utils::limits::ExecutionTimerConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::admit::forbidden_builtins;
use super::ast::{self, Kind, Lines, SKIPPED_TEST};
use super::compile::{bounded_engine, shown, with_stack};
use super::error::EngineError;
use super::evaluate::EvaluationLimits;
use super::finding::Finding;
use super::nesting;

/// Tests in all modules together.
const MOST_TESTS: usize = 1_000;
/// Time for all tests together, at most.
const ALL: Duration = Duration::from_secs(10);
/// How much longer the interpreter may take than the VM.
const SLOWER: u32 = 20;
/// The longest time of one test.
const LONGEST: Duration = Duration::from_secs(5);
/// Levels of brackets.
const NESTING: usize = 24;
/// Work between two looks at the clock.
const TIMER_INTERVAL: u32 = 16;

/// What became of one test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegoTest {
    /// Name of the rule.
    pub name: String,
    /// Its package, without `data.`.
    pub package: String,
    /// The module it is in.
    pub file: String,
    /// Line of its first definition, from 1.
    pub line: usize,
    /// Whether it was true.
    pub passed: bool,
    /// Whether it was left out, because its name begins with `todo_`.
    #[serde(default)]
    pub skipped: bool,
    /// Why it is not true, where that can be said: undefined, false, or the error that ended it.
    pub error: Option<String>,
    /// How long it took, in microseconds.
    pub duration_us: u64,
}

/// Runs the tests of modules, pairs of file name and text, which see each other: a module
/// `x_test.rego` has the package of `x.rego`, or imports it.
///
/// A test passes where it is true; false and undefined fail. All of them together take at most
/// some seconds, and `within` where that is less; a test that takes too long fails.
///
/// # Errors
/// What keeps the modules from being read.
pub fn rego_tests(
    modules: &[(String, String)],
    limits: &EvaluationLimits,
    within: Option<Duration>,
) -> Result<Vec<RegoTest>, Vec<Finding>> {
    with_stack("test", 0, || run_here(modules, limits, within)).unwrap_or_else(|reason| {
        Err(vec![Finding::error("test", reason, "simplify the tests and try again")])
    })
}

/// The same on this thread, whose stack must be large.
pub(super) fn run_here(
    modules: &[(String, String)],
    limits: &EvaluationLimits,
    within: Option<Duration>,
) -> Result<Vec<RegoTest>, Vec<Finding>> {
    let started = Instant::now();
    let within = within.map_or(ALL, |within| within.min(ALL));
    let mut engine = bounded_engine(modules.iter().map(|(_, rego)| rego.len()).max().unwrap_or(1));
    let mut tests = Vec::new();
    let mut findings = Vec::new();
    for (file, rego) in modules {
        match read(&mut engine, file, rego) {
            Ok(found) => tests.extend(found),
            Err(found) => findings.extend(found.into_iter().map(|f| f.in_file(file))),
        }
    }
    if !findings.is_empty() {
        return Err(findings);
    }
    if tests.len() > MOST_TESTS {
        return Err(vec![Finding::error(
            "test",
            format!("there are {} tests, at most {MOST_TESTS} are run", tests.len()),
            "run fewer files at once",
        )]);
    }
    // As OPA does: a builtin that can't do its work is undefined.
    engine.set_strict_builtin_errors(false);
    engine.set_gather_prints(true);
    let longest = limits.time.saturating_mul(SLOWER).min(LONGEST);
    for test in tests.iter_mut().filter(|test| !test.skipped) {
        let left = within.saturating_sub(started.elapsed());
        if left.is_zero() {
            let all = within.as_secs_f64();
            test.error = Some(format!("not run: all tests together took longer than {all:.1} s"));
            continue;
        }
        if let Some(check_interval) = NonZeroU32::new(TIMER_INTERVAL) {
            let limit = longest.min(left);
            engine.set_execution_timer_config(ExecutionTimerConfig { limit, check_interval });
        }
        run(&mut engine, test);
    }
    Ok(tests)
}

/// Adds a module and finds its tests.
fn read(
    engine: &mut regorus::Engine,
    file: &str,
    rego: &str,
) -> Result<Vec<RegoTest>, Vec<Finding>> {
    let one = |error: &EngineError| vec![Finding::from(error)];
    nesting::check(rego, NESTING).map_err(|error| one(&error))?;
    let path = engine
        .add_policy(file.to_owned(), rego.to_owned())
        .map_err(|e| one(&EngineError::Parse(shown(&e))))?;
    let Some(module) = engine.get_modules().last().cloned() else { return Ok(Vec::new()) };
    let lines = Lines::of(rego);
    let definitions = ast::definitions(&module);
    let forbidden = forbidden_builtins(&definitions, &lines);
    if !forbidden.is_empty() {
        return Err(forbidden);
    }
    let mut tests: Vec<RegoTest> = Vec::new();
    for definition in definitions.iter().filter(|d| d.is_test() && d.kind != Kind::Default) {
        if tests.iter().any(|test| test.name == definition.name) {
            continue;
        }
        tests.push(RegoTest {
            name: definition.name.clone(),
            package: path.strip_prefix("data.").unwrap_or(&path).to_owned(),
            file: file.to_owned(),
            line: lines.line(definition.head),
            passed: false,
            skipped: definition.name.starts_with(SKIPPED_TEST),
            error: None,
            duration_us: 0,
        });
    }
    Ok(tests)
}

fn run(engine: &mut regorus::Engine, test: &mut RegoTest) {
    let path = format!("data.{}.{}", test.package, test.name);
    let start = Instant::now();
    let value = std::panic::catch_unwind(AssertUnwindSafe(|| engine.eval_rule(path)));
    test.duration_us = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
    match value {
        Ok(Ok(Value::Bool(true))) => test.passed = true,
        Ok(Ok(Value::Undefined)) => {
            test.error = Some("it is undefined: one of its lines does not hold".to_owned());
        }
        Ok(Ok(value)) => {
            let value: String = value.to_string().chars().take(200).collect();
            test.error = Some(format!("it is {value}, not true"));
        }
        Ok(Err(error)) => {
            let finding = Finding::from(&EngineError::Compile(shown(&error)));
            let at = finding.line.map_or_else(String::new, |line| format!("line {line}: "));
            test.error = Some(format!("{at}{}", finding.message));
        }
        Err(_) => test.error = Some("a builtin function failed on its arguments".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: EvaluationLimits = EvaluationLimits {
        instructions: 25_000,
        time: Duration::from_millis(50),
        memory: 32 << 20,
        reasons: 100,
        reason_bytes: 512,
    };

    fn run(modules: &[(&str, &str)]) -> Result<Vec<RegoTest>, Vec<Finding>> {
        let modules: Vec<(String, String)> =
            modules.iter().map(|(file, rego)| ((*file).into(), (*rego).into())).collect();
        rego_tests(&modules, &LIMITS, None)
    }

    const POLICY: &str = "package p\n\ndefault allow := true\n\nallow := false if input.cost > 1\n\n\
                          deny_reasons contains \"much\" if input.cost > 1\n";

    #[test]
    fn true_passes_false_and_undefined_fail_todo_is_skipped() {
        let rego = format!(
            "{POLICY}\ntest_denies if {{\n\tnot allow with input as {{\"cost\": 2}}\n}}\n\
             test_wrong if allow with input as {{\"cost\": 2}}\n\
             test_false := false\n\ntodo_test_later if false\n"
        );
        let tests = run(&[("p.rego", &rego)]).unwrap();
        let said: Vec<_> = tests
            .iter()
            .map(|t| (t.name.as_str(), t.line, t.passed, t.skipped, t.error.is_some()))
            .collect();
        assert_eq!(
            said,
            [
                ("test_denies", 9, true, false, false),
                ("test_wrong", 12, false, false, true),
                ("test_false", 13, false, false, true),
                ("todo_test_later", 15, false, true, false),
            ]
        );
        assert!(tests[1].error.as_deref().unwrap().contains("undefined"));
        assert!(tests[2].error.as_deref().unwrap().contains("false"));
        assert_eq!(tests[0].package, "p");
    }

    #[test]
    fn modules_see_each_other_by_package_and_by_import() {
        let same =
            "package p\n\ntest_same if \"much\" in deny_reasons with input as {\"cost\": 2}\n";
        let other = "package p_test\n\nimport data.p\n\n\
                     test_import if {\n\tsome cost in [2, 3]\n\tprint(cost)\n\
                     \tcount(p.deny_reasons) == 1 with input.cost as cost\n}\n";
        let tests =
            run(&[("p.rego", POLICY), ("p_test.rego", same), ("q_test.rego", other)]).unwrap();
        assert_eq!(tests.len(), 2);
        assert!(tests.iter().all(|test| test.passed), "{tests:?}");
        assert_eq!(tests[1].file, "q_test.rego");
    }

    #[test]
    fn what_can_not_be_read_is_a_finding_with_its_file() {
        let findings = run(&[("p.rego", POLICY), ("bad_test.rego", "package p\n\ntest_x {")]);
        let findings = findings.unwrap_err();
        assert_eq!(findings[0].file.as_deref(), Some("bad_test.rego"));
        assert_eq!(findings[0].line, Some(3));
        let findings = run(&[("p.rego", "package p\ntest_x if http.send({})")]).unwrap_err();
        assert_eq!((findings[0].code.as_str(), findings[0].line), ("builtin", Some(2)));
    }

    #[test]
    fn a_test_that_loops_fails_in_time_and_a_panic_costs_one_test() {
        let list: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        let rego = format!(
            "package p\n\nlist := [{}]\n\n\
             test_loops if {{\n\tcount([1 | some a in list; some b in list; some c in list]) > 0\n}}\n\
             test_panics if strings.count(\"x\", \"\") > 0\n\ntest_fine if 1 + 1 == 2\n",
            list.join(",\n")
        );
        let start = Instant::now();
        let tests = run(&[("p.rego", &rego)]).unwrap();
        assert!(start.elapsed() < Duration::from_secs(30));
        let passed: Vec<bool> = tests.iter().map(|test| test.passed).collect();
        assert_eq!(passed, [false, false, true], "{tests:?}");
        assert!(tests[0].error.as_deref().unwrap().contains("time"), "{tests:?}");
    }
}

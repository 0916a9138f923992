//! The format of a suite.
//!
//! ```yaml
//! policy: cost_control            # a name, or the path of a .rego file seen from the suite
//! defaults:                       # laid under every case, objects member by member
//!   action: llm_call
//!   context: {agent: planner}
//! tests:
//!   - name: estimate_above_the_budget
//!     description: A call that costs more than what remains is denied
//!     resource: {model: gpt-4}
//!     context: {estimated_cost: 1.0, budget: {remaining_usd: 0.5}}
//!     expected: {decision: deny, deny_reasons: [budget_exceeded], warnings: []}
//! table:
//!   columns: [resource.model, context.estimated_cost, context.budget.remaining_usd, decision, deny_reasons]
//!   rows:
//!     - [gpt-4, 1.0, 0.5, deny, [budget_exceeded]]
//!     - [gpt-4, 0.5, 0.5, allow, []]
//!     - [gpt-4, 0.5, _, allow, _]
//! ```
//!
//! A case takes `name`, `description`, `action`, `resource`, `context`, `parameters`, `usage`,
//! `now`, `raw` and `expected`. The request is built as a worker builds it, the parameters are
//! checked against the policy's schema and its defaults are filled in; `raw: true` hands all of it
//! to the policy as it is written. `expected` takes `decision`, `deny_reasons`, `warnings` and
//! `error`, at least one of them. What it leaves out is not compared, except that a policy that
//! fails also fails the case, unless an `error` is expected.
//!
//! In a table every column is a member of the case: `name`, `description`, `action`, `now`, `raw`;
//! `resource`, `context`, `parameters` and `usage`, whole or with the path of a member; and
//! `decision`, `deny_reasons`, `warnings`, `error`, which are expected. The cell `_` leaves a
//! member out, so that the default holds or nothing is compared; `null` is a value. A row without
//! a name is called by its number and its cells.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_saphyr::Spanned;

use super::case::{Case, Defaults, Written};
use super::error::SuiteError;
use super::table::Table;
use crate::contract::RequestBounds;

/// Cases that one suite may hold.
const MAX_CASES: usize = 20_000;

/// What a policy is expected to say, case by case.
#[derive(Clone, Debug)]
pub struct Suite {
    /// The file.
    pub file: PathBuf,
    /// The policy: a name, or the path of its file.
    pub policy: String,
    /// Line that names the policy.
    pub policy_line: usize,
    /// Its cases: those of the list, then those of the table.
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    policy: Spanned<String>,
    #[serde(default, rename = "description")]
    _description: String,
    #[serde(default)]
    defaults: Defaults,
    #[serde(default)]
    tests: Vec<Spanned<Written>>,
    table: Option<Table>,
}

/// Reads a suite.
///
/// # Errors
/// Everything that is wrong with it, each with its line; what can't be read as YAML, or has an
/// unknown key, ends the reading.
pub fn parse(file: &Path, text: &str, bounds: &RequestBounds) -> Result<Suite, Vec<SuiteError>> {
    let File { policy, defaults, tests, table, .. } =
        // YAML 1.2: `no` and `n` are words, as in the name of a country or a model.
        serde_saphyr::from_str_with_options(text, serde_saphyr::options! { strict_booleans: true })
            .map_err(|error| vec![unreadable(file, &error)])?;
    let mut wrong = Vec::new();
    let mut written: Vec<(usize, Written)> =
        tests.into_iter().map(|case| (line(&case), case.value)).collect();
    match table.map(Table::cases) {
        Some(Ok(cases)) => written.extend(cases),
        Some(Err(problems)) => {
            wrong.extend(problems.into_iter().map(|(line, p)| SuiteError::at(file, line, p)));
        }
        None => (),
    }
    if written.is_empty() && wrong.is_empty() {
        let problem = "the suite has no cases: give it `tests` or a `table`";
        wrong.push(SuiteError::of(file, problem));
    }
    if written.len() > MAX_CASES {
        let problem = format!(
            "the suite has {} cases, at most {MAX_CASES} are taken; split it",
            written.len()
        );
        return Err(vec![SuiteError::of(file, problem)]);
    }
    let mut cases: Vec<Case> = Vec::with_capacity(written.len());
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    for (line, case) in written {
        let name = case.name.clone();
        if let Some(first) = names.get(&name) {
            let problem = format!(
                "the name `{name}` is that of the case in line {first} too; each needs its own"
            );
            wrong.push(SuiteError::at(file, line, problem));
            continue;
        }
        match case.into_case(&defaults, line, bounds) {
            Ok(case) => cases.push(case),
            Err(problem) => wrong.push(SuiteError::at(file, line, format!("{name}: {problem}"))),
        }
        names.insert(name, line);
    }
    if wrong.is_empty() {
        let policy_line = line(&policy);
        Ok(Suite { file: file.to_owned(), policy: policy.value, policy_line, cases })
    } else {
        wrong.sort_by_key(|error| error.line);
        Err(wrong)
    }
}

fn line<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or_default()
}

/// The parser's complaint in one line, without the place, which is ours to show.
fn unreadable(file: &Path, error: &serde_saphyr::Error) -> SuiteError {
    let number = |n: u64| usize::try_from(n).ok().filter(|n| *n > 0);
    let location = error.location();
    let text = error.without_snippet().to_string();
    let place = location.map(|at| format!(" at line {}, column {}", at.line(), at.column()));
    let message = place.map_or(text.clone(), |place| text.replace(&place, ""));
    SuiteError {
        line: location.and_then(|at| number(at.line())),
        column: location.and_then(|at| number(at.column())),
        ..SuiteError::of(file, message)
    }
}

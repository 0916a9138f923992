//! Tables: many cases that differ in a few values.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};
use serde_saphyr::Spanned;

use super::case::Written;

/// A cell that leaves the default of its column in force.
pub(super) const LEFT_OUT: &str = "_";
/// Columns that say what is expected; all others say what is asked.
const EXPECTED: [&str; 4] = ["decision", "deny_reasons", "warnings", "error"];
/// Columns that stand for themselves.
const PLAIN: [&str; 5] = ["name", "description", "action", "now", "raw"];
/// Columns that may go on with a path, such as `context.budget.remaining_usd`.
const PATHS: [&str; 4] = ["resource", "context", "parameters", "usage"];
/// Characters of a cell in a name that is made of cells.
const CELL_CHARACTERS: usize = 30;

/// A table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    columns: Vec<Spanned<String>>,
    rows: Vec<Spanned<Vec<Value>>>,
}

/// Something wrong, with its line.
pub(super) type Wrong = (usize, String);

impl Table {
    /// The cases of the rows, with their lines.
    pub(super) fn cases(self) -> Result<Vec<(usize, Written)>, Vec<Wrong>> {
        let mut wrong = self.wrong_columns();
        if self.rows.is_empty() {
            let line = self.columns.first().map_or(0, line_of);
            wrong.push((line, "the table has no rows".to_owned()));
        }
        if !wrong.is_empty() {
            return Err(wrong);
        }
        let columns: Vec<&str> = self.columns.iter().map(|c| c.value.as_str()).collect();
        let mut cases = Vec::with_capacity(self.rows.len());
        for (index, row) in self.rows.iter().enumerate() {
            match case(&columns, &row.value, index + 1) {
                Ok(case) => cases.push((line_of(row), case)),
                Err(problem) => wrong.push((line_of(row), problem)),
            }
        }
        if wrong.is_empty() { Ok(cases) } else { Err(wrong) }
    }

    fn wrong_columns(&self) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        for column in &self.columns {
            let name = column.value.as_str();
            let first = name.split('.').next().unwrap_or_default();
            let known = EXPECTED.contains(&name)
                || PLAIN.contains(&name)
                || (PATHS.contains(&first) && name.split('.').all(|part| !part.is_empty()));
            let overlap = |other: &&str| {
                let inside = |a: &str, b: &str| {
                    a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                };
                inside(name, other) || inside(other, name)
            };
            if !known {
                let problem = format!(
                    "the column `{name}` is none: take {}, or a path below {}",
                    [&PLAIN[..], &EXPECTED[..]].concat().join(", "),
                    PATHS.map(|p| format!("`{p}`")).join(", ")
                );
                wrong.push((line_of(column), problem));
            } else if let Some(other) = seen.iter().find(|other| overlap(other)) {
                let problem = format!(
                    "the columns `{other}` and `{name}` set the same; take one of them out"
                );
                wrong.push((line_of(column), problem));
            }
            seen.insert(name);
        }
        if !seen.iter().any(|name| EXPECTED.contains(name)) {
            let line = self.columns.first().map_or(0, line_of);
            let problem = format!(
                "no column says what is expected, so no row could fail: add one of {}",
                EXPECTED.join(", ")
            );
            wrong.push((line, problem));
        }
        wrong
    }
}

fn line_of<T>(spanned: &Spanned<T>) -> usize {
    usize::try_from(spanned.referenced.line()).unwrap_or_default()
}

/// The case of one row.
fn case(columns: &[&str], cells: &[Value], number: usize) -> Result<Written, String> {
    if cells.len() != columns.len() {
        return Err(format!(
            "the row has {} cells and the table {} columns; `{LEFT_OUT}` leaves a cell out",
            cells.len(),
            columns.len()
        ));
    }
    let mut members = Map::new();
    let mut expected = Map::new();
    let mut asked = Vec::new();
    for (column, cell) in columns.iter().zip(cells) {
        if cell.as_str() == Some(LEFT_OUT) {
            continue;
        }
        if EXPECTED.contains(column) {
            expected.insert((*column).to_owned(), cell.clone());
        } else {
            set(&mut members, column, cell.clone());
            asked.push(short(cell));
        }
    }
    members.entry("name").or_insert_with(|| format!("row {number}: {}", asked.join(", ")).into());
    members.insert("expected".to_owned(), Value::Object(expected));
    serde_path_to_error::deserialize(Value::Object(members)).map_err(|error| {
        let path = error.path().to_string();
        let column = path.strip_prefix("expected.").unwrap_or(&path).to_owned();
        format!("column `{column}`: {}", error.into_inner())
    })
}

/// Sets what stands at a path; what must be there on the way is made.
fn set(members: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('.') {
        None => {
            members.insert(path.to_owned(), value);
        }
        Some((first, rest)) => {
            let inner = members.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                set(inner, rest, value);
            }
        }
    }
}

/// A cell in a name.
fn short(cell: &Value) -> String {
    let text = cell.as_str().map_or_else(|| cell.to_string(), ToOwned::to_owned);
    if text.chars().count() <= CELL_CHARACTERS {
        return text;
    }
    text.chars().take(CELL_CHARACTERS - 1).chain(['…']).collect()
}

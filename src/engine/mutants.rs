//! Small changes of a policy that a good suite of tests notices.

use regorus::unstable::{BoolOp, Expr, Literal, LiteralStmt, Span};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ast::{self, Definition, Lines, Node};
use super::compile::{CompileLimits, compile_here, parse, with_stack};
use super::entry_types::values;

/// Mutants of one policy.
const MOST: usize = 500;
/// Levels of brackets.
const NESTING: usize = 24;
/// Bytes that a mutant may have more than the policy.
const MORE_BYTES: usize = 64;

/// A policy with one small change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Mutant {
    /// Line of the change, from 1.
    pub line: usize,
    /// Column of the change, in bytes from 1.
    pub column: usize,
    /// The change in words, for example "`>` becomes `>=`".
    pub description: String,
    /// The changed text.
    pub rego: String,
}

/// Every small change of a policy that still compiles, in the order of the text: comparisons moved
/// to their neighbour, conditions dropped, numbers shifted by one, `not` taken away, true and false
/// in rule heads exchanged. Tests inside of the policy stay as they are. At most 500.
#[must_use]
pub fn mutants(file: &str, rego: &str) -> Vec<Mutant> {
    with_stack("mutate", 0, || mutants_here(file, rego)).unwrap_or_default()
}

/// A piece of the text and what to put there.
struct Edit {
    start: u32,
    end: u32,
    text: String,
    description: String,
}

fn mutants_here(file: &str, rego: &str) -> Vec<Mutant> {
    if super::nesting::check(rego, NESTING).is_err() {
        return Vec::new();
    }
    let Ok(module) = parse(file, rego) else { return Vec::new() };
    let mut edits = Vec::new();
    for definition in ast::definitions(&module).iter().filter(|d| !d.is_test()) {
        edits.extend(heads(definition));
        edits.extend(conditions(definition));
        ast::walk(definition.rule, |node| {
            match node {
                Node::Statement(statement) => {
                    if let Literal::NotExpr { expr, .. } = &statement.literal {
                        let what = expr.span();
                        edits.push(Edit {
                            start: statement.span.start,
                            end: ast::whole(what).0,
                            text: String::new(),
                            description: format!("`not {}` loses its `not`", short(what)),
                        });
                    }
                }
                Node::Expr(expr) => edits.extend(expression(expr, rego)),
            }
            true
        });
    }
    edits.sort_by(|a, b| (a.start, a.end, &a.text).cmp(&(b.start, b.end, &b.text)));
    edits.dedup_by(|a, b| (a.start, a.end, &a.text) == (b.start, b.end, &b.text));
    let lines = Lines::of(rego);
    let limits = CompileLimits { bytes: rego.len() + MORE_BYTES, nesting: NESTING };
    edits
        .into_iter()
        .filter_map(|edit| {
            let changed = apply(rego, &edit)?;
            let (line, column) = lines.at(edit.start);
            Some(Mutant { line, column, description: edit.description, rego: changed })
        })
        .filter(|mutant| compile_here(file, &mutant.rego, &limits).is_ok())
        .take(MOST)
        .collect()
}

fn apply(rego: &str, edit: &Edit) -> Option<String> {
    let (start, end) = (usize::try_from(edit.start).ok()?, usize::try_from(edit.end).ok()?);
    Some(format!("{}{}{}", rego.get(..start)?, edit.text, rego.get(end..)?))
}

/// True and false in the head of a rule, also of a default.
fn heads(definition: &Definition<'_>) -> Vec<Edit> {
    let flipped = |expr: &Expr| {
        let Expr::Bool { span, .. } = expr else { return None };
        let other = if span.text() == "true" { "false" } else { "true" };
        Some(replace(span, other))
    };
    values(definition).into_iter().filter_map(|value| flipped(value)).collect()
}

/// Conditions of a body that has more than one.
fn conditions(definition: &Definition<'_>) -> Vec<Edit> {
    let mut edits = Vec::new();
    for body in definition.bodies.iter().filter(|body| body.query.stmts.len() > 1) {
        for statement in body.query.stmts.iter().filter(|statement| is_condition(statement)) {
            let (start, end) = ast::whole(&statement.span);
            edits.push(Edit {
                start,
                end,
                // A statement that always holds, so that all lines stay where they are.
                text: "true".to_owned(),
                description: format!("the condition `{}` is dropped", short(&statement.span)),
            });
        }
    }
    edits
}

/// Whether a statement asks something. One that gives a name its value is needed by the others.
fn is_condition(statement: &LiteralStmt) -> bool {
    match &statement.literal {
        Literal::Expr { expr, .. } => !matches!(expr.as_ref(), Expr::AssignExpr { .. }),
        Literal::NotExpr { .. } | Literal::Every { .. } => true,
        Literal::SomeVars { .. } | Literal::SomeIn { .. } => false,
    }
}

fn expression(expr: &Expr, rego: &str) -> Option<Edit> {
    match expr {
        Expr::BoolExpr { op, lhs, rhs, .. } => {
            let (from, to) = match op {
                BoolOp::Lt => ("<", "<="),
                BoolOp::Le => ("<=", "<"),
                BoolOp::Eq => ("==", "!="),
                BoolOp::Ge => (">=", ">"),
                BoolOp::Gt => (">", ">="),
                BoolOp::Ne => ("!=", "=="),
            };
            // Brackets may stand between the operands and the operator.
            let (start, end) = (ast::whole(lhs.span()).1, ast::whole(rhs.span()).0);
            let between = rego.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)?;
            let start = start + u32::try_from(between.find(from)?).ok()?;
            let end = start + u32::try_from(from.len()).ok()?;
            let description = format!("`{from}` becomes `{to}`");
            Some(Edit { start, end, text: to.to_owned(), description })
        }
        Expr::Number { span, .. } => {
            let text = span.text();
            let shifted = match text.parse::<i64>() {
                Ok(number) => number.checked_add(1)?.to_string(),
                Err(_) => text.parse::<f64>().ok().map(|number| number + 1.0)?.to_string(),
            };
            Some(replace(span, &shifted))
        }
        _ => None,
    }
}

fn replace(span: &Span, text: &str) -> Edit {
    let description = format!("`{}` becomes `{text}`", short(span));
    Edit { start: span.start, end: span.end, text: text.to_owned(), description }
}

fn short(span: &Span) -> String {
    ast::text(span, 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(rego: &str) -> Vec<(usize, String)> {
        mutants("p.rego", rego).into_iter().map(|m| (m.line, m.description)).collect()
    }

    #[test]
    fn makes_one_small_change_at_a_time() {
        let rego = "package p\n\ndefault allow := true\n\nallow := false if {\n\tinput.cost > 10\n\
                    \tnot input.free\n}\n\ntest_it if 1 == 1\n";
        let found = said(rego);
        let expected = [
            (3, "`true` becomes `false`"),
            (5, "`false` becomes `true`"),
            (6, "the condition `input.cost > 10` is dropped"),
            (6, "`>` becomes `>=`"),
            (6, "`10` becomes `11`"),
            (7, "`not input.free` loses its `not`"),
            (7, "the condition `not input.free` is dropped"),
        ];
        let found: Vec<(usize, &str)> = found.iter().map(|(l, d)| (*l, d.as_str())).collect();
        assert_eq!(found, expected);
        for mutant in mutants("p.rego", rego) {
            assert_eq!(mutant.rego.lines().count(), rego.lines().count(), "{mutant:?}");
            let changed = rego.lines().zip(mutant.rego.lines()).filter(|(a, b)| a != b).count();
            assert_eq!(changed, 1, "{mutant:?}");
        }
    }

    #[test]
    fn every_comparison_has_a_neighbour() {
        let rego = "package p\n\nallow if input.a < 1.5\nallow if input.a <= 2\n\
                    allow if (input.a) == \"x\"\nallow if input.a >= input.b\nallow if \"<\" != input.a\n";
        let found = said(rego);
        for change in [
            "`<` becomes `<=`",
            "`1.5` becomes `2.5`",
            "`<=` becomes `<`",
            "`==` becomes `!=`",
            "`>=` becomes `>`",
            "`!=` becomes `==`",
        ] {
            assert_eq!(found.iter().filter(|(_, d)| d == change).count(), 1, "{change}: {found:?}");
        }
    }

    #[test]
    fn what_would_not_compile_is_left_out() {
        let rego =
            "package p\n\nwarnings contains x if {\n\tsome x in input.list\n\tx != \"\"\n}\n";
        let found = said(rego);
        assert!(!found.iter().any(|(_, d)| d.contains("some x")), "x would be unknown: {found:?}");
        assert!(
            found.iter().any(|(_, d)| d.contains("the condition `x != \"\"` is dropped")),
            "{found:?}"
        );
        assert_eq!(said("package p\n\nallow := if"), []);
        assert_eq!(said(&"[".repeat(100)), []);
    }

    #[test]
    fn shipped_policies_have_many_and_always_the_same() {
        let rego = std::fs::read_to_string("policies/rate_limiting.rego").unwrap();
        let found = said(&rego);
        assert!(found.len() > 20, "{found:?}");
        assert_eq!(found, said(&rego));
        let big: String =
            (0..600).map(|n| format!("warnings contains \"w\" if input.n == {n}\n")).collect();
        assert_eq!(said(&format!("package p\n\n{big}")).len(), MOST);
    }
}

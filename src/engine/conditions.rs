//! Conditions that don't depend on the input, bodies that can never hold, and complete rules that
//! could have two values at once.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use regorus::Value;
use regorus::unstable::{BoolOp, Expr, Literal, LiteralStmt, RuleBody};

use super::ast::{self, Definition, Kind, Lines, Node};
use super::finding::Finding;
use super::lint::condition;

/// Characters of a condition that is shown.
const LONGEST: usize = 120;
/// Pairs of definitions that are compared, for each rule.
const MOST_PAIRS: usize = 200;

pub(super) fn check(definitions: &[Definition<'_>], lines: &Lines) -> Vec<Finding> {
    let mut findings = Vec::new();
    for definition in definitions.iter().filter(|d| !d.is_test()) {
        findings.extend(constants(definition, lines));
        findings.extend(definition.bodies.iter().filter_map(|body| contradiction(body, lines)));
    }
    findings.extend(conflicts(definitions, lines));
    findings
}

/// Statements whose outcome is written down.
fn constants(definition: &Definition<'_>, lines: &Lines) -> Vec<Finding> {
    let mut findings = Vec::new();
    ast::walk(definition.rule, |node| {
        if let Node::Statement(statement) = node
            && let Some(holds) = constant(statement)
        {
            let text = ast::text(&statement.span, LONGEST);
            let (code, message) = if holds {
                ("constant-condition", format!("`{text}` always holds"))
            } else {
                ("never-fires", format!("`{text}` never holds, so what it is part of never does"))
            };
            let help = "compare with something of the input, or remove it";
            findings.push(
                Finding::warning(code, message, help).at(lines.at(ast::whole(&statement.span).0)),
            );
        }
        true
    });
    findings
}

fn constant(statement: &LiteralStmt) -> Option<bool> {
    match &statement.literal {
        Literal::Expr { expr, .. } => truth(expr),
        Literal::NotExpr { expr, .. } => truth(expr).map(|holds| !holds),
        _ => None,
    }
}

fn truth(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::Bool { value, .. } => value.as_bool().ok().copied(),
        Expr::BoolExpr { op, lhs, rhs, .. } => {
            let order = ast::literal(lhs)?.cmp(&ast::literal(rhs)?);
            Some(match op {
                BoolOp::Lt => order == Ordering::Less,
                BoolOp::Le => order != Ordering::Greater,
                BoolOp::Eq => order == Ordering::Equal,
                BoolOp::Ge => order != Ordering::Less,
                BoolOp::Gt => order == Ordering::Greater,
                BoolOp::Ne => order != Ordering::Equal,
            })
        }
        _ => None,
    }
}

/// A body that asks the same thing to be two values.
fn contradiction(body: &RuleBody, lines: &Lines) -> Option<Finding> {
    let mut equal: BTreeMap<String, Value> = BTreeMap::new();
    for statement in &body.query.stmts {
        let Some((what, value)) = condition(&statement.literal).and_then(equality) else {
            continue;
        };
        if !statement.with_mods.is_empty() {
            continue;
        }
        match equal.get(&what) {
            Some(other) if *other != value => {
                let message = format!(
                    "`{what}` can't be both {other} and {value}: this definition never holds"
                );
                let help = format!("write `{what} in {{{other}, {value}}}`, or another definition");
                let place = lines.at(ast::whole(&statement.span).0);
                return Some(Finding::warning("never-fires", message, help).at(place));
            }
            _ => drop(equal.insert(what, value)),
        }
    }
    None
}

/// What a statement `reference == literal` compares, where the reference has no loop in it.
fn equality(expr: &Expr) -> Option<(String, Value)> {
    let Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } = expr else { return None };
    let (what, value) = match (ast::literal(lhs), ast::literal(rhs)) {
        (None, Some(value)) => (lhs, value),
        (Some(value), None) => (rhs, value),
        _ => return None,
    };
    let text = ast::text(what.span(), LONGEST);
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
    plain.then_some((text, value))
}

/// Complete rules with two definitions of different constant values, neither of which excludes the
/// other: where both hold, the rule has no value.
fn conflicts(definitions: &[Definition<'_>], lines: &Lines) -> Vec<Finding> {
    let mut by_name: BTreeMap<&str, Vec<(&Definition<'_>, Value)>> = BTreeMap::new();
    for definition in definitions.iter().filter(|d| d.kind == Kind::Complete && !d.is_test()) {
        let own = definition.bodies.first().and_then(|body| body.assign.as_ref());
        let value = match own.map(|assign| &assign.value).or(definition.value) {
            Some(value) => ast::literal(value),
            None => Some(Value::Bool(true)),
        };
        if let (Some(value), true) = (value, definition.bodies.len() < 2) {
            by_name.entry(&definition.name).or_default().push((definition, value));
        }
    }
    let mut findings = Vec::new();
    for (name, all) in by_name {
        let pairs =
            all.iter().enumerate().flat_map(|(at, a)| all.iter().skip(at + 1).map(move |b| (a, b)));
        let conflict = pairs
            .take(MOST_PAIRS)
            .find(|((a, first), (b, second))| first != second && !exclude(a, b));
        if let Some(((a, first), (b, second))) = conflict {
            let (line, _) = lines.at(a.head.start);
            let message = format!(
                "`{name}` would be {second} here and {first} in line {line}; where both hold it is \
                 undefined{}",
                if name == "allow" { ", which allows" } else { "" }
            );
            let help = "make the conditions exclude each other, or use `else`";
            let place = lines.at(b.head.start);
            findings.push(Finding::warning("conflicting-rules", message, help).at(place));
        }
    }
    findings
}

/// Whether two definitions obviously can't hold together.
fn exclude(a: &Definition<'_>, b: &Definition<'_>) -> bool {
    let (Some(a), Some(b)) = (a.bodies.first(), b.bodies.first()) else { return false };
    a.query.stmts.iter().any(|one| b.query.stmts.iter().any(|other| opposite(one, other)))
}

fn opposite(a: &LiteralStmt, b: &LiteralStmt) -> bool {
    let text = |expr: &Expr| ast::text(expr.span(), usize::MAX);
    match (&a.literal, &b.literal) {
        (Literal::Expr { expr, .. }, Literal::NotExpr { expr: negated, .. })
        | (Literal::NotExpr { expr: negated, .. }, Literal::Expr { expr, .. }) => {
            text(expr) == text(negated)
        }
        (Literal::Expr { expr: a, .. }, Literal::Expr { expr: b, .. }) => {
            if let (Some((what, value)), Some((same, other))) = (equality(a), equality(b)) {
                return what == same && value != other;
            }
            let (
                Expr::BoolExpr { op: first, lhs: la, rhs: ra, .. },
                Expr::BoolExpr { op: second, lhs: lb, rhs: rb, .. },
            ) = (a.as_ref(), b.as_ref())
            else {
                return false;
            };
            text(la) == text(lb) && text(ra) == text(rb) && disjoint(first, second)
        }
        _ => false,
    }
}

/// Whether two comparisons of the same things can't hold together.
fn disjoint(a: &BoolOp, b: &BoolOp) -> bool {
    let holds = |op: &BoolOp| match op {
        BoolOp::Lt => [true, false, false],
        BoolOp::Le => [true, true, false],
        BoolOp::Eq => [false, true, false],
        BoolOp::Ge => [false, true, true],
        BoolOp::Gt => [false, false, true],
        BoolOp::Ne => [true, false, true],
    };
    holds(a).iter().zip(holds(b)).all(|(a, b)| !(*a && b))
}

//! Reading a policy's syntax tree: its rules, and a walk over everything in them.
//!
//! regorus exports its tree under `unstable`: the version is pinned, and this module is the only
//! one that would have to follow a change. All walks are iterative, so that no text, however
//! deeply its expressions are chained, can end the stack.

use regorus::Value;
use regorus::unstable::{
    Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleBody, RuleHead, Span,
};

/// Names of test rules begin so.
pub(super) const TEST: &str = "test_";
/// Names of test rules that are skipped begin so.
pub(super) const SKIPPED_TEST: &str = "todo_test_";

/// Where the lines of a text begin.
#[derive(Debug)]
pub(super) struct Lines(Vec<usize>);

impl Lines {
    pub(super) fn of(text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// Line and column of a byte, both from 1. (A span of regorus names the line of the operator.)
    pub(super) fn at(&self, byte: u32) -> (usize, usize) {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        let line = self.0.partition_point(|start| *start <= byte);
        let start = self.0.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line, byte.saturating_sub(start) + 1)
    }

    pub(super) fn line(&self, span: &Span) -> usize {
        self.at(span.start).0
    }
}

/// What kind of rule a definition makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Complete,
    PartialSet,
    PartialObject,
    Function,
    Default,
}

/// One definition of a rule.
pub(super) struct Definition<'a> {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) rule: &'a Rule,
    pub(super) head: &'a Span,
    /// The value that the head gives, where it says one.
    pub(super) value: Option<&'a Ref<Expr>>,
    /// The member of a partial set.
    pub(super) key: Option<&'a Ref<Expr>>,
    pub(super) bodies: &'a [RuleBody],
}

impl Definition<'_> {
    /// Whether it is a test, also one that is skipped.
    pub(super) fn is_test(&self) -> bool {
        is_test(&self.name)
    }
}

/// Whether a rule's name is that of a test.
pub(super) fn is_test(name: &str) -> bool {
    name.starts_with(TEST) || name.starts_with(SKIPPED_TEST)
}

/// The definitions of a module in their order.
pub(super) fn definitions(module: &Module) -> Vec<Definition<'_>> {
    module.policy.iter().map(|rule| definition(rule)).collect()
}

fn definition(rule: &Rule) -> Definition<'_> {
    match rule {
        Rule::Default { span, refr, value, .. } => Definition {
            name: name(refr),
            kind: Kind::Default,
            rule,
            head: span,
            value: Some(value),
            key: None,
            bodies: &[],
        },
        Rule::Spec { head, bodies, .. } => {
            let (kind, refr, assign, key, span) = match head {
                RuleHead::Compr { span, refr, assign } => {
                    let partial = matches!(refr.as_ref(), Expr::RefBrack { .. });
                    let kind = if partial { Kind::PartialObject } else { Kind::Complete };
                    (kind, refr, assign.as_ref(), None, span)
                }
                RuleHead::Set { span, refr, key } => {
                    (Kind::PartialSet, refr, None, key.as_ref(), span)
                }
                RuleHead::Func { span, refr, assign, .. } => {
                    (Kind::Function, refr, assign.as_ref(), None, span)
                }
            };
            let value = assign.map(|assign| &assign.value);
            Definition { name: name(refr), kind, rule, head: span, value, key, bodies }
        }
    }
}

/// The name of a rule: the static part of its reference.
fn name(refr: &Expr) -> String {
    let mut parts = Vec::new();
    let mut at = refr;
    loop {
        match at {
            Expr::Var { span, .. } => {
                parts.push(span.text().to_owned());
                break;
            }
            Expr::RefDot { refr, field, .. } => {
                parts.push(field.0.text().to_owned());
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                // The last bracket of a partial object is its key, not its name.
                if let (Expr::String { value: Value::String(text), .. }, false) =
                    (index.as_ref(), parts.is_empty())
                {
                    parts.push(text.to_string());
                } else {
                    parts.clear();
                }
                at = refr;
            }
            _ => break,
        }
    }
    parts.reverse();
    parts.join(".")
}

/// A place in the tree.
#[derive(Clone, Copy)]
pub(super) enum Node<'a> {
    Statement(&'a LiteralStmt),
    Expr(&'a Ref<Expr>),
}

/// Visits everything in a rule, parents first. The visitor says whether to go on below.
pub(super) fn walk<'a>(rule: &'a Rule, mut visit: impl FnMut(Node<'a>) -> bool) {
    let mut pending: Vec<Node<'a>> = Vec::new();
    match rule {
        Rule::Default { value, .. } => pending.push(Node::Expr(value)),
        Rule::Spec { head, bodies, .. } => {
            for body in bodies.iter().rev() {
                push_query(&mut pending, &body.query);
                pending.extend(body.assign.iter().map(|assign| Node::Expr(&assign.value)));
            }
            match head {
                RuleHead::Compr { refr, assign, .. } => {
                    pending.extend(assign.iter().map(|assign| Node::Expr(&assign.value)));
                    if let Expr::RefBrack { index, .. } = refr.as_ref() {
                        pending.push(Node::Expr(index));
                    }
                }
                RuleHead::Set { key, .. } => pending.extend(key.iter().map(Node::Expr)),
                RuleHead::Func { args, assign, .. } => {
                    pending.extend(assign.iter().map(|assign| Node::Expr(&assign.value)));
                    pending.extend(args.iter().rev().map(Node::Expr));
                }
            }
        }
    }
    drain(pending, &mut visit);
}

/// Visits an expression and everything in it.
pub(super) fn walk_expr<'a>(expr: &'a Ref<Expr>, mut visit: impl FnMut(Node<'a>) -> bool) {
    drain(vec![Node::Expr(expr)], &mut visit);
}

fn drain<'a>(mut pending: Vec<Node<'a>>, visit: &mut impl FnMut(Node<'a>) -> bool) {
    while let Some(node) = pending.pop() {
        if !visit(node) {
            continue;
        }
        match node {
            Node::Statement(statement) => push_statement(&mut pending, statement),
            Node::Expr(expr) => push_children(&mut pending, expr),
        }
    }
}

fn push_query<'a>(pending: &mut Vec<Node<'a>>, query: &'a Query) {
    pending.extend(query.stmts.iter().rev().map(Node::Statement));
}

fn push_statement<'a>(pending: &mut Vec<Node<'a>>, statement: &'a LiteralStmt) {
    for modifier in &statement.with_mods {
        pending.extend([Node::Expr(&modifier.refr), Node::Expr(&modifier.r#as)]);
    }
    match &statement.literal {
        Literal::SomeVars { .. } => (),
        Literal::SomeIn { key, value, collection, .. } => {
            pending.extend([Node::Expr(collection), Node::Expr(value)]);
            pending.extend(key.iter().map(Node::Expr));
        }
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => {
            pending.push(Node::Expr(expr));
        }
        Literal::Every { domain, query, .. } => {
            push_query(pending, query);
            pending.push(Node::Expr(domain));
        }
    }
}

fn push_children<'a>(pending: &mut Vec<Node<'a>>, expr: &'a Expr) {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => {
            pending.extend(items.iter().rev().map(Node::Expr));
        }
        Expr::Object { fields, .. } => {
            for (_, key, value) in fields.iter().rev() {
                pending.extend([Node::Expr(value), Node::Expr(key)]);
            }
        }
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            push_query(pending, query);
            pending.push(Node::Expr(term));
        }
        Expr::ObjectCompr { key, value, query, .. } => {
            push_query(pending, query);
            pending.extend([Node::Expr(value), Node::Expr(key)]);
        }
        Expr::Call { fcn, params, .. } => {
            pending.extend(params.iter().rev().map(Node::Expr));
            pending.push(Node::Expr(fcn));
        }
        Expr::UnaryExpr { expr, .. } => pending.push(Node::Expr(expr)),
        Expr::RefDot { refr, .. } => pending.push(Node::Expr(refr)),
        Expr::RefBrack { refr, index, .. } => {
            pending.extend([Node::Expr(index), Node::Expr(refr)]);
        }
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => {
            pending.extend([Node::Expr(rhs), Node::Expr(lhs)]);
        }
        Expr::Membership { key, value, collection, .. } => {
            pending.extend([Node::Expr(collection), Node::Expr(value)]);
            pending.extend(key.iter().map(Node::Expr));
        }
        _ => (),
    }
}

/// The value of a literal: a string, a number with or without sign, true, false or null.
pub(super) fn literal(expr: &Expr) -> Option<Value> {
    match expr {
        Expr::String { value, .. }
        | Expr::RawString { value, .. }
        | Expr::Number { value, .. }
        | Expr::Bool { value, .. } => Some(value.clone()),
        Expr::Null { .. } => Some(Value::Null),
        Expr::UnaryExpr { expr, .. } => match expr.as_ref() {
            Expr::Number { span, .. } => Value::from_json_str(&format!("-{}", span.text())).ok(),
            _ => None,
        },
        _ => None,
    }
}

/// First byte of a place and the one after its last. Spans of regorus leave out the quotes of a
/// string that begins or ends them.
pub(super) fn whole(span: &Span) -> (u32, u32) {
    let text = span.source.get_contents().as_bytes();
    let quote = |at: Option<u32>| {
        let at = at.and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| text.get(at)).is_some_and(|byte| matches!(byte, b'"' | b'`'))
    };
    let start = span.start.saturating_sub(u32::from(quote(span.start.checked_sub(1))));
    (start, span.end.saturating_add(u32::from(quote(Some(span.end)))))
}

/// The text of a place on one line, shortened to so many characters.
pub(super) fn text(span: &Span, most: usize) -> String {
    let (start, end) = whole(span);
    let range = usize::try_from(start).unwrap_or(0)..usize::try_from(end).unwrap_or(0);
    let words = span.source.get_contents().get(range).unwrap_or_default().split_whitespace();
    let text = words.collect::<Vec<_>>().join(" ");
    if text.chars().count() <= most {
        return text;
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The name of a called function, as written.
pub(super) fn called(fcn: &Expr) -> String {
    fcn.span().text().split_whitespace().collect()
}

//! Static references into the input: which members a policy reads, and where.

use std::collections::BTreeMap;

use regorus::Value;
use regorus::unstable::{Expr, Module, Ref};
use serde_json::Map;

use super::ast::{self, Lines, Node};

/// One reference: the path as far as it is static, without `input`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) path: Vec<String>,
    pub(super) line: usize,
    pub(super) column: usize,
}

/// Names under which the input, or a part of it, is known in a module.
pub(super) struct Roots(BTreeMap<String, Vec<String>>);

impl Roots {
    pub(super) fn of(module: &Module) -> Self {
        let mut roots = BTreeMap::from([("input".to_owned(), Vec::new())]);
        for import in &module.imports {
            let Some((root, path)) = chain(&import.refr) else { continue };
            if root == "input"
                && let Some(name) =
                    import.r#as.as_ref().map(|s| s.text().to_owned()).or(path.last().cloned())
            {
                roots.insert(name, path);
            }
        }
        Self(roots)
    }

    /// The path below the input that an expression names, as far as it is static.
    pub(super) fn path(&self, expr: &Expr) -> Option<Vec<String>> {
        let (root, path) = chain(expr)?;
        let mut whole = self.0.get(&root)?.clone();
        whole.extend(path);
        Some(whole)
    }
}

/// Root and static members of a reference. What follows a dynamic member is left out.
fn chain(expr: &Expr) -> Option<(String, Vec<String>)> {
    let mut members: Vec<Option<String>> = Vec::new();
    let mut at = expr;
    let root = loop {
        match at {
            Expr::Var { span, .. } => break span.text().to_owned(),
            Expr::RefDot { refr, field, .. } => {
                members.push(Some(field.0.text().to_owned()));
                at = refr;
            }
            Expr::RefBrack { refr, index, .. } => {
                members.push(match ast::literal(index) {
                    Some(Value::String(text)) => Some(text.to_string()),
                    Some(number @ Value::Number(_)) => Some(number.to_string()),
                    _ => None,
                });
                at = refr;
            }
            _ => return None,
        }
    };
    Some((root, members.into_iter().rev().map_while(|member| member).collect()))
}

/// All references into the input, test rules aside, in the order of the text. The input as a
/// whole is none.
pub(super) fn all(module: &Module, lines: &Lines) -> Vec<Read> {
    let roots = Roots::of(module);
    let mut found = Vec::new();
    for definition in ast::definitions(module).iter().filter(|d| !d.is_test()) {
        ast::walk(definition.rule, |node| {
            let Node::Expr(expr) = node else { return true };
            below(&roots, expr, lines, &mut found)
        });
    }
    found
}

/// References in one expression.
pub(super) fn below<'a>(
    roots: &Roots,
    expr: &'a Ref<Expr>,
    lines: &Lines,
    found: &mut Vec<Read>,
) -> bool {
    match roots.path(expr) {
        Some(path) if !path.is_empty() => {
            let (line, column) = lines.at(expr.span().start);
            found.push(Read { path, line, column });
            // Below are only shorter parts of the same path; what indexes it may be another.
            let mut at: &'a Ref<Expr> = expr;
            while let Expr::RefDot { refr, .. } | Expr::RefBrack { refr, .. } = at.as_ref() {
                if let Expr::RefBrack { index, .. } = at.as_ref() {
                    ast::walk_expr(index, |node| match node {
                        Node::Expr(inner) => below_index(roots, inner, lines, found),
                        Node::Statement(_) => true,
                    });
                }
                at = refr;
            }
            false
        }
        _ => true,
    }
}

fn below_index(roots: &Roots, expr: &Expr, lines: &Lines, found: &mut Vec<Read>) -> bool {
    match roots.path(expr) {
        Some(path) if !path.is_empty() => {
            let (line, column) = lines.at(expr.span().start);
            found.push(Read { path, line, column });
            false
        }
        _ => true,
    }
}

/// A path as one writes it in Rego.
pub(super) fn written(path: &[String]) -> String {
    let mut text = "input".to_owned();
    for member in path {
        let plain = member.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && member.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if plain {
            text.push('.');
            text.push_str(member);
        } else if member.parse::<usize>().is_ok() {
            text.push_str(&format!("[{member}]"));
        } else {
            text.push_str(&format!("[{}]", serde_json::Value::from(member.as_str())));
        }
    }
    text
}

/// What an input holds at a path.
pub(super) fn value_at<'a>(
    input: &'a Map<String, serde_json::Value>,
    path: &[String],
) -> Option<&'a serde_json::Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(input.get(first)?, |value, member| match value {
        serde_json::Value::Object(members) => members.get(member),
        serde_json::Value::Array(items) => items.get(member.parse::<usize>().ok()?),
        _ => None,
    })
}

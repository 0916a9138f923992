//! The rules that the system reads must give what it can read: `allow` true or false, reasons and
//! warnings texts. What is obviously otherwise is found before a check would meet it.

use regorus::Value;
use regorus::unstable::{Expr, Ref};

use super::ast::{self, Definition, Kind, Lines};
use super::finding::Finding;

/// Entry rules of the wrong kind, and literals of the wrong type.
pub(super) fn check(definitions: &[Definition<'_>], lines: &Lines) -> Vec<Finding> {
    let mut findings = Vec::new();
    for definition in definitions {
        let problem = match definition.name.as_str() {
            "allow" => allow(definition),
            "deny_reasons" | "warnings" => texts(definition),
            _ => None,
        };
        if let Some((message, help, at)) = problem {
            let place = at.unwrap_or(definition.head.start);
            findings.push(Finding::error("entry-type", message, help).at(lines.at(place)));
        }
    }
    findings
}

type Problem = (String, String, Option<u32>);

/// Every value that a definition may give, where it says one.
pub(super) fn values<'a>(definition: &Definition<'a>) -> Vec<&'a Ref<Expr>> {
    let own = definition.bodies.iter().filter_map(|body| body.assign.as_ref());
    definition.value.into_iter().chain(own.map(|assign| &assign.value)).collect()
}

fn allow(definition: &Definition<'_>) -> Option<Problem> {
    let help = "write `default allow := true` and `allow := false if { … }`".to_owned();
    let kind = match definition.kind {
        Kind::PartialSet => Some("a set"),
        Kind::PartialObject => Some("an object"),
        Kind::Function => Some("a function"),
        Kind::Complete | Kind::Default => None,
    };
    if let Some(kind) = kind {
        return Some((format!("`allow` must be true or false, not {kind}"), help, None));
    }
    let wrong = values(definition).into_iter().find_map(|value| {
        let kind = literal_kind(value).filter(|kind| *kind != "a boolean")?;
        Some((kind, value.span().start))
    });
    let (kind, at) = wrong?;
    Some((format!("`allow` must be true or false, not {kind}"), help, Some(at)))
}

fn texts(definition: &Definition<'_>) -> Option<Problem> {
    let name = &definition.name;
    let help = format!("write `{name} contains \"a_reason\" if {{ … }}`");
    match definition.kind {
        Kind::Function => {
            return Some((format!("`{name}` must be a set of texts, not a function"), help, None));
        }
        Kind::PartialObject => return None,
        Kind::PartialSet => {
            let key = definition.key?;
            let kind = literal_kind(key).filter(|kind| *kind != "a string")?;
            let message = format!("`{name}` must hold texts, not {kind}");
            return Some((message, help, Some(key.span().start)));
        }
        Kind::Complete | Kind::Default => (),
    }
    let given = values(definition);
    if given.is_empty() {
        let message = format!("`{name}` is true where this holds; it must be a set of texts");
        return Some((message, help, None));
    }
    for value in given {
        let at = Some(value.span().start);
        match literal_kind(value) {
            Some("an array" | "a set") => {
                let (Expr::Array { items, .. } | Expr::Set { items, .. }) = value.as_ref() else {
                    continue;
                };
                let wrong = items.iter().find_map(|item| {
                    let kind = literal_kind(item).filter(|kind| *kind != "a string")?;
                    Some((format!("`{name}` must hold texts, not {kind}"), item.span().start))
                });
                if let Some((message, at)) = wrong {
                    return Some((message, help, Some(at)));
                }
            }
            None | Some("an object") => (),
            Some(kind) => {
                let message = format!("`{name}` must be a set, an array or an object, not {kind}");
                return Some((message, help, at));
            }
        }
    }
    None
}

/// What kind of literal an expression is, where it is one.
fn literal_kind(expr: &Expr) -> Option<&'static str> {
    match expr {
        Expr::Array { .. } | Expr::ArrayCompr { .. } => Some("an array"),
        Expr::Set { .. } | Expr::SetCompr { .. } => Some("a set"),
        Expr::Object { .. } | Expr::ObjectCompr { .. } => Some("an object"),
        _ => Some(match ast::literal(expr)? {
            Value::String(_) => "a string",
            Value::Number(_) => "a number",
            Value::Bool(_) => "a boolean",
            _ => "null",
        }),
    }
}

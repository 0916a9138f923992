//! Reading requests: every one is hostile, and every refusal names the field and the way out.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::fault::{FaultCode, RequestFault};
use crate::domain::CheckRequest;

/// Bytes of the longest package that a check may name.
const MAX_PACKAGE_BYTES: usize = 512;

/// Bytes of the longest action; it becomes a token of a NATS subject.
pub const MAX_ACTION_BYTES: usize = 256;

/// What a request may be at most.
#[derive(Clone, Copy, Debug)]
pub struct RequestBounds {
    /// Bytes of the body.
    pub bytes: usize,
    /// Levels of nesting.
    pub nesting: usize,
    /// Checks in a batch.
    pub batch: usize,
}

/// Reads a check.
///
/// # Errors
/// Which field is wrong and what would be right.
pub fn parse_check(body: &[u8], bounds: &RequestBounds) -> Result<CheckRequest, RequestFault> {
    check_from(parse_json(body, bounds)?)
}

/// Reads a batch: its checks one by one, so that a bad one fails alone.
///
/// # Errors
/// When the batch itself can't be read.
pub fn parse_batch(
    body: &[u8],
    bounds: &RequestBounds,
) -> Result<Vec<Result<CheckRequest, RequestFault>>, RequestFault> {
    let Value::Object(mut members) = parse_json(body, bounds)? else {
        return Err(RequestFault::field("", "a batch is an object: {\"checks\": [ … ]}"));
    };
    let checks = match members.remove("checks") {
        Some(Value::Array(checks)) => checks,
        Some(other) => {
            return Err(RequestFault::field(
                "checks",
                format!("must be an array of checks, not {}", kind(&other)),
            ));
        }
        None => {
            return Err(RequestFault::field("checks", "is required: {\"checks\": [ … ]}"));
        }
    };
    if checks.len() > bounds.batch {
        return Err(RequestFault::field(
            "checks",
            format!(
                "has {} checks, at most {} are taken in one message (setting worker.max_batch)",
                checks.len(),
                bounds.batch
            ),
        ));
    }
    Ok(checks
        .into_iter()
        .enumerate()
        .map(|(index, check)| check_from(check).map_err(|e| e.within(&format!("checks[{index}]"))))
        .collect())
}

/// Reads a request of management or of `policy.evaluate`.
///
/// # Errors
/// Which field is wrong and why.
pub fn parse_message<T: DeserializeOwned>(
    body: &[u8],
    bounds: &RequestBounds,
) -> Result<T, RequestFault> {
    let value = parse_json(body, bounds)?;
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { String::new() } else { path };
        RequestFault::field(field, error.into_inner().to_string())
    })
}

fn parse_json(body: &[u8], bounds: &RequestBounds) -> Result<Value, RequestFault> {
    if body.len() > bounds.bytes {
        return Err(RequestFault::new(
            FaultCode::TooLarge,
            "",
            format!(
                "the request has {} bytes, at most {} are taken (setting worker.max_request_bytes); \
                 send what policies need, such as sizes and names, instead of whole contents",
                body.len(),
                bounds.bytes
            ),
        ));
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(RequestFault::field(
            "",
            "the request is empty; send a JSON object such as \
             {\"action\": \"llm_call\", \"resource\": {\"model\": \"gpt-4\"}}",
        ));
    }
    let text = std::str::from_utf8(body).map_err(|e| {
        RequestFault::field("", format!("the request isn't UTF-8: bad byte at {}", e.valid_up_to()))
    })?;
    if let Some(depth) = deeper_than(text, bounds.nesting) {
        return Err(RequestFault::field(
            "",
            format!(
                "the request is nested {depth} levels deep or more, at most {} are taken \
                 (setting worker.max_nesting)",
                bounds.nesting
            ),
        ));
    }
    serde_json::from_str(text)
        .map_err(|e| RequestFault::field("", format!("the request isn't JSON: {e}")))
}

/// The nesting at which a JSON text passes the limit, if it does. Looks at brackets outside of
/// strings only, so that it is safe to run before any parser.
fn deeper_than(text: &str, limit: usize) -> Option<usize> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > limit {
                    return Some(depth);
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => (),
        }
    }
    None
}

fn check_from(value: Value) -> Result<CheckRequest, RequestFault> {
    let Value::Object(mut members) = value else {
        return Err(RequestFault::field(
            "",
            format!("a check is an object with action and resource, not {}", kind(&value)),
        ));
    };
    let action = action_from(members.remove("action"))?;
    let resource = match members.remove("resource") {
        Some(resource @ (Value::Object(_) | Value::String(_))) => resource,
        Some(other) => {
            return Err(RequestFault::field(
                "resource",
                format!("must be an object or a string, not {}", kind(&other)),
            ));
        }
        None => {
            return Err(RequestFault::field(
                "resource",
                "is required: an object such as {\"model\": \"gpt-4\"}, or a string",
            ));
        }
    };
    let context = match members.remove("context") {
        Some(Value::Object(context)) => context,
        Some(Value::Null) | None => Map::new(),
        Some(other) => {
            return Err(RequestFault::field(
                "context",
                format!("must be an object, not {}", kind(&other)),
            ));
        }
    };
    let package = match members.remove("package") {
        Some(Value::String(package)) if package.is_empty() => None,
        Some(Value::String(package)) if package.len() > MAX_PACKAGE_BYTES => {
            return Err(RequestFault::field(
                "package",
                format!("has {} bytes, at most {MAX_PACKAGE_BYTES} are taken", package.len()),
            ));
        }
        Some(Value::String(package)) => {
            Some(package.strip_prefix("data.").map(str::to_owned).unwrap_or(package))
        }
        Some(Value::Null) | None => None,
        Some(other) => {
            return Err(RequestFault::field(
                "package",
                format!("must be a string such as \"cmbagent.cost_control\", not {}", kind(&other)),
            ));
        }
    };
    Ok(CheckRequest { action, resource, context, package, extra: members })
}

fn action_from(value: Option<Value>) -> Result<String, RequestFault> {
    match value {
        Some(Value::String(action)) if action.trim().is_empty() => {
            Err(RequestFault::field("action", "must not be empty; for example \"llm_call\""))
        }
        Some(Value::String(action)) if action.len() > MAX_ACTION_BYTES => Err(RequestFault::field(
            "action",
            format!("has {} bytes, at most {MAX_ACTION_BYTES} are taken", action.len()),
        )),
        Some(Value::String(action)) => Ok(action),
        Some(other) => Err(RequestFault::field(
            "action",
            format!("must be a string such as \"llm_call\", not {}", kind(&other)),
        )),
        None => Err(RequestFault::field("action", "is required: a string such as \"llm_call\"")),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: RequestBounds = RequestBounds { bytes: 4096, nesting: 16, batch: 3 };

    fn fault(body: &str) -> RequestFault {
        parse_check(body.as_bytes(), &BOUNDS).unwrap_err()
    }

    #[test]
    fn a_whole_check() {
        let check = parse_check(
            br#"{"action":"llm_call","resource":"gpt-4","context":{"agent":"a"},"package":"data.x.y","trace":1}"#,
            &BOUNDS,
        )
        .unwrap();
        assert_eq!(check.action, "llm_call");
        assert_eq!(check.package.as_deref(), Some("x.y"));
        assert_eq!(check.extra["trace"], 1);
        assert_eq!(check.identity().agent, "a");
    }

    #[test]
    fn every_refusal_names_the_field() {
        let cases = [
            (r#"{"resource":{}}"#, "action", "is required"),
            (r#"{"action":"","resource":{}}"#, "action", "must not be empty"),
            (r#"{"action":7,"resource":{}}"#, "action", "not a number"),
            (r#"{"action":"a"}"#, "resource", "is required"),
            (r#"{"action":"a","resource":[1]}"#, "resource", "not an array"),
            (r#"{"action":"a","resource":"r","context":"c"}"#, "context", "not a string"),
            (r#"{"action":"a","resource":"r","package":{}}"#, "package", "not an object"),
            (r#"[1,2]"#, "", "not an array"),
            ("{\"action\":", "", "isn't JSON"),
            ("   ", "", "is empty"),
        ];
        for (body, field, message) in cases {
            let fault = fault(body);
            assert_eq!(fault.field, field, "{body}: {fault}");
            assert!(fault.message.contains(message), "{body}: {fault}");
            assert_eq!(fault.code, FaultCode::BadRequest);
        }
    }

    #[test]
    fn bytes_that_are_not_text_and_bodies_too_large_or_too_deep() {
        let fault = parse_check(b"{\"action\":\"\xff\"}", &BOUNDS).unwrap_err();
        assert!(fault.message.contains("bad byte at 11"), "{fault}");
        let large = parse_check(&vec![b' '; 5000], &BOUNDS).unwrap_err();
        assert_eq!(large.code, FaultCode::TooLarge);
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        assert!(parse_check(deep.as_bytes(), &BOUNDS).unwrap_err().message.contains("nested"));
    }

    #[test]
    fn brackets_in_strings_are_not_nesting() {
        let body = format!(r#"{{"action":"a","resource":"{}\"[["}}"#, "[".repeat(100));
        assert!(parse_check(body.as_bytes(), &BOUNDS).is_ok());
    }

    #[test]
    fn one_bad_check_of_a_batch_fails_alone() {
        let items =
            parse_batch(br#"{"checks":[{"action":"a","resource":"r"},{"action":"b"},7]}"#, &BOUNDS)
                .unwrap();
        assert!(items[0].is_ok());
        assert_eq!(items[1].as_ref().unwrap_err().field, "checks[1].resource");
        assert_eq!(items[2].as_ref().unwrap_err().field, "checks[2]");
        let many = r#"{"checks":[1,2,3,4]}"#;
        assert!(parse_batch(many.as_bytes(), &BOUNDS).unwrap_err().message.contains("max_batch"));
        assert_eq!(parse_batch(b"{}", &BOUNDS).unwrap_err().field, "checks");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_check(&body, &BOUNDS);
            let _ = parse_batch(&body, &BOUNDS);
        }

        #[test]
        fn no_text_of_json_tokens_makes_it_panic(body in r#"([\[\]{}":,\\]|action|resource|[0-9e+.-]|\\u[0-9a-f]{4}){0,40}"#) {
            let _ = parse_check(body.as_bytes(), &BOUNDS);
            let _ = parse_batch(body.as_bytes(), &BOUNDS);
        }
    }
}

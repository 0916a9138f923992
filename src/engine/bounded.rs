//! Values of a policy as JSON, bounded: a few lines of Rego can make a value whose JSON would be
//! larger than any memory, since its parts are shared.

use regorus::Value;
use serde_json::Value as Json;

/// Bytes of the JSON of one value, about; a longer one is described instead.
const MOST_BYTES: usize = 2_048;
/// Levels of a value.
const MOST_DEPTH: usize = 32;

/// A value as JSON, or its description where it is large. Sets are lists.
pub(super) fn json(value: &Value) -> Json {
    let mut left = MOST_BYTES;
    within(value, &mut left, MOST_DEPTH).unwrap_or_else(|| Json::String(description(value)))
}

fn within(value: &Value, left: &mut usize, depth: usize) -> Option<Json> {
    let depth = depth.checked_sub(1)?;
    *left = left.checked_sub(4)?;
    Some(match value {
        Value::Null | Value::Undefined => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Number(_) => serde_json::to_value(value).ok()?,
        Value::String(text) => {
            *left = left.checked_sub(text.len())?;
            Json::String(text.to_string())
        }
        Value::Array(items) => {
            Json::Array(items.iter().map(|item| within(item, left, depth)).collect::<Option<_>>()?)
        }
        Value::Set(items) => {
            Json::Array(items.iter().map(|item| within(item, left, depth)).collect::<Option<_>>()?)
        }
        Value::Object(members) => {
            let member = |(key, value): (&Value, &Value)| {
                let key = match within(key, left, depth)? {
                    Json::String(text) => text,
                    other => other.to_string(),
                };
                Some((key, within(value, left, depth)?))
            };
            Json::Object(members.iter().map(member).collect::<Option<_>>()?)
        }
    })
}

fn description(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("(a list of {} items)", items.len()),
        Value::Set(items) => format!("(a set of {} items)", items.iter().count()),
        Value::Object(members) => format!("(an object of {} members)", members.iter().count()),
        Value::String(text) => format!("(a text of {} bytes)", text.len()),
        _ => "(a long number)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn small_values_are_themselves_and_large_ones_are_described() {
        let value = json!({"a": [1, 2.5, "x", null, true], "b": {"c": {}}});
        assert_eq!(super::json(&Value::from(value.clone())), value);
        assert_eq!(super::json(&Value::from(json!(vec![1; 900]))), "(a list of 900 items)");
        assert_eq!(super::json(&Value::from("x".repeat(3_000))), "(a text of 3000 bytes)");
        let mut shared = Value::from(json!(["x", "y"]));
        for _ in 0..60 {
            shared = Value::from(vec![shared.clone(), shared]);
        }
        assert_eq!(super::json(&shared), "(a list of 2 items)");
    }
}

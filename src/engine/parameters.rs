//! A policy's parameters: checked against its own JSON Schema, with the defaults filled in.

use serde_json::{Map, Value};

use super::error::EngineError;

/// Fills in the schema's defaults and checks the result.
///
/// # Errors
/// Which parameter is wrong and why; a schema that is none itself.
pub fn with_defaults(
    schema: &Map<String, Value>,
    given: &Map<String, Value>,
) -> Result<Map<String, Value>, EngineError> {
    let mut filled = given.clone();
    fill(schema, &mut filled);
    if schema.is_empty() {
        return match given.keys().next() {
            Some(key) => Err(EngineError::Parameters(format!(
                "`{key}` is given, but the policy declares no parameters in its METADATA \
                 (custom.parameters)"
            ))),
            None => Ok(filled),
        };
    }
    let validator = jsonschema::validator_for(&Value::Object(schema.clone())).map_err(|e| {
        EngineError::Parameters(format!("the schema in METADATA (custom.parameters) is wrong: {e}"))
    })?;
    let instance = Value::Object(filled);
    let problems: Vec<String> = validator
        .iter_errors(&instance)
        .take(10)
        .map(|e| {
            let path = e.instance_path().to_string();
            let name = path.trim_start_matches('/').replace('/', ".");
            if name.is_empty() { e.to_string() } else { format!("`{name}`: {e}") }
        })
        .collect();
    match (problems.is_empty(), instance) {
        (true, Value::Object(filled)) => Ok(filled),
        _ => Err(EngineError::Parameters(problems.join("; "))),
    }
}

/// Adds the defaults of missing properties, also inside of objects that are there.
fn fill(schema: &Map<String, Value>, value: &mut Map<String, Value>) {
    let Some(Value::Object(properties)) = schema.get("properties") else { return };
    for (name, property) in properties {
        let Value::Object(property) = property else { continue };
        if let (Some(default), false) = (property.get("default"), value.contains_key(name)) {
            value.insert(name.clone(), default.clone());
        }
        if let Some(Value::Object(inner)) = value.get_mut(name) {
            fill(property, inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    fn schema() -> Map<String, Value> {
        object(json!({"type": "object", "additionalProperties": false, "properties": {
            "limit": {"type": "integer", "minimum": 1, "default": 100},
            "hours": {"type": "object", "default": {}, "properties": {
                "start": {"type": "string", "default": "09:00"}}}}}))
    }

    #[test]
    fn defaults_fill_what_is_missing_also_inside() {
        let filled = with_defaults(&schema(), &object(json!({"limit": 5}))).unwrap();
        assert_eq!(Value::Object(filled), json!({"limit": 5, "hours": {"start": "09:00"}}));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let error = with_defaults(&schema(), &object(json!({"limit": 0}))).unwrap_err();
        assert!(error.to_string().contains("`limit`"), "{error}");
        let error = with_defaults(&schema(), &object(json!({"limt": 5}))).unwrap_err();
        assert!(error.to_string().contains("limt"), "{error}");
        let error = with_defaults(&Map::new(), &object(json!({"limit": 5}))).unwrap_err();
        assert!(error.to_string().contains("declares no parameters"), "{error}");
        let error = with_defaults(&object(json!({"type": 7})), &Map::new()).unwrap_err();
        assert!(error.to_string().contains("schema"), "{error}");
    }
}

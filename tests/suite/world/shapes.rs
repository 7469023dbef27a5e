//! Values against the shapes of the API's description.

use serde_json::Value;

/// Where a value is not as `schema` says, a key that it does not name included; `None` where it fits.
pub fn mismatch(api: &Value, schema: &Value, value: &Value) -> Option<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        let Some(named) = api.pointer(reference.trim_start_matches('#')) else { return Some(reference.to_owned()) };
        return mismatch(api, named, value);
    }
    for choice in ["oneOf", "anyOf"] {
        if let Some(choices) = schema[choice].as_array() {
            let mut wrong = Vec::new();
            for choice in choices {
                wrong.push(mismatch(api, choice, value)?);
            }
            return Some(wrong.join(" and "));
        }
    }
    let types = match &schema["type"] {
        Value::Array(types) => types.clone(),
        // Anything.
        Value::Null => return None,
        one => vec![one.clone()],
    };
    if !types.iter().any(|wanted| is(value, wanted.as_str().unwrap_or_default())) {
        return Some(format!("{value} is not {types:?}"));
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        return Some(format!("{value} is not among {words:?}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| mismatch(api, &schema["items"], item));
    }
    let (Some(object), Some(properties)) = (value.as_object(), schema["properties"].as_object()) else { return None };
    let missing = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = missing.into_iter().find(|key| !object.contains_key(*key)) {
        return Some(format!("`{missing}` is missing in {value}"));
    }
    object.iter().find_map(|(key, value)| match properties.get(key) {
        Some(schema) => mismatch(api, schema, value).map(|wrong| format!("{key}: {wrong}")),
        None => Some(format!("`{key}` is not told")),
    })
}

fn is(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        "null" => value.is_null(),
        _ => false,
    }
}

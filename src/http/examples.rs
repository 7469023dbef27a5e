//! Examples in the API's description: one for a shape, wherever it is answered.

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::openapi::schema::{ArrayItems, Schema};
use utoipa::openapi::{Content, OpenApi, RefOr};

use super::plain::name;

/// A value of each of the main shapes, by its name.
const EXAMPLES: &str = include_str!("examples.json");

/// Gives the main shapes their examples, and with them the bodies that have them.
pub fn add(api: &mut OpenApi) {
    let examples: BTreeMap<String, Value> = serde_json::from_str(EXAMPLES).unwrap_or_default();
    let bodies = api.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten().flat_map(|operation| {
            let asked = operation.request_body.iter_mut().filter_map(own).flat_map(|body| body.content.values_mut());
            let answers = operation.responses.responses.values_mut().filter_map(own);
            asked.chain(answers.flat_map(|answer| answer.content.values_mut()))
        })
    });
    for body in bodies {
        if let RefOr::T(content) = body
            && let Some(example) = example(content, &examples)
        {
            content.example = Some(example);
        }
    }
}

fn own<T>(value: &mut RefOr<T>) -> Option<&mut T> {
    match value {
        RefOr::T(value) => Some(value),
        RefOr::Ref(_) => None,
    }
}

fn example(content: &Content, examples: &BTreeMap<String, Value>) -> Option<Value> {
    let schema = content.schema.as_ref()?;
    if let RefOr::T(Schema::Array(list)) = schema
        && let ArrayItems::RefOrSchema(item) = &list.items
    {
        return examples.get(name(item)?).map(|one| Value::Array(vec![one.clone()]));
    }
    examples.get(name(schema)?).cloned()
}

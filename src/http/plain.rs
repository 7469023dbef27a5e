//! Shapes that generators of clients understand: objects without a choice in the middle.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{Object, Schema};
use utoipa::openapi::{OpenApi, RefOr};

type Schemas = BTreeMap<String, RefOr<Schema>>;

/// Writes each shape that is put together of others (`allOf`, with a choice among them) as one object, in which a key is
/// optional that only some of the choices have. Parts that nothing else refers to go away.
pub fn plain(api: &mut OpenApi) {
    let Some(components) = &mut api.components else { return };
    let known = components.schemas.clone();
    let mut parts = Vec::new();
    for schema in components.schemas.values_mut() {
        let RefOr::T(Schema::AllOf(all)) = &*schema else { continue };
        let Some(mut whole) = object(schema, &known) else { continue };
        parts.extend(all.items.iter().filter_map(|item| name(item).map(str::to_owned)));
        whole.description = all.description.clone();
        *schema = RefOr::T(Schema::Object(whole));
    }
    let text = serde_json::json!(api).to_string();
    if let Some(components) = &mut api.components {
        parts.retain(|part| !text.contains(&format!("/schemas/{part}\"")));
        parts.iter().for_each(|part| drop(components.schemas.remove(part)));
    }
}

/// The name of a shape that is referred to.
pub fn name(schema: &RefOr<Schema>) -> Option<&str> {
    match schema {
        RefOr::Ref(reference) => reference.ref_location.rsplit('/').next(),
        RefOr::T(_) => None,
    }
}

/// A shape as one object; `None` for what is not made of objects.
fn object(schema: &RefOr<Schema>, known: &Schemas) -> Option<Object> {
    let all = |items: &[RefOr<Schema>]| items.iter().map(|item| object(item, known)).collect::<Option<Vec<_>>>();
    match schema {
        RefOr::Ref(_) => object(known.get(name(schema)?)?, known),
        RefOr::T(Schema::Object(object)) => Some(object.clone()).filter(|object| !object.properties.is_empty()),
        RefOr::T(Schema::AllOf(parts)) => {
            let parts = all(&parts.items)?;
            let required = parts.iter().flat_map(|part| part.required.clone()).collect();
            Some(together(parts, required))
        }
        RefOr::T(Schema::OneOf(choices)) => {
            let choices = all(&choices.items)?;
            let (first, others) = choices.split_first()?;
            let everywhere = |key: &&String| others.iter().all(|other| other.required.contains(key));
            let required = first.required.iter().filter(everywhere).cloned().collect();
            Some(together(choices, required))
        }
        RefOr::T(_) => None,
    }
}

fn together(parts: Vec<Object>, required: Vec<String>) -> Object {
    let mut whole = Object::new();
    whole.required = required;
    for (key, schema) in parts.into_iter().flat_map(|part| part.properties) {
        whole.properties.entry(key).or_insert(schema);
    }
    whole
}

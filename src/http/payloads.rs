//! The shapes of events' data in the API's description, which has no words of its own for the data of a stream.

use serde_json::{Map, Value, json};
use utoipa::openapi::extensions::ExtensionsBuilder;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Components, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::stream::ServerEvent;
use crate::views::{AppsChangedEvent, ContainerEvent, HookEvent, ProgressEvent, ResyncEvent, StepEvent, WarningEvent};

/// The extension of [`ServerEvent`] that names the shape of `data` for each `event`.
const PAYLOADS: &str = "x-payloads";

/// Describes each event's data, and says by which name of the event it is told.
pub fn describe(components: &mut Components) {
    let mut payloads = Map::new();
    payloads.insert("job".into(), reference("Job"));
    // Of one job's stream the answer or the problem; of the stream of everything the job, as it is when it has ended.
    let results = ["JobResult", "CheckAnswer", "Problem", "Job"].map(reference);
    payloads.insert("result".into(), json!({ "anyOf": results }));
    let mut told = |event: &str, name: String, schema: RefOr<Schema>| {
        payloads.insert(event.into(), reference(&name));
        components.schemas.insert(name, schema);
    };
    told("step", StepEvent::name().into(), StepEvent::schema());
    told("progress", ProgressEvent::name().into(), ProgressEvent::schema());
    told("container", ContainerEvent::name().into(), ContainerEvent::schema());
    told("hook", HookEvent::name().into(), HookEvent::schema());
    told("warning", WarningEvent::name().into(), WarningEvent::schema());
    told("apps_changed", AppsChangedEvent::name().into(), AppsChangedEvent::schema());
    told("resync", ResyncEvent::name().into(), ResyncEvent::schema());
    if let Some(RefOr::T(Schema::Object(event))) = components.schemas.get_mut(&*ServerEvent::name()) {
        event.extensions = Some(ExtensionsBuilder::new().add(PAYLOADS, Value::Object(payloads)).build());
    }
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

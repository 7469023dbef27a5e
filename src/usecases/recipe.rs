//! How a standalone container is made again, with what its own inspection does not tell.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::adapters::engine::{Engine, EngineError};
use crate::domain::recreate::{ApiVersion, MANY_NETWORKS, Mac, Recipe, Surroundings, recipe};

/// What the engine gives a container that has no grace period of its own, in seconds.
const DEFAULT_GRACE: i64 = 10;

/// How long a container's own stop may take, in seconds; `None` for as long as it likes (`StopTimeout` -1).
pub(super) fn grace_of(inspected: &Value) -> Option<u64> {
    u64::try_from(inspected["Config"]["StopTimeout"].as_i64().unwrap_or(DEFAULT_GRACE)).ok()
}

/// Reads how to make an inspected container again from what `reference` means.
pub(super) async fn recipe_of(
    engine: &Engine,
    inspected: &Value,
    old_image: &Value,
    reference: &str,
) -> Result<Recipe, EngineError> {
    let api = ApiVersion::parse(&engine.info().await?.api_version);
    let surroundings = Surroundings {
        reference,
        api,
        mac: mac_of(engine, inspected, api).await?,
        volumes_of_others: volumes_of_others(engine, inspected).await?,
    };
    Ok(recipe(inspected, old_image, &surroundings))
}

async fn mac_of(engine: &Engine, inspected: &Value, api: ApiVersion) -> Result<Mac, EngineError> {
    let set = |mac: &Value| mac.as_str().filter(|mac| !mac.is_empty()).map(str::to_owned);
    let shown = set(&inspected["Config"]["MacAddress"]);
    if shown.is_some() || api < MANY_NETWORKS {
        return Ok(Mac::Known(shown));
    }
    let id = inspected["Id"].as_str().unwrap_or_default();
    Ok(engine.mac_set_by_hand(id).await?.map_or(Mac::Unknown, |mac| Mac::Known(set(&mac))))
}

/// The volumes that a container has from others, with `--volumes-from`.
async fn volumes_of_others(engine: &Engine, inspected: &Value) -> Result<BTreeSet<String>, EngineError> {
    let mut volumes = BTreeSet::new();
    for other in inspected["HostConfig"]["VolumesFrom"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let other = other.split(':').next().unwrap_or_default();
        // Without it the new container cannot be made either, which its creation says.
        let other = match engine.inspect(other).await {
            Ok(other) => other,
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        let mounts = other["Mounts"].as_array().into_iter().flatten();
        volumes.extend(mounts.filter_map(|mount| mount["Name"].as_str().map(str::to_owned)));
    }
    Ok(volumes)
}

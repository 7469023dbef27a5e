//! The reply of `docker compose config --format json`.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::hooks::parse_hooks;
use super::value::{duration, entries, scalar, text};
use crate::domain::app::{ProjectName, ServiceName};
use crate::domain::project::{AppSettings, Project, PullPolicy, Service};
use crate::domain::schedule::Schedule;

/// A resolved project and the values in it that no message may show.
#[derive(Debug, Clone)]
pub struct Model {
    pub project: Project,
    /// Values of `environment` of all services.
    pub secrets: Vec<String>,
    /// Changes with whatever Compose resolves: a hash, of which nothing can be read.
    pub fingerprint: String,
}

/// A reply that is none of Compose's.
#[derive(Debug, thiserror::Error)]
#[error("the reply of `docker compose config` could not be understood: {0}")]
pub struct ModelError(String);

impl Model {
    /// Reads the reply of any Compose from v2.20 on.
    pub fn parse(json: &[u8]) -> Result<Self, ModelError> {
        let value: Value = serde_json::from_slice(json).map_err(|error| ModelError(error.to_string()))?;
        let name = value["name"].as_str().ok_or_else(|| ModelError("it has no `name`".into()))?;
        let services = entries(&value["services"]);
        let secrets = services.clone().flat_map(|(_, service)| entries(&service["environment"]));
        let project = Project {
            name: ProjectName::new(name),
            services: services
                .clone()
                .filter_map(|(key, service)| Some((ServiceName::new(key), parse_service(name, key, service)?)))
                .collect(),
            external_volumes: entries(&value["volumes"])
                .filter(|(_, volume)| volume["external"] == true)
                .map(|(key, volume)| text(&volume["name"]).unwrap_or_else(|| key.clone()))
                .collect(),
            settings: parse_settings(&value["x-restock"]),
        };
        let fingerprint = Sha256::digest(json).iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { project, secrets: secrets.filter_map(|(_, value)| scalar(value)).collect(), fingerprint })
    }
}

/// `None` for a service that has no container of its own: one with a `provider`.
fn parse_service(project: &str, name: &str, value: &Value) -> Option<Service> {
    if !value["provider"].is_null() {
        return None;
    }
    let built = !value["build"].is_null();
    let image = text(&value["image"]);
    let policy = value["pull_policy"].as_str().unwrap_or_default();
    Some(Service {
        pull_policy: match (policy, built, &image) {
            ("never", _, _) => PullPolicy::Never,
            ("build", _, _) | (_, true, _) | (_, _, None) => PullPolicy::Build,
            _ => PullPolicy::Asks,
        },
        keeps_local: matches!(policy, "missing" | "if_not_present"),
        image: image.unwrap_or_else(|| format!("{project}-{name}")),
        platform: text(&value["platform"]),
        profiles: value["profiles"].as_array().into_iter().flatten().filter_map(text).collect(),
        waits_for_completion_of: entries(&value["depends_on"])
            .filter(|(_, dependency)| dependency["condition"] == "service_completed_successfully")
            .map(|(name, _)| ServiceName::new(name))
            .collect(),
        depends_on: entries(&value["depends_on"])
            .filter(|(_, dependency)| dependency["required"] != false)
            .map(|(name, _)| ServiceName::new(name))
            .collect(),
        lives_in: lives_in(value),
    })
}

/// `network_mode`, `ipc` and `pid` say `service:name`; `volumes_from` says `name[:ro]`.
fn lives_in(service: &Value) -> BTreeSet<ServiceName> {
    let namespaces =
        ["network_mode", "ipc", "pid"].into_iter().filter_map(|key| service[key].as_str()?.strip_prefix("service:"));
    let volumes = service["volumes_from"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let volumes = volumes.filter(|from| !from.starts_with("container:")).filter_map(|from| from.split(':').next());
    namespaces.chain(volumes).map(ServiceName::new).collect()
}

/// The settings under `x-restock`, or every mistake in them at once.
fn parse_settings(value: &Value) -> Result<AppSettings, String> {
    let mut settings = AppSettings::default();
    let mut mistakes = Vec::new();
    if !value.is_null() && !value.is_object() {
        return Err("x-restock: it must be a mapping".into());
    }
    for (key, value) in entries(value) {
        let outcome = match key.as_str() {
            "auto_update" => {
                one_of(value, &["registry", "image", "local", "disabled"]).map(|word| settings.auto_update = Some(word))
            }
            "rollback" => {
                value.as_bool().map(|flag| settings.rollback = Some(flag)).ok_or_else(|| "true or false".into())
            }
            "health_timeout" => duration(value).map(|time| settings.health_timeout = Some(time)),
            "settle" => duration(value).map(|time| settings.settle = Some(time)),
            "min_age" => duration(value).map(|time| settings.min_age = Some(time)),
            "schedule" => schedule(value).map(|schedule| settings.schedule = Some(schedule)),
            "hooks" => {
                match parse_hooks(value) {
                    Ok(hooks) => settings.hooks = hooks,
                    Err(more) => mistakes.extend(more),
                }
                continue;
            }
            _ => {
                mistakes.push(format!(
                    "x-restock.{key}: unknown key; valid are auto_update, rollback, health_timeout, settle, min_age, schedule, hooks"
                ));
                continue;
            }
        };
        if let Err(expected) = outcome {
            mistakes.push(format!("x-restock.{key}: expected {expected}"));
        }
    }
    if mistakes.is_empty() { Ok(settings) } else { Err(mistakes.join("; ")) }
}

fn one_of(value: &Value, valid: &[&str]) -> Result<String, String> {
    let word = text(value).filter(|word| valid.contains(&word.as_str()));
    word.ok_or_else(|| format!("one of {}", valid.join(", ")))
}

fn schedule(value: &Value) -> Result<Schedule, String> {
    let text = text(value).ok_or("a cron expression")?;
    Schedule::parse(&text, TimeZone::UTC).map_err(|problem| format!("something else than `{text}`: {problem}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    fn parse(value: &Value) -> Model {
        Model::parse(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn services_are_read_with_what_an_update_needs() {
        let model = parse(&json!({"name": "shop", "services": {
            "web": {"image": "host:5000/web:1", "environment": {"P": "pa$$word", "N": 5, "E": null},
                    "depends_on": {"init": {"condition": "service_completed_successfully"}, "db": {"condition": "service_healthy"}}},
            "init": {"build": {"context": "."}},
            "db": {"image": "db", "pull_policy": "never", "profiles": ["x"], "platform": "linux/arm64"},
            "side": {"image": "side", "network_mode": "service:web", "volumes_from": ["db:ro", "container:other"]},
            "cloud": {"provider": {"type": "x"}},
        }, "volumes": {"a": {"external": true, "name": "real"}, "b": {"name": "shop_b"}}}));
        let service = |name: &str| &model.project.services[&ServiceName::new(name)];
        assert_eq!(model.project.services.len(), 4);
        assert_eq!(service("init").image, "shop-init");
        assert_eq!(service("init").pull_policy, PullPolicy::Build);
        assert_eq!(service("db").pull_policy, PullPolicy::Never);
        assert_eq!(service("side").lives_in, ["db", "web"].map(ServiceName::new).into());
        assert_eq!(model.project.one_shots().into_iter().map(ServiceName::as_str).collect::<Vec<_>>(), ["init"]);
        assert_eq!(model.project.external_volumes, ["real".to_owned()].into());
        assert!(model.secrets.contains(&"pa$word".to_owned()) && model.secrets.contains(&"5".to_owned()));
    }

    #[test]
    fn mistakes_in_settings_are_told_together_and_name_the_keys() {
        let model = parse(&json!({"name": "a", "services": {}, "x-restock": {
            "auto_update": "sometimes", "health_timeout": "90", "rollback": "yes", "colour": "red"}}));
        let mistakes = model.project.settings.unwrap_err();
        for key in ["auto_update", "registry, image, local, disabled", "health_timeout", "rollback", "colour"] {
            assert!(mistakes.contains(key), "{key} in {mistakes}");
        }
    }

    #[test]
    fn settings_are_typed() {
        let model = parse(
            &json!({"name": "a", "services": {}, "x-restock": {"health_timeout": "90s", "min_age": "3d", "rollback": false}}),
        );
        let settings = model.project.settings.unwrap();
        assert_eq!(settings.health_timeout, Some(Duration::from_secs(90)));
        assert_eq!(settings.min_age, Some(Duration::from_secs(3 * 86_400)));
        assert_eq!(settings.rollback, Some(false));
    }

    #[test]
    fn what_is_no_reply_is_an_error() {
        for reply in ["", "[]", "{}", "not json"] {
            assert!(Model::parse(reply.as_bytes()).is_err(), "{reply}");
        }
    }
}

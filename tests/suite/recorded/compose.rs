use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use restock::adapters::compose::{
    Model, Progress, ProgressLine, PullProblem, Topic, parse_line, pull_problem, readable,
};
use restock::domain::app::ServiceName;

use super::{name, read, recordings, with_ending};

const VERSIONS: [&str; 3] =
    ["compose-2.40.3/engine-20.10.24", "compose-2.40.3/engine-28.5.2-containerd", "compose-5.x-derived"];

/// The models of the sample apps, by the recording's name.
fn models() -> BTreeMap<String, Model> {
    let folder = recordings("compose-2.40.3");
    let models = with_ending(&folder, "stdout").into_iter().filter(|path| name(path).starts_with("config-"));
    models
        .map(|path| (name(&path).to_owned(), Model::parse(read(path.with_extension("stdout")).as_bytes()).unwrap()))
        .collect()
}

fn services(model: &Model) -> Vec<&str> {
    model.project.services.keys().map(ServiceName::as_str).collect()
}

#[test]
fn every_model_is_read() {
    let models = models();
    for (recording, project, expected) in [
        ("config-web", "web", vec!["web"]),
        ("config-shop", "shop", vec!["api", "db", "front", "migrate", "worker"]),
        ("config-built", "built", vec!["app"]),
        ("config-vpn", "vpn", vec!["download", "notes", "vpn"]),
    ] {
        let model = &models[recording];
        assert_eq!((model.project.name.as_str(), services(model)), (project, expected), "{recording}");
    }
    assert!(models["config-pinned"].project.services.values().any(|service| service.image.contains("@sha256:")));
    let without = services(&models["config-profiles"]).len();
    assert!(without < services(&models["config-profiles-all"]).len());
    let one_shots = models["config-shop"].project.one_shots();
    assert_eq!(one_shots.into_iter().map(ServiceName::as_str).collect::<Vec<_>>(), ["migrate"]);
    assert!(!models["config-photos"].project.external_volumes.is_empty());
    let vpn = &models["config-vpn"].project;
    assert_eq!(
        vpn.with_dependents(&[ServiceName::new("vpn")].into()),
        ["download", "vpn"].map(ServiceName::new).into()
    );
}

#[test]
fn nothing_that_is_said_about_a_broken_file_is_a_model() {
    for path in with_ending(&recordings("compose-2.40.3"), "stderr") {
        let said = read(path.with_extension("stderr"));
        assert!(Model::parse(said.as_bytes()).is_err(), "{said}");
        assert_eq!(readable(&said), said.trim_end(), "a sentence stays what it is");
    }
}

/// The events of a recording; every line has to be one, or the last word of a failure.
fn events(path: &Path) -> (Vec<Progress>, Vec<String>) {
    let (mut events, mut errors) = (Vec::new(), Vec::new());
    for line in read(path.with_extension("stderr")).lines() {
        match parse_line(line) {
            ProgressLine::Event(event) => events.push(event),
            ProgressLine::Error(message) => errors.push(message),
            ProgressLine::Note(note) => panic!("{}: `{note}` is no event", path.display()),
        }
    }
    (events, errors)
}

fn root(subject: &Topic) -> &Topic {
    match subject {
        Topic::Layer { of, .. } => root(of),
        other => other,
    }
}

#[test]
fn every_event_is_about_a_service_an_image_or_a_container_of_the_project() {
    let models = models();
    let services: BTreeSet<_> = models.values().flat_map(services).collect();
    let projects: BTreeSet<_> = models.values().map(|model| model.project.name.as_str()).collect();
    for path in VERSIONS.iter().flat_map(|version| with_ending(&recordings(version), "stderr")) {
        let (events, _) = events(&path);
        assert!(!events.is_empty() || name(&path).starts_with("pull-built"), "{}", path.display());
        for event in &events {
            assert!(!event.status.is_empty(), "{}: {event:?}", path.display());
            match root(&event.subject) {
                Topic::Service(service) => assert!(services.contains(service.as_str()), "{service}"),
                Topic::Image(image) => assert!(image.contains("/demo/"), "{image}"),
                Topic::Container(container) => {
                    // A dry run names replacements `<12 hex>_<name>`.
                    let name = container.rsplit('_').next().unwrap();
                    assert!(projects.contains(name.split('-').next().unwrap()), "{container}");
                }
                Topic::Other(resource) => {
                    assert!(["Network ", "Volume "].iter().any(|kind| resource.starts_with(kind)), "{resource}");
                }
                Topic::Layer { .. } => unreachable!("a layer of a layer"),
            }
        }
    }
}

#[test]
fn bytes_of_layers_are_counted() {
    for path in VERSIONS.map(|version| recordings(version).join("pull-new")) {
        let (events, _) = events(&path);
        let counted = |event: &&Progress| event.current.is_some() && event.total >= event.current;
        let layers = events.iter().filter(|event| matches!(event.subject, Topic::Layer { .. }));
        // A containerd store tells no bytes through Compose 2.
        if !path.to_string_lossy().contains("containerd") {
            assert!(layers.clone().any(|layer| counted(&layer)), "{}", path.display());
        }
        assert!(layers.count() > 0 && events.last().unwrap().status == "Pulled", "{}", path.display());
    }
}

#[test]
fn what_was_recreated_is_told_in_the_same_words_by_every_version() {
    for version in VERSIONS {
        let (events, errors) = events(&recordings(version).join("up-changed"));
        let containers = |status: &str| -> BTreeSet<String> {
            let of = events.iter().filter(|event| event.status == status);
            of.filter_map(|event| match &event.subject {
                Topic::Container(name) => Some(name.clone()),
                _ => None,
            })
            .collect()
        };
        assert!(errors.is_empty(), "{version}: {errors:?}");
        assert!(containers("Recreated").contains("shop-api-1") && containers("Started").contains("shop-api-1"));
        assert!(containers("Running").contains("shop-db-1") && !containers("Recreated").contains("shop-db-1"));
    }
}

#[test]
fn failures_are_found_and_told_once() {
    let mut seen = 0;
    for path in VERSIONS.iter().flat_map(|version| with_ending(&recordings(version), "stderr")) {
        let failing = ["missing", "unreachable", "unhealthy"].iter().any(|word| name(&path).contains(word));
        let (events, errors) = events(&path);
        assert_eq!(failing, !errors.is_empty(), "{}", path.display());
        if failing && name(&path).starts_with("pull-") {
            let failed: Vec<_> = events.iter().filter(|event| event.failed).collect();
            assert_eq!(failed.len(), 1, "{}: {failed:?}", path.display());
            assert!(errors[0].ends_with(&failed[0].status), "{}", path.display());
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
}

#[test]
fn the_reason_of_a_failed_pull_is_known() {
    for path in VERSIONS.iter().flat_map(|version| with_ending(&recordings(version), "stderr")) {
        let expected = match name(&path) {
            "pull-missing-tag" => PullProblem::NoSuchImage,
            "pull-unreachable" => PullProblem::Unreachable,
            _ => continue,
        };
        assert_eq!(pull_problem(&read(path.with_extension("stderr"))), expected, "{}", path.display());
    }
    let cli = recordings("docker-cli-28.5.2");
    assert_eq!(pull_problem(&read(cli.join("no-engine.stderr"))), PullProblem::EngineGone);
}

//! Labels that a container has from its image decide nothing: whoever makes images is not whoever owns the host.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{job, update};
use crate::world::{UNIT, WEB, World, image_id};

const POLICIES: [(&str, &str); 3] = [
    ("restock.auto-update", "registry"),
    ("io.containers.autoupdate", "registry"),
    ("com.centurylinklabs.watchtower.enable", "true"),
];

/// The container `web`, with labels of its image and of its own.
fn world(of_image: &[(&str, &str)], own: &[(&str, &str)]) -> World {
    let world = World::new();
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())).collect()
    };
    let old = image_id(&format!("{WEB} old"));
    world.engine.things(|things| {
        things.image_labels.insert(old, labels(of_image));
        let container = things.run("web", WEB);
        container.labels.extend(labels(of_image));
        container.labels.extend(labels(own));
    });
    world
}

fn podman(world: &World) {
    world.engine.says(json!({"Components": [{"Name": "Podman Engine", "Version": "4.3.1"}, {"Name": "Conmon", "Version": "conmon version 2.1.6"}]}));
}

async fn is_marked(world: &World) -> Value {
    let restock = world.restock().await;
    let groups = restock.get("/api/images").await.ok();
    groups.as_array().unwrap()[0]["containers"][0]["auto_update"].clone()
}

#[tokio::test]
async fn an_image_does_not_mark_its_containers() {
    for (label, word) in POLICIES {
        assert_eq!(is_marked(&world(&[(label, word)], &[])).await, false, "{label}");
        assert_eq!(is_marked(&world(&[(label, word)], &[(label, word)])).await, false, "{label}");
        assert_eq!(is_marked(&world(&[], &[(label, word)])).await, true, "{label}");
        assert_eq!(is_marked(&world(&[(label, "x")], &[(label, word)])).await, true, "{label}");
    }
}

#[tokio::test]
async fn an_image_that_is_gone_cannot_be_asked_and_only_what_leaves_alone_is_believed() {
    let gone = |word| {
        let world = world(&[], &[("restock.auto-update", word)]);
        world.app("app").service("web", WEB).key("x-restock", json!({"auto_update": "registry"})).running();
        world
            .engine
            .change("app-web-1", |container| drop(container.labels.insert("restock.auto-update".into(), word.into())));
        world.engine.things(|things| things.images.remove(&image_id(&format!("{WEB} old"))));
        world
    };
    assert_eq!(is_marked(&gone("registry")).await, false);
    assert_eq!(is_marked(&gone("disabled")).await, false);
}

#[tokio::test]
async fn an_image_sets_no_policy_for_the_services_of_an_app() {
    for (label, word) in POLICIES {
        let world = World::with_web();
        let (label, word) = (label.to_owned(), word.to_owned());
        world.engine.change("web-web-1", |container| drop(container.labels.insert(label.clone(), word.clone())));
        let restock = world.restock().await;
        let policy = restock.get("/api/apps/web/auto-update").await.ok();
        assert_eq!((&policy["auto_update"], &policy["source"]), (&json!("registry"), &json!(label)), "{policy}");
        drop(restock);
        world
            .engine
            .things(|things| things.image_labels.insert(image_id(&format!("{WEB} old")), [(label, word)].into()));
        let restock = world.restock().await;
        let policy = restock.get("/api/apps/web/auto-update").await.ok();
        assert_eq!((&policy["auto_update"], &policy["source"]), (&Value::Null, &Value::Null), "{policy}");
    }
}

#[tokio::test]
async fn an_image_is_asked_once_and_only_where_a_label_decides() {
    let world = world(&[("restock.auto-update", "registry")], &[]);
    world.engine.things(|things| {
        for number in 0..5 {
            let labels = [("restock.auto-update".to_owned(), "registry".to_owned())].into();
            things.run(&format!("more{number}"), WEB).labels = labels;
        }
        drop(things.run("plain", "registry.test/plain:1").id.clone());
    });
    let restock = world.restock().await;
    for _ in 0..3 {
        restock.get("/api/images").await.ok();
    }
    let asked = world.engine.requests();
    let inspected = |label: &str| {
        asked.iter().filter(|request| **request == format!("GET /images/{}/json", image_id(label))).count()
    };
    assert_eq!((inspected(&format!("{WEB} old")), inspected("registry.test/plain:1 old")), (1, 0), "{asked:#?}");
}

#[tokio::test]
async fn only_a_service_that_somebody_has_named_on_a_podman_engine_is_restarted() {
    for (on_podman, of_image, own, restarted) in [
        (true, &[][..], &[(UNIT, "web.service")][..], true),
        (true, &[(UNIT, "other.service")], &[(UNIT, "web.service")], true),
        (true, &[(UNIT, "web.service")], &[], false),
        (false, &[], &[(UNIT, "web.service")], false),
        (true, &[], &[(UNIT, "poweroff.target")], false),
        (true, &[], &[(UNIT, "web.socket")], false),
        (true, &[], &[(UNIT, "../x/web.service")], false),
        (false, &[(UNIT, "poweroff.target")], &[], false),
    ] {
        let world = world(of_image, own);
        if on_podman {
            podman(&world);
        }
        let restock = world.restock().await;
        let id = update(&restock, "web").await;
        let job = job(&restock, &id).await;
        let case = format!("{on_podman} {of_image:?} {own:?}: {job}");
        // There is no systemd here, which is how it shows that it was asked.
        if restarted {
            assert_eq!(job["error"]["code"], "systemd_unreachable", "{case}");
        } else {
            assert_eq!(job["outcome"], "updated", "{case}");
        }
    }
}

#[tokio::test]
async fn an_image_names_no_file_of_credentials() {
    let label = "io.containers.autoupdate.authfile";
    for (of_image, own, shown) in [(true, false, false), (false, true, true)] {
        let file = tempfile::NamedTempFile::new().unwrap();
        let login = json!({"auths": {"registry.test": {"auth": "bWU6cmlnaHQ="}}});
        std::fs::write(file.path(), login.to_string()).unwrap();
        let pair = [(label, file.path().to_str().unwrap())];
        let world = world(if of_image { &pair } else { &[] }, if own { &pair } else { &[] });
        let restock = world.restock().await;
        let id = update(&restock, "web").await;
        assert_eq!(job(&restock, &id).await["outcome"], "updated");
        assert_eq!(world.engine.logins().iter().map(Option::is_some).collect::<Vec<_>>(), [shown]);
    }
}

//! The API's description: what it says is what the routes do.

use std::collections::{BTreeMap, BTreeSet};

use restock::domain::failure::Code;
use restock::http::openapi;
use serde_json::{Value, json};

use crate::world::{Options, World, mismatch, repository};

/// Set to write the golden file anew, when a change of the API is meant: then look at the difference.
const RENEW: &str = "RESTOCK_RENEW_GOLDEN";
const GOLDEN: &str = "tests/suite/openapi.json";

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Each path with its methods.
fn told(api: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let methods = |item: &Value| members(item).map(|(method, _)| method.to_uppercase()).collect();
    members(&api["paths"]).map(|(path, item)| (path.clone(), methods(item))).collect()
}

/// The path with something in the place of each parameter.
fn filled(path: &str) -> String {
    path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect::<Vec<_>>().join("/")
}

#[test]
fn it_is_the_golden_file() {
    let text = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    let golden = repository(GOLDEN);
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(&golden, &text).unwrap();
    }
    let known = std::fs::read_to_string(&golden).unwrap_or_default();
    let place = known.lines().zip(text.lines()).position(|(known, new)| known != new);
    assert!(known == text, "the API has changed at line {place:?}; if that is meant, run the test with {RENEW}=1");
}

#[tokio::test]
async fn every_path_that_is_told_has_exactly_the_methods_that_are_told() {
    let world = World::new();
    let restock = world.restock().await;
    for (path, methods) in told(&json!(openapi())) {
        let reply = restock.request("TRACE", &filled(&path)).await;
        assert_eq!(reply.status, 405, "{path}: {}", reply.text());
        let allowed = reply.headers["allow"].to_str().unwrap().split(',').map(str::trim);
        let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").map(str::to_owned).collect();
        assert_eq!(allowed, methods, "{path}");
    }
}

#[tokio::test]
async fn every_route_is_told() {
    // Other spellings of what is told.
    const UNTOLD: [&str; 4] = [
        // The page, which is for people.
        "/",
        "/assets/{name}",
        "/api/docker/{environment}/containers//image_status",
        "/api/docker/{environment}/containers/image_status",
    ];
    let (told, routes) = (told(&json!(openapi())), restock::http::route_paths());
    let missing: Vec<_> = routes.iter().filter(|path| !told.contains_key(**path) && !UNTOLD.contains(path)).collect();
    assert_eq!(missing, [&"/api/groups/{*image}"], "OpenAPI has no word for a parameter with slashes");
    assert_eq!(routes.len(), told.len() + UNTOLD.len());
}

#[tokio::test]
async fn what_needs_a_right_says_so_and_the_rest_is_open() {
    let world = World::new();
    let restock = world.restock_with(Options { keys: "0123456789abcdef-all\n", ..Options::default() }).await;
    let api = json!(openapi());
    for (path, methods) in told(&api) {
        for method in methods {
            let operation = &api["paths"][&path][method.to_lowercase()];
            let closed = !operation["security"].as_array().unwrap().is_empty();
            assert_eq!(operation["responses"].get("401").is_some(), closed || path == "/api/login", "{method} {path}");
            if closed {
                assert_eq!(restock.request(&method, &filled(&path)).await.status, 401, "{method} {path}");
            } else {
                let reply = restock.request(&method, &filled(&path)).await;
                assert_ne!(reply.status, 401, "{method} {path}");
            }
        }
    }
}

#[test]
fn operations_have_names_of_their_own_and_references_mean_something() {
    let api = json!(openapi());
    let operations = members(&api["paths"]).flat_map(|(_, item)| members(item));
    let mut names = BTreeSet::new();
    for (_, operation) in operations {
        assert!(names.insert(operation["operationId"].as_str().unwrap()), "twice: {}", operation["operationId"]);
        let tag = &operation["tags"][0];
        assert!(api["tags"].as_array().unwrap().iter().any(|known| known["name"] == *tag), "{tag}");
        assert!(!operation["summary"].as_str().unwrap().is_empty());
    }
    let text = api.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(api.pointer(reference).is_some(), "{reference}");
    }
}

/// What generators of clients choke on: a choice in the middle of an object, names that no language has.
#[test]
fn shapes_are_plain_objects_and_names_are_words() {
    let api = json!(openapi());
    for (name, schema) in members(&api["components"]["schemas"]) {
        assert!(schema.get("allOf").is_none(), "{name}");
    }
    let job = &api["components"]["schemas"]["Job"];
    assert!(job["properties"]["app"].is_object() && !job["required"].as_array().unwrap().contains(&json!("app")));
    for (_, operation) in members(&api["paths"]).flat_map(|(_, item)| members(item)) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(id.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{id}");
    }
}

#[test]
fn examples_are_as_the_shapes_say() {
    let api = json!(openapi());
    let mut with_one = BTreeSet::new();
    for (_, operation) in members(&api["paths"]).flat_map(|(_, item)| members(item)) {
        let answers = members(&operation["responses"]).map(|(_, answer)| answer);
        for body in answers.chain([&operation["requestBody"]]).flat_map(|body| members(&body["content"])) {
            let Some(example) = body.1.get("example") else { continue };
            let id = operation["operationId"].as_str().unwrap();
            assert_eq!(mismatch(&api, &body.1["schema"], example), None, "{id}");
            with_one.insert(id);
        }
    }
    for id in ["apps_list", "apps_one", "apps_update", "apps_update_all", "apps_status", "jobs_list", "jobs_history"] {
        assert!(with_one.contains(id), "{id} has no example");
    }
}

/// The other direction, that every code that is used is told, is the compiler's.
#[test]
fn every_code_that_is_told_is_used() {
    let mut source = String::new();
    let mut directories = vec![repository("src")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if !path.ends_with("domain/failure.rs") {
                source += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let used: BTreeSet<_> =
        source.split("Code::").skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric()).next()).collect();
    for code in Code::ALL {
        assert!(used.contains(&Some(format!("{code:?}").as_str())), "nobody uses {code}");
    }
}

#[tokio::test]
async fn the_page_has_every_operation_and_asks_nobody_else_for_anything() {
    let world = World::new();
    let restock = world.restock().await;
    let reply = restock.get("/api/docs").await;
    let (page, policy) = (reply.text(), reply.headers["content-security-policy"].to_str().unwrap());
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
    let api = json!(openapi());
    for operation in members(&api["paths"]).flat_map(|(_, item)| members(item)).map(|(_, operation)| operation) {
        assert!(page.contains(&format!("id=\"{}\"", operation["operationId"].as_str().unwrap())));
    }
    for link in page.split("href=").skip(1) {
        let target = link.trim_start_matches('"').split(['"', '>']).next().unwrap();
        match target.strip_prefix('#') {
            Some(id) => assert!(page.contains(&format!("id=\"{id}\"")) || page.contains(&format!("id={id}>")), "{id}"),
            None => assert_eq!(target, "/api/openapi.json"),
        }
    }
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    assert_eq!(restock.get("/api/openapi.json").await.ok(), api);
}

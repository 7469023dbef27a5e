use super::*;

fn found(method: &str, path: &str) -> Result<(Route, String, String), u16> {
    let found = find(&method.parse().unwrap(), path);
    found.map(|found| (found.route, found.name, found.path)).map_err(|error| error.kind.status())
}

#[test]
fn every_entry_is_found_with_and_without_a_version() {
    for (method, pattern, route) in TABLE {
        for version in ["", "/v1.41", "/v1.99"] {
            let path = format!("{version}{}", pattern.replace(NAME, "host:5000/a/b:1"));
            let name = if pattern.contains(NAME) { "host:5000/a/b:1" } else { "" };
            assert_eq!(found(method, &path), Ok((route, name.into(), path.clone())), "{method} {path}");
            assert!(is_engine_path(&path), "{path}");
        }
    }
}

#[test]
fn names_are_references_or_ids_in_any_spelling_of_their_signs() {
    let id = "4f".repeat(32);
    let pinned = format!("a/b@sha256:{id}");
    for (raw, name) in [
        ("json".to_owned(), "json".to_owned()),
        (id.clone(), id.clone()),
        (format!("sha256:{id}"), format!("sha256:{id}")),
        ("4f2a".into(), "4f2a".into()),
        (pinned.clone(), pinned.clone()),
        (pinned.replace('@', "%40").replace(':', "%3A"), pinned.clone()),
        (pinned.replace('/', "%2F"), pinned.clone()),
        (pinned.replace('/', "%2f").replace('a', "%61"), pinned),
        ("registry.test%2Fa%2Fb%3A1%2e2".into(), "registry.test/a/b:1.2".into()),
        ("[::1]:5000/a".into(), "[::1]:5000/a".into()),
    ] {
        let path = format!("/images/{name}/json");
        assert_eq!(found("GET", &format!("/images/{raw}/json")), Ok((Route::Inspect, name, path)), "{raw}");
    }
}

#[test]
fn what_is_no_name_goes_nowhere() {
    for name in [
        "",
        " ",
        "%20",
        "..",
        ".",
        "../containers/x",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "%2e%2e",
        "..%2fx",
        "a%2F%2Fb",
        "a%2F..%2Fb",
        "..%2F..%2Fcontainers%2Fx",
        "%2Fa",
        "a%2F",
        "a%252Fb",
        "%zz",
        "a%5cb",
        "a\\b",
        "a%00",
        "a%",
        "a%4",
        "%C3%A4",
        "ä",
        "a%25",
        "-f",
        "UPPER",
        "a?b",
        "a#b",
        "a%3Fb",
        "a%0d%0ab",
    ] {
        for (method, path) in [
            ("GET", format!("/images/{name}/json")),
            ("GET", format!("/v1.41/images/{name}/get")),
            ("POST", format!("/images/{name}/tag")),
            ("DELETE", format!("/images/{name}")),
        ] {
            assert_eq!(found(method, &path), Err(400), "{method} {path}");
        }
    }
}

#[test]
fn a_path_is_found_as_if_it_had_been_sent_decoded() {
    for (method, encoded, plain) in [
        ("GET", "/images/a%2Fjson", "/images/a/json"),
        ("GET", "/images/a%2Fget/json", "/images/a/get/json"),
        ("GET", "/v1.41/images/%6ason", "/v1.41/images/json"),
        ("DELETE", "/images/a%2Fjson", "/images/a/json"),
        ("POST", "/images/%63reate", "/images/create"),
    ] {
        assert_eq!(found(method, encoded), found(method, plain), "{method} {encoded}");
        assert!(found(method, plain).is_ok(), "{plain}");
    }
    assert_eq!(found("GET", "/images/%2e%2e%2Fcontainers%2Fjson"), Err(400));
    assert_eq!(found("POST", "/v1.41/containers%2Fcreate"), Err(403));
}

#[test]
fn what_is_not_in_the_table_is_forbidden() {
    for (method, path) in [
        ("POST", "/containers/create"),
        ("GET", "/containers/json"),
        ("POST", "/images/json"),
        ("HEAD", "/images/json"),
        ("GET", "/images/"),
        ("GET", "/images"),
        ("GET", "/images/json/"),
        ("PUT", "/images/a/json"),
        ("GET", "/images/a/attestations"),
        ("GET", "/v1.41/../images/json"),
        ("GET", "/v1.41/v1.41/images/json"),
        ("GET", "/v1/images/json"),
        ("GET", "/v1.4.1/images/json"),
        ("GET", "/v1.41//images/json"),
        ("POST", "/build"),
        ("POST", "/session"),
        ("GET", "/events"),
        ("GET", "/info/x"),
        ("POST", "/auth"),
        ("POST", "/commit"),
        ("GET", "/configs"),
        ("GET", "/distribution/a/json"),
        ("GET", "/exec/a/json"),
        ("POST", "/grpc"),
        ("GET", "/networks"),
        ("GET", "/nodes"),
        ("GET", "/plugins"),
        ("GET", "/secrets"),
        ("GET", "/services"),
        ("GET", "/swarm"),
        ("GET", "/system/df"),
        ("GET", "/tasks"),
        ("GET", "/volumes"),
    ] {
        assert_eq!(found(method, path), Err(403), "{method} {path}");
        assert!(is_engine_path(path), "{path}");
    }
    for path in ["/", "/api/images", "/v1", "/v1.41", "/imagesx", "/assets/version", "//images/json", "/vx/images"] {
        assert!(!is_engine_path(path), "{path}");
    }
}

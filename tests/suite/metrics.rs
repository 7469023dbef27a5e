//! What a monitoring system reads: that the text is what its format asks for, and that the counts are right.

use std::collections::{BTreeMap, BTreeSet};

use crate::world::{Options, Service, World, repository, soon};

/// What a text says: the value of each series, by its name and labels as they are written.
type Series = BTreeMap<String, f64>;

const TYPES: [&str; 4] = ["counter", "gauge", "histogram", "untyped"];

/// Reads a text strictly, as `promtool check metrics` does.
fn read(text: &str) -> Series {
    assert!(text.ends_with('\n') && !text.contains("\n\n") && !text.contains("# EOF"), "{text}");
    let (mut helped, mut types, mut series) = (BTreeSet::new(), BTreeMap::new(), Series::new());
    let mut current = String::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert!(helped.insert(name) && help.len() > 5, "{line}");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert!(helped.contains(name) && TYPES.contains(&kind), "{line}");
            assert!(name.starts_with("restock_") && (kind == "counter") == name.ends_with("_total"), "{line}");
            assert!(types.insert(name, kind).is_none(), "two types: {line}");
            current = name.to_owned();
        } else {
            let (name, labels, value) = sample(line);
            let kind = types[current.as_str()];
            let suffixes: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(suffixes.iter().any(|suffix| name == format!("{current}{suffix}")), "{line} in {current}");
            assert!(kind == "gauge" || value >= 0.0, "{line}");
            let labels: Vec<_> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            assert!(series.insert(format!("{name}{{{}}}", labels.join(",")), value).is_none(), "twice: {line}");
        }
    }
    for name in types.iter().filter(|(_, kind)| **kind == "histogram").map(|(name, _)| name) {
        check_histogram(name, &series);
    }
    series
}

/// `name{key="value",…} number`
fn sample(line: &str) -> (String, Vec<(String, String)>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let (name, mut rest) = line.split_at(end);
    let word = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && !text.starts_with(|c: char| c.is_ascii_digit())
    };
    assert!(word(name), "{line}");
    let mut labels = Vec::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (key, after) = rest.split_once("=\"").unwrap();
            assert!(word(key) && !key.is_empty(), "{line}");
            let (value, after) = quoted(after);
            labels.push((key.to_owned(), value));
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    (name.to_owned(), labels, rest.strip_prefix(' ').unwrap().parse().unwrap())
}

/// The text up to the closing quote, with `\\`, `\"` and `\n` undone; and what follows.
fn quoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((place, c)) = chars.next() {
        match c {
            '"' => return (value, &text[place + 1..]),
            '\\' => value.push(match chars.next().unwrap().1 {
                'n' => '\n',
                c @ ('\\' | '"') => c,
                other => panic!("\\{other} is no escape"),
            }),
            c => value.push(c),
        }
    }
    panic!("no closing quote: {text}")
}

/// Each class holds those below it, the last one all, and their number is told.
fn check_histogram(name: &str, series: &Series) {
    let mut all: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (key, value) in series.iter().filter(|(key, _)| key.starts_with(&format!("{name}_bucket"))) {
        let (bound, others): (Vec<_>, Vec<_>) =
            key.trim_end_matches('}').split(['{', ',']).skip(1).partition(|label| label.starts_with("le="));
        all.entry(others.join(",")).or_default().push((bound[0][3..].parse().unwrap(), *value));
    }
    for (labels, mut classes) in all {
        classes.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert!(classes.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name}: {classes:?}");
        let last = classes.last().unwrap();
        assert!(last.0.is_infinite() && last.1 == series[&format!("{name}_count{{{labels}}}")], "{name}");
        assert!(series.contains_key(&format!("{name}_sum{{{labels}}}")), "{name}");
    }
}

async fn scrape(restock: &Service) -> Series {
    let reply = restock.get("/metrics").await;
    assert_eq!(
        (reply.status, reply.headers["content-type"].to_str().unwrap()),
        (200, "text/plain; version=0.0.4; charset=utf-8")
    );
    read(&reply.text())
}

#[tokio::test]
async fn jobs_are_counted_by_kind_and_outcome_and_bad_ones_before_they_happen() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    let before = scrape(&restock).await;
    assert_eq!(before["restock_jobs_total{kind=update,outcome=rolled_back}"], 0.0);
    assert_eq!(before["restock_jobs_running{kind=update}"], 0.0);
    assert_eq!(before[&format!("restock_build_info{{version={}}}", env!("CARGO_PKG_VERSION"))], 1.0);
    restock.post("/api/apps/web/update").await.ok();
    restock.post("/api/apps/web/update").await.ok();
    let after = scrape(&restock).await;
    assert_eq!(after["restock_jobs_total{kind=update,outcome=updated}"], 1.0);
    assert_eq!(after["restock_jobs_total{kind=update,outcome=unchanged}"], 1.0);
    assert_eq!(after["restock_job_duration_seconds_count{kind=update}"], 2.0);
    assert!(after["restock_job_duration_seconds_sum{kind=update}"] > 0.0);
}

#[tokio::test]
async fn a_job_that_runs_is_seen() {
    let world = World::with_new_web();
    world.docker.on("web", "pull", "hang");
    let restock = world.restock().await;
    let id = restock.start_update("web").await;
    assert_eq!(scrape(&restock).await["restock_jobs_running{kind=update}"], 1.0);
    restock.delete(&format!("/api/jobs/{id}")).await.ok();
    let after = scrape(&restock).await;
    assert_eq!(after["restock_jobs_running{kind=update}"], 0.0);
    assert_eq!(after["restock_jobs_total{kind=update,outcome=cancelled}"], 1.0);
}

#[tokio::test]
async fn a_scrape_asks_nobody_and_tells_the_last_look_at_the_apps() {
    let world = World::with_web();
    world.app("nas").service("web", "registry.test/web:1").stopped();
    world.engine.made_its_images();
    let restock = world.restock().await;
    restock.get("/api/apps").await.ok();
    let calls = world.docker.all_calls().len();
    assert!(!world.engine.requests().is_empty(), "the list asked");
    let series = scrape(&restock).await;
    assert_eq!(series["restock_app_state{app=web,state=running}"], 1.0);
    assert_eq!(series["restock_app_state{app=nas,state=stopped}"], 1.0);
    assert_eq!(series["restock_app_freshness{app=web,status=skipped}"], 1.0);
    assert!(series["restock_apps_seen_timestamp_seconds{}"] > 1e9);
    assert_eq!((world.docker.all_calls().len(), world.engine.requests()), (calls, vec![]));
    assert!(!series.keys().any(|key| key.contains("registry.test") || key.contains("sha256")), "{series:?}");
}

#[tokio::test]
async fn apps_that_nobody_has_looked_at_are_looked_at_behind_the_scenes() {
    let world = World::with_web();
    let restock = world.restock().await;
    assert_eq!(scrape(&restock).await["restock_apps_seen_timestamp_seconds{}"], 0.0);
    soon("the look", async {
        while !scrape(&restock).await.contains_key("restock_app_state{app=web,state=running}") {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_engine_that_is_gone_hides_no_count() {
    let world = World::with_web();
    world.engine.go_away().await;
    let restock = world.restock().await;
    let series = scrape(&restock).await;
    assert_eq!((series["restock_engine_connected{}"], series["restock_apps_seen_timestamp_seconds{}"]), (0.0, 0.0));
}

#[tokio::test]
async fn questions_and_requests_are_counted_by_host_and_class() {
    let world = World::new();
    let host = "127.0.0.1:1";
    world.app("web").service("web", &format!("{host}/web:1")).running();
    let restock = world.restock().await;
    restock.get("/api/apps/web/status?force=true").await.ok();
    restock.get("/api/apps/web/status").await.ok();
    let series = scrape(&restock).await;
    assert_eq!(series["restock_freshness_lookups_total{result=miss}"], 1.0);
    assert_eq!(series["restock_freshness_lookups_total{result=hit}"], 1.0);
    let none = format!("restock_registry_requests_total{{host={host},kind=ping,status=none}}");
    assert!(series[&none] >= 1.0, "{series:?}");
}

#[tokio::test]
async fn reading_needs_the_scope_read() {
    let world = World::new();
    let keys = "0123456789abcdef-read read\n0123456789abcdef-images images\n";
    let restock = world.restock_with(Options { keys, ..Options::default() }).await;
    restock.get("/metrics").await.problem(401, "unauthenticated");
    restock.get("/metrics").header("x-api-key", "0123456789abcdef-images").await.problem(403, "missing_scope");
    let reply = restock.get("/metrics").header("authorization", "Bearer 0123456789abcdef-read").await;
    read(&reply.text());
}

#[tokio::test]
async fn alerts_and_dashboard_ask_for_series_that_exist() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    // Nobody listens there: that is counted as well.
    world.app("far").service("web", "127.0.0.1:1/web:1").running();
    restock.get("/api/apps/far/status?force=true").await.ok();
    restock.get("/api/apps").await.ok();
    let text = restock.get("/metrics").await.text();
    let families: BTreeSet<_> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for file in ["alerts.yaml", "dashboard.json"] {
        let path = repository("fixtures/monitoring").join(file);
        let queries = std::fs::read_to_string(path).unwrap();
        let words = queries.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        let asked: BTreeSet<_> = words.filter(|word| word.starts_with("restock_")).collect();
        assert!(asked.len() > 3, "{file}");
        let known = |name: &&str| families.contains(name) || families.contains(name.trim_end_matches("_bucket"));
        assert!(asked.iter().all(known), "{file}: {asked:?} of {families:?}");
    }
    let dashboard = std::fs::read(repository("fixtures/monitoring/dashboard.json")).unwrap();
    serde_json::from_slice::<serde_json::Value>(&dashboard).unwrap();
}

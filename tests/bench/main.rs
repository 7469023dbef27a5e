//! How fast Restock is, as ratios to the least that the same work costs in the same run: `cargo bench`.
//!
//! Prints medians; asserts nothing, because times depend on the machine. `BENCH_RUNS` sets how many runs (default 7);
//! `cargo bench -- PART…` runs only these: unchanged, changed, check, list, long-list, apps,
//! many-apps, pass, images, idle.
#![expect(clippy::disallowed_methods, reason = "benchmarks start the real programs and read where they are")]
#![expect(clippy::unwrap_used, reason = "what a benchmark does not find ends it, with the place")]
#![allow(dead_code, reason = "the tests' harness has more than the benchmarks need")]

mod apps;
#[path = "../e2e/case.rs"]
mod case;
mod images;
mod wires;
#[path = "../e2e/world.rs"]
mod world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use case::Case;
use world::{Kind, World, output};

fn main() {
    println!("{:<44} {:>9} {:>9} {:>7}", "work", "Restock", "floor", "ratio");
    let parts: [(&str, fn()); 10] = [
        ("unchanged", || [1, 5, 20].into_iter().for_each(nothing_new)),
        ("changed", one_of_five),
        ("check", || {
            for images in [10, 60, 300] {
                forced_check(images, Duration::ZERO);
                forced_check(images, Duration::from_millis(50));
            }
        }),
        ("list", list),
        ("long-list", long_list),
        ("apps", apps::list),
        ("many-apps", apps::many),
        ("pass", pass),
        ("images", || {
            images::changes();
            images::save_and_load();
        }),
        ("idle", idle),
    ];
    let wanted: Vec<_> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, part) in parts {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            part();
        }
    }
}

fn runs() -> usize {
    std::env::var("BENCH_RUNS").ok().and_then(|runs| runs.parse().ok()).unwrap_or(7)
}

/// The median time of `work`, after one run that does not count.
fn median(mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<_> = (0..runs())
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

fn row(work: &str, ours: Duration, floor: Duration) {
    let ratio = ours.as_secs_f64() / floor.as_secs_f64();
    println!("{work:<44} {:>7.0}ms {:>7.0}ms {ratio:>7.2}", ours.as_secs_f64() * 1e3, floor.as_secs_f64() * 1e3);
}

/// An app with so many services, each of an image of its own.
fn app(services: usize) -> Case {
    let case = Case::on(World::of(Kind::Classic), "web");
    let mut file = String::from("services:\n");
    for n in 0..services {
        let image = case.world.publish(&[], &format!("bench/s{n}"), &case.tag, "1", "plain");
        assert!(!image.is_empty());
        file += &format!("  s{n}: {{image: \"${{REGISTRY}}/bench/s{n}:${{TAG}}\", network_mode: none}}\n");
    }
    case.write("compose.yaml", &file);
    case
}

fn nothing_new(services: usize) {
    let mut case = app(services);
    case.up();
    case.serve();
    let floor = median(|| drop(case.compose(&["pull"])));
    let ours = median(|| assert_eq!(case.update().expect(200)["outcome"], "unchanged"));
    row(&format!("update, nothing new, {services} services (pull)"), ours, floor);
    let sequential = median(|| {
        case.compose(&["pull"]);
        case.compose(&["config", "--format", "json"]);
        for n in 0..services {
            let container = case.compose(&["ps", "-q", &format!("s{n}")]);
            case.docker(&["inspect", "--format", "{{.Image}}", &container]);
            let image = format!("{}/bench/s{n}:{}", case.world.registry, case.tag);
            case.docker(&["image", "inspect", "--format", "{{.Id}}", &image]);
        }
    });
    row("   the sequential way of app stores (pull)", sequential, floor);
}

fn one_of_five() {
    let mut case = app(5);
    case.up();
    case.serve_with(&["--settle", "0s"]);
    let mut version = 1;
    let mut change = |case: &Case| {
        version += 1;
        case.world.publish(&[], "bench/s0", &case.tag, &version.to_string(), "plain");
    };
    let mut times = |work: &dyn Fn(&Case)| {
        let mut times: Vec<_> = (0..=runs())
            .map(|_| {
                change(&case);
                let start = Instant::now();
                work(&case);
                start.elapsed()
            })
            .skip(1)
            .collect();
        times.sort();
        times[times.len() / 2]
    };
    let floor = times(&|case| {
        case.compose(&["pull"]);
        case.compose(&["up", "-d"]);
    });
    let ours = times(&|case| assert_eq!(case.update().expect(200)["updated"], true));
    row("update, one of 5 changed (pull, up -d)", ours, floor);
}

/// A forced check of an app of so many images, and as many HEAD requests by curl.
fn forced_check(images: usize, round_trip: Duration) {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    let tag = case.tag.clone();
    let registry = match round_trip {
        Duration::ZERO => case.world.registry.clone(),
        far => wires::delayed(&case.world.registry, far),
    };
    case.docker(&["pull", "--quiet", &case.reference("web")]);
    let accept = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";
    let url = |tag: &str| format!("http://{registry}/v2/demo/web/manifests/{tag}");
    let mut manifest = ureq::get(url(&tag)).header("Accept", accept).call().unwrap();
    let media_type = manifest.headers()["content-type"].to_str().unwrap().to_owned();
    let manifest = manifest.body_mut().read_to_string().unwrap();
    let (mut file, mut config) =
        (String::from("services:\n"), format!("head\nsilent\nheader = \"Accept: {accept}\"\n"));
    for n in 0..images {
        let name = format!("{tag}-{n}");
        ureq::put(url(&name)).header("Content-Type", &media_type).send(&manifest).unwrap();
        case.docker(&["tag", &case.reference("web"), &format!("{registry}/demo/web:{name}")]);
        file += &format!("  s{n}: {{image: \"{registry}/demo/web:{name}\"}}\n");
        config += &format!("url = \"{}\"\noutput = /dev/null\n", url(&name));
    }
    case.write("compose.yaml", &file);
    case.compose(&["create"]);
    case.write("curl", &config);
    case.serve();
    let floor = median(|| {
        let mut curl = case.world.command("curl");
        let curl = curl.args(["--parallel", "--parallel-immediate", "--parallel-max", "300", "--config"]);
        output(curl.arg(case.dir().join("curl")).stdout(Stdio::null()));
    });
    let path = format!("/api/apps/{}/status?force=true", case.app);
    let ours = median(|| drop(case.get(&path).expect(200)));
    let far = if round_trip.is_zero() { String::new() } else { format!(", {} ms away", round_trip.as_millis()) };
    row(&format!("forced check, {images} images{far} (parallel HEAD)"), ours, floor);
}

/// Requests a second for the list of 60 images.
fn list() {
    let mut case = app(60);
    case.up();
    case.serve();
    ask_for_the_list(&case, "/api/images", "60 images");
}

/// The same with a thousand containers of as many images, on an engine that is only a socket. Their registry is not there.
fn long_list() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    let socket = case.root.path().join("engine.sock");
    let digest = format!("sha256:{}", "ab".repeat(32));
    let fake = |n| wires::Fake { image: format!("127.0.0.1:1/demo/app-{n}:1"), digest: digest.clone(), service: None };
    let lists = wires::engine(&socket, &(0..1000).map(fake).collect::<Vec<_>>());
    case.serve_with(&["--docker-host", &format!("unix://{}", socket.display())]);
    ask_for_the_list(&case, "/api/images", "1000 containers");
    println!("    lists of containers that the engine was asked for: {}", lists.load(Ordering::Relaxed));
}

fn ask_for_the_list(case: &Case, path: &str, of: &str) {
    case.get(path).expect(200);
    // Long enough for the registries to be asked in the background.
    std::thread::sleep(Duration::from_secs(2));
    let (count, until) = (AtomicU64::new(0), Instant::now() + Duration::from_secs(5));
    let address = case.url("").replace("http://", "");
    let slowest = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..16).map(|_| scope.spawn(|| client(&address, path, until, &count))).collect();
        let mut times: Vec<_> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        times.sort();
        times[times.len() * 99 / 100]
    });
    let rate = count.load(Ordering::Relaxed) / 5;
    println!(
        "list of {of}, 16 connections: {rate} requests/s, 99th percentile {:.1} ms, {} MiB",
        slowest.as_secs_f64() * 1e3,
        case.memory() / 1024
    );
}

fn client(address: &str, path: &str, until: Instant, count: &AtomicU64) -> Vec<Duration> {
    let mut stream = TcpStream::connect(address).unwrap();
    let (mut buffer, mut times) = (vec![0; 1 << 16], Vec::new());
    while Instant::now() < until {
        let start = Instant::now();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).unwrap();
        let mut got = Vec::new();
        loop {
            let read = stream.read(&mut buffer).unwrap();
            got.extend_from_slice(&buffer[..read]);
            // The list is one array and the body has no end but its length: read until it is complete.
            if complete(&got) {
                break;
            }
        }
        times.push(start.elapsed());
        count.fetch_add(1, Ordering::Relaxed);
    }
    times
}

fn complete(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    answer.len() >= head + 4 + length.unwrap()
}

/// A pass over 300 marked containers on ten images of the registry, all of them fresh.
fn pass() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    let fakes = (0..10).flat_map(|n| {
        let repository = format!("bench/p{n}");
        let digest = case.world.publish(&[], &repository, &case.tag, "1", "plain");
        let image = format!("{}/{repository}:{}", case.world.registry, case.tag);
        (0..30)
            .map(move |_| wires::Fake { image: image.clone(), digest: digest.clone(), service: None })
            .collect::<Vec<_>>()
    });
    let fakes: Vec<_> = fakes.collect();
    let socket = case.root.path().join("engine.sock");
    let lists = wires::engine(&socket, &fakes);
    case.serve_with(&["--docker-host", &format!("unix://{}", socket.display())]);
    let pass = || assert_eq!(case.post("/api/auto-update").expect(200)["reports"].as_array().unwrap().len(), 300);
    pass();
    let asked = manifest_requests(&case);
    // The scrape makes the service look at its apps in the background.
    std::thread::sleep(Duration::from_secs(1));
    let (listed, start) = (lists.load(Ordering::Relaxed), Instant::now());
    pass();
    let (took, listed) = (start.elapsed(), lists.load(Ordering::Relaxed) - listed);
    println!(
        "pass over 300 fresh containers on 10 images: {:.0} ms, {} manifest requests, {listed} lists of containers",
        took.as_secs_f64() * 1e3,
        manifest_requests(&case) - asked,
    );
}

/// How many questions the service has put to registries, by its own count.
fn manifest_requests(case: &Case) -> u64 {
    let metrics = case.get("/metrics").body;
    let lines = metrics.lines().filter(|line| line.starts_with("restock_registry_requests_total{"));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
}

/// What the service costs when nothing happens, and how soon it answers.
fn idle() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    case.up();
    let start = median(|| case.serve());
    std::thread::sleep(Duration::from_secs(3));
    println!(
        "start to first answer: {:.0} ms; idle memory: {:.1} MiB",
        start.as_secs_f64() * 1e3,
        case.memory() as f64 / 1024.0
    );
}

//! The list of apps: warm and cold, for many who ask at once, and after a restart.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use crate::ask_for_the_list;
use crate::case::Case;
use crate::wires::{self, Fake};
use crate::world::{Kind, World};

/// How many ask at once.
const AT_ONCE: usize = 200;

/// So many apps, of so many containers in all, on an engine that is only a socket; the Compose is a real one.
fn apps(count: usize, containers: usize) -> (Case, String, Arc<AtomicUsize>) {
    let case = Case::on(World::of(Kind::Classic), "web");
    std::fs::remove_dir_all(case.dir()).unwrap();
    let mut fakes = Vec::new();
    for n in 0..count {
        let dir = case.apps().join(format!("app{n:03}"));
        std::fs::create_dir(&dir).unwrap();
        let mut file = String::from("services:\n");
        for service in 0..containers / count + usize::from(n < containers % count) {
            let image = format!("127.0.0.1:1/demo/app-{service}:1");
            file += &format!("  s{service}: {{image: \"{image}\"}}\n");
            let digest = format!("sha256:{}", "ab".repeat(32));
            fakes.push(Fake { image, digest, service: Some((format!("app{n:03}"), format!("s{service}"))) });
        }
        std::fs::write(dir.join("compose.yaml"), file).unwrap();
    }
    let socket = case.root.path().join("engine.sock");
    let lists = wires::engine(&socket, &fakes);
    (case, format!("unix://{}", socket.display()), lists)
}

/// The time until the first answer of a service that has just started.
fn first(case: &mut Case, host: &str) -> Duration {
    case.serve_with(&["--docker-host", host]);
    let start = Instant::now();
    case.get("/api/apps").expect(200);
    start.elapsed()
}

/// 60 apps and 200 containers.
pub fn list() {
    let (mut case, host, lists) = apps(60, 200);
    let cold = first(&mut case, &host);
    std::thread::sleep(Duration::from_secs(3));
    lists.store(0, Ordering::Relaxed);
    let barrier = Barrier::new(AT_ONCE);
    let mut times = std::thread::scope(|scope| {
        let ask = || {
            barrier.wait();
            let start = Instant::now();
            let reply = case.get("/api/apps");
            let took = start.elapsed();
            reply.expect(200);
            took
        };
        let clients: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(ask)).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    times.sort();
    println!(
        "list of 60 apps, {AT_ONCE} at once: 99th percentile {:.0} ms, engine lists meanwhile {}; cold {:.0} ms",
        times[times.len() * 99 / 100].as_secs_f64() * 1e3,
        lists.load(Ordering::Relaxed),
        cold.as_secs_f64() * 1e3,
    );
    ask_for_the_list(&case, "/api/apps", "60 apps");
}

/// 300 apps: the first answer with nothing known, and after a restart.
pub fn many() {
    let (mut case, host, _) = apps(300, 600);
    let cold = first(&mut case, &host);
    let warm = first(&mut case, &host);
    println!(
        "first list of 300 apps after a restart: {:.0} ms; with nothing known {:.0} ms",
        warm.as_secs_f64() * 1e3,
        cold.as_secs_f64() * 1e3
    );
}

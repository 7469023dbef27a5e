//! A large image on its way through Restock, beside the engine's own socket.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::case::Case;
use crate::world::{Kind, World, output};
use crate::{row, runs};

const MIB: usize = 1 << 20;

/// Saves and loads an image of `BENCH_IMAGE_MIB` (default 1024) MiB that no compression makes smaller.
pub fn save_and_load() {
    let size = std::env::var("BENCH_IMAGE_MIB").ok().and_then(|size| size.parse().ok()).unwrap_or(1024);
    let mut case = Case::on(World::of(Kind::Classic), "web");
    let image = format!("{}-large:1", case.app);
    let dir = case.root.path().to_owned();
    noise(&dir.join("noise"), size);
    let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    output(Command::new("tar").args(["-C", dir.to_str().unwrap(), "-cf", &file("root.tar"), "noise"]));
    case.docker(&["import", &file("root.tar"), &image]);
    case.docker(&["save", "--output", &file("image.tar"), &image]);
    case.serve_with(&["--docker-api", "full"]);
    let idle = case.memory();
    let docker = |host: Option<&str>| {
        let mut command = case.world.command("docker");
        if let Some(host) = host {
            command.env("DOCKER_HOST", host);
        }
        command
    };
    let save = |host: Option<&str>| succeed(docker(host).args(["save", &image]));
    let load = |host: Option<&str>| {
        case.docker(&["rmi", &image]);
        let archive = File::open(file("image.tar")).unwrap();
        succeed(docker(host).args(["load", "--quiet"]).stdin(archive))
    };
    let through = case.url("").replace("http://", "tcp://");
    let (ours, floor) = in_turn(|here| save(here.then_some(&through)));
    row(&format!("docker save, {size} MiB (engine's socket)"), ours, floor);
    let (ours, floor) = in_turn(|here| load(here.then_some(&through)));
    row(&format!("docker load, {size} MiB (engine's socket)"), ours, floor);
    println!("   memory of Restock: {} MiB idle, {} MiB at most", idle / 1024, case.peak_memory() / 1024);
    case.docker(&["rmi", &image]);
}

/// So many at once.
const PARALLEL: usize = 50;
/// So many one after the other, because one alone is too short to be measured.
const IN_SEQUENCE: usize = 20;

/// Pulls of what is there already, and tags, one by one and many at once.
pub fn changes() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    let repositories: Vec<_> = (0..10).map(|n| format!("bench/c{n}")).collect();
    for repository in &repositories {
        case.world.publish(&[], repository, &case.tag, "1", "plain");
        case.docker(&["pull", "--quiet", &format!("{}/{repository}:{}", case.world.registry, case.tag)]);
    }
    case.serve_with(&["--docker-api", "full"]);
    let address = case.url("").replace("http://", "");
    let socket = case.world.docker_host.strip_prefix("unix://").unwrap();
    let send = |here: bool, path: &str| match here {
        true => ask(TcpStream::connect(&address).unwrap(), path),
        false => ask(UnixStream::connect(socket).unwrap(), path),
    };
    let pull = |n: usize| {
        format!("/images/create?fromImage={}/{}&tag={}", case.world.registry, repositories[n % 10], case.tag)
    };
    let tag = |n: usize| {
        format!("/images/{}/{}:{}/tag?repo={}&tag={n}", case.world.registry, repositories[0], case.tag, case.app)
    };
    let one_by_one = |here: bool, path: &dyn Fn(usize) -> String| {
        let start = Instant::now();
        (0..IN_SEQUENCE).for_each(|n| send(here, &path(n)));
        start.elapsed()
    };
    let at_once = |here: bool, path: &(dyn Fn(usize) -> String + Sync)| {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for n in 0..PARALLEL {
                scope.spawn(move || send(here, &path(n)));
            }
        });
        start.elapsed()
    };
    let (ours, floor) = in_turn(|here| one_by_one(here, &|_| pull(0)));
    row(&format!("{IN_SEQUENCE} pulls in sequence (engine's socket)"), ours, floor);
    let (ours, floor) = in_turn(|here| one_by_one(here, &tag));
    row(&format!("{IN_SEQUENCE} tags in sequence (engine's socket)"), ours, floor);
    let (ours, floor) = in_turn(|here| at_once(here, &|_| pull(0)));
    row(&format!("{PARALLEL} parallel pulls of one (engine's socket)"), ours, floor);
    let (ours, floor) = in_turn(|here| at_once(here, &pull));
    row(&format!("{PARALLEL} parallel pulls of 10 (engine's socket)"), ours, floor);
    for n in 0..IN_SEQUENCE {
        case.docker(&["rmi", &format!("{}:{n}", case.app)]);
    }
}

/// Posts over a connection of its own, and reads the answer to its end.
fn ask(mut stream: impl Read + Write, path: &str) {
    let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20") && !answer.contains("\"error\""), "{path}: {answer}");
}

/// Medians of the work through Restock and without it, one after the other, so that both see the same machine.
fn in_turn(work: impl Fn(bool) -> Duration) -> (Duration, Duration) {
    let (mut ours, mut floor): (Vec<_>, Vec<_>) = (0..=runs()).map(|_| (work(true), work(false))).skip(1).unzip();
    ours.sort();
    floor.sort();
    (ours[ours.len() / 2], floor[floor.len() / 2])
}

fn succeed(command: &mut Command) -> Duration {
    let start = Instant::now();
    assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{command:?}");
    start.elapsed()
}

fn noise(path: &std::path::Path, mib: usize) {
    let mut file = File::create(path).unwrap();
    // Xorshift: fast, and no two blocks alike.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..mib {
        let mut block = Vec::with_capacity(MIB);
        while block.len() < MIB {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
}

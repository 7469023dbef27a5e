//! A large image on its way through Restock, beside the engine's own socket.

use std::fs::File;
use std::io::Write;
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

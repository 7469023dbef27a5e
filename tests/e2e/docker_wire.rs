//! Docker's image routes beside the engine's own socket: the same answers, to the byte; other clients; an engine that dies.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bollard::Docker;
use futures_util::TryStreamExt;
use serde_json::Value;

use crate::both_engines;
use crate::case::Case;
use crate::docker_cli::pruning;
use crate::world::{Kind, World, engine_script, output, project};

both_engines! {
    answers_are_the_engine_s_own_to_the_byte => |kind| {
        let _one_at_a_time = pruning();
        let mut case = Case::on(World::of(kind), "web");
        case.serve_with(&["--docker-api", "full"]);
        let image = case.reference("web");
        case.docker(&["pull", "--quiet", &image]);
        let id = case.docker(&["image", "inspect", "--format", "{{.Id}}", &image]);
        let tag = &case.tag;
        let reads = [
            "_ping".to_owned(),
            format!("images/{image}/json"),
            format!("images/{id}/json"),
            format!("images/{}/json", image.replace('/', "%2F")),
            format!("images/{}/history", image.replace('d', "%64")),
            format!("images/{image}/history"),
            format!("images/{image}/get"),
            format!("images/get?names={image}"),
            format!("images/json?filters={{%22reference%22:[%22*/*/*:{tag}%22]}}"),
            format!("images/json?all=1&digests=1&filters={{%22reference%22:{{%22*/*/*:{tag}%22:true}}}}"),
            "images/json?filters={%22foo%22:[%221%22]}".into(),
            "images/json?filters={%22dangling%22:[%22maybe%22]}".into(),
            "images/nobody-has/json".into(),
            "images/nobody-has/history".into(),
            "images/nobody-has/get".into(),
            "images/search?term=x&limit=101".into(),
        ];
        let changes = [
            ("POST", "images/nobody-has/tag?repo=x&tag=1".to_owned()),
            ("POST", format!("images/{image}/tag?repo=sha256&tag=1")),
            ("POST", format!("images/create?fromImage={}/demo/nobody&tag=1", case.world.registry)),
            ("POST", format!("images/create?fromImage={image}&platform=a/b/c/d")),
            ("POST", format!("images/create?fromImage={}/demo/web&tag={tag}", case.world.registry)),
            ("POST", "images/nobody-has/push?tag=1".into()),
            ("POST", "images/prune?filters={%22foo%22:[%221%22]}".into()),
            ("POST", "images/prune?filters={%22label%22:[%22nobody=has%22]}".into()),
            ("DELETE", "images/nobody-has".into()),
            ("DELETE", format!("images/{}?force=maybe", "nobody-has")),
        ];
        let newest = if kind == Kind::Classic { "v1.41/" } else { "v1.51/" };
        for version in ["", "v1.41/", newest, "v1.99/", "v1.12/"] {
            let reads = reads.iter().map(|path| ("GET", path));
            for (method, path) in reads.chain(changes.iter().map(|(method, path)| (*method, path))) {
                let path = format!("/{version}{path}");
                let (ours, theirs) = (ask(&case, method, &path, false), ask(&case, method, &path, true));
                assert_eq!(ours, theirs, "{method} {path}");
            }
        }
        // Refused by both, each in its own words. The classic engine is of a time when the last two were 500.
        for (method, path) in [
            ("DELETE", format!("/images/{image}?force=0;noprune=1")),
            ("DELETE", format!("/images/{image}?force=%zz")),
            ("DELETE", format!("/images/{image}?force=false%")),
            ("GET", "/images/json?filters=x".into()),
            ("GET", "/images/search?term=x&limit=abc".into()),
        ] {
            for of_the_engine in [false, true] {
                let (head, body) = ask(&case, method, &path, of_the_engine);
                let refused = head.iter().any(|line| line.starts_with("http/1.1 400"));
                let old = of_the_engine && kind == Kind::Classic && head.iter().any(|line| line.starts_with("http/1.1 500"));
                assert!(refused || old, "{method} {path}: {head:?} {}", String::from_utf8_lossy(&body));
            }
        }
        for path in ["/version", "/info", "/v1.41/version"] {
            let (ours, theirs) = (ask(&case, "GET", path, false).1, ask(&case, "GET", path, true).1);
            let parse = |body: &[u8]| {
                let mut value: Value = serde_json::from_slice(body).unwrap();
                // What changes by itself from one moment to the next.
                for key in ["SystemTime", "NFd", "NGoroutines", "Images", "Containers", "ContainersRunning", "ContainersStopped", "NEventsListener", "MemTotal"] {
                    value.as_object_mut().unwrap().remove(key);
                }
                value
            };
            assert_eq!(parse(&ours), parse(&theirs), "{path}");
        }
    };

    bollard_works_as_a_client => |kind| {
        let _one_at_a_time = pruning();
        let mut case = Case::on(World::of(kind), "web");
        case.serve_with(&["--docker-api", "full"]);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(with_bollard(&case));
    };

    docker_s_sdk_for_python_works_as_a_client => |kind| {
        let _one_at_a_time = pruning();
        let mut case = Case::on(World::of(kind), "web");
        case.serve_with(&["--docker-api", "full"]);
        let mut python = case.world.command("python3");
        python.env("DOCKER_HOST", case.url("").replace("http://", "tcp://"));
        python.env("PYTHONPATH", case.world.parts.join("python-docker")).env("PYTHONDONTWRITEBYTECODE", "1");
        python.arg(project().join("tests/e2e/docker_sdk.py")).args([&case.world.registry, &case.tag]);
        assert_eq!(output(&mut python), "all done");
    };
}

/// Status, body and what the headers say about them.
fn ask(case: &Case, method: &str, path: &str, of_the_engine: bool) -> (Vec<String>, Vec<u8>) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--globoff", "--include", "--max-time", "60", "--request", method]);
    if of_the_engine {
        let socket = case.world.docker_host.strip_prefix("unix://").unwrap();
        curl.args(["--unix-socket", socket, &format!("http://localhost{path}")]);
    } else {
        curl.arg(case.url(path));
    }
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    let end = output.stdout.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
    let head = String::from_utf8_lossy(&output.stdout[..end]).to_lowercase();
    // Every answer of Restock has the ID of its request.
    let is_own = |line: &&str| line.starts_with("date:") || !of_the_engine && line.starts_with("x-request-id:");
    let mut head: Vec<_> = head.lines().filter(|line| !is_own(line)).map(str::to_owned).collect();
    head.sort();
    (head, output.stdout[end + 4..].to_vec())
}

async fn with_bollard(case: &Case) {
    use bollard::query_parameters as query;
    let address = case.url("");
    let docker = Docker::connect_with_http(&address, 60, bollard::API_DEFAULT_VERSION).unwrap();
    let docker = docker.negotiate_version().await.unwrap();
    assert_eq!(docker.ping().await.unwrap(), "OK");
    assert!(docker.version().await.unwrap().api_version.is_some());
    assert!(docker.info().await.unwrap().server_version.is_some());
    let image = case.reference("web");
    let pull = query::CreateImageOptionsBuilder::default().from_image(&image).build();
    let pulled: Vec<_> = docker.create_image(Some(pull), None, None).try_collect().await.unwrap();
    assert!(!pulled.is_empty());
    assert!(docker.inspect_image(&image).await.unwrap().id.is_some());
    assert!(!docker.image_history(&image).await.unwrap().is_empty());
    let mine = format!("{}-bollard", case.app);
    let tag = query::TagImageOptionsBuilder::default().repo(&mine).tag("1").build();
    docker.tag_image(&image, Some(tag)).await.unwrap();
    let mine = format!("{mine}:1");
    let archive: Vec<_> = docker.export_image(&mine).try_collect().await.unwrap();
    docker.remove_image(&mine, None::<query::RemoveImageOptions>, None).await.unwrap();
    let load = query::ImportImageOptionsBuilder::default().build();
    let archive = bollard::body_full(archive.concat().into());
    let loaded: Vec<_> = docker.import_image(load, archive, None).try_collect().await.unwrap();
    assert!(!loaded.is_empty());
    let all = docker.list_images(None::<query::ListImagesOptions>).await.unwrap();
    assert!(all.iter().any(|summary| summary.repo_tags.contains(&mine)));
    docker.remove_image(&mine, None::<query::RemoveImageOptions>, None).await.unwrap();
    let copy = format!("{}/copies/{}-bollard", case.world.registry, case.app);
    let tag = query::TagImageOptionsBuilder::default().repo(&copy).tag("1").build();
    docker.tag_image(&image, Some(tag)).await.unwrap();
    let push = query::PushImageOptionsBuilder::default().tag("1").build();
    let login = bollard::auth::DockerCredentials::default();
    let pushed: Vec<_> = docker.push_image(&copy, Some(push), Some(login)).try_collect().await.unwrap();
    assert!(!pushed.is_empty());
    docker.remove_image(&format!("{copy}:1"), None::<query::RemoveImageOptions>, None).await.unwrap();
    let filters = [("label".to_owned(), vec!["nobody=has".to_owned()])].into();
    let prune = query::PruneImagesOptionsBuilder::default().filters(&filters).build();
    assert_eq!(docker.prune_images(Some(prune)).await.unwrap().space_reclaimed, Some(0));
    let refused = docker.list_containers(None::<query::ListContainersOptions>).await.unwrap_err();
    assert!(refused.to_string().contains("not supported"), "{refused}");
}

/// A registry that stops in the middle of an answer: passes on so many bytes, and then nothing more.
fn stalling(registry: &str, bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (registry, left) = (registry.to_owned(), Arc::new(AtomicUsize::new(bytes)));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(mut client), Ok(mut server)) = (client, TcpStream::connect(&registry)) else { return };
            let (mut to_client, mut from_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut client, &mut server));
            let left = left.clone();
            std::thread::spawn(move || {
                let mut buffer = [0; 16 << 10];
                while let Ok(read @ 1..) = from_server.read(&mut buffer) {
                    let before =
                        left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(read)));
                    if before.unwrap() < read {
                        // The connection stays open, and silent.
                        std::thread::park();
                    }
                    if to_client.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[test]
fn an_engine_that_is_killed_during_a_pull_ends_it_with_an_error_and_restock_lives() {
    let (world, dir) = World::own("pulled");
    let mut case = Case::on(Box::leak(Box::new(world)), "web");
    case.serve_with(&["--docker-api", "full"]);
    let registry = stalling(&case.world.registry, 200 << 10);
    let path = format!("/images/create?fromImage={registry}/demo/web&tag={}", case.tag);
    let mut curl = Command::new("curl");
    let curl = curl.args(["--silent", "--no-buffer", "--max-time", "80", "--request", "POST", &case.url(&path)]);
    let mut curl = curl.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let (mut stream, mut said) = (curl.stdout.take().unwrap(), Vec::new());
    while !String::from_utf8_lossy(&said).contains("Pulling fs layer") {
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&buffer[..read]);
    }
    output(engine_script().arg("kill").arg(&dir));
    stream.read_to_end(&mut said).unwrap();
    assert!(curl.wait().unwrap().success(), "the stream has an end");
    let messages = serde_json::Deserializer::from_slice(&said).into_iter::<Value>().map(Result::unwrap);
    let last = messages.last().unwrap();
    assert!(last["error"].as_str().unwrap().contains("broke off"), "{last}");
    assert_eq!(last["errorDetail"]["message"], last["error"]);
    assert_eq!(case.get("/health").status, 200);
    assert!(case.get("/images/json").expect(503)["message"].as_str().unwrap().contains("cannot be reached"));
    output(engine_script().arg("restart").arg(&dir));
    case.wait_for("the engine", || (case.get("/_ping").status == 200).then_some(()));
    case.get("/images/json").expect(200);
    drop(case);
    output(engine_script().arg("stop").arg(&dir));
}

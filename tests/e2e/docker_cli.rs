//! The Docker CLI, unmodified, against Restock: everything about images, and nothing else.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::both_engines;
use crate::case::Case;
use crate::world::{Kind, World};

/// A Restock in front of an engine that has one image of the case's own.
struct Cli {
    case: Case,
    image: String,
}

impl Cli {
    fn new(kind: Kind) -> Self {
        Self::with(kind, &["--docker-api", "full"])
    }

    fn with(kind: Kind, options: &[&str]) -> Self {
        let mut case = Case::on(World::of(kind), "web");
        case.serve_with(options);
        let image = case.reference("web");
        Self { case, image }
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.case.world.command("docker");
        command.env("DOCKER_HOST", self.case.url("").replace("http://", "tcp://")).args(args);
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// What a command prints that has to succeed.
    #[track_caller]
    fn ok(&self, args: &[&str]) -> String {
        told(args, &self.run(args), true)
    }

    /// What a command says that has to fail.
    #[track_caller]
    fn fails(&self, args: &[&str]) -> String {
        told(args, &self.run(args), false)
    }

    /// The same command on the engine's own socket.
    fn on_the_engine(&self, args: &[&str]) -> Output {
        self.case.world.command("docker").args(args).output().unwrap()
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.case.app)
    }
}

impl Drop for Cli {
    fn drop(&mut self) {
        let mine = format!("reference=*{}*", self.case.app);
        let of_case = format!("reference={}/*/*:{}*", self.case.world.registry, self.case.tag);
        for filter in [mine, of_case] {
            let listed = self.on_the_engine(&["images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", &filter]);
            for name in String::from_utf8_lossy(&listed.stdout).lines() {
                // What is left goes away with the engine.
                let _ = self.on_the_engine(&["rmi", "--force", name]);
            }
        }
    }
}

#[track_caller]
fn told(args: &[&str], output: &Output, success: bool) -> String {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.success(), success, "docker {args:?}:\n{text}");
    text
}

both_engines! {
    images_come_are_shown_and_go => |kind| {
        let cli = Cli::new(kind);
        let image = cli.image.clone();
        let pulled = cli.ok(&["pull", &image]);
        assert!(pulled.contains("Downloaded newer image") && pulled.contains("Digest: sha256:"), "{pulled}");
        assert!(cli.ok(&["pull", &image]).contains("Image is up to date"));
        let (repository, tag) = image.rsplit_once(':').unwrap();
        assert!(cli.ok(&["images"]).contains(repository));
        assert!(cli.ok(&["images", "--filter", &format!("reference={image}"), "--format", "{{.Tag}}"]).contains(tag));
        assert_eq!(cli.ok(&["images", "--filter", "label=nobody=has", "--quiet"]), "");
        if kind == Kind::Containerd {
            assert!(cli.ok(&["images", "--tree"]).contains(repository));
        }
        // There is nothing to be found in this registry; who says so is the engine.
        let search = ["search", repository];
        assert_eq!(cli.fails(&search), told(&search, &cli.on_the_engine(&search), false));
        for args in [["image", "inspect", &image], ["inspect", "--type=image", &image]] {
            assert!(cli.ok(&args).contains("org.opencontainers.image.version"));
        }
        assert!(cli.ok(&["inspect", &image]).contains("org.opencontainers.image.version"));
        assert!(cli.ok(&["history", &image]).contains("/www/version"));
        let mine = format!("{}/copies/{}:1", cli.case.world.registry, cli.case.app);
        cli.ok(&["tag", &image, &mine]);
        assert!(cli.ok(&["push", &mine]).contains("digest: sha256:"));
        assert!(cli.ok(&["rmi", &mine]).contains("Untagged"));
        let digest = cli.ok(&["pull", "--quiet", &mine]);
        assert_eq!(digest.trim(), mine);
        let digest = cli.ok(&["image", "inspect", "--format", "{{index .RepoDigests 0}}", &mine]);
        assert!(cli.ok(&["pull", digest.trim()]).contains("up to date"));
        assert!(cli.ok(&["push", "--all-tags", mine.rsplit_once(':').unwrap().0]).contains("digest: sha256:"));
        assert!(cli.ok(&["pull", "--all-tags", mine.rsplit_once(':').unwrap().0]).contains("Digest: sha256:"));
        assert!(cli.ok(&["pull", "--platform", "linux/amd64", &image]).contains("Digest: sha256:"));
        cli.ok(&["rmi", "--force", &image]);
        assert!(cli.fails(&["image", "inspect", &image]).contains("No such image"));
        assert!(cli.fails(&["inspect", &image]).contains("No such object"));
    };

    images_travel_as_archives => |kind| {
        let cli = Cli::new(kind);
        let dir = cli.case.root.path();
        let file = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        cli.ok(&["pull", "--quiet", &cli.image]);
        let (one, two) = (format!("{}:1", cli.name("a")), format!("{}:1", cli.name("b")));
        cli.ok(&["tag", &cli.image, &one]);
        cli.ok(&["tag", &cli.image, &two]);
        cli.ok(&["save", "--output", &file("one.tar"), &one]);
        cli.ok(&["save", "--output", &file("both.tar"), &one, &two]);
        cli.ok(&["rmi", &one, &two]);
        let loaded = cli.ok(&["load", "--input", &file("both.tar")]);
        assert!(loaded.contains(&one) && loaded.contains(&two), "{loaded}");
        assert!(cli.ok(&["load", "--quiet", "--input", &file("one.tar")]).contains(&one));
        let piped = cli.command(&["load"]).stdin(std::fs::File::open(file("one.tar")).unwrap()).output().unwrap();
        assert!(told(&["load"], &piped, true).contains(&one));
        let imported = format!("{}:1", cli.name("imported"));
        root_filesystem(&dir.join("root"), &file("root.tar"));
        cli.ok(&["import", "--message", "by hand", "--change", "CMD [\"x\"]", &file("root.tar"), &imported]);
        assert!(cli.ok(&["history", &imported]).contains("by hand"));
        assert!(cli.ok(&["image", "inspect", &imported]).contains("\"x\""));
        std::fs::write(file("broken.tar"), "this is no archive").unwrap();
        cli.fails(&["load", "--input", &file("broken.tar")]);
    };

    prune_takes_what_its_filter_names => |kind| {
        let _one_at_a_time = pruning();
        let cli = Cli::new(kind);
        let dir = cli.case.root.path();
        let archive = dir.join("root.tar").to_str().unwrap().to_owned();
        root_filesystem(&dir.join("root"), &archive);
        let label = format!("LABEL case={}", cli.case.app);
        let filter = format!("label=case={}", cli.case.app);
        let id = cli.ok(&["import", "--change", &label, &archive]);
        let pruned = cli.ok(&["image", "prune", "--force", "--filter", &filter]);
        assert!(pruned.contains(id.trim().trim_start_matches("sha256:")), "{id} {pruned}");
        assert!(cli.ok(&["image", "prune", "--force", "--filter", &filter]).contains("reclaimed space: 0B"));
    };

    the_cli_speaks_any_version_of_the_api => |kind| {
        let cli = Cli::new(kind);
        let own = cli.on_the_engine(&["version", "--format", "{{.Server.APIVersion}}"]);
        let newest = String::from_utf8_lossy(&own.stdout).trim().to_owned();
        assert_eq!(cli.ok(&["version", "--format", "{{.Server.APIVersion}}"]).trim(), newest);
        assert!(!cli.ok(&["info", "--format", "{{.ServerVersion}}"]).trim().is_empty());
        for version in ["1.41", &newest] {
            let listed = cli.command(&["images"]).env("DOCKER_API_VERSION", version).output().unwrap();
            told(&["images"], &listed, true);
        }
        let too_new = cli.command(&["images"]).env("DOCKER_API_VERSION", "1.99").output().unwrap();
        assert!(told(&["images"], &too_new, false).contains("is too new"));
    };

    nothing_but_images => |kind| {
        let cli = Cli::new(kind);
        let dir = cli.case.root.path().to_str().unwrap();
        for args in [
            vec!["ps"],
            vec!["run", "--rm", &cli.image],
            vec!["create", "x"],
            vec!["network", "ls"],
            vec!["volume", "create", "x"],
            vec!["system", "df"],
            vec!["system", "prune", "--force"],
            vec!["events"],
            vec!["plugin", "ls"],
            vec!["swarm", "init"],
            vec!["cp", dir, "x:/"],
        ] {
            let said = cli.fails(&args);
            assert!(said.contains("is not supported: Restock serves images"), "{args:?}: {said}");
        }
        for args in [vec!["exec", "x", "sh"], vec!["logs", "x"], vec!["inspect", "--type", "container", "x"]] {
            assert!(cli.fails(&args).to_lowercase().contains("no such container"), "{args:?}");
        }
        let build = cli.command(&["build", dir]).env("DOCKER_BUILDKIT", "0").output().unwrap();
        told(&["build"], &build, false);
    };

    a_tag_that_replaces_an_app_s_image_is_in_the_history => |kind| {
        let cli = Cli::new(kind);
        cli.case.up();
        let reference = cli.case.reference("web");
        let other = cli.case.world.publish(&[], "demo/web", &format!("{}-other", cli.case.tag), "2", "plain");
        assert!(other.starts_with("sha256:"));
        let other = format!("{reference}-other");
        let id = |name: &str| cli.ok(&["image", "inspect", "--format", "{{.Id}}", name]).trim().to_owned();
        let old = id(&reference);
        cli.ok(&["pull", "--quiet", &other]);
        cli.ok(&["tag", &other, &reference]);
        // An entry comes soon after the answer.
        let recorded = |entries: usize| {
            cli.case.wait_for("the history", || {
                let history = cli.case.get(&format!("/api/apps/{}/history", cli.case.app)).expect(200);
                (history.as_array().unwrap().len() >= entries).then_some(history)
            })
        };
        let history = recorded(1);
        let job = &history[0];
        assert_eq!((&job["kind"], &job["by"]), (&"image_change".into(), &"127.0.0.1".into()), "{history}");
        let change = serde_json::json!({"service": "web", "from": old, "to": id(&other), "tag": reference});
        assert_eq!(job["result"]["services"], serde_json::json!([change]));
        assert_eq!(history.as_array().unwrap().len(), 1);
        let archive = cli.case.root.path().join("a.tar").to_str().unwrap().to_owned();
        cli.ok(&["save", "--output", &archive, &reference]);
        cli.ok(&["rmi", &reference]);
        recorded(2);
        cli.ok(&["load", "--input", &archive]);
        cli.ok(&["pull", &reference]);
        let history = recorded(4);
        let to: Vec<_> = history.as_array().unwrap().iter().map(|job| job["result"]["services"][0]["to"].as_str().unwrap().to_owned()).collect();
        assert_eq!(to, [old, id(&other), String::new(), id(&other)]);
        let told = cli.case.restock(&["history", &cli.case.app]).output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        for words in ["image_change", "by 127.0.0.1", "→ nothing", "nothing →"] {
            assert!(told.contains(words), "{words} in {told}");
        }
        assert_eq!(cli.case.update().expect(200)["outcome"], "unchanged");
    };

    read_only_says_what_opens_it => |kind| {
        let cli = Cli::with(kind, &[]);
        cli.ok(&["images"]);
        cli.ok(&["version"]);
        for args in [vec!["pull", &cli.image], vec!["rmi", "x"], vec!["tag", "x", "y"], vec!["image", "prune", "-f"]] {
            assert!(cli.fails(&args).contains("--docker-api full"), "{args:?}");
        }
        // Larger than what is under way between two programs: the refusal comes while the CLI is still sending.
        let archive = cli.case.root.path().join("large.tar");
        std::fs::File::create(&archive).unwrap().set_len(64 << 20).unwrap();
        assert!(cli.fails(&["load", "--input", archive.to_str().unwrap()]).contains("--docker-api full"));
        let off = Cli::with(kind, &["--docker-api", "off"]);
        assert!(off.fails(&["images"]).contains("--docker-api read-only"));
    };

    keys_come_from_the_configuration_of_the_cli => |kind| {
        let mut cli = Cli::new(kind);
        let keys = cli.case.root.path().join("keys");
        std::fs::write(&keys, "0123456789abcdef-images images\n0123456789abcdef-read read\n").unwrap();
        let keys = keys.to_str().unwrap().to_owned();
        cli.case.serve_with(&["--docker-api", "full", "--api-key-file", &keys]);
        let with = |key: &str| {
            let config = cli.case.root.path().join("config");
            std::fs::create_dir_all(&config).unwrap();
            let headers = serde_json::json!({ "HttpHeaders": { "X-API-Key": key } });
            std::fs::write(config.join("config.json"), headers.to_string()).unwrap();
            cli.command(&["pull", &cli.image]).env("DOCKER_CONFIG", &config).output().unwrap()
        };
        assert!(cli.fails(&["images"]).contains("log in, or send a key"));
        assert!(told(&["read"], &with("0123456789abcdef-read"), false).contains("has not the scope `images`"));
        told(&["images"], &with("0123456789abcdef-images"), true);
    };
}

/// An engine prunes for one client at a time, and refuses a second.
pub fn pruning() -> MutexGuard<'static, ()> {
    static PRUNING: Mutex<()> = Mutex::new(());
    PRUNING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_socket_is_served_to_docker_s_clients_by_the_names_they_give_it() {
    let case = Case::on(World::of(Kind::Classic), "web");
    let socket = format!("unix://{}", case.root.path().join("restock.sock").display());
    let mut serve = case.restock(&["serve", "--listen", &socket]);
    let mut restock = serve.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut images = case.world.command("docker");
    images.env("DOCKER_HOST", &socket).arg("images");
    case.wait_for("the list of images", || images.output().unwrap().status.success().then_some(()));
    restock.kill().unwrap();
    restock.wait().unwrap();
}

/// An archive with one file, as `import` takes it.
fn root_filesystem(dir: &Path, archive: &str) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("file"), "content").unwrap();
    let status =
        Command::new("tar").args(["-C", dir.to_str().unwrap(), "-cf", archive, "."]).stdin(Stdio::null()).status();
    assert!(status.unwrap().success());
}

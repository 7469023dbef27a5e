//! Who may come in, and from where.

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: CommonOptions,
    #[command(flatten)]
    serve: ServeOptions,
}

fn resolve(args: &[&str], env: &[(&str, &str)]) -> Result<ServeSettings, String> {
    let cli = Cli::parse_from(["restock"].iter().chain(args));
    let env = [("HOME", "/home/me")].iter().chain(env).copied().collect();
    let resolved = ServeSettings::resolve(&cli.common, &cli.serve, &env);
    resolved.map(|(_, serve)| serve).map_err(|mistakes| mistakes.join("\n"))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let expected = ServeSettings {
        listen: "127.0.0.1:8099".parse().unwrap(),
        login: None,
        api_key_file: None,
        docker_api: DockerApi::ReadOnly,
        schedule: None,
        run_missed: false,
        shutdown_grace: Duration::from_secs(30),
        allowed_hosts: vec![],
    };
    assert_eq!(resolve(&[], &[]).unwrap(), expected);
}

#[test]
fn addresses_are_local_or_not() {
    for local in
        ["127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "localhost:1", "unix:/s", "unix:///s"]
    {
        assert!(local.parse::<Listen>().unwrap().is_local(), "{local}");
    }
    for open in ["0.0.0.0:1", "[::]:1", "192.168.1.2:1", "[::ffff:10.0.0.1]:1"] {
        assert!(!open.parse::<Listen>().unwrap().is_local(), "{open}");
    }
    for wrong in ["8099", ":8099", "127.0.0.1", "home:8099", "unix:s", "http://127.0.0.1:1", "127.0.0.1:99999"] {
        assert!(wrong.parse::<Listen>().is_err(), "{wrong}");
    }
}

#[test]
fn listening_to_the_world_needs_authentication() {
    let world = ["--listen", "0.0.0.0:8099"];
    let with = |more: &[&str]| resolve(&[&world, more].concat(), &[("RESTOCK_PASSWORD", "")]);
    let message = with(&[]).unwrap_err();
    assert!(message.contains("--listen (command line): 0.0.0.0:8099") && message.contains("--user"), "{message}");
    assert_eq!(with(&["--insecure-no-auth"]).unwrap().docker_api, DockerApi::Off);
    let full = with(&["--insecure-no-auth", "--docker-api", "full"]).unwrap();
    assert_eq!(full.docker_api, DockerApi::Full);
    let keys = with(&["--api-key-file", "/keys"]).unwrap();
    assert!(keys.authenticates());
    assert_eq!(keys.docker_api, DockerApi::ReadOnly);
    let login = resolve(&world, &[("RESTOCK_USER", "me"), ("RESTOCK_PASSWORD", "pw")]).unwrap();
    assert!(login.authenticates());
    let insecure = |value| resolve(&world, &[("RESTOCK_INSECURE_NO_AUTH", value)]);
    assert!(insecure("true").is_ok() && insecure("0").is_err() && insecure("maybe").is_err());
}

#[test]
fn the_password_comes_from_a_file_or_the_environment() {
    let password = file("from the file\r\n");
    let path = password.path().to_str().unwrap();
    let user = ("RESTOCK_USER", "me");
    let read = |args: &[&str], env: &[(&str, &str)]| {
        resolve(args, &[&[user], env].concat()).map(|serve| serve.login.unwrap().password.expose().to_owned())
    };
    let variable = ("RESTOCK_PASSWORD", " pw ");
    assert_eq!(read(&["--password-file", path], &[variable]).unwrap(), "from the file");
    assert_eq!(read(&[], &[("RESTOCK_PASSWORD_FILE", path)]).unwrap(), "from the file");
    assert_eq!(read(&[], &[variable]).unwrap(), " pw ");
    let config = file(&format!("password-file: {path}"));
    let config = config.path().to_str().unwrap();
    assert_eq!(read(&["--config", config], &[]).unwrap(), "from the file");
    assert_eq!(read(&["--config", config], &[variable]).unwrap(), " pw ");
    let both = read(&[], &[variable, ("RESTOCK_PASSWORD_FILE", path)]).unwrap_err();
    assert!(both.contains("choose one"), "{both}");
}

#[test]
fn half_a_login_is_a_mistake() {
    let empty = file("\n");
    let empty = empty.path().to_str().unwrap();
    let cases = [
        (vec!["--user", "me"], "--user (command line): needs a password"),
        (vec!["--password-file", "/no/such"], "--user: is missing"),
        (vec!["--user", "me", "--password-file", "/no/such"], "`/no/such`: cannot be read"),
        (vec!["--user", "me", "--password-file", empty], "holds no password"),
    ];
    for (args, expected) in cases {
        let message = resolve(&args, &[]).unwrap_err();
        assert!(message.contains(expected) && message.lines().count() == 1, "{message}");
    }
}

#[test]
fn a_password_is_never_printed() {
    let serve = resolve(&[], &[("RESTOCK_USER", "me"), ("RESTOCK_PASSWORD", "hunter2")]).unwrap();
    assert!(!format!("{serve:?}").contains("hunter2"));
    let message = resolve(&["--settle", "x"], &[("RESTOCK_PASSWORD", "hunter2")]).unwrap_err();
    assert!(!message.contains("hunter2"), "{message}");
}

#[test]
fn hosts_can_be_repeated_and_are_plain_names() {
    let hosts = |args: &[&str], env: &[(&str, &str)]| resolve(args, env).map(|serve| serve.allowed_hosts);
    assert_eq!(hosts(&["--allowed-host", "Box.lan", "--allowed-host", "box"], &[]).unwrap(), ["box.lan", "box"]);
    assert_eq!(hosts(&[], &[("RESTOCK_ALLOWED_HOST", "a, b,")]).unwrap(), ["a", "b"]);
    let config = file("allowed-host: [a, b]");
    assert_eq!(hosts(&["--config", config.path().to_str().unwrap()], &[]).unwrap(), ["a", "b"]);
    assert!(hosts(&["--allowed-host", "http://a:1"], &[]).is_err());
}

#[test]
fn yaml_words_are_read_as_they_are_written() {
    let config = file("docker-api: off\ninsecure_no_auth: true\nlisten: 0.0.0.0:80\nschedule: 0 4 * * *\n");
    let serve = resolve(&["--config", config.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!(
        (serve.docker_api, serve.schedule.map(|schedule| schedule.to_string())),
        (DockerApi::Off, Some("0 4 * * *".into()))
    );
}

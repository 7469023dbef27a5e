//! Settings from each source, and every mistake told.

use clap::Parser;

use super::*;

/// As the command line has it.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    common: CommonOptions,
}

fn resolve(args: &[&str], env: &[(&str, &str)], file: Option<&str>) -> Result<Settings, Vec<String>> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("restock.yaml");
    let mut args: Vec<_> = ["restock"].iter().chain(args).map(|arg| (*arg).to_owned()).collect();
    if let Some(text) = file {
        std::fs::write(&path, text).unwrap();
        args.extend(["--config".to_owned(), path.to_str().unwrap().to_owned()]);
    }
    let env = [("HOME", "/home/me")].iter().chain(env).copied().collect();
    Settings::resolve(&Cli::parse_from(args).common, &env)
}

#[test]
fn the_defaults_are_those_of_the_documentation() {
    let settings = resolve(&[], &[], None).unwrap();
    let seconds = |seconds| Duration::from_secs(seconds);
    assert_eq!(settings.apps, std::env::current_dir().unwrap().join("apps"));
    assert_eq!(settings.data, Path::new("/home/me/.local/state/restock"));
    assert_eq!(settings.docker_host.to_string(), "unix:///var/run/docker.sock");
    assert_eq!((settings.log.as_str(), settings.log_format), ("info", LogFormat::Text));
    assert_eq!((settings.health_timeout, settings.settle), (seconds(60), seconds(5)));
    assert_eq!((settings.keep, settings.pull_timeout), (seconds(7 * 86400), seconds(1800)));
    assert_eq!(settings.concurrency, 4);
    assert_eq!((settings.timezone, settings.window), (jiff::tz::TimeZone::system(), None));
}

#[test]
fn flags_win_over_the_environment_over_the_file() {
    let file = Some("settle: 3s\nkeep: 3d\nhealth_timeout: 3m\nconcurrency: 3\napps: /file\n");
    let env = [("RESTOCK_SETTLE", "2s"), ("RESTOCK_KEEP", "2d"), ("RESTOCK_CONCURRENCY", "")];
    let settings = resolve(&["--settle", "1s"], &env, file).unwrap();
    assert_eq!(settings.settle, Duration::from_secs(1));
    assert_eq!(settings.keep, Duration::from_secs(2 * 86400));
    assert_eq!(settings.health_timeout, Duration::from_secs(180));
    assert_eq!(settings.concurrency, 3, "an empty variable is not set");
    assert_eq!(settings.apps, Path::new("/file"));
}

#[test]
fn the_environment_can_name_the_file() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "concurrency: 9").unwrap();
    let settings = resolve(&[], &[("RESTOCK_CONFIG", file.path().to_str().unwrap())], None).unwrap();
    assert_eq!(settings.concurrency, 9);
}

#[test]
fn the_machines_own_file_is_read_where_no_other_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let own = dir.path().join("own.yaml");
    let other = dir.path().join("other.yaml");
    std::fs::write(&other, "keep: 1d").unwrap();
    let env = |variables: &[(&str, &str)]| {
        let variables = [("HOME", "/home/me")].iter().chain(variables).copied();
        variables.collect::<Environment>().with_machine_file(&own)
    };
    let concurrency = |args: &[&str], variables: &[(&str, &str)]| {
        let common = Cli::parse_from(["restock"].iter().chain(args)).common;
        Settings::resolve(&common, &env(variables)).map(|settings| settings.concurrency)
    };
    assert_eq!(concurrency(&[], &[]), Ok(4), "there is none");
    std::fs::write(&own, "concurrency: 9").unwrap();
    assert_eq!(concurrency(&[], &[]), Ok(9));
    let other = other.to_str().unwrap();
    assert_eq!(concurrency(&["--config", other], &[]), Ok(4));
    assert_eq!(concurrency(&[], &[("RESTOCK_CONFIG", other)]), Ok(4));
    std::fs::write(&own, "concurrencyy: 9").unwrap();
    assert!(concurrency(&[], &[]).unwrap_err()[0].contains("own.yaml"));
    std::fs::remove_file(&own).unwrap();
    std::fs::create_dir(&own).unwrap();
    let unreadable = concurrency(&[], &[]).unwrap_err();
    assert!(unreadable[0].starts_with("--config") && unreadable[0].contains("own.yaml"), "{unreadable:?}");
}

#[test]
fn the_data_directory_follows_xdg() {
    let data = |env| resolve(&[], env, None).unwrap().data;
    assert_eq!(data(&[("XDG_STATE_HOME", "/state")]), Path::new("/state/restock"));
    assert_eq!(data(&[("XDG_STATE_HOME", "relative")]), Path::new("/home/me/.local/state/restock"));
    let mistakes = resolve(&[], &[("HOME", "")], None).unwrap_err();
    assert!(mistakes[0].contains("--data") && mistakes.len() == 1, "{mistakes:?}");
    resolve(&["--data", "/d"], &[("HOME", "")], None).unwrap();
}

#[test]
fn every_mistake_is_told_with_its_origin() {
    let file = "keep: forever\nfoo: 1\nsettle: [1s, 2s]\nlog: {a: b}\nwindow: 1\npull-timeout: 1m\npull_timeout: 2m\n";
    let env = [("RESTOCK_CONCURRENCY", "65"), ("RESTOCK_LOG_FORMAT", "xml"), ("DOCKER_HOST", "ssh://x")];
    let args = ["--health-timeout", "0s", "--apps", "", "--timezone", "Europe/Nowhere"];
    let mistakes = resolve(&args, &env, Some(file)).unwrap_err();
    let expected = [
        "--health-timeout (command line): `0s`: it has to be longer",
        "--apps (command line): is empty",
        "--concurrency (RESTOCK_CONCURRENCY): `65`: not a number from 1 to 64",
        "--log-format (RESTOCK_LOG_FORMAT): `xml`",
        "restock.yaml): `forever`",
        "`foo` in ",
        "restock.yaml): takes one value",
        "`log` in ",
        "restock.yaml): `1`: `1` is no window; write one as",
        "--timezone (command line): `Europe/Nowhere`: no time zone that is known here",
        "`pull_timeout` in ",
        "DOCKER_HOST: ssh://x",
    ];
    for part in expected {
        let told = mistakes.iter().filter(|mistake| mistake.contains(part)).count();
        assert_eq!(told, 1, "{part} in {mistakes:#?}");
    }
    assert_eq!(mistakes.len(), expected.len(), "{mistakes:#?}");
}

#[test]
fn a_file_that_cannot_be_read_is_named_and_the_rest_is_told_too() {
    let mistakes = resolve(&["--config", "/no/such.yaml", "--settle", "x"], &[], None).unwrap_err();
    assert!(mistakes[0].contains("--config (command line): `/no/such.yaml`"), "{mistakes:?}");
    assert!(mistakes[1].contains("--settle"), "{mistakes:?}");
    let mistakes = resolve(&[], &[], Some("- a\n- b\n")).unwrap_err();
    assert!(mistakes[0].contains("restock.yaml is not a YAML file of options"), "{mistakes:?}");
}

#[test]
fn an_empty_file_and_options_of_the_service_are_no_mistake() {
    for file in ["", "# nothing\n", "listen: 0.0.0.0:1\npassword-file: /no/such\n", "keep:\n"] {
        resolve(&[], &[], Some(file)).unwrap();
    }
}

#[test]
fn a_variable_that_is_no_text_is_a_mistake() {
    use std::os::unix::ffi::OsStringExt;
    let variables = [("HOME".into(), "/h".into()), ("RESTOCK_LOG".into(), OsString::from_vec(vec![0xff]))];
    let env = variables.into_iter().collect::<Vec<(OsString, OsString)>>().into_iter().collect();
    let mistakes = Settings::resolve(&CommonOptions::default(), &env).unwrap_err();
    assert_eq!(mistakes, ["--log (RESTOCK_LOG): is not valid UTF-8"]);
}

#[test]
fn the_bus_is_where_a_variable_says_or_where_it_usually_is() {
    let bus = |dbus: Option<&str>, env: &[(&str, &str)]| {
        let common = CommonOptions { dbus: dbus.map(Into::into), data: Some("/d".into()), ..Default::default() };
        Settings::resolve(&common, &env.iter().copied().collect()).unwrap().dbus
    };
    assert_eq!(bus(Some("system"), &[]), "unix:path=/var/run/dbus/system_bus_socket");
    assert_eq!(bus(Some("system"), &[("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/s")]), "unix:path=/s");
    assert_eq!(bus(Some("user"), &[("XDG_RUNTIME_DIR", "/run/user/7")]), "unix:path=/run/user/7/bus");
    assert_eq!(bus(Some("user"), &[("DBUS_SESSION_BUS_ADDRESS", "unix:path=/u")]), "unix:path=/u");
    assert_eq!(bus(None, &[("RESTOCK_DBUS", "unix:path=/own")]), "unix:path=/own");
}

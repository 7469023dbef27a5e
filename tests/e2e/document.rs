//! The API's description against the service: Schemathesis makes requests from it, right and wrong ones, and compares
//! what is answered with what is told.

use std::process::{Command, Stdio};

use crate::case::Case;
use crate::world::{Kind, output, project};

const KEY: &str = "0123456789abcdef-all";

/// What a description has no words for.
fn configuration(case: &Case) -> String {
    format!(
        r#"
[auth.openapi.key]
api_key = "{KEY}"

# A stream that never ends.
[[operations]]
include-path = "/api/events"
enabled = false

[[operations]]
include-path = "/api/apps/{{name}}/logs"
parameters = {{ "query.follow" = "false" }}

# Which services an app has the description cannot know: another is 400.
[[operations]]
include-path-regex = "^/api/apps/[{{]name[}}]/(update|skip)$"
checks.positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422]

# Unknown headers are no mistake.
[[operations]]
include-path-regex = "/events$"
checks.negative_data_rejection.enabled = false

[[operations]]
include-path-regex = "^/api/images/[{{]id[}}]/"
parameters = {{ "path.id" = "{app}-web-1" }}
"#,
        app = case.app
    )
}

/// Everything that can be asked is asked of a real engine with an app. A server error fails it as well as an answer that
/// the description does not tell, a wrong request that is taken, a right one that is not, or a key that is not looked at.
#[test]
fn what_is_answered_is_what_is_told() {
    let mut case = Case::new(Kind::Classic, "web");
    let file = |name: &str, text: &str| {
        let path = case.root.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let (keys, configuration) = (file("keys", KEY), file("schemathesis.toml", &configuration(&case)));
    case.serve_with(&["--api-key-file", keys.to_str().unwrap()]);
    let description = case.root.path().join("openapi.json");
    let told = case.restock(&["openapi"]).stdout(Stdio::piped()).output().unwrap();
    std::fs::write(&description, told.stdout).unwrap();
    let parts = output(Command::new(project().join("fixtures/engine/setup")).arg("schemathesis"));
    let mut tester = Command::new("python3");
    // It writes what it finds into the working directory.
    tester.current_dir(case.root.path()).env("PYTHONPATH", format!("{parts}/schemathesis"));
    tester.args(["-m", "schemathesis.cli", "--config-file"]).arg(configuration).arg("run").arg(description);
    tester.args(["--url", &case.url(""), "--seed", "1", "--max-examples", "5"]);
    tester.args([
        "--phases",
        "examples,coverage,fuzzing",
        "--request-timeout",
        "60",
        "--no-color",
        "--warnings",
        "off",
    ]);
    let tested = tester.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&tested.stdout);
    assert!(tested.status.success(), "{said}{}", String::from_utf8_lossy(&tested.stderr));
    assert!(said.contains(" generated"), "{said}");
}

/// Somebody else's generator makes a client of the description without a complaint, and the client can do the main things.
#[test]
fn a_generated_client_lists_updates_and_follows_jobs() {
    let mut case = Case::new(Kind::Classic, "web");
    let parts = output(Command::new(project().join("fixtures/engine/setup")).arg("openapi-client"));
    std::fs::write(case.root.path().join("keys"), KEY).unwrap();
    let keys = case.root.path().join("keys").display().to_string();
    case.serve_with(&["--api-key-file", &keys]);
    let root = case.root.path();
    let description = root.join("openapi.json");
    let told = case.restock(&["openapi"]).stdout(Stdio::piped()).output().unwrap();
    std::fs::write(&description, told.stdout).unwrap();
    // No tools that only tidy the code up; and pictures are bytes, for which the generator has no types of its own.
    let pictures = ["png", "svg+xml", "webp", "jpeg"].map(|kind| format!("  image/{kind}: application/octet-stream\n"));
    let settings = format!("post_hooks: []\ncontent_type_overrides:\n{}", pictures.concat());
    std::fs::write(root.join("generator.yaml"), settings).unwrap();
    let python = |args: &[&str]| {
        let mut command = Command::new("python3");
        command.current_dir(root).env("PYTHONPATH", format!("{parts}/openapi-client:{}", root.display()));
        command.args(args).stdin(Stdio::null()).output().unwrap()
    };
    let generate = ["-m", "openapi_python_client", "generate", "--path", "openapi.json", "--config", "generator.yaml"];
    let generated = python(&[&generate[..], &["--meta", "none", "--output-path", "restock_client"]].concat());
    let said = format!("{}{}", String::from_utf8_lossy(&generated.stdout), String::from_utf8_lossy(&generated.stderr));
    assert!(generated.status.success() && !said.to_lowercase().contains("warning"), "{said}");
    case.publish("web", "2", "web");
    let client = project().join("tests/e2e/client.py");
    let used = python(&[client.to_str().unwrap(), &case.url(""), KEY, &case.app]);
    assert!(used.status.success(), "{}", String::from_utf8_lossy(&used.stderr));
    case.assert_runs("web", "2");
}

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

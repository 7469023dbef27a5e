//! What the README tells people to type works as it stands there.

use crate::case::Case;
use crate::world::{Kind, World, output, project};

/// The lines of the README's section on the API that call it.
fn examples() -> Vec<String> {
    let text = std::fs::read_to_string(project().join("README.md")).unwrap();
    let section = text.split("\n## The API\n").nth(1).unwrap().split("\n## ").next().unwrap();
    section.lines().filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

#[test]
fn every_example_of_the_api_is_answered() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    case.up();
    case.serve();
    let container = format!("{}-some-container", case.app);
    case.docker(&["run", "-d", "--quiet", "--name", &container, &case.reference("web")]);
    let examples = examples();
    assert!(examples.len() > 15, "{examples:#?}");
    for (n, example) in examples.iter().enumerate() {
        // There is something new each time, so that what needs it works.
        case.publish("web", &(n + 2).to_string(), "web");
        case.get(&format!("/api/apps/{}/status?force=true", case.app)).expect(200);
        let command = example
            .replacen("curl ", "curl --fail-with-body -sS ", 1)
            .replace("localhost:8099", case.url("").trim_start_matches("http://"))
            .replace("some-container", &container)
            .replace("/apps/web/", &format!("/apps/{}/", case.app))
            .replace("\"web\"", &format!("\"{}\"", case.app));
        // A stream of everything has no end: it has to be ended.
        let endless = example.contains("/api/events");
        let command = if endless { format!("timeout 2 {command}\ntest $? = 124") } else { command };
        output(case.world.command("bash").args(["-c", &command]));
    }
}

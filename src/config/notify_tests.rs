use super::*;
use serde_json::json;

fn parsed(value: &Value) -> (Vec<Receiver>, Vec<String>) {
    let mut mistakes = Vec::new();
    let receivers = read(value, &mut mistakes);
    (receivers, mistakes)
}

#[test]
fn every_type_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "s3cret\n").unwrap();
    let file = file.path().to_str().unwrap();
    let (receivers, mistakes) = parsed(&json!([
        {"type": "webhook", "url": "https://host/hook", "secret_file": file, "events": ["failed", "rolled_back"]},
        {"type": "ntfy", "topic": "updates", "token_file": file, "priority": 4, "name": "phone", "title": "{{ name }}!"},
        {"type": "gotify", "url": "http://host:8080/", "token_file": file},
        {"type": "mail", "host": "mx", "from": "Restock <restock@example.org>", "to": "me@example.org", "security": "none"},
        {"type": "command", "command": ["apprise", "-t", "{title}", "-b", "{body}"]},
    ]));
    assert_eq!(mistakes, Vec::<String>::new());
    let names: Vec<_> = receivers.iter().map(|receiver| receiver.name.as_str()).collect();
    assert_eq!(names, ["webhook-1", "phone", "gotify-3", "mail-4", "command-5"]);
    assert_eq!(receivers[0].events, [Event::Failed, Event::RolledBack].into());
    assert_eq!(receivers[1].events, Event::CHOICES.into());
    let Channel::Ntfy(ntfy) = &receivers[1].channel else { panic!("{:?}", receivers[1]) };
    assert_eq!(
        (ntfy.url.as_str(), ntfy.priority, ntfy.token.clone()),
        ("https://ntfy.sh/", Some(4), Some(Secret::new("s3cret")))
    );
    let Channel::Mail(mail) = &receivers[3].channel else { panic!("{:?}", receivers[3]) };
    assert_eq!((mail.port, mail.security, mail.to.len()), (25, Security::Plain, 1));
    assert!(!format!("{receivers:?}").contains("s3cret"));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let (_, mistakes) = parsed(&json!([
        {"type": "pigeon"},
        {},
        "ntfy",
        {"type": "ntfy", "url": "ftp://me:hunter2@host", "priority": 9, "topics": "x"},
        {"type": "gotify", "url": "http://host", "title": "{{ nobody }}"},
        {"type": "webhook", "url": "http://host", "secret_file": "/no/such/file", "events": ["sometimes"]},
        {"type": "mail", "host": "mx", "from": "nobody", "to": [], "security": "some", "user": "me", "port": 70000},
        {"type": "command", "command": ["true"]},
        {"type": "webhook", "url": "http://host", "name": "webhook-6"},
    ]));
    let all = mistakes.join("\n");
    for place in [
        "[0].type: `pigeon`: valid are",
        "[1].type: expected one of webhook",
        "[2]: expected a mapping",
        "[3].url: ",
        "[3].topic: ",
        "[3].priority: expected a number from 1 to 5",
        "[3].topics: unknown key",
        "[4].token_file: ",
        "[4].title: ",
        "[5].secret_file: `/no/such/file` cannot be read",
        "[5].events: `sometimes`: one of found",
        "[6].from: ",
        "[6].to: ",
        "[6].security: ",
        "[6].user: ",
        "[6].port: ",
        "[7].command: ",
        "[8].name: `webhook-6` is another",
    ] {
        assert!(all.contains(&format!("notify{place}")), "{place} in\n{all}");
    }
    assert_eq!(mistakes.len(), 18, "{all}");
    assert!(!all.contains("hunter2"), "{all}");
    assert_eq!(parsed(&json!({"type": "ntfy"})).1, ["notify: expected a list of receivers"]);
    assert_eq!(parsed(&Value::Null), (Vec::new(), Vec::new()));
}

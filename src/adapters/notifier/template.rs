//! The words of a message, from templates that people may write themselves.

use minijinja::value::Serde;
use minijinja::{Environment, UndefinedBehavior, Value};
use serde_json::json;

use super::NotDelivered;
use crate::domain::notice::{Event, Notice};

/// The title where the configuration has none.
pub const DEFAULT_TITLE: &str = "{{ name }}: \
    {%- if event == 'found' %} a newer image is available\
    {%- elif event == 'updated' %} updated\
    {%- elif event == 'rolled_back' %} the update failed and was taken back\
    {%- elif event == 'failed' %} the update failed\
    {%- else %} this is a test{% endif %}";

/// The body where the configuration has none.
pub const DEFAULT_BODY: &str = "\
    {% for service in services %}{{ service.service }}: {{ service.change }} ({{ service.tag }})\n{% endfor %}\
    {% if reason %}{{ reason }}\n{% endif %}\
    {% if job %}job {{ job }}{% endif %}";

/// More work than any message needs; a loop without end stops here.
const FUEL: u64 = 100_000;

/// What a receiver shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// One line.
    pub title: String,
    pub body: String,
}

/// Tries a template with every sort of notice.
///
/// # Errors
/// What is wrong with it, also a name that means nothing.
pub fn check(template: &str) -> Result<(), String> {
    let at = jiff::Timestamp::UNIX_EPOCH;
    let events = Event::CHOICES.into_iter().chain([Event::Test]);
    for notice in events.map(|event| Notice::sample(event, at)) {
        environment(UndefinedBehavior::SemiStrict)
            .render_str(template, context(&notice))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

pub(super) fn render(template: &str, notice: &Notice) -> Result<String, NotDelivered> {
    let rendered = environment(UndefinedBehavior::Lenient).render_str(template, context(notice));
    rendered.map_err(|error| NotDelivered(format!("the template could not be rendered: {error}")))
}

fn environment(undefined: UndefinedBehavior) -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_fuel(Some(FUEL));
    environment.set_undefined_behavior(undefined);
    environment
}

/// The notice with its target as `name` and `kind`, and each service's `change` in words.
fn context(notice: &Notice) -> Value {
    let mut context = json!(notice);
    (context["name"], context["kind"]) = (notice.target.name().into(), notice.target.kind().into());
    for (n, service) in notice.services.iter().enumerate() {
        context["services"][n]["change"] = service.from_to().into();
    }
    Value::from(Serde(context))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(template: &str, event: Event) -> String {
        render(template, &Notice::sample(event, jiff::Timestamp::UNIX_EPOCH)).unwrap()
    }

    #[test]
    fn the_default_words_fit_every_event() {
        assert_eq!(check(DEFAULT_TITLE), Ok(()));
        assert_eq!(check(DEFAULT_BODY), Ok(()));
        assert_eq!(rendered(DEFAULT_TITLE, Event::Updated), "example: updated");
        assert_eq!(rendered(DEFAULT_TITLE, Event::Found), "example: a newer image is available");
        let body = rendered(DEFAULT_BODY, Event::Failed);
        assert_eq!(body, "web: 1.0 → 1.1 (registry.example/demo/web:latest)\n`web` does not work: unhealthy\n");
    }

    #[test]
    fn a_template_with_a_mistake_is_found_before_it_is_needed() {
        for template in [
            "{{ name",
            "{% if %}",
            "{{ nobody }}",
            "{{ name | shout }}",
            "{% for x in range(9999999) %}{{ x }}{% endfor %}",
        ] {
            assert!(check(template).is_err(), "{template}");
        }
        assert_eq!(
            check("{% if event == 'failed' %}{{ reason }}{% endif %}{{ kind }} {{ services[0].version_to }}"),
            Ok(())
        );
    }
}

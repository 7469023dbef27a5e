//! Server-sent events.

use serde_json::json;

use crate::world::{Event, World, mismatch};

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.event.as_str()).collect()
}

/// An app whose pull and up tell of themselves.
fn talkative() -> World {
    let world = World::with_new_web();
    let layer = |current: u32| {
        format!(r#"say '{{"id":"a1","parent_id":"web","text":"Downloading","current":{current},"total":200}}'"#)
    };
    let script = [
        r#"say '{"id":"web","text":"Pulling"}'"#.to_owned(),
        layer(50),
        layer(200),
        "say 'no event at all'".to_owned(),
        r#"say '{"id":"web","text":"Pulled"}'; wait_for pull"#.to_owned(),
    ];
    world.docker.on("web", "pull", &script.join("\n"));
    world.docker.on("web", "up", r#"say '{"id":"Container web-web-1","status":"Recreated"}'"#);
    world
}

#[tokio::test]
async fn an_update_that_is_watched_tells_everything_in_order_and_the_result_last() {
    let world = talkative();
    world.docker.allow("pull");
    let restock = world.restock().await;
    let stream = restock.post("/api/apps/web/update").header("accept", "text/event-stream").events().await;
    let events = stream.rest().await;
    let steps: Vec<_> =
        events.iter().filter(|event| event.event == "step").map(|event| event.data["step"].clone()).collect();
    assert_eq!(steps, ["snapshot", "pull", "plan", "apply", "verify"]);
    let told = names(&events);
    assert_eq!((told[0], told[told.len() - 1]), ("job", "result"));
    assert_eq!(told.iter().filter(|name| **name == "result").count(), 1);
    let ids: Vec<_> = events.iter().map(|event| event.id.unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
    let progress: Vec<_> = events.iter().filter(|event| event.event == "progress").map(|event| &event.data).collect();
    assert_eq!((&progress[0]["service"], &progress[0]["status"]), (&json!("web"), &json!("Pulling")));
    let layer = progress.iter().find(|data| data["current"] == 200).unwrap();
    assert_eq!((&layer["layer"], &layer["percent"]), (&json!("a1"), &json!(100)));
    let container = events.iter().find(|event| event.event == "container").unwrap();
    assert_eq!(container.data["container"], "web-web-1");
    let api = json!(restock::http::openapi());
    let payloads = &api["components"]["schemas"]["ServerEvent"]["x-payloads"];
    for event in &events {
        let mut data = event.data.clone();
        if event.event == "job" {
            // A job has no such keys; every event but the result has them.
            let (at, job) = (data["at"].take(), data["job"].take());
            assert!(at.is_string() && job == data["id"], "{data}");
            data.as_object_mut().unwrap().retain(|key, _| key != "at" && key != "job");
        }
        assert_eq!(mismatch(&api, &payloads[&event.event], &data), None, "{}", event.event);
    }
    let result = &events.last().unwrap().data;
    assert_eq!((&result["updated"], &result["outcome"]), (&json!(true), &json!("updated")));
    assert!(
        events
            .iter()
            .all(|event| event.event == "result" || event.data["job"] == result["job"] || event.event == "job")
    );
}

#[tokio::test]
async fn a_failure_is_the_problem_as_the_last_event() {
    let world = talkative();
    world.docker.on("web", "pull", "fail 1 'manifest unknown'");
    let restock = world.restock().await;
    let stream = restock.post("/api/apps/web/update").header("accept", "text/event-stream").events().await;
    let last = stream.rest().await.pop().unwrap();
    assert_eq!((last.event.as_str(), &last.data["code"]), ("result", &json!("no_such_image")));
    assert_eq!(last.data["status"], 502);
}

#[tokio::test]
async fn who_comes_back_hears_what_came_since_and_nothing_twice() {
    let world = talkative();
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    let path = format!("/api/jobs/{job}/events");
    let mut first = restock.get(&path).events().await;
    let mut heard = vec![first.next().await.unwrap()];
    while heard.last().unwrap().data["status"] != "Pulled" {
        heard.push(first.next().await.unwrap());
    }
    drop(first);
    let left = heard.last().unwrap().id.unwrap();
    world.docker.allow("pull");
    restock.finished(&job).await;
    let rest = restock.get(&path).header("last-event-id", &left.to_string()).events().await.rest().await;
    assert!(rest.iter().all(|event| event.id.unwrap() > left));
    heard.extend(rest);
    let all = restock.get(&path).events().await.rest().await;
    let ids = |events: &[Event]| events.iter().map(|event| event.id).collect::<Vec<_>>();
    assert_eq!(ids(&heard), ids(&all));
    assert_eq!(all.last().unwrap().event, "result");
}

/// A browser connects again by itself when a stream ends; it must not hang on a job that has nothing more to say.
#[tokio::test]
async fn who_has_heard_the_result_gets_the_end() {
    let world = World::with_web();
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    restock.finished(&job).await;
    let path = format!("/api/jobs/{job}/events");
    let last = restock.get(&path).events().await.rest().await.pop().unwrap();
    let again = restock.get(&path).header("last-event-id", &last.id.unwrap().to_string()).events().await;
    let events = again.rest().await;
    assert!(events.is_empty() || names(&events) == ["result"], "{events:?}");
}

#[tokio::test]
async fn who_was_away_too_long_is_told_to_ask_anew() {
    let world = World::with_web();
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    for id in ["1", "99999999999999999999", "18446744073709551615", "-1", "nonsense"] {
        let parsed = id.parse::<u64>().is_ok();
        let mut stream = restock.get("/api/events").header("last-event-id", id).events().await;
        if parsed {
            let event = stream.next().await.unwrap();
            assert_eq!((event.event.as_str(), event.id), ("resync", None), "{id}");
        }
    }
    restock.host.service.stopping.cancel();
}

#[tokio::test]
async fn events_of_a_job_of_another_life_are_its_result_alone() {
    let world = World::with_new_web();
    let restock = world.restock().await;
    let job = restock.start_update("web").await;
    restock.finished(&job).await;
    drop(restock);
    let restock = world.restock().await;
    let events = restock.get(&format!("/api/jobs/{job}/events")).events().await.rest().await;
    assert_eq!(names(&events), ["result"]);
    assert_eq!(events[0].data["outcome"], "updated");
}

/// Nothing is read on a slow link until the result is among what was dropped.
#[tokio::test]
async fn who_has_missed_the_result_gets_it_all_the_same() {
    let world = World::with_new_web();
    let many = r#"i=0; while [ $i -lt 200 ]; do say "{\"id\":\"web$i\",\"text\":\"Pulling\"}"; i=$((i+1)); done"#;
    world.docker.on("web", "pull", many);
    let restock = world.restock().await;
    let stream = restock.post("/api/apps/web/update").header("accept", "text/event-stream").events().await;
    restock.idle().await;
    (0..3000).for_each(|number| restock.host.service.events.tell(None, "step", json!({ "number": number })));
    let events = stream.rest().await;
    let told = names(&events);
    assert!(told.contains(&"resync"), "{told:?}");
    assert_eq!(told.iter().filter(|name| **name == "result").count(), 1, "{told:?}");
    let last = events.last().unwrap();
    assert_eq!((last.event.as_str(), &last.data["outcome"]), ("result", &json!("updated")));
}

#[tokio::test]
async fn everything_that_happens_is_heard_in_one_place_and_can_be_heard_again() {
    let world = World::with_new_web();
    world.app("db").service("db", "registry.test/db:1").running();
    let restock = world.restock().await;
    let mut stream = restock.get("/api/events").events().await;
    let web = restock.start_update("web").await;
    let first = stream.next_called("job").await;
    assert_eq!((&first.data["id"], &first.data["app"]), (&json!(web), &json!("web")));
    let result = stream.next_called("result").await;
    assert_eq!((&result.data["id"], &result.data["outcome"]), (&json!(web), &json!("updated")));
    drop(stream);
    let db = restock.start_update("db").await;
    restock.finished(&db).await;
    let mut again = restock.get("/api/events").header("last-event-id", &result.id.unwrap().to_string()).events().await;
    assert_eq!(again.next_called("job").await.data["id"], db);
    assert_eq!(again.next_called("result").await.data["id"], db);
}

#[tokio::test]
async fn a_new_listener_hears_only_what_is_new() {
    let world = World::with_web();
    let restock = world.restock().await;
    restock.post("/api/apps/web/update").await.ok();
    let mut stream = restock.get("/api/events").events().await;
    let job = restock.start_update("web").await;
    assert_eq!(stream.next_called("job").await.data["id"], job);
    stream.next_called("result").await;
}

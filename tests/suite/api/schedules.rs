//! When passes run by themselves, and when they may apply what they find.

use std::sync::{Arc, Mutex};

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use restock::adapters::clock::Clock;
use restock::adapters::store::ScheduleRow;
use restock::domain::schedule::Schedule;
use serde_json::{Value, json};

use super::passes::{PASS, label, pairs, until, updated, world};
use crate::registry::fake::{Answer, Fake};
use crate::world::{Options, Service, World};

/// An hour of a Monday, on the wall.
fn at(hour: i8) -> Timestamp {
    jiff::civil::date(2026, 1, 5).at(hour, 0, 0, 0).to_zoned(TimeZone::system()).unwrap().timestamp()
}

/// Shows what the test has set it to.
fn settable(start: Timestamp) -> (Clock, Arc<Mutex<Timestamp>>) {
    let shown = Arc::new(Mutex::new(start));
    let read = shown.clone();
    (Clock::new(move || *read.lock().unwrap()), shown)
}

#[tokio::test]
async fn a_closed_window_holds_back_what_is_found() {
    let world = world();
    label(&world, "shop-web-1", "restock.auto-update", "local");
    let hour = (jiff::Zoned::now().hour() + 12) % 24;
    let window = format!("{hour:02}:00-{hour:02}:59");
    let restock = world.restock_with(Options { window: Some(window.clone()), ..Options::default() }).await;
    let done = restock.post(PASS).await.ok();
    assert_eq!(updated(&done), pairs(&[("shop/web", "false")]));
    let held = &done["reports"][0]["HeldBack"];
    assert_eq!(held["reason"], "window");
    assert!(held["until"].is_string(), "{held}");
    let schedule = restock.get("/api/schedule").await.ok();
    assert_eq!(
        (&schedule["window"], &schedule["open"], &schedule["apps"]),
        (&json!(window), &json!(false), &json!([]))
    );
}

#[tokio::test]
async fn a_pass_that_was_due_while_nothing_ran_is_made_up_for_when_asked() {
    let world = world();
    label(&world, "shop-web-1", "restock.auto-update", "local");
    let yearly = Schedule::parse("0 4 1 1 *", TimeZone::UTC).unwrap();
    let due = ScheduleRow {
        app: None,
        cron: yearly.to_string(),
        timezone: "UTC".into(),
        next: Timestamp::now() - SignedDuration::from_hours(1),
    };
    for (missed, wanted) in [(false, 0), (true, 1)] {
        let restock = world.restock().await;
        restock.host.service.store.write_schedules(vec![due.clone()]).await.unwrap();
        let keeper = tokio::spawn(restock.host.clone().keep_schedule(Some(yearly.clone()), missed));
        // The next year's run is written down once what was due has been done.
        until("the next run", async || {
            let written = restock.host.service.store.schedules().await.unwrap();
            written.iter().all(|row| row.next > Timestamp::now())
        })
        .await;
        let history = restock.get("/api/history").await.ok();
        let passes = history.as_array().unwrap().iter().filter(|job| job["kind"] == "auto_update").count();
        assert_eq!(passes, wanted, "{history}");
        restock.host.service.stopping.cancel();
        keeper.await.unwrap();
    }
}

#[tokio::test]
async fn what_was_due_in_another_time_zone_is_not_made_up_for() {
    let world = world();
    let restock = world.restock().await;
    let yearly = Schedule::parse("0 4 1 1 *", TimeZone::UTC).unwrap();
    // Neither what is past nor what is still to come: both were written for clocks that nobody means any more.
    for since in [1, -1] {
        let row = ScheduleRow {
            app: None,
            cron: yearly.to_string(),
            timezone: "Asia/Tokyo".into(),
            next: Timestamp::now() - SignedDuration::from_hours(since),
        };
        restock.host.service.store.write_schedules(vec![row]).await.unwrap();
        let keeper = tokio::spawn(restock.host.clone().keep_schedule(Some(yearly.clone()), true));
        until("the new time zone", async || restock.get("/api/schedule").await.ok()["timezone"] == "UTC").await;
        let schedule = restock.get("/api/schedule").await.ok();
        assert!(schedule["next"].as_str().unwrap().contains("-01-01T04:00"), "{schedule}");
        assert_eq!(restock.get("/api/history").await.ok(), json!([]));
        keeper.abort();
        drop(keeper.await);
    }
}

#[tokio::test]
async fn a_window_that_closes_during_a_pass_holds_back_what_has_not_begun() {
    let world = World::new();
    for app in ["first", "second"] {
        let reference = format!("registry.test/{app}:1");
        world.app(app).service("web", &reference).running();
        world.engine.publish(&reference, "new");
        label(&world, &format!("{app}-web-1"), "restock.auto-update", "local");
    }
    world.docker.on("first", "up", "wait_for closing");
    let (clock, shown) = settable(at(3));
    let window = Some("02:00-05:00".to_owned());
    let restock = world.restock_with(Options { window, clock, concurrency: 1, ..Options::default() }).await;
    let pass = tokio::spawn(restock.post(PASS).into_future());
    world.docker.called("first", "up").await;
    *shown.lock().unwrap() = at(5);
    world.docker.allow("closing");
    let done = pass.await.unwrap().ok();
    assert_eq!(updated(&done), pairs(&[("first/web", "true"), ("second/web", "false")]), "{done}");
    let held: Vec<_> = done["reports"].as_array().unwrap().iter().map(|report| &report["HeldBack"]["reason"]).collect();
    assert_eq!(held, [&Value::Null, &json!("window")]);
    assert!(!world.docker.verbs("second").contains(&"up".to_owned()), "what has not begun waits");
}

/// The service's own schedule, kept as `restock serve` does.
fn keep(restock: &Service, cron: Option<&str>) -> tokio::task::JoinHandle<()> {
    let own = cron.map(|cron| Schedule::parse(cron, TimeZone::system()).unwrap());
    tokio::spawn(restock.host.clone().keep_schedule(own, false))
}

async fn stop(restock: &Service, keeper: tokio::task::JoinHandle<()>) {
    restock.host.service.stopping.cancel();
    keeper.await.unwrap();
    restock.idle().await;
}

async fn next(restock: &Service) -> Value {
    restock.get("/api/schedule").await.ok()["next"].clone()
}

#[tokio::test]
async fn a_schedule_is_that_of_its_own_process() {
    let world = world();
    let one = world.restock().await;
    let keeping = keep(&one, Some("30 4 * * *"));
    until("the plan", async || one.host.service.store.schedules().await.unwrap().len() == 1).await;
    // A second service on the same data has no schedule, and ends before the first does.
    let other = world.restock().await;
    let kept = keep(&other, None);
    until("the other's plan", async || next(&other).await.is_null()).await;
    stop(&other, kept).await;
    let schedule = one.get("/api/schedule").await.ok();
    assert_eq!(schedule["schedule"], "30 4 * * *", "{schedule}");
    assert!(schedule["next"].is_string(), "{schedule}");
    // A command, which does not serve, sees what the first one planned.
    let command = world.restock().await;
    assert_eq!(command.get("/api/schedule").await.ok(), schedule);
    stop(&one, keeping).await;
}

#[tokio::test]
async fn what_a_schedule_finds_is_applied_when_the_window_is_open() {
    let world = world();
    // A Monday.
    let (clock, _) = settable(at(3));
    let window = Some("Sat-Sun 02:00-05:00".to_owned());
    let restock = world.restock_with(Options { window, clock, ..Options::default() }).await;
    let keeper = keep(&restock, Some("30 4 * * *"));
    until("the plan", async || next(&restock).await.is_string()).await;
    let schedule = restock.get("/api/schedule").await.ok();
    let zoned = |key: &str| schedule[key].as_str().unwrap().parse::<Timestamp>().unwrap().to_zoned(TimeZone::system());
    assert_eq!(zoned("next").datetime(), jiff::civil::date(2026, 1, 5).at(4, 30, 0, 0));
    assert_eq!(zoned("applies").datetime(), jiff::civil::date(2026, 1, 10).at(2, 0, 0, 0));
    stop(&restock, keeper).await;
}

#[tokio::test]
async fn a_clock_that_is_set_makes_nothing_due_and_nothing_late() {
    let world = world();
    label(&world, "shop-web-1", "restock.auto-update", "local");
    // Its own schedule makes the keeper look at the clock each second; no policy marks it.
    let often = json!({"schedule": "* * * * * *"});
    world.app("often").service("web", "registry.test/often:1").key("x-restock", often).running();
    let (clock, shown) = settable(at(3));
    let restock = world.restock_with(Options { clock, ..Options::default() }).await;
    let keeper = keep(&restock, Some("30 4 * * *"));
    until("the plan", async || restock.get("/api/schedule").await.ok()["apps"] != json!([])).await;
    let first = next(&restock).await;
    let before = world.engine.container("shop-web-1").unwrap().id;
    for (set, wanted) in [(at(12), None), (at(3), Some(&first))] {
        let old = next(&restock).await;
        *shown.lock().unwrap() = set;
        until("a new plan", async || next(&restock).await != old).await;
        if let Some(wanted) = wanted {
            assert_eq!(&next(&restock).await, wanted, "back at the old hour");
        }
    }
    assert_eq!(world.engine.container("shop-web-1").unwrap().id, before, "04:30 has not come");
    stop(&restock, keeper).await;
}

#[tokio::test]
async fn a_window_holds_only_what_a_policy_would_apply() {
    let world = World::new();
    let fake = Fake::start(|_| Answer::index()).await;
    for app in ["marked", "unmarked"] {
        world.app(app).service("web", &format!("{}/{app}:1", fake.name())).running();
    }
    let (clock, _) = settable(at(12));
    let window = Some("02:00-05:00".to_owned());
    let restock = world.restock_with(Options { window, clock, ..Options::default() }).await;
    restock.request("PUT", "/api/apps/marked/auto-update").body(r#"{"auto_update": "registry"}"#).await.ok();
    for (app, reason) in [("marked", json!("window")), ("unmarked", Value::Null)] {
        let status = restock.get(&format!("/api/apps/{app}/status?force=true")).await.ok();
        let service = &status["services"][0];
        assert_eq!((&service["status"], &service["held_back"]["reason"]), (&json!("outdated"), &reason), "{status}");
    }
}

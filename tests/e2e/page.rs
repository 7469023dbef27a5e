//! The page in a real browser.

use serde_json::json;

use crate::browser::Browser;
use crate::case::Case;
use crate::world::{Kind, World};

/// Pictures of what is shown, on a desk and on a phone, by day and by night; nobody is kept out of any of them.
fn look(browser: &Browser, name: &str) {
    for (width, height, device) in [(1280, 900, "desk"), (390, 844, "phone")] {
        for scheme in ["light", "dark"] {
            browser.look_like(width, height, scheme);
            browser.picture(&format!("{name}-{device}-{scheme}"));
            assert_eq!(browser.barriers(), [""; 0], "{name}, {device}, {scheme}");
            // Of the document: a phone's window grows with what does not fit.
            let wide = browser.run("return document.documentElement.scrollWidth").as_u64().unwrap();
            assert!(wide <= u64::from(width), "{name} is {wide} wide on the {device}");
        }
    }
    browser.look_like(1280, 900, "light");
}

#[test]
fn a_person_logs_in_updates_sees_a_failure_taken_back_and_goes_back() {
    let mut case = Case::on(World::of(Kind::Containerd), "web");
    case.write(
        "manifest.json",
        &json!({"name": "web", "display_name": "Demo web", "version": "1", "description": "A web server to look at", "icon": "icon.svg"})
            .to_string(),
    );
    case.write("icon.svg", &std::fs::read_to_string(crate::world::project().join("apps/photos/icon.svg")).unwrap());
    let broken = case.apps().join("broken");
    std::fs::create_dir(&broken).unwrap();
    std::fs::write(broken.join("compose.yaml"), "services: {web: {image: [}}").unwrap();
    case.up();
    std::fs::write(case.root.path().join("password"), "swordfish\n").unwrap();
    let password = case.root.path().join("password").display().to_string();
    case.serve_with(&["--user", "me", "--password-file", &password, "--schedule", "30 4 * * *", "--timezone", "UTC"]);

    let browser = Browser::start();
    browser.open(&case.url("/"));
    browser.sees("Log in");
    look(&browser, "login");
    browser.fill("user", "me");
    browser.fill("pass", "wrong");
    browser.click("Log in");
    browser.sees("The name or the password is wrong.");
    browser.run("document.getElementById('pass').value = ''");
    browser.fill("pass", "swordfish");
    browser.click("Log in");
    browser.sees("Demo web");
    browser.sees("Broken");
    let drawn = "return document.querySelector('img.icon')?.naturalWidth > 0 && !!document.querySelector('span.icon')";
    browser.until("the icon, and a letter for the app without one", drawn);

    // A newer image is seen, the update has a bar, and what runs then is told.
    case.publish("web", "2", "late");
    browser.click("Check Demo web");
    browser.sees("Update available");
    look(&browser, "apps");
    browser.click("Demo web");
    browser.sees("Services");
    browser.sees("Update available");
    // The version is the one that runs, and there is nothing to go back to.
    browser.sees("Version 1");
    let off = "return [...document.querySelectorAll('button')].find((it) => it.textContent === 'Roll back').disabled";
    assert_eq!(browser.run(off), true);
    look(&browser, "app");
    browser.begin("Update");
    browser.picture("updating");
    browser.sees("1 → 2");
    browser.sees("Up to date");
    browser.sees("Version 2");
    case.assert_runs("web", "2");

    // A failing one explains itself.
    case.publish("web", "3", "exits");
    browser.begin("Update");
    browser.sees("did not work and was taken back");
    browser.sees("Runs now:");
    look(&browser, "rolled-back");
    case.assert_runs("web", "2");

    // Going back is asked about.
    browser.click("Roll back");
    browser.sees("Go back to the previous images?");
    browser.picture("question");
    browser.run("[...document.querySelectorAll('dialog button')].at(-1).click()");
    browser.sees("2 → 1");
    case.assert_runs("web", "1");

    browser.run("const select = document.getElementById('policy'); select.value = 'registry'; select.dispatchEvent(new Event('change'))");
    browser.sees("Now: registry, set here.");

    browser.click("Images");
    browser.sees("Running containers by the image");
    browser.sees("/demo/web");
    look(&browser, "images");
    browser.click("Activity");
    browser.sees("Rolled back");
    look(&browser, "activity");
    browser.click("Schedule");
    browser.sees("30 4 * * *");
    browser.click("What would it do?");
    browser.sees("failed here before");
    look(&browser, "schedule");

    let elsewhere = browser.run("return performance.getEntriesByType('resource').map((it) => it.name).filter((it) => !it.startsWith(location.origin))");
    assert_eq!(elsewhere, json!([]));
    browser.click("Log out");
    browser.sees("Log in");
    browser.open(&case.url("/#/app/x"));
    browser.sees("Log in");
    let complaints: Vec<_> = browser
        .complaints()
        .into_iter()
        .filter(|it| !it.contains(" 401 ") && !it.contains("ERR_NETWORK_CHANGED"))
        .collect();
    assert_eq!(complaints, [""; 0]);
}

#[test]
fn an_engine_that_is_gone_and_a_service_that_ends_are_told_and_passed_over() {
    let (world, dir) = World::own("page");
    let mut case = Case::on(Box::leak(Box::new(world)), "web");
    case.up();
    case.serve();
    let browser = Browser::start();
    browser.open(&case.url("/"));
    browser.sees("Running");
    crate::world::output(crate::world::engine_script().arg("kill").arg(&dir));
    browser.open(&case.url("/?again"));
    browser.sees("The apps cannot be shown");
    browser.picture("engine-gone");
    assert_eq!(browser.barriers(), [""; 0]);
    crate::world::output(crate::world::engine_script().arg("restart").arg(&dir));
    browser.sees("Running");
    case.kill();
    browser.sees("Connection lost");
}

#[test]
fn what_is_changed_outside_is_seen_and_what_does_not_work_is_red() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    case.up();
    case.serve();
    let browser = Browser::start();
    browser.open(&case.url("/"));
    browser.sees("Running");
    let asked = "return performance.getEntriesByType('resource').filter((it) => new URL(it.name).pathname === '/api/apps').length";
    assert_eq!(browser.run(asked), 1);
    let id = case.ids("web")[0].clone();
    case.docker(&["stop", &id]);
    browser.sees("Stopped");
    case.docker(&["start", &id]);
    browser.sees("Running");
    case.publish("web", "2", "unhealthy");
    case.post(&format!("/api/apps/{}/update?rollback=false", case.app)).expect(500);
    browser.sees("1 unhealthy");
    let chips = "return [...document.querySelectorAll('.chip.bad')].map((chip) => chip.textContent)";
    assert_eq!(browser.run(chips), json!(["Unhealthy"]));
    browser.picture("unhealthy");
    // Another app, put there by hand.
    let other = case.apps().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("compose.yaml"), "services: {web: {image: demo}}").unwrap();
    browser.sees("Not created");
}

#[test]
fn nothing_there_and_hundreds_of_apps_are_shown_as_well() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    case.serve();
    let all = std::fs::read_dir(case.apps()).unwrap().count();
    assert_eq!(all, 1);
    let elsewhere = case.root.path().join("aside");
    std::fs::rename(case.dir(), &elsewhere).unwrap();
    let browser = Browser::start();
    browser.open(&case.url("/"));
    browser.sees("No apps yet");
    look(&browser, "empty");
    std::fs::rename(&elsewhere, case.dir()).unwrap();
    // Five hundred apps by the same answer as the service gives for one, so that no engine has to carry them.
    let script = "const one = (await (await fetch('/api/apps')).json())[0]; const fetched = window.fetch; \
                  window.fetch = async (path, options) => path !== '/api/apps' ? fetched(path, options) : new Response(JSON.stringify( \
                    Array.from({length: 500}, (_, n) => ({...one, name: `app-${n}`})))); \
                  location.hash = '#/images'; location.hash = '#/'; return true";
    browser.run(&format!("return (async () => {{ {script} }})()"));
    browser.sees("500 apps");
    // Rows out of sight are laid out only when they come into it: the whole list is drawn within a few frames.
    let drawn = browser.run("return document.querySelectorAll('ul.cards > li').length");
    assert_eq!(drawn, 500);
    browser.picture("many");
    // What comes into sight gets its true height, so the end moves while it is scrolled to.
    let last = "const last = [...document.querySelectorAll('ul.cards > li')].at(-1); last.scrollIntoView(); \
                return last.getBoundingClientRect().top < innerHeight";
    browser.until("the last app", last);
    browser.run("const search = document.querySelector('input[type=search]'); search.value = 'app-499'; search.dispatchEvent(new Event('input'))");
    assert_eq!(browser.run("return document.querySelectorAll('ul.cards > li:not([hidden])').length"), 1);
}

/// What the page says of a check of which the half fails, of a list that fails after one that did not, and of no page.
#[test]
fn a_check_counts_what_failed_and_a_list_that_fails_leaves_the_last_look() {
    let mut case = Case::on(World::of(Kind::Classic), "web");
    case.serve();
    let browser = Browser::start();
    browser.open(&case.url("/#/apps/web"));
    browser.sees("Nothing here");
    // The service's answers are replaced, so that no registry and no engine has to fail.
    let fake = "const one = (await (await fetch('/api/apps')).json())[0]; const fetched = window.fetch; window.answer = null; \
                const body = (value, status) => new Response(JSON.stringify(value), {status}); \
                const apps = ['a', 'b', 'c'].map((name) => ({...one, name, manifest: null, icon: null})); \
                window.fetch = async (path, options) => { \
                  if (path === '/api/apps') { while (!window.answer) await new Promise((go) => setTimeout(go, 20)); \
                    return window.answer === 200 ? body(apps, 200) : body({detail: 'no engine', code: 'engine_unreachable'}, 503); } \
                  return path === '/api/check' ? body({asked: 3, outdated: 1, failed: 2}, 200) : fetched(path, options); }; \
                location.hash = '#/'; return true";
    browser.run(&format!("return (async () => {{ {fake} }})()"));
    browser.sees("Loading the apps");
    let off = "return [...document.querySelectorAll('.bar button')].map((it) => it.textContent + it.disabled).join()";
    assert_eq!(browser.run(off), "Check alltrue,Update alltrue");
    browser.run("window.answer = 200");
    browser.sees("3 apps");
    browser.run("const look = new MutationObserver(() => window.told = document.getElementById('say').innerText || window.told); \
                 look.observe(document.getElementById('say'), {childList: true}); window.answer = 200");
    browser.click("Check all");
    browser.until("the sum", "return window.told?.includes('1 with updates, 2 could not be checked.')");
    browser.run("window.answer = 503");
    browser.click("Check all");
    browser.sees("this is how they were");
    assert_eq!(browser.run("return document.querySelectorAll('ul.cards.stale > li').length"), 3);
    browser.picture("stale");
    assert_eq!(browser.barriers(), [""; 0]);
    browser.run("window.answer = 200");
    browser.click("Try again");
    browser.until("the list as it is", "return document.querySelectorAll('ul.cards:not(.stale) > li').length === 3");
}

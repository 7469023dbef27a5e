//! Headless Chromium, driven through WebDriver (W3C) as a person would use it.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use serde_json::{Value, json};

use crate::world::{output, project};

/// The longest any wait takes before the test fails.
const DEADLINE: Duration = Duration::from_secs(60);

/// A browser with one page.
pub struct Browser {
    driver: Child,
    session: String,
    axe: PathBuf,
    _dir: tempfile::TempDir,
}

impl Browser {
    pub fn start() -> Self {
        let parts = output(Command::new(project().join("fixtures/engine/setup")).arg("browser").stdin(Stdio::null()));
        let dir = tempfile::tempdir().expect("a directory");
        let log = dir.path().join("driver");
        let file = std::fs::File::create(&log).expect("a file");
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(file.try_clone().expect("a file")).stderr(file).stdin(Stdio::null());
        // A group of its own, so that the browser goes with the driver.
        let driver = command.env("HOME", dir.path()).process_group(0).spawn().expect("chromedriver");
        let port = wait_for("the driver", || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            let port = text.split("started successfully on port ").nth(1)?;
            port.split('.').next().map(str::to_owned)
        });
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{port}/session"),
            axe: Path::new(&parts).join("browser/axe.min.js"),
            _dir: dir,
        };
        let args = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--window-size=1280,900",
        ];
        let capabilities = json!({
            "browserName": "chrome", "goog:chromeOptions": {"args": args}, "goog:loggingPrefs": {"browser": "ALL"},
        });
        let session = browser.call("POST", "", &json!({"capabilities": {"alwaysMatch": capabilities}}));
        browser.session = format!("{}/{}", browser.session, session["sessionId"].as_str().expect("a session"));
        browser
    }

    /// Opens a page. Chromium breaks off what it loads whenever the machine's network changes, as it does all the time
    /// where engines make and remove networks; then the page is opened again.
    pub fn open(&self, url: &str) {
        let start = Instant::now();
        loop {
            self.call("POST", "/url", &json!({ "url": url }));
            let complaints = self.complaints();
            if !complaints.iter().any(|complaint| complaint.contains("ERR_NETWORK_CHANGED")) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "{url} is not loaded: {complaints:?}");
            // The same address with a fragment would be a move within the page, which loads nothing.
            self.call("POST", "/url", &json!({ "url": "about:blank" }));
        }
    }

    /// Clicks what starts a job, until one runs: a click is lost when the machine's network changes just then.
    pub fn begin(&self, name: &str) {
        loop {
            self.click(name);
            let begun = "return document.querySelector('.job progress')?.value > 0 ? 'begun' \
                         : document.getElementById('say').innerText.includes('does not answer') ? 'lost' : null";
            if self.until("the job", begun) == "begun" {
                return;
            }
            self.run("document.getElementById('say').replaceChildren()");
        }
    }

    /// Runs a script in the page; its `return` is the answer.
    pub fn run(&self, script: &str) -> Value {
        self.call("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Waits until a script answers something true.
    pub fn until(&self, what: &str, script: &str) -> Value {
        wait_for(&format!("{what}; the page says: {}", self.text()), || {
            let value = self.run(script);
            (!value.is_null() && value != false && value != "").then_some(value)
        })
    }

    /// Waits until the page shows a text.
    pub fn sees(&self, text: &str) {
        let start = Instant::now();
        while !self.text().contains(text) {
            let late = start.elapsed() >= DEADLINE;
            assert!(!late, "no `{text}` in the page:\n{}\n{:?}", self.text(), self.complaints());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn text(&self) -> String {
        self.run("return document.body.innerText").as_str().unwrap_or_default().to_owned()
    }

    /// Clicks what a person would: the button or link with this name, once it is there and can be used.
    pub fn click(&self, name: &str) {
        let find = format!(
            "return [...document.querySelectorAll('button, a, summary')].find((it) => !it.disabled && it.checkVisibility() \
             && (it.getAttribute('aria-label') ?? it.textContent).trim() === {})",
            json!(name)
        );
        let start = Instant::now();
        loop {
            // The page may draw anew between the look and the click.
            let found = self.run(&find);
            let element = found.as_object().and_then(|element| element.values().next());
            let clicked = element
                .and_then(Value::as_str)
                .map(|id| self.try_call("POST", &format!("/element/{id}/click"), &json!({})));
            if matches!(clicked, Some(Ok(_))) {
                return;
            }
            assert!(start.elapsed() < DEADLINE, "nothing to click called `{name}` ({clicked:?}):\n{}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Types into the field with this ID.
    pub fn fill(&self, id: &str, text: &str) {
        let found = self.until("the field", &format!("return document.getElementById({})", json!(id)));
        let element =
            found.as_object().and_then(|element| element.values().next()).and_then(Value::as_str).expect("an element");
        self.call("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Shows the page as a screen of this width in this scheme would.
    pub fn look_like(&self, width: u32, height: u32, scheme: &str) {
        let device = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.devtools("Emulation.setDeviceMetricsOverride", &device);
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &features);
    }

    /// Keeps a picture of the page in `target/screenshots`.
    pub fn picture(&self, name: &str) {
        let data = self.call("GET", "/screenshot", &Value::Null);
        let png = base64::engine::general_purpose::STANDARD.decode(data.as_str().expect("a picture")).expect("base64");
        let dir = project().join("target/screenshots");
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join(format!("{name}.png")), png).expect("a file");
    }

    /// What accessibility rules find that is serious or critical, as `rule: places`.
    pub fn barriers(&self) -> Vec<String> {
        self.run(&std::fs::read_to_string(&self.axe).expect("the rules"));
        let script = "const done = arguments[arguments.length - 1]; axe.run().then((found) => done(found.violations \
                      .filter((rule) => ['serious', 'critical'].includes(rule.impact)) \
                      .map((rule) => `${rule.id}: ${rule.nodes.map((node) => node.html + ' ' + node.failureSummary).join(' | ')}`)))";
        let found = self.call("POST", "/execute/async", &json!({"script": script, "args": []}));
        found.as_array().expect("findings").iter().map(|rule| rule.as_str().unwrap_or_default().to_owned()).collect()
    }

    /// What the browser has to complain about: errors of scripts, refused requests, breaches of the page's policy.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.call("POST", "/se/log", &json!({"type": "browser"}));
        log.as_array()
            .expect("a log")
            .iter()
            .map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    fn devtools(&self, command: &str, params: &Value) {
        self.call("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": params}));
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        self.try_call(method, path, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let config =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(DEADLINE * 2)).build();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.session));
        let request = request.header("Content-Type", "application/json").body(body).expect("a request");
        let mut answer = ureq::Agent::new_with_config(config).run(request).map_err(|error| error.to_string())?;
        let text =
            answer.body_mut().with_config().limit(64 << 20).read_to_string().map_err(|error| error.to_string())?;
        let value: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
        if answer.status().is_success() {
            Ok(value["value"].clone())
        } else {
            Err(value["value"]["message"].to_string())
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser in order; the group's end below takes what is left.
        let _ = self.try_call("DELETE", "", &Value::Null);
        let group = rustix::process::Pid::from_child(&self.driver);
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        let _ = self.driver.wait();
    }
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "no sign of {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

//! The web page: a few files that are part of the program. They use the public API and the event stream, nothing else.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::problem::nothing_at;

/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// One file of the page.
struct File {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

macro_rules! files {
    ($($name:literal: $kind:expr),* $(,)?) => {
        &[$(File { name: $name, kind: $kind, text: include_str!(concat!("page/", $name)) }),*]
    };
}

const FILES: &[File] = files! {
    "index.html": HTML,
    "style.css": "text/css; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "main.js": SCRIPT,
    "dom.js": SCRIPT,
    "api.js": SCRIPT,
    "text.js": SCRIPT,
    "words.js": SCRIPT,
    "live.js": SCRIPT,
    "apps.js": SCRIPT,
    "app.js": SCRIPT,
    "images.js": SCRIPT,
    "activity.js": SCRIPT,
    "schedule.js": SCRIPT,
    "login.js": SCRIPT,
};

/// Names the content of all files together: they change together, with the program.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    FILES.iter().for_each(|file| hash.update(file.text));
    format!("\"{:.16x}\"", hash.finalize())
});

/// The page itself.
pub async fn index(headers: HeaderMap) -> Response {
    file("index.html", &headers)
}

/// A file that the page asks for.
pub async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    file(&name, &headers)
}

fn file(name: &str, headers: &HeaderMap) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        return nothing_at(&format!("/assets/{name}")).into_response();
    };
    let known = headers.get(header::IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let fields = [
        (header::ETAG, TAG.as_str()),
        // Asked for anew each time, and mostly answered with "as you have it".
        (header::CACHE_CONTROL, "no-cache"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    if known.is_some_and(|known| known.split(',').any(|tag| tag.trim().trim_start_matches("W/") == *TAG)) {
        return (StatusCode::NOT_MODIFIED, fields).into_response();
    }
    (fields, [(header::CONTENT_TYPE, file.kind)], file.text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_weighs_little() {
        let weight: usize = FILES.iter().map(|file| file.text.len()).sum();
        assert!(weight < 100 * 1024, "{weight} bytes");
    }

    #[test]
    fn every_module_is_asked_for_at_once() {
        let html = FILES[0].text;
        for file in FILES.iter().filter(|file| file.kind == SCRIPT || file.name == "style.css") {
            assert!(
                html.contains(&format!("\"/assets/{}\"", file.name)),
                "{} would cost a further round trip",
                file.name
            );
        }
    }

    #[test]
    fn nothing_comes_from_elsewhere_and_no_text_is_read_as_markup() {
        for file in FILES.iter().filter(|file| file.name != "icon.svg") {
            assert!(!file.text.contains("http://") && !file.text.contains("https://"), "{}", file.name);
            assert!(!file.text.contains("innerHTML") && !file.text.contains(" style="), "{}", file.name);
        }
    }
}

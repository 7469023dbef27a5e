//! The API's description, for programs and for people.

use std::sync::OnceLock;

use axum::Extension;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest, Sha256};
use utoipa::openapi::OpenApi;

use super::keys::NoKeys;
use super::params::Query;
use super::problem::json_of;

/// The page's only style. It is allowed by its digest, and nothing else is.
const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}\
h2{margin-top:2.5rem}h3{font-size:1rem;margin:2rem 0 .25rem;overflow-wrap:anywhere}\
h3 b{display:inline-block;min-width:4.5rem;text-transform:uppercase}\
code,h3{font-family:ui-monospace,monospace}p{margin:.25rem 0}\
table{border-collapse:collapse;width:100%;margin:.5rem 0}caption{text-align:left;font-weight:600}\
th,td{border-top:1px solid;border-color:color-mix(in srgb,currentColor 25%,transparent);\
text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;font-weight:400;overflow-wrap:anywhere}\
th{width:14rem;font-family:ui-monospace,monospace}\
@media(max-width:40rem){th{width:8rem}}";

/// Makes the description; comes with the routes, which it is made from.
#[derive(Clone)]
pub struct Describe(pub fn() -> OpenApi);

/// This description (OpenAPI 3.1).
#[utoipa::path(get, path = "", tag = "service", responses((status = 200, description = "The document", body = Object)))]
pub async fn document(Extension(describe): Extension<Describe>, _: Query<NoKeys>) -> Response {
    json_of(&describe.0())
}

/// This description as a page to read.
#[utoipa::path(get, path = "", tag = "service",
    responses((status = 200, description = "The page", body = String, content_type = "text/html")))]
pub async fn page(Extension(describe): Extension<Describe>, _: Query<NoKeys>) -> Response {
    static PAGE: OnceLock<String> = OnceLock::new();
    let page = PAGE.get_or_init(|| written(&serde_json::json!(describe.0())));
    let style = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(page.as_str())).into_response()
}

/// The whole page.
fn written(api: &Value) -> String {
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Restock API</title><style>{STYLE}</style><h1>Restock API {}</h1>{}\
         <p><a href=/api/openapi.json>The same for programs</a></p><nav><ul>",
        text(&api["info"]["version"]),
        prose(&api["info"]["description"]),
    );
    let tags = || api["tags"].as_array().into_iter().flatten();
    tags().for_each(|tag| {
        page += &format!("<li><a href=\"#{0}\">{0}</a>: {1}", text(&tag["name"]), text(&tag["description"]))
    });
    page += "<li><a href=\"#shapes\">shapes</a>: what is sent and answered</ul></nav>";
    for tag in tags() {
        page += &format!("<h2 id=\"{0}\">{0}</h2>", text(&tag["name"]));
        for (path, method, operation) in operations(api).filter(|(.., operation)| operation["tags"][0] == tag["name"]) {
            page += &operation_section(path, method, operation, api);
        }
    }
    page += "<h2 id=shapes>shapes</h2>";
    for (name, schema) in members(&api["components"]["schemas"]) {
        page += &format!("<h3 id=\"shape-{name}\">{name}</h3>{}", prose(&schema["description"]));
        page += &fields(schema);
    }
    page
}

fn operations(api: &Value) -> impl Iterator<Item = (&String, &String, &Value)> {
    members(&api["paths"])
        .flat_map(|(path, item)| members(item).map(move |(method, operation)| (path, method, operation)))
}

fn operation_section(path: &str, method: &str, operation: &Value, api: &Value) -> String {
    let mut section = format!(
        "<h3 id=\"{}\"><b>{method}</b>{}</h3><p>{}.</p>{}",
        text(&operation["operationId"]),
        escaped(path),
        marked(operation["summary"].as_str().unwrap_or_default()),
        prose(&operation["description"]),
    );
    let parameters = operation["parameters"].as_array().into_iter().flatten();
    let rows = parameters.map(|parameter| {
        let default = &parameter["schema"]["default"];
        let default = if default.is_null() { String::new() } else { format!(" ({default})") };
        let place = format!("{}, {}{default}. ", text(&parameter["in"]), kind(&parameter["schema"]));
        (text(&parameter["name"]), place + &marked(parameter["description"].as_str().unwrap_or_default()))
    });
    section += &table("Parameters", rows);
    let body = contents(&operation["requestBody"]);
    section += &table("Body", body.into_iter());
    let responses = members(&operation["responses"]).map(|(status, response)| {
        let response = resolved(response, api);
        let shapes: Vec<_> =
            contents(response).into_iter().map(|(media, shape)| format!("{shape} as <code>{media}</code>")).collect();
        let about = marked(response["description"].as_str().unwrap_or_default());
        (escaped(status), format!("{about}<br>{}", shapes.join(", ")))
    });
    section + &table("Answers", responses)
}

/// The media types and shapes of a body or an answer.
fn contents(of: &Value) -> Vec<(String, String)> {
    members(&of["content"]).map(|(media, content)| (escaped(media), kind(&content["schema"]))).collect()
}

/// What a reference means, or the thing itself.
fn resolved<'a>(value: &'a Value, api: &'a Value) -> &'a Value {
    let pointer = value["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    pointer.and_then(|pointer| api.pointer(pointer)).unwrap_or(value)
}

/// The members of a shape, those of its parts as well; of one without members what sort it is.
fn fields(schema: &Value) -> String {
    let parts = ["allOf", "oneOf", "anyOf"].into_iter().flat_map(|key| schema[key].as_array().into_iter().flatten());
    let parts: String = parts
        .map(|part| match &part["$ref"] {
            Value::Null => fields(part),
            _ => format!("<p>{}</p>", kind(part)),
        })
        .collect();
    if parts.is_empty() && schema["properties"].is_null() {
        return format!("<p>{}</p>", kind(schema));
    }
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
    let rows = members(&schema["properties"]).map(|(name, field)| {
        let always = if required(name) { "" } else { ", not always there" };
        (
            escaped(name),
            format!("{}{always}. {}", kind(field), marked(field["description"].as_str().unwrap_or_default())),
        )
    });
    parts + &table("", rows)
}

/// A few words for the sort of a value, with links to shapes.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|reference| reference.rsplit('/').next()) {
        return format!("<a href=\"#shape-{0}\">{0}</a>", escaped(name));
    }
    if let Some(words) = schema["enum"].as_array() {
        return words.iter().map(|word| format!("<code>{}</code>", text(word))).collect::<Vec<_>>().join(" ");
    }
    let parts: Vec<_> =
        ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|key| schema[key].as_array()).flatten().map(kind).collect();
    if !parts.is_empty() {
        return parts.join(" or ");
    }
    match &schema["type"] {
        Value::String(word) if word == "array" => format!("array of {}", kind(&schema["items"])),
        Value::String(word) => escaped(word),
        Value::Array(words) => words.iter().map(text).collect::<Vec<_>>().join(" or "),
        _ => "anything".to_owned(),
    }
}

fn table(caption: &str, rows: impl Iterator<Item = (String, String)>) -> String {
    let rows: String = rows.map(|(name, about)| format!("<tr><th scope=row>{name}<td>{about}")).collect();
    if rows.is_empty() { rows } else { format!("<table><caption>{caption}</caption>{rows}</table>") }
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

/// Paragraphs.
fn prose(value: &Value) -> String {
    let paragraphs = value.as_str().unwrap_or_default().split("\n\n").filter(|paragraph| !paragraph.is_empty());
    paragraphs.map(|paragraph| format!("<p>{}</p>", marked(paragraph))).collect()
}

/// Text with `code` in it, one `- item` a line.
fn marked(words: &str) -> String {
    let parts = escaped(words).replace("\n- ", "<br>").trim_start_matches("- ").to_owned();
    let parts = parts.split('`').enumerate();
    parts.map(|(n, part)| if n % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}

fn text(value: &Value) -> String {
    escaped(value.as_str().unwrap_or_default())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

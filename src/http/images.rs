//! `/api/images` and `/api/groups`: the shapes, words and bodies of the docker-image-watcher API, to the letter.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::params::{Body, Query};
use super::problem::{Failure, json_of};
use super::router::Http;
use crate::domain::image::ImageReference;
use crate::error::{Error, Kind};
use crate::usecases::freshness::Ask;
use crate::usecases::inventory::Snapshot;
use crate::usecases::list_images::{by_reference, no_such_container};

/// How long the rendered list is believed when nothing is heard: what other processes toggle shows after that.
const RENDERED: Duration = Duration::from_secs(1);

/// The list as it was last written, and what it was written from.
#[derive(Default)]
pub struct Rendered(Mutex<Option<Page>>);

struct Page {
    snapshot: Arc<Snapshot>,
    freshness: u64,
    at: Instant,
    body: Bytes,
}

impl Rendered {
    fn current(&self, snapshot: &Arc<Snapshot>, freshness: u64) -> Option<Bytes> {
        let page = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let page = page.as_ref()?;
        let same = Arc::ptr_eq(&page.snapshot, snapshot) && page.freshness == freshness;
        (same && page.at.elapsed() < RENDERED).then(|| page.body.clone())
    }
}

/// Running containers grouped by image.
pub async fn list(State(http): State<Http>, method: Method, query: Query) -> Result<Response, Failure> {
    query.only(&[])?;
    only(&method, Method::GET)?;
    let snapshot = http.restock.snapshot().await?;
    let freshness = http.restock.freshness.version();
    let body = match http.rendered.current(&snapshot, freshness) {
        Some(body) => body,
        None => {
            http.restock.refresh_groups(&snapshot);
            let groups = http.restock.groups().await?;
            let text =
                serde_json::to_vec(&groups).map_err(|error| Error::new(Kind::Internal, "json", error.to_string()))?;
            let body = Bytes::from(text);
            let page = Page { snapshot, freshness, at: Instant::now(), body: body.clone() };
            *http.rendered.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(page);
            body
        }
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// `/api/images/{id}/{action}`.
pub async fn action(State(http): State<Http>, method: Method, Path(rest): Path<String>) -> Result<Response, Failure> {
    let Some((id, action)) =
        rest.split_once('/').filter(|(id, action)| !id.is_empty() && !action.is_empty() && !action.contains('/'))
    else {
        return Err(bad_path());
    };
    match action {
        "update" => {
            only(&method, Method::POST)?;
            let ticket = http.restock.start_container_update(id, Default::default()).await?;
            tracing::debug!(job.id = %ticket.id(), "updating");
            Ok(updating())
        }
        "auto-update" => {
            only(&method, Method::POST)?;
            let on = http.restock.toggle_container(id).await?;
            Ok(json_of(&json!({ "auto_update": on })))
        }
        "progress" => {
            only(&method, Method::GET)?;
            let progress = http.restock.progress(id).await?;
            progress
                .map(|progress| json_of(&progress))
                .ok_or_else(|| plain(Kind::NotFound, "no_progress", "no progress"))
        }
        _ => Err(plain(Kind::Invalid, "unknown_action", "unknown action")),
    }
}

/// A path under `/api/images/` that has not two parts.
pub async fn bad_path_of_images() -> Failure {
    bad_path()
}

/// The body of `POST /api/groups/update`.
#[derive(Deserialize)]
pub struct Group {
    image: String,
}

/// `/api/groups/{image}/update`, and `/api/groups/update` with the image in the body.
pub async fn group(
    State(http): State<Http>,
    method: Method,
    Path(rest): Path<String>,
    Body(body): Body<Group>,
) -> Result<Response, Failure> {
    let image = match (rest.as_str(), rest.strip_suffix("/update"), body) {
        ("update", _, Some(group)) => group.image,
        ("update", _, None) => return Err(plain(Kind::Invalid, "bad_json", "the body must be {\"image\": \"…\"}")),
        (_, Some(image), _) if !image.is_empty() => image.to_owned(),
        _ => return Err(plain(Kind::Invalid, "bad_path", "bad path: /api/groups/{image}/update")),
    };
    only(&method, Method::POST)?;
    let image: ImageReference = image.parse().map_err(|_| Failure::from(no_such_container()))?;
    let snapshot = http.restock.snapshot().await?;
    let members = by_reference(&snapshot).remove(&image).or_else(|| {
        // With and without the default tag it is the same group.
        by_reference(&snapshot)
            .into_iter()
            .find(|(known, _)| known.canonical() == image.canonical())
            .map(|(_, members)| members)
    });
    let members = members.ok_or_else(|| Failure::from(no_such_container()))?;
    let members = members.into_iter().cloned().collect();
    http.restock.start_group_update(image, members).await?;
    Ok(updating())
}

/// Portainer's shape of a container's freshness.
pub async fn image_status(
    State(http): State<Http>,
    Path((environment, id)): Path<(String, String)>,
    query: Query,
) -> Result<Response, Failure> {
    let query = query.only(&["force", "nodeName"])?;
    if !matches!(environment.as_str(), "1" | "local") {
        return Err(plain(Kind::NotFound, "no_such_environment", "Environment not found"));
    }
    let ask = if query.flag("force", false)? { Ask::Force } else { Ask::IfStale };
    let (status, message) = match http.restock.container_status(&id, ask).await {
        Ok(finding) => (json!(finding.status), finding.message.unwrap_or_default()),
        Err(error) if error.kind == Kind::NotFound => (json!("error"), "the container does not exist".into()),
        Err(error) => return Err(error.into()),
    };
    Ok(json_of(&json!({ "Status": status, "Message": message })))
}

/// The same route without the container's ID.
pub async fn missing_id() -> Failure {
    plain(Kind::Invalid, "missing_id", "missing container id")
}

fn updating() -> Response {
    json_of(&json!({ "status": "updating" }))
}

fn bad_path() -> Failure {
    plain(Kind::Invalid, "bad_path", "bad path: /api/images/{id}/{action}")
}

fn plain(kind: Kind, code: &'static str, message: &str) -> Failure {
    Error::new(kind, code, message).into()
}

fn only(method: &Method, allowed: Method) -> Result<(), Failure> {
    let head = allowed == Method::GET && method == Method::HEAD;
    if *method == allowed || head {
        return Ok(());
    }
    let mut failure = plain(Kind::Invalid, "method_not_allowed", "method not allowed");
    failure.0.status = StatusCode::METHOD_NOT_ALLOWED.as_u16();
    failure.0.title = "Method not allowed".into();
    failure.0.allow = HeaderValue::from_str(allowed.as_str()).ok();
    Err(failure)
}

//! `/api/images` and `/api/groups`: the shapes, words and bodies of the docker-image-watcher API, to the letter.

use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::failures::{Conflict, NotFound, Unavailable};
use super::keys::{NoKeys, PortainerKeys};
use super::params::{Body, Name, Named, Query};
use super::problem::{Failure, json_of};
use super::reply::detached;
use super::state::Http;
use crate::domain::freshness::Status;
use crate::domain::image::ImageReference;
use crate::error::{Code, Error, Kind};
use crate::usecases::freshness::Ask;
use crate::usecases::group_update::LayerProgress;
use crate::usecases::list_images::{Group, by_reference, no_such_container};
use crate::views::{ContainerFreshness, Toggled, Word};

/// How long the rendered list is believed when nothing is heard: what other processes toggle shows after that.
const RENDERED: Duration = Duration::from_secs(1);

/// The answer to what goes on in the background.
const UPDATING: Word = Word { status: "updating" };

/// Running containers grouped by image, as they are known now; registries are asked behind the scenes.
#[utoipa::path(get, path = "", tag = "images",
    responses((status = 200, description = "The groups", body = [Group]), Unavailable))]
pub async fn list(State(http): State<Http>, _: Query<NoKeys>, headers: HeaderMap) -> Result<Response, Failure> {
    let host = http.local()?;
    let snapshot = host.snapshot().await?;
    let from = (snapshot.serial, host.service.freshness.version());
    let written = match http.rendered.current(&from, RENDERED) {
        Some(written) => written,
        None => {
            host.refresh_groups(&snapshot);
            http.rendered.write(from, &host.groups().await?)?
        }
    };
    Ok(written.answer(&headers))
}

/// Begins the update of a container: of an app's through its project, of any other by itself.
#[utoipa::path(post, path = "", tag = "images",
    responses((status = 200, description = "`updating`", body = Word), NotFound, Conflict, Unavailable))]
pub async fn update(Named { host, name: id }: Named, _: Query<NoKeys>) -> Result<Response, Failure> {
    let ticket = detached(async move { host.start_container_update(&id, Default::default()).await }).await?;
    tracing::debug!(job.id = %ticket.id(), "updating");
    Ok(json_of(&UPDATING))
}

/// Turns a container's automatic updates on or off.
#[utoipa::path(post, path = "", tag = "images",
    responses((status = 200, description = "What they are now", body = Toggled), NotFound, Unavailable))]
pub async fn toggle(Named { host, name: id }: Named, _: Query<NoKeys>) -> Result<Response, Failure> {
    Ok(json_of(&Toggled { auto_update: host.toggle_container(&id).await? }))
}

/// How far a container's update is.
#[utoipa::path(get, path = "", tag = "images",
    responses((status = 200, description = "The layer that is being fetched", body = LayerProgress), NotFound, Unavailable))]
pub async fn progress(Named { host, name: id }: Named, _: Query<NoKeys>) -> Result<Response, Failure> {
    let progress = host.progress(&id).await?;
    progress.map(|progress| json_of(&progress)).ok_or_else(|| plain(Code::NoProgress, "no progress"))
}

/// A path below `/api/images/` that is no route, in the words that clients of that API know.
pub fn no_such_action(path: &str) -> Option<Failure> {
    let rest = path.strip_prefix("/api/images/")?;
    let two =
        rest.split_once('/').is_some_and(|(id, action)| !id.is_empty() && !action.is_empty() && !action.contains('/'));
    Some(if two {
        plain(Code::UnknownAction, "unknown action")
    } else {
        plain(Code::BadPath, "bad path: /api/images/{id}/{action}")
    })
}

/// The body of `POST /api/groups/update`.
#[derive(Deserialize, ToSchema)]
#[schema(as = WhichGroup)]
pub struct WhichGroup {
    /// As `GET /api/images` tells it.
    image: String,
}

/// Begins the update of every container of a group, which the body names: one pull for all.
#[utoipa::path(post, path = "", tag = "images", operation_id = "update_group", request_body = WhichGroup,
    responses((status = 200, description = "`updating`", body = Word), NotFound, Conflict, Unavailable))]
pub async fn update_group(
    State(http): State<Http>,
    _: Query<NoKeys>,
    Body(group): Body<WhichGroup>,
) -> Result<Response, Failure> {
    let group = group.ok_or_else(|| plain(Code::BadJson, "the body must be {\"image\": \"…\"}"))?;
    start_group(&http, &group.image).await
}

/// Begins the update of every container of a group: one pull for all.
#[utoipa::path(post, path = "", tag = "images",
    responses((status = 200, description = "`updating`", body = Word), NotFound, Conflict, Unavailable))]
pub async fn update_named_group(
    State(http): State<Http>,
    Name(rest): Name,
    _: Query<NoKeys>,
) -> Result<Response, Failure> {
    match rest.strip_suffix("/update").filter(|image| !image.is_empty()) {
        Some(image) => start_group(&http, image).await,
        None => Err(plain(Code::BadPath, "bad path: /api/groups/{image}/update")),
    }
}

async fn start_group(http: &Http, image: &str) -> Result<Response, Failure> {
    let Named { host, name: image } = Named::new(http, image)?;
    let image: ImageReference = image.parse().map_err(|_| Failure::from(no_such_container()))?;
    let image = image.with_effective_tag();
    let snapshot = host.snapshot().await?;
    let members = by_reference(&snapshot).remove(&image).ok_or_else(|| Failure::from(no_such_container()))?;
    let members = members.into_iter().cloned().collect();
    detached(async move { host.start_group_update(image, members).await }).await?;
    Ok(json_of(&UPDATING))
}

/// A container's freshness in Portainer's shape; of one that is not there it is `error`.
#[utoipa::path(get, path = "", tag = "portainer", params(PortainerKeys),
    responses((status = 200, description = "The freshness", body = ContainerFreshness), NotFound, Unavailable))]
pub async fn image_status(
    State(http): State<Http>,
    Path((environment, id)): Path<(String, String)>,
    Query(keys): Query<PortainerKeys>,
) -> Result<Response, Failure> {
    if !matches!(environment.as_str(), "1" | "local") {
        return Err(plain(Code::NoSuchEnvironment, "Environment not found"));
    }
    let ask = if keys.force { Ask::Force } else { Ask::IfStale };
    let (status, message) = match http.local()?.container_status(&id, ask).await {
        Ok(finding) => (finding.status, finding.message.unwrap_or_default()),
        Err(error) if error.kind == Kind::NotFound => (Status::Error, "the container does not exist".into()),
        Err(error) => return Err(error.into()),
    };
    Ok(json_of(&ContainerFreshness { status, message }))
}

/// The same route without the container's ID.
pub async fn missing_id() -> Failure {
    plain(Code::MissingId, "missing container id")
}

fn plain(code: Code, message: &str) -> Failure {
    Error::new(code, message).into()
}

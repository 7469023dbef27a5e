//! The route table.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;

use super::document::Table;
use super::kept::Kept;
use super::{
    apps, auth, auto_update, check, docker, docs, follow, guard, health, history, icon, images, jobs, linger, metrics,
    page, problem, stream,
};
use crate::config::DockerApi;
use crate::error::Error;
use crate::usecases::access::Access;
use crate::usecases::{Host, Restock};

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    pub(super) restock: Arc<Restock>,
    pub(super) access: Arc<Access>,
    /// The list of images as it was last written.
    pub(super) rendered: Arc<images::Rendered>,
    /// The list of apps as it was last written: from which look, for which name of this machine.
    pub(super) apps: Arc<Kept<(u64, Option<String>)>>,
    /// What was last found to be ready.
    pub(super) readiness: Arc<health::Found>,
    /// Names besides addresses and `localhost` that a `Host` header may have.
    pub(super) allowed_hosts: Arc<[String]>,
    /// How much of Docker's image routes is open.
    pub(super) docker_api: DockerApi,
}

impl Http {
    /// The host of what has no host in its name.
    pub(super) fn local(&self) -> Result<&Arc<Host>, Error> {
        self.restock.local()
    }

    /// Handlers' state around the use cases.
    pub fn new(restock: Arc<Restock>, access: Arc<Access>, allowed_hosts: Vec<String>, docker_api: DockerApi) -> Self {
        Self {
            restock,
            access,
            rendered: Arc::default(),
            apps: Arc::default(),
            readiness: Arc::default(),
            allowed_hosts: allowed_hosts.into(),
            docker_api,
        }
    }
}

/// The routes. What a handler says about itself becomes the API's description.
pub(super) fn table() -> Table {
    Table::new()
        .untold("/", get(page::index))
        .untold("/assets/{name}", get(page::asset))
        .at("/health", routes!(health::health))
        .at("/ready", routes!(health::ready))
        .at("/metrics", routes!(metrics::metrics))
        .at("/api/apps", routes!(apps::list))
        .at("/api/apps/update", routes!(apps::update_all, apps::one_called_update))
        .at("/api/apps/{name}", routes!(apps::one))
        .at("/api/apps/{name}/update", routes!(apps::update))
        .at("/api/apps/{name}/rollback", routes!(apps::roll_back))
        .at("/api/apps/{name}/up", routes!(apps::up))
        .at("/api/apps/{name}/down", routes!(apps::down))
        .at("/api/apps/{name}/status", routes!(apps::status))
        .at("/api/apps/{name}/auto-update", routes!(apps::policy, apps::set_policy))
        .at("/api/apps/{name}/skip", routes!(auto_update::skipping, auto_update::skip, auto_update::end_skip))
        .at("/api/apps/{name}/icon", routes!(icon::icon))
        .at("/api/apps/{name}/logs", routes!(apps::logs))
        .at("/api/apps/{name}/history", routes!(history::of_app))
        .at("/api/check", routes!(check::check))
        .at("/api/auto-update", routes!(auto_update::pass))
        .at("/api/schedule", routes!(auto_update::schedule))
        .at("/api/history", routes!(history::all))
        .at("/api/jobs", routes!(jobs::list))
        .at("/api/jobs/{id}", routes!(jobs::one, jobs::cancel))
        .at("/api/jobs/{id}/events", routes!(jobs::events))
        .at("/api/events", routes!(stream::everything))
        .at("/api/images", routes!(images::list))
        .at("/api/images/{id}/update", routes!(images::update))
        .at("/api/images/{id}/auto-update", routes!(images::toggle))
        .at("/api/images/{id}/progress", routes!(images::progress))
        .at("/api/groups/update", routes!(images::update_group))
        .told_as("/api/groups/{*image}", "/api/groups/{image}/update", routes!(images::update_named_group))
        .at("/api/docker/{environment}/containers/{id}/image_status", routes!(images::image_status))
        .untold("/api/docker/{environment}/containers//image_status", get(images::missing_id))
        .untold("/api/docker/{environment}/containers/image_status", get(images::missing_id))
        .at("/api/login", routes!(auth::login))
        .at("/api/logout", routes!(auth::logout))
        .at("/api/auth/status", routes!(auth::status))
        .at("/api/openapi.json", routes!(docs::document))
        .at("/api/docs", routes!(docs::page))
}

/// All routes, and what every request passes.
pub fn router(http: Http) -> Router {
    table()
        .routes
        // Everything else, of which Docker's image routes have a table of their own.
        .fallback(docker::handle)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(guard::MAX_BODY))
        .layer(middleware::from_fn_with_state(http.clone(), auth::authenticate))
        .layer(middleware::from_fn_with_state(http.clone(), guard::guard))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn(linger::linger))
        .layer(middleware::from_fn(follow::follow))
        .with_state(http)
}

/// The API's description.
pub fn openapi() -> OpenApi {
    table().finished()
}

/// The paths of all routes, as the router knows them.
pub fn route_paths() -> Vec<&'static str> {
    table().paths
}

//! The route table.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::routing::{any, get, post};
use axum::{Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;

use super::{
    apps, auth, auto_update, docker, guard, health, history, images, jobs, linger, metrics, page, problem, stream,
};
use crate::config::DockerApi;
use crate::usecases::Restock;
use crate::usecases::access::Access;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub struct Http {
    pub(super) restock: Arc<Restock>,
    pub(super) access: Arc<Access>,
    /// The list of images as it was last written.
    pub(super) rendered: Arc<images::Rendered>,
    /// Names besides addresses and `localhost` that a `Host` header may have.
    pub(super) allowed_hosts: Arc<[String]>,
    /// How much of Docker's image routes is open.
    pub(super) docker_api: DockerApi,
}

impl Http {
    /// Handlers' state around the use cases.
    pub fn new(restock: Arc<Restock>, access: Arc<Access>, allowed_hosts: Vec<String>, docker_api: DockerApi) -> Self {
        Self { restock, access, rendered: Arc::default(), allowed_hosts: allowed_hosts.into(), docker_api }
    }
}

/// All routes, and what every request passes.
pub fn router(http: Http) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/assets/{name}", get(page::asset))
        .route("/health", get(health::health))
        .route("/ready", get(health::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/api/apps", get(apps::list))
        // An app may be called `update`: reading it must not be hidden by the route that updates all.
        .route("/api/apps/update", post(apps::update_all).get(apps::one_called_update))
        .route("/api/apps/{name}", get(apps::one))
        .route("/api/apps/{name}/update", post(apps::update))
        .route("/api/apps/{name}/rollback", post(apps::roll_back))
        .route("/api/apps/{name}/up", post(apps::up))
        .route("/api/apps/{name}/down", post(apps::down))
        .route("/api/apps/{name}/status", get(apps::status))
        .route("/api/apps/{name}/auto-update", get(apps::policy).put(apps::set_policy))
        .route(
            "/api/apps/{name}/skip",
            get(auto_update::skipping).post(auto_update::skip).delete(auto_update::end_skip),
        )
        .route("/api/apps/{name}/logs", get(apps::logs))
        .route("/api/apps/{name}/history", get(history::of_app))
        .route("/api/auto-update", post(auto_update::pass))
        .route("/api/schedule", get(auto_update::schedule))
        .route("/api/history", get(history::all))
        .route("/api/jobs", get(jobs::list))
        .route("/api/jobs/{id}", get(jobs::one).delete(jobs::cancel))
        .route("/api/jobs/{id}/events", get(jobs::events))
        .route("/api/events", get(stream::everything))
        .route("/api/images", any(images::list))
        .route("/api/images/", any(images::bad_path_of_images))
        .route("/api/images/{*rest}", any(images::action))
        .route("/api/groups/{*rest}", any(images::group))
        .route("/api/docker/{environment}/containers/{id}/image_status", get(images::image_status))
        .route("/api/docker/{environment}/containers//image_status", get(images::missing_id))
        .route("/api/docker/{environment}/containers/image_status", get(images::missing_id))
        .route("/api/login", post(auth::login))
        .route("/api/logout", post(auth::logout))
        .route("/api/auth/status", get(auth::status))
        // Everything else, of which Docker's image routes have a table of their own.
        .fallback(docker::handle)
        .method_not_allowed_fallback(problem::wrong_method)
        .layer(DefaultBodyLimit::max(guard::MAX_BODY))
        .layer(middleware::from_fn_with_state(http.clone(), auth::authenticate))
        .layer(middleware::from_fn_with_state(http.clone(), guard::guard))
        .layer(CatchPanicLayer::custom(problem::panicked))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn(linger::linger))
        .with_state(http)
}

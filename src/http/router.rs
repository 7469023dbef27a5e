//! The route table.

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Extension, Router, middleware};
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::UtoipaMethodRouterExt;
use utoipa_axum::routes;

use super::document::Table;
use super::state::Http;
use super::{
    apps, auth, auto_update, check, docker, docs, follow, guard, health, history, icon, images, jobs, linger, metrics,
    page, render, stream,
};

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
        .at("/api/openapi.json", routes!(docs::document).layer(Extension(docs::Describe(openapi))))
        .at("/api/docs", routes!(docs::page).layer(Extension(docs::Describe(openapi))))
}

/// All routes, and what every request passes.
pub fn router(http: Http) -> Router {
    table()
        .routes
        // Everything else, of which Docker's image routes have a table of their own.
        .fallback(docker::handle)
        .method_not_allowed_fallback(render::wrong_method)
        .layer(DefaultBodyLimit::max(guard::MAX_BODY))
        .layer(middleware::from_fn_with_state(http.clone(), auth::authenticate))
        .layer(middleware::from_fn_with_state(http.clone(), guard::guard))
        .layer(CatchPanicLayer::custom(render::panicked))
        .layer(middleware::from_fn(render::render))
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

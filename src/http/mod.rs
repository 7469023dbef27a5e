//! The REST API: routes, one file for each resource, and what every request passes on its way.

mod apps;
mod auth;
mod auto_update;
mod check;
mod connections;
mod docker;
mod docs;
mod document;
mod examples;
mod failures;
mod follow;
mod guard;
mod health;
mod history;
mod icon;
mod images;
mod jobs;
mod kept;
mod keys;
mod linger;
mod metrics;
mod page;
mod params;
mod payloads;
mod plain;
mod problem;
mod render;
mod reply;
mod router;
mod serve;
mod state;
mod stream;

pub use router::{openapi, route_paths, router};
pub use serve::{Listener, serve};
pub use state::Http;

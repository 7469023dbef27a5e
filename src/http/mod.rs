//! The REST API: routes, one file for each resource, and what every request passes on its way.

mod apps;
mod auth;
mod auto_update;
mod docker;
mod guard;
mod health;
mod history;
mod images;
mod jobs;
mod linger;
mod metrics;
mod page;
mod params;
mod problem;
mod reply;
mod router;
mod serve;
mod stream;

pub use router::{Http, router};
pub use serve::{Listener, serve};

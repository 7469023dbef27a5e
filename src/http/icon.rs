//! `/api/apps/{name}/icon`: a picture from the app's directory, which its store's manifest names.

use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::failures::{NotFound, Unavailable};
use super::keys::NoKeys;
use super::params::{Named, Query};
use super::problem::Failure;
use crate::error::{Code, Error};

/// An SVG is a document: opened by itself it may draw, and neither run, load nor send anything.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'";

/// The picture that the app's manifest names: PNG, SVG, WebP or JPEG, from the app's own directory.
#[utoipa::path(get, path = "", tag = "apps",
    responses(
        (status = 200, description = "The picture", content(
            (String = "image/png"), (String = "image/svg+xml"), (String = "image/webp"), (String = "image/jpeg"))),
        NotFound, Unavailable))]
pub async fn icon(Named { host, name }: Named, _: Query<NoKeys>) -> Result<Response, Failure> {
    let app = host.apps.find(&name).await.map_err(Error::from)?;
    let icon = app.icon.as_ref().ok_or_else(|| {
        Error::new(Code::NoIcon, format!("{} has no icon", app.name))
            .hint("`icon` of its manifest.json names a png, svg, webp or jpg of at most 1 MiB in the app's directory")
            .app(app.name.as_str())
    })?;
    let bytes = app.read(icon).await.map_err(Error::from)?.map_err(|error| {
        Error::new(Code::NoIcon, format!("the icon of {} cannot be read: {error}", app.name)).app(app.name.as_str())
    })?;
    let headers = [
        (header::CONTENT_TYPE, icon.media_type),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "private, max-age=300"),
    ];
    Ok((headers, bytes).into_response())
}

//! One request of Docker's image routes: found, checked, passed on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::Body as _;

use super::query::Query;
use super::refusal::refusal;
use super::relay;
use super::table::{Found, Route, find, is_engine_path};
use super::upload::Upload;
use crate::adapters::engine::{Carried, Passed};
use crate::adapters::task;
use crate::config::DockerApi;
use crate::error::{Error, Kind};
use crate::http::auth::Caller;
use crate::http::images;
use crate::http::problem::{Failure, nothing_at};
use crate::http::reply::detached;
use crate::http::state::Http;

/// Answers what no other route does: as the engine would, or that there is nothing.
pub async fn handle(State(http): State<Http>, request: Request) -> Result<Response, Failure> {
    if !is_engine_path(request.uri().path()) {
        let path = request.uri().path();
        return Err(images::no_such_action(path).unwrap_or_else(|| nothing_at(path)));
    }
    let (mut parts, body) = request.into_parts();
    let opened = is_on(http.docker_api).and_then(|()| find(&parts.method, parts.uri.path()));
    let Found { route, name, path } = opened?;
    is_open(http.docker_api, route)?;
    let query = Query::of(parts.uri.query().unwrap_or_default())?;
    let changed = query.check(route, &name)?;
    if route == Route::InspectContainer {
        return Err(refusal(format!("No such container: {name}"), Kind::NotFound).into());
    }
    let passed = Passed {
        method: parts.method,
        path: format!("{path}?{query}").trim_end_matches('?').to_owned(),
        headers: for_the_engine(&parts.headers),
        is_quick: route.is_quick(),
    };
    let host = http.local()?.clone();
    let watch = match changed {
        Some(scope) => {
            let by = parts.extensions.remove::<Caller>().map(|caller| caller.0).unwrap_or_default();
            Some(Arc::new(host.watch_images(scope, by).await?))
        }
        None => None,
    };
    let upload = Upload::default();
    let body_type = route.body_type().filter(|_| !body.is_end_stream());
    let body = body_type.map(|body_type| {
        let (host, watch) = (host.clone(), watch.clone().filter(|_| route == Route::Load));
        let ready = async move {
            match watch {
                Some(watch) => host.lock_used(&watch).await,
                None => Ok(()),
            }
        };
        (body_type, upload.watch(body.into_data_stream(), ready))
    });
    if route.tells_progress() || watch.is_none() {
        let answer = host.engine.pass(passed, body).await.map_err(|error| upload.blame(error))?;
        let record = |loaded: Vec<String>| async move {
            if let Some(watch) = watch {
                host.record_images(&watch, &loaded).await;
            }
        };
        return Ok(response(route, answer, upload, record));
    }
    // These are done at once, and recorded also when the client does not wait for it. Nor does it wait for the record.
    let work = async move {
        let answer = host.engine.pass(passed, body).await?;
        let record = async move {
            if let Some(watch) = watch {
                host.record_images(&watch, &[]).await;
            }
        };
        task::spawn("recording images", record);
        Ok(answer)
    };
    Ok(response(route, detached(work).await?, upload, |_| async {}))
}

/// The engine's answer for the client; `after` comes when the last message of a stream is here or the client is gone.
fn response<F>(
    route: Route,
    answer: axum::http::Response<Carried>,
    upload: Upload,
    after: impl FnOnce(Vec<String>) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut head, body) = answer.into_parts();
    head.headers = for_the_client(&head.headers);
    let body = if route.tells_progress() && head.status.is_success() {
        Body::from_stream(relay::messages(body, upload, after))
    } else {
        Body::new(body.map_err(axum::Error::new))
    };
    Response::from_parts(head, body)
}

fn is_on(open: DockerApi) -> Result<(), Error> {
    if open != DockerApi::Off {
        return Ok(());
    }
    let message = "Docker's image routes are off here";
    Err(refusal(message, Kind::Forbidden).hint("start Restock with `--docker-api read-only` or `--docker-api full`"))
}

fn is_open(open: DockerApi, route: Route) -> Result<(), Error> {
    if route.only_reads() || open == DockerApi::Full {
        return Ok(());
    }
    let message = "Docker's image routes are open for reading only";
    Err(refusal(message, Kind::Forbidden).hint("start Restock with `--docker-api full`"))
}

/// What the engine may learn of a request's headers. Least of all the key that opened this service.
fn for_the_engine(headers: &HeaderMap) -> HeaderMap {
    let known = |name: &HeaderName| {
        matches!(*name, header::ACCEPT | header::USER_AGENT)
            || name == "x-registry-auth"
            || name.as_str().starts_with("x-meta-")
    };
    headers.iter().filter(|(name, _)| known(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Everything but what is about the connection to the engine.
fn for_the_client(headers: &HeaderMap) -> HeaderMap {
    let own = |name: &HeaderName| {
        matches!(*name, header::CONNECTION | header::TRANSFER_ENCODING | header::UPGRADE | header::TE | header::TRAILER)
            || name == "keep-alive"
    };
    headers.iter().filter(|(name, _)| !own(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

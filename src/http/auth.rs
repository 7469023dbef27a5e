//! Who is calling: a session's cookie or a key.

use std::net::{IpAddr, SocketAddr};

use axum::Extension;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::failures::{TooMany, Unauthenticated};
use super::params::Body;
use super::problem::{Failure, json_of};
use super::state::Http;
use crate::domain::access::{Scope, needed};
use crate::error::{Code, Error, Kind};
use crate::usecases::access::SESSION;
use crate::views::{AuthStatus, Word};

/// The name of a session's cookie.
pub const COOKIE: &str = "restock_session";

/// Lets a request pass that needs no right or has it.
pub async fn authenticate(State(http): State<Http>, request: Request, next: Next) -> Response {
    // Taken apart, because a body cannot be looked at from two threads and a session has to be waited for.
    let (mut parts, body) = request.into_parts();
    match check(&http, &parts).await {
        Ok(name) => {
            let caller = Caller::new(name, &parts);
            parts.extensions.insert(caller.clone());
            let mut response = next.run(Request::from_parts(parts, body)).await;
            response.extensions_mut().insert(caller);
            response
        }
        Err(failure) => {
            let unauthenticated = failure.0.status == Kind::Unauthenticated.status();
            let mut response = failure.into_response();
            if unauthenticated {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

/// Who sent a request, as the history tells it: a user's name or a key's number, and the address it came from.
#[derive(Clone)]
pub struct Caller(pub String);

impl Caller {
    fn new(name: Option<String>, request: &Parts) -> Self {
        let from = Self::address(&request.extensions);
        Self(match name {
            Some(name) => format!("{name} ({from})"),
            None => from,
        })
    }

    /// The address that a request came from. It is the connection's own: what a header says anybody can write.
    pub fn address(extensions: &Extensions) -> String {
        let address = extensions.get::<ConnectInfo<SocketAddr>>();
        address.map_or_else(|| "this machine".to_owned(), |ConnectInfo(address)| address.ip().to_string())
    }
}

/// The name of who may pass; none where nobody has to have one.
async fn check(http: &Http, request: &Parts) -> Result<Option<String>, Failure> {
    let Some(scope) = needed(request.method.is_safe(), request.uri.path()).filter(|_| http.access.is_enabled()) else {
        return Ok(None);
    };
    let headers = &request.headers;
    if let Some(key) = key_of(headers) {
        return match http.access.key(key) {
            None => Err(unauthenticated()),
            Some((number, rights)) if rights.include(scope) => Ok(Some(format!("key {number}"))),
            Some(_) => Err(missing(scope)),
        };
    }
    let user = match cookie_of(headers) {
        Some(cookie) => http.access.session(cookie).await?,
        None => None,
    };
    user.map(Some).ok_or_else(unauthenticated)
}

fn unauthenticated() -> Failure {
    Error::new(Code::Unauthenticated, "log in, or send a key")
        .hint("POST /api/login, or send `Authorization: Bearer KEY` or `X-API-Key: KEY`")
        .into()
}

fn missing(scope: Scope) -> Failure {
    let message = format!("this key has not the scope `{}`", scope.word());
    Error::new(Code::MissingScope, message).into()
}

fn key_of(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer =
        bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    bearer.map(|(_, key)| key.trim()).or_else(|| headers.get("x-api-key")?.to_str().ok())
}

fn cookie_of(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|cookies| cookies.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

/// The body of `POST /api/login`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    user: String,
    pass: String,
}

/// Begins a session.
#[utoipa::path(post, path = "", tag = "access", request_body = Credentials,
    responses(
        (status = 200, description = "`ok`, and the cookie", body = Word,
            headers(("Set-Cookie" = String, description = "The session, for seven days"))),
        Unauthenticated, TooMany))]
pub async fn login(
    State(http): State<Http>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    Body(credentials): Body<Credentials>,
) -> Result<Response, Failure> {
    let credentials = credentials.ok_or_else(|| {
        Failure::from(Error::new(Code::BadJson, "the body must be {\"user\": \"…\", \"pass\": \"…\"}"))
    })?;
    // The connection's own address: what a header says anybody can write.
    let peer: Option<IpAddr> = peer.map(|Extension(ConnectInfo(address))| address.ip());
    let cookie = http.access.login(&credentials.user, &credentials.pass, peer).await?;
    let cookie = cookie.ok_or_else(|| Failure::from(Error::new(Code::WrongCredentials, "wrong user or password")))?;
    Ok(with_cookie(&headers, &cookie, SESSION.as_secs()))
}

/// Ends the session.
#[utoipa::path(post, path = "", tag = "access",
    responses((status = 200, description = "`ok`, and a cookie that has expired", body = Word)))]
pub async fn logout(State(http): State<Http>, headers: HeaderMap) -> Result<Response, Failure> {
    if let Some(cookie) = cookie_of(&headers) {
        http.access.logout(cookie).await?;
    }
    Ok(with_cookie(&headers, "", 0))
}

/// Whether a login is needed.
#[utoipa::path(get, path = "", tag = "access",
    responses((status = 200, description = "Who may ask", body = AuthStatus)))]
pub async fn status(State(http): State<Http>) -> Response {
    json_of(&AuthStatus { enabled: http.access.is_enabled() })
}

/// Returns whether who sends these headers may know more than anybody.
pub(super) async fn is_known(http: &Http, headers: &HeaderMap) -> Result<bool, Failure> {
    if !http.access.is_enabled() || key_of(headers).is_some_and(|key| http.access.key(key).is_some()) {
        return Ok(true);
    }
    match cookie_of(headers) {
        Some(cookie) => Ok(http.access.session(cookie).await?.is_some()),
        None => Ok(false),
    }
}

fn with_cookie(headers: &HeaderMap, value: &str, max_age: u64) -> Response {
    // Behind a proxy that speaks TLS the cookie must not travel without it.
    let secure = headers.get("x-forwarded-proto").is_some_and(|proto| proto == "https");
    let secure = if secure { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={value}; Path=/; HttpOnly; SameSite=Strict; Max-Age={max_age}{secure}");
    ([(header::SET_COOKIE, cookie)], axum::Json(Word { status: "ok" })).into_response()
}

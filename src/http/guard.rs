//! Keeps pages on the internet from driving a Restock at home: `Host` and `Origin` are checked on every request.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::docker::is_engine_path;
use super::problem::{Failure, too_large};
use super::state::Http;
use crate::error::{Code, Error};

/// No body of the API is near as long.
pub const MAX_BODY: usize = 1 << 20;

/// Refuses what a browser would send on behalf of a foreign page.
pub async fn guard(State(http): State<Http>, request: Request, next: Next) -> Response {
    if let Err(failure) = names_one_host(request.version(), request.headers()) {
        return failure.into_response();
    }
    match check(&http.allowed_hosts, request.method(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(failure) => failure.into_response(),
    }
}

/// RFC 9112, 3.2: a request of HTTP/1.1 names its host once. Of several, a proxy in front may have judged another one.
fn names_one_host(version: Version, headers: &HeaderMap) -> Result<(), Failure> {
    let wrong = match headers.get_all(header::HOST).iter().count() {
        0 if version >= Version::HTTP_11 => "the request lacks the header `Host`",
        0 | 1 => return Ok(()),
        _ => "the request has more than one header `Host`",
    };
    Err(Error::new(Code::BadHost, wrong).hint("send one header `Host`, as HTTP/1.1 asks for").into())
}

fn check(allowed: &[String], method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Failure> {
    let host = headers
        .get(header::HOST)
        .map(|host| host.to_str().unwrap_or("?"))
        .or_else(|| uri.authority().map(|a| a.as_str()));
    // A name that resolves here may be an attacker's (DNS rebinding); an address or a known name is not.
    if let Some(host) = host.filter(|host| !is_known(host, allowed)) {
        let host: String = host.chars().take(100).collect();
        return Err(Error::new(Code::UnknownHost, format!("`{host}` is not a known name of this service"))
            .hint("call it by its address, or start it with --allowed-host NAME")
            .into());
    }
    let foreign = match method.is_safe() {
        // Another site may link to the page, and to nothing else: also a question starts work.
        true => uri.path() != "/" && site(headers) == Some("cross-site"),
        false => comes_from_elsewhere(host, headers),
    };
    if foreign {
        let message = "a page of another site may not ask for this or change anything here";
        return Err(Error::new(Code::CrossSite, message).into());
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    // Images are larger, and pass without being held.
    if length.is_some_and(|length| length > MAX_BODY as u64) && !is_engine_path(uri.path()) {
        return Err(too_large());
    }
    Ok(())
}

fn is_known(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host).to_ascii_lowercase();
    let name = name.trim_end_matches('.');
    name == "localhost"
        || name.parse::<IpAddr>().is_ok()
        || allowed.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    }
}

/// What browsers say about where a request comes from; programs say nothing.
fn comes_from_elsewhere(host: Option<&str>, headers: &HeaderMap) -> bool {
    let word = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if site(headers).is_some_and(|site| !matches!(site, "same-origin" | "none")) {
        return true;
    }
    word(header::ORIGIN).is_some_and(|origin| origin.split_once("://").map(|(_, origin)| origin) != host)
}

/// What a browser says about the site that a request comes from.
fn site(headers: &HeaderMap) -> Option<&str> {
    headers.get("sec-fetch-site").map(|value| value.to_str().unwrap_or("?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: &str, headers: &[(&'static str, &str)]) -> u16 {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(name, value)| drop(map.insert(*name, value.parse().unwrap())));
        let result = check(&["nas.home".into()], &method.parse().unwrap(), &Uri::from_static("/api/apps"), &map);
        result.map_or_else(|failure| failure.0.status, |()| 200)
    }

    #[test]
    fn only_addresses_and_known_names_are_hosts() {
        for host in
            ["127.0.0.1:8099", "localhost", "LOCALHOST:1", "[::1]:8099", "192.168.1.2", "nas.home:80", "NAS.home"]
        {
            assert_eq!(status("GET", &[("host", host)]), 200, "{host}");
        }
        for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", ""] {
            assert_eq!(status("GET", &[("host", host)]), 403, "{host}");
        }
    }

    #[test]
    fn a_request_names_its_host_once() {
        let status = |version, hosts: usize| {
            let mut headers = HeaderMap::new();
            for _ in 0..hosts {
                headers.append(header::HOST, "localhost".parse().unwrap());
            }
            names_one_host(version, &headers).map_err(|failure| failure.0.status)
        };
        assert_eq!([0, 1, 2].map(|hosts| status(Version::HTTP_11, hosts)), [Err(400), Ok(()), Err(400)]);
        // Before HTTP/1.1 the header was not needed.
        assert_eq!([0, 1, 2].map(|hosts| status(Version::HTTP_10, hosts)), [Ok(()), Ok(()), Err(400)]);
    }

    #[test]
    fn pages_of_other_sites_may_read_nothing_new_and_change_nothing() {
        let host = ("host", "localhost:8099");
        assert_eq!(status("POST", &[host, ("origin", "http://localhost:8099")]), 200);
        assert_eq!(status("POST", &[host]), 200);
        assert_eq!(status("POST", &[host, ("origin", "http://evil.example")]), 403);
        assert_eq!(status("POST", &[host, ("origin", "null")]), 403);
        assert_eq!(status("DELETE", &[host, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(status("POST", &[host, ("sec-fetch-site", "same-origin")]), 200);
        assert_eq!(status("GET", &[host, ("sec-fetch-site", "cross-site")]), 403);
        assert_eq!(status("GET", &[host, ("sec-fetch-site", "same-site")]), 200);
    }

    #[test]
    fn a_long_body_is_refused_before_it_is_read() {
        assert_eq!(status("POST", &[("host", "localhost"), ("content-length", "99999999")]), 413);
    }
}

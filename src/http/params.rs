//! What requests say in path, query, headers and body. Every mistake names its key.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use serde::de::value::{Error as ValueError, MapAccessDeserializer, StrDeserializer};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use utoipa::IntoParams;
use utoipa::openapi::path::Parameter;

use super::problem::{Failure, too_large};
use super::state::Http;
use crate::domain::job::JobId;
use crate::error::{Code, Error};
use crate::usecases::Host;
use crate::usecases::jobs::no_such_job;

/// The one parameter of a path, as text. A path that cannot be decoded names nothing.
pub struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name))
            .map_err(|_| Error::new(Code::NoSuchRoute, "the path is not valid UTF-8").into())
    }
}

/// The one parameter of a path, as a name on one of the hosts: `web` on the local one, `web@nas` on another.
pub struct Named {
    pub host: Arc<Host>,
    /// The name on its host.
    pub name: String,
}

impl FromRequestParts<Http> for Named {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Failure> {
        Self::new(http, &Name::from_request_parts(parts, http).await?.0)
    }
}

impl Named {
    /// A name in its text form.
    ///
    /// # Errors
    /// `no_such_host`.
    pub fn new(http: &Http, text: &str) -> Result<Self, Failure> {
        let (host, name) = http.restock.named(text)?;
        Ok(Self { host: host.clone(), name: name.to_owned() })
    }
}

impl Name {
    /// The name as that of a job.
    pub fn job(&self) -> Result<JobId, Failure> {
        self.0.parse().map_err(|_| no_such_job(&self.0).into())
    }
}

/// The keys of a route's query: told in the document, and read.
pub trait Keys: IntoParams + Sized {
    /// Reads the keys; a value that does not fit is a mistake that names its key.
    fn read(pairs: &Pairs) -> Result<Self, Failure>;
}

/// The query, strictly: keys that `K` does not tell are refused.
pub struct Query<K>(pub K);

impl<S: Send + Sync, K: Keys> FromRequestParts<S> for Query<K> {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let query = parts.uri.query().unwrap_or_default();
        let pairs = Pairs(url::form_urlencoded::parse(query.as_bytes()).into_owned().collect());
        pairs.only(&K::into_params(|| None))?;
        K::read(&pairs).map(Self)
    }
}

/// The keys and values of a query as they were sent.
pub struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn only(&self, known: &[Parameter]) -> Result<(), Failure> {
        match self.0.iter().find(|(key, _)| known.iter().all(|parameter| parameter.name != *key)) {
            None => Ok(()),
            Some((key, _)) => {
                let key: String = key.chars().take(80).collect();
                let known: Vec<_> = known.iter().map(|parameter| parameter.name.as_str()).collect();
                let hint = if known.is_empty() {
                    "this route takes no query".to_owned()
                } else {
                    format!("valid are {}", known.join(", "))
                };
                Err(Error::new(Code::UnknownQueryKey, format!("`{key}`: unknown query key")).hint(hint).into())
            }
        }
    }

    /// A flag: `true` or `false` (also `1` and `0`).
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, Failure> {
        match self.one(key)? {
            None => Ok(default),
            Some("true" | "1") => Ok(true),
            Some("false" | "0") => Ok(false),
            Some(_) => Err(bad_value(key, "true or false")),
        }
    }

    /// A value that parses, if the key is there.
    pub fn value<T: FromStr>(&self, key: &str, expected: &str) -> Result<Option<T>, Failure> {
        self.one(key)?.map(|text| text.parse().map_err(|_| bad_value(key, expected))).transpose()
    }

    /// A word of an enumeration, if the key is there.
    pub fn word<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Failure> {
        let read = |word: &str| T::deserialize(StrDeserializer::<ValueError>::new(word));
        self.one(key)?.map(|word| read(word).map_err(|error| bad_value(key, expected_in(&error)))).transpose()
    }

    /// All values of a key that may be repeated.
    pub fn all(&self, key: &str) -> Result<BTreeSet<String>, Failure> {
        let values: BTreeSet<_> =
            self.0.iter().filter(|(known, _)| known == key).map(|(_, value)| value.clone()).collect();
        if values.contains("") { Err(bad_value(key, "a name")) } else { Ok(values) }
    }

    /// The value of a key that may not be repeated: neither the first nor the last can be known to be the one meant.
    fn one(&self, key: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.0.iter().filter(|(known, _)| known == key).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (value, None) => Ok(value),
            _ => Err(bad_value(key, "one value, and it is given more than once")),
        }
    }
}

/// The words that serde lists when it has read an unknown one.
fn expected_in(error: &ValueError) -> String {
    let text = error.to_string();
    text.split_once("expected ").map_or_else(|| text.clone(), |(_, words)| words.to_owned())
}

fn bad_value(key: &str, expected: impl fmt::Display) -> Failure {
    Error::new(Code::BadQueryValue, format!("`{key}`: expected {expected}")).into()
}

/// How long a body of the API may take: it is at most 1 MiB, and holds a connection.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

/// A body of JSON; `None` where there is none.
pub struct Body<T>(pub Option<T>);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let bytes = read(request, state).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(None));
        }
        serde_json::from_slice(&bytes).map(|Object(value)| Self(Some(value))).map_err(|error| {
            Error::new(Code::BadJson, format!("the body is not the JSON that is expected: {error}")).into()
        })
    }
}

/// No body, as of a route that takes none: it would say what the route does not do. `{}` says nothing, and may be there.
pub struct NoBody;

impl<S: Send + Sync> FromRequest<S> for NoBody {
    type Rejection = Failure;
    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let said = read(request, state).await?;
        let said = said.trim_ascii();
        if said.is_empty() || serde_json::from_slice::<Object<Nothing>>(said).is_ok() {
            return Ok(Self);
        }
        Err(Error::new(Code::UnexpectedBody, "this route takes no body")
            .hint("what it takes is in its path and its query")
            .into())
    }
}

/// An object without members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// A value that was written as an object. By itself serde takes an array for one, its items in the order of the fields.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Members(PhantomData)).map(Self)
    }
}

/// Reads the members of an [`Object`].
struct Members<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(members))
    }
}

async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Failure> {
    let read = tokio::time::timeout(BODY_DEADLINE, Bytes::from_request(request, state)).await;
    let late = |_| Error::new(Code::BadBody, "the request's body did not come in time");
    read.map_err(late)?.map_err(unreadable)
}

fn unreadable(rejection: BytesRejection) -> Failure {
    match rejection {
        BytesRejection::FailedToBufferBody(_) if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            too_large()
        }
        _ => Error::new(Code::BadBody, "the request's body could not be read").into(),
    }
}

/// The headers that say how the client wants to hear of a job.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "tells the document what `Reply` reads")]
pub struct Wishes {
    /// `respond-async`: answer 202 at once, with where to look (RFC 7240).
    #[param(rename = "Prefer", required = false)]
    prefer: String,
}

/// How the client wants to hear of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// The result, when it is there.
    Wait,
    /// At once where to look (`Prefer: respond-async`, RFC 7240).
    Async,
    /// The events as they happen (`Accept: text/event-stream`).
    Stream,
}

impl Reply {
    /// Reads the client's wish.
    pub fn of(headers: &HeaderMap) -> Self {
        let says = |name: header::HeaderName, separators: [char; 2], word: &str| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            let mut words = values.flat_map(|value| value.split(separators));
            words.any(|said| said.trim().eq_ignore_ascii_case(word))
        };
        if says(header::HeaderName::from_static("prefer"), [',', ';'], "respond-async") {
            Self::Async
        } else if says(header::ACCEPT, [',', ';'], "text/event-stream") {
            Self::Stream
        } else {
            Self::Wait
        }
    }
}

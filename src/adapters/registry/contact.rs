//! The first contact with a registry: how it is spoken to, and what it wants to see.
//!
//! It costs one `GET /v2/`, which no registry counts as a pull, and is made once for all who wait for it. Without it the
//! first question of each caller would be refused for want of a token, and hosts that may speak plain http would be tried
//! in both ways by each of them.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::LOCATION;
use reqwest::{Client, Response, StatusCode};
use url::{Host as UrlHost, Url};

use super::client::Inner;
use super::error::RegistryError;
use super::exchange::{Question, challenge_of};
use super::hosts::{Host, authority};
use super::insecure::InsecureRegistries;
use super::stats::RequestKind;
use super::tls::Stick;

/// Time for one way of speaking, or for a mirror, where there is another to try.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A host's address is only needed to see whether it is this machine or in a listed network.
const LOOKUP: Duration = Duration::from_secs(2);

/// How a registry is spoken to.
#[derive(Clone)]
pub(super) struct Contact {
    /// Scheme, host and port; of a mirror also the path that all of its paths begin with.
    pub base: Url,
    pub client: Client,
    trust: Trust,
}

/// The place of a registry's API.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    /// Host and port.
    pub host: String,
    /// The whole address, where the engine's settings name it; else the way of speaking has to be found out.
    pub address: Option<Url>,
}

/// What a [`Contact`] depends on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct ContactKey {
    pub endpoint: Endpoint,
    /// The administrator's list. With another list it has to be found out again.
    pub insecure: Arc<InsecureRegistries>,
}

/// What is demanded of the connection to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// A verified certificate.
    Verified,
    /// Nothing: the engine's administrator said so.
    Unverified,
    /// Nothing of plain http, which does not leave this machine. A certificate that is there is verified all the same.
    Loopback,
}

impl Contact {
    /// The address of a path below `/v2/`.
    pub(super) fn api(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let before = url.path().trim_end_matches('/');
        // An address may name the API itself.
        let before = if before == "/v2" { "" } else { before };
        url.set_path(&format!("{before}/v2/{path}"));
        url
    }

    pub(super) fn is_home(&self, url: &Url) -> bool {
        self.base.origin() == url.origin()
    }
}

impl Inner {
    /// How a registry is spoken to; found out once for all who ask at the same time.
    pub(super) async fn contact(&self, question: &Question<'_>, key: &ContactKey) -> Result<Contact, RegistryError> {
        let first = async {
            let host = self.hosts.named(&key.endpoint.host);
            host.check(question.began)?;
            let began = Instant::now();
            let found = self.find_out(question, &host, key).await;
            if let Err(error) = &found {
                host.failed(began, error);
            }
            found
        };
        self.contacts.try_get_with_by_ref(key, first).await.map_err(|error| RegistryError::clone(&error))
    }

    /// The client for a URL that the registry named: its own client for its own host and, as with the engine, for other
    /// hosts too, unless that client demands less than usual.
    pub(super) fn client_for(&self, contact: &Contact, url: &Url) -> Result<Client, RegistryError> {
        let same_host = contact.base.host_str() == url.host_str();
        let fits = match contact.trust {
            Trust::Verified => true,
            Trust::Unverified => same_host,
            Trust::Loopback => same_host && contact.base.scheme() == url.scheme(),
        };
        let host = authority(url);
        match url.scheme() {
            _ if fits => Ok(contact.client.clone()),
            "http" if is_loopback(url) => self.clients.loopback(&host, Stick::default()),
            _ if is_loopback(url) => self.clients.registry(&host, true),
            _ => self.clients.system(&host),
        }
    }

    async fn find_out(&self, question: &Question<'_>, host: &Host, key: &ContactKey) -> Result<Contact, RegistryError> {
        let unusable = |_| RegistryError::protocol(&host.name, "is not the name of a host");
        let https: Url = format!("https://{}", host.name).parse().map_err(unusable)?;
        let http: Url = format!("http://{}", host.name).parse().map_err(unusable)?;
        let address = key.endpoint.address.as_ref();
        let (trust, places) = demands(question.registry, address.unwrap_or(&https), &key.insecure).await;
        // One port speaks one language, and on this machine that is nearly always plain http.
        let ways = match (address, trust) {
            (Some(address), _) => vec![address.clone()],
            (None, Trust::Verified) => vec![https],
            (None, Trust::Loopback) if http.port().is_some() => vec![http, https],
            (None, Trust::Loopback | Trust::Unverified) => vec![https, http],
        };
        let is_only = ways.len() == 1 && address.is_none();
        let time = if is_only { self.timeout } else { self.timeout.min(ATTEMPT) };
        let mut doubtful = None;
        let mut failure = None;
        for base in ways {
            let client = self.own_client(host, &base, trust, &places)?;
            let contact = Contact { base, client, trust };
            match self.ping(question, &contact, time).await {
                Ok(answer) if is_for_https(&contact.base, &answer) => doubtful = Some(contact),
                Ok(answer) => {
                    if let Some(asked) = challenge_of(&answer) {
                        host.remember(&asked.challenge);
                    }
                    return Ok(contact);
                }
                // https is spoken here, and plain http is no way around a bad certificate.
                Err(error) if error.is_insecure_connection() => return Err(error),
                Err(error @ RegistryError::RateLimited { .. }) => return Err(error),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        doubtful.ok_or_else(|| failure.unwrap_or_else(|| RegistryError::protocol(&host.name, "gave no answer")))
    }

    fn own_client(
        &self,
        host: &Host,
        base: &Url,
        trust: Trust,
        places: &[SocketAddr],
    ) -> Result<Client, RegistryError> {
        let stick = Stick { name: base.host_str().unwrap_or_default(), places };
        match (trust, base.scheme()) {
            (Trust::Unverified, _) => self.clients.unverified(&host.name, stick),
            (Trust::Loopback, "http") => self.clients.loopback(&host.name, stick),
            _ => self.clients.registry(&host.name, trust == Trust::Loopback),
        }
    }

    async fn ping(
        &self,
        question: &Question<'_>,
        contact: &Contact,
        time: Duration,
    ) -> Result<Response, RegistryError> {
        let url = contact.api("");
        let request = contact.client.get(url.clone()).timeout(time);
        self.send_unnoted(question, RequestKind::Ping, &url, request).await
    }
}

/// Returns whether a plain http answer says that https is spoken here, as servers do to those who come in plain http.
pub(super) fn is_for_https(base: &Url, answer: &Response) -> bool {
    let location = || answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let moved = answer.status().is_redirection() && location().is_some_and(|url| url.starts_with("https:"));
    base.scheme() == "http" && (moved || answer.status() == StatusCode::BAD_REQUEST)
}

/// What to demand of a host, and the addresses to stick to: a name that may be spoken to without proof because of where it
/// leads now must not lead elsewhere with the next request.
async fn demands(registry: &str, url: &Url, insecure: &InsecureRegistries) -> (Trust, Vec<SocketAddr>) {
    if insecure.contains(registry, &[]) {
        return (Trust::Unverified, Vec::new());
    }
    if is_loopback(url) {
        return (Trust::Loopback, Vec::new());
    }
    let places = addresses(url).await;
    let addresses: Vec<IpAddr> = places.iter().map(SocketAddr::ip).collect();
    if !addresses.is_empty() && addresses.iter().all(IpAddr::is_loopback) {
        (Trust::Loopback, places)
    } else if insecure.contains(registry, &addresses) {
        (Trust::Unverified, places)
    } else {
        (Trust::Verified, Vec::new())
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(UrlHost::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(UrlHost::Ipv4(address)) => address.is_loopback(),
        Some(UrlHost::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The addresses of a host; none if they cannot be found, which is for the request itself to report.
async fn addresses(url: &Url) -> Vec<SocketAddr> {
    let port = url.port_or_known_default().unwrap_or_default();
    let name = match url.host() {
        Some(UrlHost::Domain(name)) => name,
        Some(UrlHost::Ipv4(address)) => return vec![(address, port).into()],
        Some(UrlHost::Ipv6(address)) => return vec![(address, port).into()],
        None => return Vec::new(),
    };
    match tokio::time::timeout(LOOKUP, tokio::net::lookup_host((name, port))).await {
        Ok(Ok(found)) => found.collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

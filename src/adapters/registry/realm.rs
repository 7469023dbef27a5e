//! Decides whether a token server may see the credentials of a registry.
//!
//! A registry names the server that gives out tokens for it, its realm, in an answer that anybody may have written: a
//! proxy in front of it, a taken-over redirector, whoever answers for a plain http registry. Docker's own clients hand
//! the user's password to whatever is named. Here it goes only
//!
//! * over https, or over plain http to the very host that is spoken to in plain http already, and
//! * to the registry's own host, to a host below it (`docker.io` → `auth.docker.io`), to the domain it is in and hosts
//!   next to it (`registry.gitlab.com` → `gitlab.com`), or to a realm that is known to serve it from elsewhere.
//!
//! Any other realm is asked for an anonymous token, which is all that public images need; an image that needs more fails
//! with an error that names the realm. The port is no part of the rule: a token server on another port of the registry's
//! host is the most common private set-up.

use url::{Host, Url};

/// Registries whose realm lies in another domain, by the provider's own design.
const KNOWN: [(&str, &str); 3] =
    [("lscr.io", "ghcr.io"), ("dhi.io", "auth.docker.io"), ("scw.cloud", "api.scaleway.com")];

/// Second-level names that are sold under country domains: `co.uk` is nobody's domain.
const SOLD_BELOW: [&str; 11] = ["ac", "co", "com", "edu", "go", "gov", "mil", "ne", "net", "or", "org"];

/// Domains that give names to strangers, so that neighbours have nothing in common. Those that homelabs and registries
/// use; a complete list would be the public suffix list.
const SHARED: [&str; 14] = [
    "azurecr.io",
    "cloudfront.net",
    "ddns.net",
    "dedyn.io",
    "duckdns.org",
    "dynv6.net",
    "github.io",
    "myfritz.net",
    "no-ip.org",
    "pkg.dev",
    "synology.me",
    "ts.net",
    "vultrcr.com",
    "workers.dev",
];

/// Returns whether `realm` may receive the credentials for the registry that is named `registry` in references (its
/// port does not matter) and is reached at `base`.
pub(super) fn may_see_credentials(registry: &str, base: &Url, realm: &Url) -> bool {
    let Some(realm_host) = realm.host_str() else {
        return false;
    };
    let same_host = base.host_str() == Some(realm_host);
    match (base.scheme(), realm.scheme()) {
        ("http", "http") => same_host,
        (_, "https") => same_host || belongs_together(&without_port(registry), realm_host),
        _ => false,
    }
}

fn belongs_together(registry: &str, realm: &str) -> bool {
    let known = KNOWN.iter().any(|(of, at)| is_at_or_below(registry, of) && realm == *at);
    known || is_at_or_below(realm, registry) || own_parent(registry).is_some_and(|parent| is_at_or_below(realm, parent))
}

/// The domain that `host` is in, if it is one that belongs to somebody.
fn own_parent(host: &str) -> Option<&str> {
    if matches!(Host::parse(host), Ok(Host::Ipv4(_) | Host::Ipv6(_)) | Err(_)) {
        return None;
    }
    let (_, parent) = host.split_once('.')?;
    let (second, top) = parent.split_once('.')?;
    let sold = top.len() == 2 && SOLD_BELOW.contains(&second);
    (!sold && !SHARED.contains(&parent)).then_some(parent)
}

fn is_at_or_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

fn without_port(registry: &str) -> String {
    match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_lowercase(),
        _ => registry.to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(registry: &str, base: &str, realm: &str) -> bool {
        may_see_credentials(registry, &base.parse().expect("a base"), &realm.parse().expect("a realm"))
    }

    #[test]
    fn realms_of_known_registries_see_credentials() {
        let table = [
            ("docker.io", "https://registry-1.docker.io", "https://auth.docker.io/token"),
            ("ghcr.io", "https://ghcr.io", "https://ghcr.io/token"),
            ("lscr.io", "https://lscr.io", "https://ghcr.io/token"),
            ("quay.io", "https://quay.io", "https://quay.io/v2/auth"),
            ("registry.gitlab.com", "https://registry.gitlab.com", "https://gitlab.com/jwt/auth"),
            ("registry.example.org:5000", "https://registry.example.org:5000", "https://git.example.org/jwt/auth"),
            ("registry.example.co.uk", "https://registry.example.co.uk", "https://git.example.co.uk/jwt/auth"),
            ("registry.digitalocean.com", "https://registry.digitalocean.com", "https://api.digitalocean.com/v2/auth"),
            ("rg.fr-par.scw.cloud", "https://rg.fr-par.scw.cloud", "https://api.scaleway.com/registry/token"),
            ("registry.me.duckdns.org", "https://registry.me.duckdns.org", "https://auth.me.duckdns.org/token"),
            ("nas:5000", "https://nas:5000", "https://nas:5001/auth"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000", "http://127.0.0.1:5001/auth"),
            ("[::1]:5000", "http://[::1]:5000", "http://[::1]:5001/auth"),
        ];
        for (registry, base, realm) in table {
            assert!(may(registry, base, realm), "{registry} → {realm}");
        }
    }

    #[test]
    fn foreign_and_downgraded_realms_do_not() {
        let table = [
            ("ghcr.io", "https://ghcr.io", "http://ghcr.io/token"),
            ("ghcr.io", "https://ghcr.io", "https://evil.example/token"),
            ("ghcr.io", "https://ghcr.io", "https://evil-ghcr.io/token"),
            ("ghcr.io", "https://ghcr.io", "https://ghcr.io.evil.example/token"),
            ("ghcr.io", "https://ghcr.io", "https://quay.io/token"),
            ("ghcr.io", "https://ghcr.io", "ftp://ghcr.io/token"),
            ("me.duckdns.org", "https://me.duckdns.org", "https://you.duckdns.org/token"),
            ("me.azurecr.io", "https://me.azurecr.io", "https://you.azurecr.io/token"),
            ("me.co.uk", "https://me.co.uk", "https://you.co.uk/token"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000", "https://10.0.0.2:5000/token"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000", "https://1.0.0.1/token"),
            ("nas:5000", "http://nas:5000", "http://other:5000/token"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000", "http://localhost:5000/token"),
            ("127.0.0.1:5000", "http://127.0.0.1:5000", "http://127.0.0.2:5000/token"),
            ("registry.example.org", "http://registry.example.org", "http://auth.example.org/token"),
        ];
        for (registry, base, realm) in table {
            assert!(!may(registry, base, realm), "{registry} → {realm}");
        }
    }
}

//! The addresses that the engine asks in the place of Docker Hub.

use url::Url;

use super::contact::Endpoint;
use super::hosts::authority;

/// Docker Hub, as references name it: the only registry that the engine has mirrors of.
pub(super) const HUB: &str = "docker.io";

/// The engine's `registry-mirrors`, in the order in which it asks them. The Hub itself comes after them.
///
/// Whatever a mirror answers but a manifest sends the question on, as it does with a pull. A mirror is asked anonymously:
/// the login for the Hub is for the Hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors(Vec<Url>);

impl<T: AsRef<str>> FromIterator<T> for Mirrors {
    /// Takes the entries of `RegistryConfig.Mirrors` in the engine's `/info`. Without a scheme they mean https. What is
    /// not a web address is left out; the engine does not start with one.
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        Self(entries.into_iter().filter_map(|entry| address(entry.as_ref())).collect())
    }
}

impl Mirrors {
    pub(super) fn endpoints(&self) -> impl Iterator<Item = Endpoint> {
        self.0.iter().map(|address| Endpoint { host: authority(address), address: Some(address.clone()) })
    }
}

fn address(entry: &str) -> Option<Url> {
    let text = if entry.contains("://") { entry.to_owned() } else { format!("https://{entry}") };
    let mut address: Url = text.parse().ok()?;
    // What a user part contains would be sent as credentials.
    address.set_username("").ok()?;
    address.set_password(None).ok()?;
    (matches!(address.scheme(), "http" | "https") && address.has_host()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_read_as_the_engine_reads_them() {
        let entries = ["https://m.example/", "http://nas:5000/hub", "nas:5001", "ftp://m.example", "http://a:b@c/"];
        let mirrors: Vec<_> = entries.iter().collect::<Mirrors>().0.iter().map(Url::to_string).collect();
        assert_eq!(mirrors, ["https://m.example/", "http://nas:5000/hub", "https://nas:5001/", "http://c/"]);
    }
}

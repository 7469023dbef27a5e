//! Registries that the engine's administrator allows without a verified connection.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

/// The engine's `insecure-registries`: hosts by name (`nas:5000`) and networks (`10.0.0.0/8`).
///
/// Their certificates are not verified, and plain http is tried where https fails, because that is what the engine does
/// when it pulls from them. Loopback is in no need of being listed: it may speak plain http anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct InsecureRegistries {
    names: BTreeSet<String>,
    networks: Vec<IpNet>,
}

impl<T: AsRef<str>> FromIterator<T> for InsecureRegistries {
    /// Takes the entries of the engine's `/info`: the names under `RegistryConfig.IndexConfigs` that have
    /// `Secure: false`, and `RegistryConfig.InsecureRegistryCIDRs`. Networks of loopback are left out, see above: the
    /// engine always lists them.
    fn from_iter<I: IntoIterator<Item = T>>(entries: I) -> Self {
        let mut set = Self::default();
        for entry in entries {
            let entry = entry.as_ref();
            match entry.parse::<IpNet>() {
                Ok(network) if network.network().is_loopback() => {}
                Ok(network) => set.networks.push(network),
                Err(_) => {
                    set.names.insert(entry.to_lowercase());
                }
            }
        }
        set
    }
}

impl InsecureRegistries {
    /// Returns whether the registry `name` (host and port, as references write it) is listed by its name, or all of its
    /// `addresses` are in listed networks. The engine is content with one address; with that, whoever can add an address
    /// to an answer of the DNS could have credentials sent there.
    pub(super) fn contains(&self, name: &str, addresses: &[IpAddr]) -> bool {
        self.names.contains(&name.to_lowercase())
            || (!addresses.is_empty()
                && addresses.iter().all(|address| self.networks.iter().any(|network| network.contains(address))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_networks_are_matched_as_the_engine_does() {
        let set: InsecureRegistries = ["Nas:5000", "10.0.0.0/8", "fd00::/8", "127.0.0.0/8", "::1/128"].iter().collect();
        let at = |name: &str, address: &str| set.contains(name, &[address.parse().expect("an address")]);
        assert!(at("nas:5000", "192.168.1.1"));
        assert!(!at("nas", "192.168.1.1"));
        assert!(at("other:5000", "10.1.2.3"));
        assert!(at("other:5000", "fd00::1"));
        assert!(!at("other:5000", "127.0.0.1"));
        assert!(!at("other:5000", "::1"));
        assert!(!set.contains("unresolved", &[]));
    }
}

//! Where an engine listens, as `DOCKER_HOST` says it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DockerHost {
    Unix(PathBuf),
    /// Host and port, without TLS.
    Tcp(String),
}

/// A `DOCKER_HOST` that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DockerHostError {
    #[error("`{0}` is not supported: use unix:///path or tcp://host:port")]
    Scheme(String),
    #[error("`{0}` has no host and port")]
    Address(String),
}

impl FromStr for DockerHost {
    type Err = DockerHostError;
    fn from_str(text: &str) -> Result<Self, DockerHostError> {
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(DockerHostError::Address(text.to_owned()));
            }
            return Ok(Self::Unix(path.into()));
        }
        let address = text
            .strip_prefix("tcp://")
            .or_else(|| text.strip_prefix("http://"))
            .ok_or_else(|| DockerHostError::Scheme(text.to_owned()))?
            .trim_end_matches('/');
        let authority = address.parse::<hyper::http::uri::Authority>();
        if authority.is_ok_and(|authority| authority.port().is_some()) {
            Ok(Self::Tcp(address.to_owned()))
        } else {
            Err(DockerHostError::Address(text.to_owned()))
        }
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_sockets_or_plain_addresses() {
        for host in ["unix:///run/docker.sock", "tcp://127.0.0.1:2375", "tcp://[::1]:2375"] {
            assert_eq!(host.parse::<DockerHost>().unwrap().to_string(), host);
        }
        for host in ["ssh://x", "unix://relative", "tcp://", "tcp://nowhere", "", "/run/docker.sock"] {
            assert!(host.parse::<DockerHost>().is_err(), "{host}");
        }
    }
}

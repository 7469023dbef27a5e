//! Who may do what.

use std::collections::BTreeSet;
use std::str::FromStr;

/// What a key may be limited to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    Read,
    /// Updates, rollbacks and settings of apps and containers; implies reading.
    Update,
    /// Docker's image routes, as far as `--docker-api` opens them. Reading alone does not: whole images and what the
    /// engine tells of its machine come this way.
    Images,
    /// Everything.
    Admin,
}

impl Scope {
    /// The word for it in a key file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Images => "images",
            Self::Admin => "admin",
        }
    }
}

/// A word that is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scopes are read, update, images and admin")]
pub struct UnknownScope;

impl FromStr for Scope {
    type Err = UnknownScope;
    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let all = [Self::Read, Self::Update, Self::Images, Self::Admin];
        all.into_iter().find(|scope| scope.word() == word).ok_or(UnknownScope)
    }
}

/// What a caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rights(BTreeSet<Scope>);

impl Rights {
    /// Everything: a session, or a key without scopes.
    pub fn all() -> Self {
        Self(BTreeSet::from([Scope::Admin]))
    }

    /// Only these.
    pub fn of(scopes: BTreeSet<Scope>) -> Self {
        Self(scopes)
    }

    /// Returns whether these rights include `scope`.
    pub fn include(&self, scope: Scope) -> bool {
        let reads = scope == Scope::Read && self.0.contains(&Scope::Update);
        reads || self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }
}

/// The scope that a request needs; `None` where everybody may go.
pub fn needed(method_is_safe: bool, path: &str) -> Option<Scope> {
    match path {
        "/" | "/health" | "/ready" | "/_ping" | "/api/login" | "/api/logout" | "/api/auth/status" => None,
        _ if path.starts_with("/assets/") => None,
        _ if path.starts_with("/api/") || path == "/metrics" => {
            Some(if method_is_safe { Scope::Read } else { Scope::Update })
        }
        _ => Some(Scope::Images),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_but_the_open_ones_needs_a_right() {
        for path in ["/health", "/ready", "/_ping", "/api/login", "/api/auth/status"] {
            assert_eq!(needed(true, path), None, "{path}");
        }
        assert_eq!(needed(true, "/api/apps"), Some(Scope::Read));
        assert_eq!(needed(false, "/api/apps/web/update"), Some(Scope::Update));
        assert_eq!(needed(true, "/v1.41/images/json"), Some(Scope::Images));
        assert_eq!(needed(true, "/metrics"), Some(Scope::Read));
        assert_eq!(needed(true, "/healthy"), Some(Scope::Images));
        assert_eq!(needed(true, "/api/login/x"), Some(Scope::Read));
    }

    #[test]
    fn updating_implies_reading_and_nothing_else() {
        let update = Rights::of(BTreeSet::from([Scope::Update]));
        assert!(update.include(Scope::Read) && update.include(Scope::Update) && !update.include(Scope::Images));
        assert!(Rights::all().include(Scope::Images));
        assert!(!Rights::of(BTreeSet::from([Scope::Read])).include(Scope::Update));
    }
}

//! Containers grouped by what they were made from.

use utoipa::ToSchema;

use super::container::Container;
use super::freshness::Status;

/// The freshness of a container or a group, in the words of the docker-image-watcher API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum GroupStatus {
    Uptodate,
    Outdated,
    /// Some are, some are not; of groups only.
    Partial,
    Unknown,
}

impl From<Status> for GroupStatus {
    fn from(status: Status) -> Self {
        match status {
            Status::Updated => Self::Uptodate,
            Status::Outdated => Self::Outdated,
            Status::Skipped | Status::Processing | Status::Preparing | Status::Error => Self::Unknown,
        }
    }
}

impl GroupStatus {
    /// The status of containers taken together.
    pub fn of(members: impl IntoIterator<Item = Self>) -> Self {
        let members: Vec<_> = members.into_iter().collect();
        let all = |status| !members.is_empty() && members.iter().all(|member| *member == status);
        if all(Self::Uptodate) {
            Self::Uptodate
        } else if all(Self::Outdated) {
            Self::Outdated
        } else if members.contains(&Self::Outdated) {
            Self::Partial
        } else {
            Self::Unknown
        }
    }
}

/// Finds a container by its name, its full ID, the 12 characters the Docker CLI shows, or any prefix that only one has.
pub fn find_container<'a>(containers: &'a [Container], text: &str) -> Option<&'a Container> {
    let text = text.strip_prefix('/').unwrap_or(text);
    if let Some(exact) = containers.iter().find(|container| container.name == text || container.id == text) {
        return Some(exact);
    }
    let mut by_prefix = containers.iter().filter(|container| !text.is_empty() && container.id.starts_with(text));
    match (by_prefix.next(), by_prefix.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, name: &str) -> Container {
        Container { id: id.into(), ..Container::sample(name, "i") }
    }

    #[test]
    fn a_group_is_partial_as_soon_as_one_is_outdated_and_another_is_not() {
        use GroupStatus::*;
        for (members, expected) in [
            (vec![Uptodate, Uptodate], Uptodate),
            (vec![Outdated], Outdated),
            (vec![Outdated, Uptodate], Partial),
            (vec![Outdated, Unknown], Partial),
            (vec![Uptodate, Unknown], Unknown),
            (vec![], Unknown),
        ] {
            assert_eq!(GroupStatus::of(members.clone()), expected, "{members:?}");
        }
    }

    #[test]
    fn a_prefix_counts_when_only_one_container_has_it() {
        let containers = [container("abc1", "web"), container("abc2", "db"), container("def3", "abc2")];
        let found = |text| find_container(&containers, text).map(|container| container.name.as_str());
        assert_eq!(found("abc1"), Some("web"));
        assert_eq!(found("d"), Some("abc2"));
        assert_eq!(found("abc"), None);
        assert_eq!(found("web"), Some("web"));
        assert_eq!(found("/web"), Some("web"));
        assert_eq!(found("abc2"), Some("db"), "an ID and a name may collide; the first in the list wins");
        assert_eq!(found(""), None);
    }
}

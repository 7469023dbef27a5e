//! Failures by their code, which programs decide by, and their kind.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The sort of a failure. It is written as the number that HTTP has for it, in answers and in the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Invalid,
    Unauthenticated,
    Forbidden,
    NotFound,
    Conflict,
    BrokenApp,
    TooMany,
    Upstream,
    Unavailable,
    TimedOut,
    Internal,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::Conflict,
        Self::BrokenApp,
        Self::TooMany,
        Self::Upstream,
        Self::Unavailable,
        Self::TimedOut,
        Self::Internal,
    ];

    /// The HTTP status that a client gets.
    pub fn status(self) -> u16 {
        match self {
            Self::Invalid => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::BrokenApp => 422,
            Self::TooMany => 429,
            Self::Upstream => 502,
            Self::Unavailable => 503,
            Self::TimedOut => 504,
            Self::Internal => 500,
        }
    }

    /// A few words for the problem document's title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Invalid => "Invalid request",
            Self::Unauthenticated => "Authentication required",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not found",
            Self::Conflict => "Conflict",
            Self::BrokenApp => "The app's files are invalid",
            Self::TooMany => "Too many attempts",
            Self::Upstream => "A registry refused or failed",
            Self::Unavailable => "Not available",
            Self::TimedOut => "Timed out",
            Self::Internal => "The action failed",
        }
    }

    /// Returns whether nothing has been done: what was asked for is wrong, or cannot be done now.
    pub fn is_refusal(self) -> bool {
        !matches!(self, Self::Upstream | Self::TimedOut | Self::Internal)
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u16(self.status())
    }
}

/// A number of another version counts as a failure of Restock itself.
impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let status = u16::deserialize(deserializer)?;
        Ok(Self::ALL.into_iter().find(|kind| kind.status() == status).unwrap_or(Self::Internal))
    }
}

macro_rules! codes {
    ($($code:ident = $word:literal, $kind:ident: $meaning:literal,)*) => {
        /// A failure, as programs know it. A code keeps its word and its meaning; new ones come at any time.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code {
            $(#[doc = $meaning] $code,)*
            /// A refusal in the shape of Docker's API, which has no room for a code.
            DockerApi,
        }

        impl Code {
            /// Every code that an answer may contain, in the order of their words.
            pub const ALL: &[Self] = &[$(Self::$code),*];

            /// The word that JSON has for it.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$code => $word,)*
                    Self::DockerApi => "docker_api",
                }
            }

            /// The kind of failure that it is, unless somebody knows better.
            pub fn kind(self) -> Kind {
                match self {
                    $(Self::$code => Kind::$kind,)*
                    Self::DockerApi => Kind::Invalid,
                }
            }

            /// Its meaning in a sentence, for the API's description.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$code => $meaning,)*
                    Self::DockerApi => "Refused.",
                }
            }
        }
    };
}

codes! {
    AppsDirectoryUnreadable = "apps_directory_unreadable", Unavailable: "The apps directory is missing or cannot be read.",
    BadBody = "bad_body", Invalid: "The request's body broke off.",
    BadHost = "bad_host", Invalid: "The request lacks the header `Host`, or has several.",
    BadJson = "bad_json", Invalid: "The body is not the JSON that the route takes; the detail names the place.",
    BadPath = "bad_path", Invalid: "The path has not the parts that the route takes.",
    BadQueryValue = "bad_query_value", Invalid: "A key of the query has a value that it does not take.",
    BodyTooLarge = "body_too_large", Invalid: "The body is larger than 1 MiB.",
    Busy = "busy", Conflict: "Another job works on it; `job` names it.",
    Cancelled = "cancelled", Conflict: "The job was cancelled before anything was touched.",
    ChangedMeanwhile = "changed_meanwhile", Conflict: "The container was removed, or made from something else, while the update waited; ask again.",
    Clock = "clock", Internal: "The machine's clock is out of range.",
    ClosedAsItIs = "closed_as_it_is", Internal: "A person closed a job that was left open; nothing was touched.",
    CommandFailed = "command_failed", Internal: "A command of Docker Compose failed; `stderr` has its last lines.",
    ComposeProtocol = "compose_protocol", Internal: "Docker Compose answered in a way this version does not understand.",
    ComposeUnavailable = "compose_unavailable", Unavailable: "Docker Compose is missing or too old.",
    ContainsRestock = "contains_restock", Conflict: "It contains Restock itself, which would end in the middle of its own update.",
    CrossSite = "cross_site", Forbidden: "A browser sent this for a page of another site.",
    Database = "database", Internal: "The database cannot be read or written.",
    Defect = "defect", Internal: "A mistake in Restock; the log has more.",
    DirectoryHangs = "directory_hangs", Unavailable: "The disk or the network behind a directory does not answer; other apps are not affected.",
    DiskFull = "disk_full", Upstream: "The engine has no room for the image.",
    EngineProtocol = "engine_protocol", Internal: "The Docker engine answered in a way this version does not understand.",
    EngineRefused = "engine_refused", Internal: "The Docker engine refused.",
    EngineTimeout = "engine_timeout", Unavailable: "The Docker engine did not answer in time.",
    EngineUnreachable = "engine_unreachable", Unavailable: "The Docker engine cannot be reached.",
    ForeignProject = "foreign_project", Conflict: "The containers were made from another directory.",
    GroupFailed = "group_failed", Internal: "Some containers of the group were not updated.",
    Hashing = "hashing", Internal: "The password could not be hashed.",
    HookFailed = "hook_failed", Internal: "The app's own command before the update failed; nothing was touched.",
    ImageGone = "image_gone", Conflict: "The former image is gone and cannot be fetched again.",
    ImageMissing = "image_missing", Conflict: "A service that has to be made again has no image here; build or pull it.",
    ImageMoved = "image_moved", Conflict: "A container that only had to be made again would get another image; update it by itself.",
    InvalidComposeFile = "invalid_compose_file", BrokenApp: "The Compose file is invalid; the detail has what Compose said.",
    InvalidManifest = "invalid_manifest", BrokenApp: "The store's manifest is invalid.",
    InvalidSettings = "invalid_settings", BrokenApp: "`x-restock` or a label has a value that it does not take.",
    Json = "json", Internal: "The answer could not be written.",
    Lock = "lock", Internal: "A file of locks cannot be used.",
    MethodNotAllowed = "method_not_allowed", Invalid: "The route has other methods; `Allow` names them.",
    Metrics = "metrics", Internal: "The metrics could not be written.",
    MissingId = "missing_id", Invalid: "The path lacks the container's ID.",
    MissingScope = "missing_scope", Forbidden: "The key has not the scope that the route needs.",
    MissingVolume = "missing_volume", BrokenApp: "An external volume that the Compose file names does not exist.",
    NoIcon = "no_icon", NotFound: "The app's manifest names no picture that can be shown.",
    NoProgress = "no_progress", NotFound: "No update of this container has been seen.",
    NoSuchApp = "no_such_app", NotFound: "There is no app of that name.",
    NoSuchContainer = "no_such_container", NotFound: "There is no container of that ID or name, or several begin so.",
    NoSuchEnvironment = "no_such_environment", NotFound: "The environment is neither `1` nor `local`.",
    NoSuchHost = "no_such_host", NotFound: "There is no host of that name; the hint names those that there are.",
    NoSuchImage = "no_such_image", Upstream: "The registry has no such image or tag.",
    NoSuchJob = "no_such_job", NotFound: "There is no job of that ID.",
    NoSuchPlatform = "no_such_platform", Upstream: "The image is not made for this machine's platform.",
    NoSuchRoute = "no_such_route", NotFound: "There is nothing at that path.",
    NoSuchService = "no_such_service", Invalid: "The app has no service of that name.",
    NotAwaited = "not_awaited", Conflict: "The command was ended; the job that it waited for goes on in another process.",
    NotCancellable = "not_cancellable", Conflict: "The job has ended, or another process runs it.",
    NotRunning = "not_running", Conflict: "The container's unit does not run, so there is nothing to restart.",
    NothingToRollBack = "nothing_to_roll_back", Conflict: "No update is remembered that could be taken back.",
    NothingToSkip = "nothing_to_skip", Conflict: "The registry has nothing newer that could be skipped.",
    Panic = "panic", Internal: "The job broke off because of a mistake in Restock.",
    Paused = "paused", Conflict: "A container is paused.",
    Pinned = "pinned", Conflict: "The service is pinned to a digest, so that its reference cannot mean the former image.",
    PullFailed = "pull_failed", Upstream: "A pull failed for another reason; `stderr` has what was said.",
    Random = "random", Internal: "The system gave no random numbers.",
    RegistryFailed = "registry_failed", Upstream: "A registry could not be asked.",
    RegistryRateLimited = "registry_rate_limited", Upstream: "A registry wants fewer requests.",
    RegistryUnauthorized = "registry_unauthorized", Upstream: "A registry wants (other) credentials.",
    RegistryUnreachable = "registry_unreachable", Upstream: "A registry cannot be reached.",
    RollbackFailed = "rollback_failed", Internal: "The rollback did not verify; the detail says what runs now.",
    RolledBack = "rolled_back", Internal: "The new images did not work; the former ones run again.",
    ShuttingDown = "shutting_down", Unavailable: "Restock is stopping and takes no new work.",
    Swarm = "swarm", Conflict: "The container is a task of a Swarm service, which has to be updated as one.",
    SystemdDenied = "systemd_denied", Conflict: "systemd does not allow this user to restart the container's unit; nothing was touched.",
    SystemdRefused = "systemd_refused", Conflict: "systemd refused to restart the container's unit; nothing was touched.",
    SystemdUnreachable = "systemd_unreachable", Unavailable: "The systemd that runs the container's unit cannot be reached; nothing was touched.",
    TimedOut = "timed_out", TimedOut: "It took too long; nothing was touched.",
    TooLateToCancel = "too_late_to_cancel", Conflict: "The job has begun to change containers.",
    TooManyAttempts = "too_many_attempts", TooMany: "Too many wrong passwords from this address; wait for `retry_after` seconds.",
    TooManyReaders = "too_many_readers", TooMany: "As many logs as allowed are being read; close one.",
    Unauthenticated = "unauthenticated", Unauthenticated: "A session or a key is needed.",
    UnexpectedBody = "unexpected_body", Invalid: "The route takes no body, and the request has one.",
    UnknownAction = "unknown_action", Invalid: "The route has no such action.",
    UnknownHost = "unknown_host", Forbidden: "The `Host` is no known name of this service.",
    UnknownQueryKey = "unknown_query_key", Invalid: "The route does not know a key of the query.",
    Unsettled = "unsettled", Unavailable: "A job that was interrupted there cannot be settled yet; it is tried again.",
    UpdateFailed = "update_failed", Internal: "The update failed and was left as it is.",
    WrongCredentials = "wrong_credentials", Unauthenticated: "Wrong user or password.",
}

impl std::fmt::Display for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_codes_is_in_order_and_complete() {
        assert!(Code::ALL.is_sorted_by_key(|code| code.word()));
        for code in Code::ALL {
            assert!(code.meaning().ends_with('.'), "{code}");
        }
    }

    #[test]
    fn a_kind_is_written_as_its_status_and_an_unknown_one_is_internal() {
        for kind in Kind::ALL {
            let text = serde_json::to_string(&kind).unwrap();
            assert_eq!(text, kind.status().to_string());
            assert_eq!(serde_json::from_str::<Kind>(&text).unwrap(), kind);
        }
        assert_eq!(serde_json::from_str::<Kind>("418").unwrap(), Kind::Internal);
    }

    #[test]
    fn a_refusal_is_what_begins_nothing() {
        let refusals = Kind::ALL.into_iter().filter(|kind| kind.is_refusal());
        assert!(refusals.map(Kind::status).all(|status| matches!(status, 400..=499 | 503)));
        assert!(Kind::Unavailable.is_refusal() && Kind::Invalid.is_refusal() && !Kind::Upstream.is_refusal());
    }
}

//! systemd's manager on D-Bus: restarts a unit, and tells how its job ended.

use std::time::Duration;

use futures_util::StreamExt;
use zbus::connection::Builder;
use zbus::wire::OwnedObjectPath;
use zbus::{Connection, DBusError, Proxy};

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
/// How long the bus may take to take a connection, and systemd to answer a call.
const ANSWER: Duration = Duration::from_secs(15);
/// The bus's own words for a call that systemd has got and not answered.
const NO_ANSWER: [&str; 4] = [
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Timeout",
    "org.freedesktop.DBus.Error.TimedOut",
    "org.freedesktop.DBus.Error.Disconnected",
];
/// How long a unit may take to stop and to start again; units have limits of their own, of minutes.
const RESTART: Duration = Duration::from_secs(10 * 60);

/// The systemd on one bus. Connects when it is needed: few machines need it, and rarely.
#[derive(Debug, Clone)]
pub struct Systemd {
    address: String,
}

/// Why a unit was not restarted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SystemdError {
    #[error("the D-Bus at {address} cannot be reached: {reason}")]
    NoBus { address: String, reason: String },
    #[error("nobody on the D-Bus at {address} is systemd")]
    NoSystemd { address: String },
    #[error("systemd knows no unit {unit}")]
    NoSuchUnit { unit: String },
    #[error("systemd does not allow this user to restart {unit}")]
    Denied { unit: String },
    #[error("systemd refused to restart {unit}: {reason}")]
    Refused { unit: String, reason: String },
    /// systemd's own word: `failed`, `timeout`, `dependency`, `canceled`, `skipped`.
    #[error("the restart of {unit} ended as `{result}`")]
    Job { unit: String, result: String },
    #[error("the restart of {unit} did not end within {} s", RESTART.as_secs())]
    Timeout { unit: String },
    /// It was asked for, and the bus or systemd went away before the end of it was reported.
    #[error("systemd went away while it restarted {unit}: {reason}")]
    Lost { unit: String, reason: String },
}

impl SystemdError {
    /// Returns whether systemd has begun to stop or start something.
    pub fn touched(&self) -> bool {
        matches!(self, Self::Job { .. } | Self::Timeout { .. })
    }
}

impl Systemd {
    /// The systemd on the bus with this address.
    pub fn new(address: String) -> Self {
        Self { address }
    }

    /// Restarts a unit and waits for the end of systemd's job.
    pub async fn restart(&self, unit: &str) -> Result<(), SystemdError> {
        let connecting = Builder::address(self.address.as_str()).method_timeout(ANSWER).build();
        let no_bus = |reason: String| SystemdError::NoBus { address: self.address.clone(), reason };
        let connected = tokio::time::timeout(ANSWER, connecting).await;
        let connection =
            connected.map_err(|_| no_bus("it does not answer".into()))?.map_err(|error| no_bus(error.to_string()))?;
        let restarted = tokio::time::timeout(RESTART, self.restart_on(&connection, unit)).await;
        restarted.unwrap_or_else(|_| Err(SystemdError::Timeout { unit: unit.to_owned() }))
    }

    async fn restart_on(&self, connection: &Connection, unit: &str) -> Result<(), SystemdError> {
        let failed = |error: zbus::Error| self.explain(unit, error);
        let manager = Proxy::new(connection, NAME, PATH, MANAGER).await.map_err(failed)?;
        // Listening before asking: a quick job would be over before anybody listened.
        let mut removed = manager.receive_signal("JobRemoved").await.map_err(failed)?;
        // Without it systemd tells nobody but who queued a job, and old versions not even them.
        if let Err(error) = manager.call::<_, _, ()>("Subscribe", &()).await {
            tracing::debug!(%error, "systemd takes no subscription");
        }
        // `replace`: a job that is queued for the unit already gives way.
        let asked = manager.call("RestartUnit", &(unit, "replace")).await;
        let job: OwnedObjectPath = asked.map_err(|error| self.explain_restart(unit, error))?;
        while let Some(signal) = removed.next().await {
            let body = signal.body();
            let Ok((_, path, _, result)) = body.deserialize::<(u32, OwnedObjectPath, String, String)>() else {
                continue;
            };
            if path != job {
                continue;
            }
            return match result.as_str() {
                "done" => Ok(()),
                _ => Err(SystemdError::Job { unit: unit.to_owned(), result }),
            };
        }
        Err(SystemdError::Lost { unit: unit.to_owned(), reason: "the bus ended the connection".into() })
    }

    /// An error that systemd did not send itself leaves open whether it has begun.
    fn explain_restart(&self, unit: &str, error: zbus::Error) -> SystemdError {
        let sent = match &error {
            zbus::Error::MethodError(name, ..) => !NO_ANSWER.contains(&name.as_str()),
            zbus::Error::FDO(error) => !NO_ANSWER.contains(&error.name().as_str()),
            _ => false,
        };
        if sent {
            return self.explain(unit, error);
        }
        SystemdError::Lost { unit: unit.to_owned(), reason: error.to_string() }
    }

    fn explain(&self, unit: &str, error: zbus::Error) -> SystemdError {
        let (address, unit) = (self.address.clone(), unit.to_owned());
        let (name, detail) = match &error {
            zbus::Error::MethodError(name, detail, _) => (name.to_string(), detail.clone()),
            // The bus's own errors come as a type of their own.
            zbus::Error::FDO(error) => (error.name().to_string(), error.description().map(str::to_owned)),
            other => return SystemdError::NoBus { address, reason: other.to_string() },
        };
        match name.as_str() {
            "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.systemd1.LoadFailed" => {
                SystemdError::NoSuchUnit { unit }
            }
            "org.freedesktop.DBus.Error.AccessDenied"
            | "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" => SystemdError::Denied { unit },
            "org.freedesktop.DBus.Error.ServiceUnknown" | "org.freedesktop.DBus.Error.NameHasNoOwner" => {
                SystemdError::NoSystemd { address }
            }
            _ => SystemdError::Refused { unit, reason: detail.unwrap_or(name) },
        }
    }
}

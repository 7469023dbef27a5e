//! Puts the program together from its settings.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;

use crate::adapters::apps_dir::AppsDir;
use crate::adapters::clock::Clock;
use crate::adapters::compose::Locator;
use crate::adapters::engine::Engine;
use crate::adapters::lock::Locks;
use crate::adapters::notifier::Notifier;
use crate::adapters::own_container::own_container;
use crate::adapters::registry::{Registry, RegistryOptions};
use crate::adapters::store::Store;
use crate::adapters::systemd::Systemd;
use crate::config::{LogFormat, Settings};
use crate::domain::host::HostName;
use crate::error::Error;
use crate::usecases::freshness::Freshness;
use crate::usecases::notify::{Notifying, Pace};
use crate::usecases::{HostParts, Limits, Parts, Restock, Service, Waits};

/// What is logged unless somebody says otherwise; see [`Settings::log`].
const USUAL: &str = "info";

/// Starts logging to standard error.
///
/// With `quiet`, for a command that a person waits for, only what is wrong is logged: the command itself tells the rest.
pub fn log(settings: &Settings, quiet: bool) {
    let quiet = quiet && settings.log == USUAL;
    let filter = filter(if quiet { "error" } else { settings.log.as_str() });
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Json => builder.json().flatten_event(true).init(),
        // On a terminal the default stays, which heeds NO_COLOR.
        LogFormat::Text if std::io::stderr().is_terminal() => builder.init(),
        LogFormat::Text => builder.with_ansi(false).init(),
    }
}

/// The engine's client logs the bodies of answers, which contain what is secret: options of volumes, lines
/// of containers' logs.
fn filter(asked: &str) -> EnvFilter {
    EnvFilter::new(format!("{asked},bollard=off"))
}

/// Opens the database and puts the parts together. Neither Docker nor a registry is contacted.
pub async fn restock(settings: &Settings) -> Result<Arc<Restock>, Error> {
    let store = Store::open_away(&settings.data).await?;
    let mut options = RegistryOptions::new(settings.docker_config());
    options.helper_path = Some(settings.search_path().to_owned());
    options.helper_environment = settings.child_environment().clone();
    let freshness =
        Freshness::new(Registry::new(options), store.clone()).await?.with_version_lookup(settings.version_lookup);
    let service = Service::new(Parts {
        limits: Limits {
            health_timeout: settings.health_timeout,
            settle: settings.settle,
            keep: settings.keep,
            cleanup: settings.cleanup,
            pull_timeout: settings.pull_timeout,
            concurrency: settings.concurrency,
            window: settings.window.clone(),
            zone: settings.timezone.clone(),
            waits: Waits::default(),
        },
        clock: Clock::system(),
        locks: Locks::new(&settings.data),
        store,
        freshness,
        notifying: Notifying::new(
            Notifier::new(settings.notify.clone(), settings.child_environment().clone()),
            Pace::default(),
        ),
    });
    let local = HostParts {
        name: HostName::local(),
        engine: Engine::new(settings.docker_host.clone())?,
        apps: AppsDir::new(HostName::local(), settings.apps.clone()),
        locator: Locator::new(settings.child_environment().clone()),
        systemd: Systemd::new(settings.dbus.clone()),
        own_container: own_container(Path::new("/proc/self/mountinfo")),
    };
    Ok(Restock::new(service, vec![local]))
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn answers_of_the_engine_are_never_logged() {
        for asked in ["debug", "trace", "bollard=debug,restock=debug"] {
            let written = Written::default();
            let writer = written.clone();
            let subscriber =
                tracing_subscriber::fmt().with_env_filter(filter(asked)).with_writer(move || writer.clone()).finish();
            tracing::subscriber::with_default(subscriber, || {
                tracing::debug!(target: "bollard::docker", "Decoded into string: password");
                tracing::debug!(target: "restock::usecases", "what is shown");
            });
            let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(text.contains("what is shown") && !text.contains("password"), "{asked}: {text}");
        }
    }
}

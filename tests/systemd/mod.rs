//! A D-Bus of a test's own, and on it a stand-in for systemd's manager: the tests of the second and third ring share it.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use zbus::object_server::SignalEmitter;
use zbus::wire::{ObjectPath, OwnedObjectPath};
use zbus::{Connection, fdo};

/// What a restart is answered with.
#[allow(dead_code, reason = "each ring has its own faults")]
pub enum Answer {
    Denied,
    Refused(&'static str),
    /// What the bus says for a manager that has left it before its answer.
    Lost,
    /// A job, with what it does; it gives systemd's word for its end.
    Job(Box<dyn FnOnce() -> &'static str + Send>),
    /// Nothing, ever.
    Never,
    /// The manager leaves the bus without an answer.
    Gone,
}

/// Answers the restart of a unit. It must not block; a job may.
pub type Restart = Arc<dyn Fn(&str) -> Answer + Send + Sync>;

/// The bus alone. It ends with the value.
pub struct Bus {
    daemon: Child,
    pub address: String,
}

impl Bus {
    /// Starts a bus with its files in `dir`; it listens when this returns.
    #[expect(clippy::disallowed_methods, reason = "tests start the real programs")]
    pub fn start(dir: &Path) -> Self {
        let (socket, config) = (dir.join("bus"), dir.join("bus.conf"));
        let text = format!(
            "<busconfig><type>session</type><listen>unix:path={}</listen><auth>EXTERNAL</auth>\
             <policy context='default'><allow send_destination='*'/><allow receive_sender='*'/><allow own='*'/></policy>\
             </busconfig>",
            socket.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("dbus-daemon");
        command.arg("--nofork").arg("--print-address").arg("--config-file").arg(&config);
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut daemon = daemon.expect("dbus-daemon, which fixtures/engine/setup brings");
        // It prints its address when it listens.
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "{line}");
        Self { daemon, address: format!("unix:path={}", socket.display()) }
    }

    /// Puts a manager on the bus that stays while the connection does.
    pub async fn serve(&self, restart: Restart) -> Connection {
        let builder = zbus::connection::Builder::address(self.address.as_str());
        let builder = builder.serve_at("/org/freedesktop/systemd1", Manager { restart });
        builder.name("org.freedesktop.systemd1").build().await.unwrap()
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

struct Manager {
    restart: Restart,
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl Manager {
    async fn restart_unit(
        &self,
        unit: String,
        mode: String,
        #[zbus(connection)] connection: &Connection,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> fdo::Result<OwnedObjectPath> {
        assert_eq!(mode, "replace");
        let work = match (self.restart)(&unit) {
            Answer::Denied => return Err(fdo::Error::AccessDenied("Permission denied".into())),
            Answer::Refused(reason) => return Err(fdo::Error::Failed(reason.into())),
            Answer::Lost => return Err(fdo::Error::NoReply("Message recipient disconnected".into())),
            Answer::Job(work) => work,
            Answer::Never => return std::future::pending().await,
            Answer::Gone => {
                let _ = connection.clone().close().await;
                return std::future::pending().await;
            }
        };
        let (emitter, path) = (emitter.to_owned(), ObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap());
        let job = path.clone();
        tokio::spawn(async move {
            let result = tokio::task::spawn_blocking(work).await.unwrap();
            // One of another job first, which is not this one.
            let other = ObjectPath::try_from("/org/freedesktop/systemd1/job/6").unwrap();
            Self::job_removed(&emitter, 6, other, "other.service", "failed").await.unwrap();
            Self::job_removed(&emitter, 7, job, &unit, result).await.unwrap();
        });
        Ok(path.into())
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: ObjectPath<'_>,
        unit: &str,
        result: &str,
    ) -> zbus::Result<()>;
}

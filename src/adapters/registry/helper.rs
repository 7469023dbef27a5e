//! Asks a credential helper, `docker-credential-<name> get`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::error::RegistryError;
use super::login::Credentials;

/// Credentials are short; what writes more is no helper.
const MAX_OUTPUT: u64 = 64 * 1024;
/// What helpers print, with a failing exit code, when they have nothing for a registry.
const NOT_FOUND: &str = "credentials not found";
/// The user's name that marks the secret as an identity token.
const IDENTITY_TOKEN: &str = "<token>";

/// How helpers are found and run.
#[derive(Debug, Clone)]
pub(super) struct Helpers {
    /// The search path for programs; none means that there are no helpers.
    pub path: Option<OsString>,
    /// The complete environment of a helper. Stores of desktops need more of it than a registry client may know.
    pub environment: BTreeMap<OsString, OsString>,
    /// How long a helper may take. One that asks a person for a passphrase would wait for ever.
    pub timeout: Duration,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Reply {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

impl Helpers {
    /// The credentials that `helper` keeps for `server`; [`Credentials::Anonymous`] if it has none.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Helper`] if the helper is missing, fails, says rubbish or does not end in time.
    pub(super) async fn get(&self, helper: &str, server: &str) -> Result<Credentials, RegistryError> {
        let failed = |reason: String| RegistryError::Helper { helper: helper.to_owned(), reason };
        // The name comes from a file and becomes part of a program's name.
        if !helper.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            return Err(failed("is not a name of a helper".to_owned()));
        }
        let program = which::which_in(format!("docker-credential-{helper}"), self.path.as_ref(), "/")
            .map_err(|_| failed("is not installed".to_owned()))?;
        let run = run(&program, server, &self.environment);
        match tokio::time::timeout(self.timeout, run).await {
            Ok(Ok((status, output))) => read(status, &output).map_err(failed),
            Ok(Err(error)) => Err(failed(format!("could not be run: {error}"))),
            Err(_) => Err(failed(format!("gave no answer within {:?}", self.timeout))),
        }
    }
}

/// Makes sense of a reply. The output of a failed helper is not repeated: it can contain anything.
fn read(status: ExitStatus, output: &[u8]) -> Result<Credentials, String> {
    if !status.success() {
        let nothing = String::from_utf8_lossy(output).to_lowercase().contains(NOT_FOUND);
        return if nothing { Ok(Credentials::Anonymous) } else { Err(format!("failed with {status}")) };
    }
    let reply: Reply = serde_json::from_slice(output).map_err(|_| "gave an answer that is not JSON".to_owned())?;
    Ok(match (reply.username.as_str(), reply.secret) {
        (_, secret) if secret.is_empty() => Credentials::Anonymous,
        (IDENTITY_TOKEN, secret) => Credentials::IdentityToken(secret),
        (username, secret) => Credentials::Password { username: username.to_owned(), password: secret },
    })
}

/// Runs the helper in a process group of its own, which ends with the future: helpers start other programs (`gpg`,
/// `aws`) that must not outlive a timeout.
#[expect(
    clippy::disallowed_methods,
    reason = "a child whose input and output are secrets, with its own short deadline"
)]
async fn run(
    program: &Path,
    server: &str,
    environment: &BTreeMap<OsString, OsString>,
) -> io::Result<(ExitStatus, Vec<u8>)> {
    let mut child = tokio::process::Command::new(program)
        .arg("get")
        .env_clear()
        .envs(environment)
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()?;
    let mut group = Group::of(&child);
    if let Some(mut input) = child.stdin.take() {
        // A helper that needs no input may have closed it.
        let _ = input.write_all(server.as_bytes()).await;
    }
    let mut output = Vec::new();
    if let Some(pipe) = child.stdout.take() {
        pipe.take(MAX_OUTPUT).read_to_end(&mut output).await?;
    }
    let status = child.wait().await?;
    group.ended();
    Ok((status, output))
}

/// Kills a process group when it goes away before the group's leader has been seen to end.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?)))
    }

    fn ended(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::*;

    #[test]
    fn replies_are_read_as_the_cli_reads_them() {
        let ok = ExitStatus::from_raw(0);
        let failed = ExitStatus::from_raw(1 << 8);
        let password = Credentials::Password { username: "u".to_owned(), password: "s".to_owned() };
        let table = [
            (ok, r#"{"ServerURL":"r","Username":"u","Secret":"s"}"#, Ok(password)),
            (
                ok,
                r#"{"ServerURL":"r","Username":"<token>","Secret":"t"}"#,
                Ok(Credentials::IdentityToken("t".to_owned())),
            ),
            (ok, r#"{"ServerURL":"r","Username":"","Secret":""}"#, Ok(Credentials::Anonymous)),
            (failed, "credentials not found in native keychain\n", Ok(Credentials::Anonymous)),
            (failed, "s3cret", Err("failed with exit status: 1".to_owned())),
            (ok, "s3cret", Err("gave an answer that is not JSON".to_owned())),
        ];
        for (status, output, expected) in table {
            assert_eq!(read(status, output.as_bytes()), expected, "{output}");
        }
    }
}

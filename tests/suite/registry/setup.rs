//! What every test of the registry client needs.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use restock::adapters::registry::{Registry, RegistryError, RegistryOptions, RemoteDigest, RequestKind};
use restock::domain::image::ImageReference;
use tempfile::TempDir;

/// A client with a home of its own.
pub struct Client {
    pub registry: Registry,
    pub home: TempDir,
}

impl Client {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut RegistryOptions)) -> Self {
        Self::at(TempDir::new().expect("a directory"), change)
    }

    pub fn at(home: TempDir, change: impl FnOnce(&mut RegistryOptions)) -> Self {
        let mut options = RegistryOptions::new(home.path().join("config.json"));
        options.certs_dir = home.path().join("certs.d");
        options.helper_path = Some(home.path().join("bin").into());
        options.helper_environment = BTreeMap::from([("PATH".into(), "/usr/bin:/bin".into())]);
        options.helper_timeout = Duration::from_secs(10);
        options.request_timeout = Duration::from_secs(10);
        change(&mut options);
        Self { registry: Registry::new(options), home }
    }

    /// Asks for a digest and gives it back as text.
    pub async fn digest(&self, reference: &str) -> Result<String, RegistryError> {
        self.remote(reference).await.map(|remote| remote.digest.to_string())
    }

    pub async fn remote(&self, reference: &str) -> Result<RemoteDigest, RegistryError> {
        self.registry.digest(&parsed(reference), None).await
    }

    pub fn write_config(&self, content: &str) {
        write_config(&self.home.path().join("config.json"), content);
    }

    /// Puts a helper on the client's search path.
    pub fn write_helper(&self, name: &str, script: &str) {
        write_helper(self.home.path(), name, script);
    }

    /// The requests of one kind that the client counted.
    pub fn counted(&self, kind: RequestKind) -> u64 {
        let counts = self.registry.stats().counts();
        counts.iter().filter(|count| count.kind == kind).map(|count| count.requests).sum()
    }
}

pub fn parsed(reference: &str) -> ImageReference {
    reference.parse().expect("a reference")
}

/// A `config.json` with one login.
pub fn login(registry: &str, username: &str, password: &str) -> String {
    let auth = STANDARD.encode(format!("{username}:{password}"));
    format!(r#"{{"auths":{{"{registry}":{{"auth":"{auth}"}}}}}}"#)
}

pub fn basic(username: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{username}:{password}")))
}

/// Replaces a file as the Docker CLI does, by renaming a new one.
pub fn write_config(path: &Path, content: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, content).expect("written");
    std::fs::rename(new, path).expect("renamed");
}

/// Writes a program through a child, so that no child of another test's thread can hold it open for writing, which would
/// make it "busy".
pub fn write_helper(home: &Path, name: &str, script: &str) {
    let folder: PathBuf = home.join("bin");
    std::fs::create_dir_all(&folder).expect("created");
    let mut writer = std::process::Command::new("/bin/sh")
        .args(["-c", r#"cat >"$0" && chmod 755 "$0""#])
        .arg(folder.join(format!("docker-credential-{name}")))
        .stdin(Stdio::piped())
        .spawn()
        .expect("started");
    let mut input = writer.stdin.take().expect("an input");
    write!(input, "#!/bin/sh\n{script}\n").expect("written");
    drop(input);
    assert!(writer.wait().expect("ended").success());
}

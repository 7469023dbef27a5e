//! Finds the credentials for a registry, as they are at the moment.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::future::Cache;

use super::super::disk::Disk;
use super::docker_config::{DockerConfig, Source};
use super::error::RegistryError;
use super::helper::Helpers;
use super::login::Login;

/// How long a helper's answer is used: a check of everything runs a helper a few times at most, and a `docker login`,
/// which changes no file where a helper keeps the credentials, counts from the next check on.
const HELPER_TTL: Duration = Duration::from_secs(3);
/// A `config.json` is a few kilobytes.
const MAX_FILE: u64 = 1024 * 1024;

/// All places where credentials are kept.
pub(super) struct CredentialStore {
    docker_config: PathBuf,
    helpers: Helpers,
    files: Arc<Mutex<HashMap<PathBuf, File>>>,
    disk: Disk,
    answers: Cache<HelperKey, Login>,
}

/// A file as it was when it was read.
struct File {
    version: Version,
    config: Result<Arc<DockerConfig>, String>,
}

/// Changes whenever a file is written or replaced, also within one tick of the clock and with the same size.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct HelperKey {
    helper: String,
    server: String,
}

impl CredentialStore {
    pub(super) fn new(docker_config: PathBuf, helpers: Helpers) -> Self {
        let answers = Cache::builder().max_capacity(1000).time_to_live(HELPER_TTL).build();
        Self { docker_config, helpers, files: Arc::default(), disk: Disk::default(), answers }
    }

    /// The login for a repository: from `authfile` if one is given and from nowhere else then, else from Docker's file.
    ///
    /// # Errors
    ///
    /// [`RegistryError::CredentialsFile`] for an `authfile` that cannot be used. A missing or broken `config.json` of
    /// Docker means anonymous questions, as it does for `docker pull`.
    pub(super) async fn login(
        &self,
        registry: &str,
        repository: &str,
        authfile: Option<&Path>,
    ) -> Result<Login, RegistryError> {
        let path = authfile.unwrap_or(&self.docker_config);
        let unusable = |reason| RegistryError::CredentialsFile { path: path.to_owned(), reason };
        let (files, file) = (self.files.clone(), path.to_owned());
        let read = self.disk.run(path, move || read(&files, &file)).await;
        let config = match read.unwrap_or_else(|hangs| Err(hangs.to_string())) {
            Ok(Some(config)) => config,
            Ok(None) if authfile.is_some() => return Err(unusable("does not exist".to_owned())),
            Ok(None) => return Ok(Login::anonymous()),
            Err(reason) if authfile.is_some() => return Err(unusable(reason)),
            Err(reason) => return Ok(Login::without(unusable(reason))),
        };
        Ok(match config.source(registry, repository) {
            Source::None => Login::anonymous(),
            Source::Here(credentials) => Login { credentials, trouble: None },
            Source::Broken(reason) => Login::without(unusable(reason)),
            Source::Helper { helper, server } => self.ask(HelperKey { helper, server }).await,
        })
    }

    /// Runs a helper once for all who wait for it.
    async fn ask(&self, key: HelperKey) -> Login {
        let answer = async {
            match self.helpers.get(&key.helper, &key.server).await {
                Ok(credentials) => Login { credentials, trouble: None },
                Err(trouble) => {
                    tracing::warn!(helper = key.helper, error = %trouble, "no credentials from the helper, going on without");
                    Login::without(trouble)
                }
            }
        };
        self.answers.get_with(key.clone(), answer).await
    }
}

/// The file's content; none if there is no file. It is parsed again only when it has changed. Blocks.
fn read(files: &Mutex<HashMap<PathBuf, File>>, path: &Path) -> Result<Option<Arc<DockerConfig>>, String> {
    // The version is taken before reading: what is written in between is noticed the next time.
    let version = match std::fs::metadata(path) {
        // A pipe would never end.
        Ok(metadata) if !metadata.is_file() => return Err("is no file".to_owned()),
        Ok(metadata) if metadata.len() > MAX_FILE => return Err("is too large".to_owned()),
        Ok(metadata) => Version {
            inode: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let mut files = files.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = files.get(path).filter(|file| file.version == version) {
        return file.config.clone().map(Some);
    }
    let config = parse(path);
    if let Err(reason) = &config {
        tracing::warn!(file = %path.display(), reason, "the credentials file cannot be used");
    }
    files.insert(path.to_owned(), File { version, config: config.clone() });
    config.map(Some)
}

/// Where a parser stopped, without what it found there.
fn parse(path: &Path) -> Result<Arc<DockerConfig>, String> {
    let content = std::fs::read(path).map_err(|error| format!("cannot be read: {error}"))?;
    let config = serde_json::from_slice(&content)
        .map_err(|error| format!("is not a Docker configuration (line {}, column {})", error.line(), error.column()))?;
    Ok(Arc::new(config))
}

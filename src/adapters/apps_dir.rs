//! The apps directory: which apps there are, looked at again each time.

mod files;
mod look;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use files::Fingerprint;
pub use look::{AppsLook, FoundApp};

use super::disk::{Disk, Hangs};
use super::flights::Flights;
use crate::domain::app::AppName;
use crate::domain::host::{AppId, HostName, Subject, Target};

/// The names of a Compose file, in the order in which Compose looks for them.
const COMPOSE_FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
/// A file larger than this is no manifest or Compose file that anybody wrote.
const MAX_FILE: u64 = 1 << 20;

/// Why a directory is not a working app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppDirError {
    #[error("the apps directory {path} cannot be read: {reason}")]
    Directory { path: String, reason: String },
    #[error("no such app: {0}")]
    NoSuchApp(String),
    #[error(transparent)]
    Hangs(#[from] Hangs),
}

/// One app's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppDir {
    /// The host that its containers are on.
    pub host: HostName,
    pub name: AppName,
    /// Absolute, and spelled as the apps directory was: Compose resolves relative mounts against it.
    pub path: PathBuf,
    pub compose_file: PathBuf,
    /// The same directory without links.
    real: PathBuf,
    /// The store's manifest, or what is wrong with it.
    pub manifest: Option<Result<Manifest, String>>,
    /// The picture that the manifest names, if it can be shown.
    pub icon: Option<Icon>,
    /// The way to its files.
    disk: Disk,
}

/// `manifest.json` of an app store, in the style of furtka.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Manifest {
    pub name: Option<String>,
    pub display_name: Option<String>,
    pub version: Option<String>,
    pub description: Option<String>,
    /// Short names of volumes; each exists as `furtka_<app>_<volume>`.
    #[serde(default)]
    pub volumes: Vec<String>,
    /// As the store wrote them: numbers or texts.
    #[serde(default)]
    pub ports: serde_json::Value,
    pub icon: Option<String>,
}

/// Pictures that may be shown, by the ending of their files.
const PICTURES: [(&str, &str); 5] = [
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
];
/// The largest picture that is shown, in bytes.
const LARGEST_PICTURE: u64 = 1 << 20;

/// A picture in an app's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Icon {
    /// Without links.
    pub path: PathBuf,
    pub media_type: &'static str,
}

/// The longest time that a look at all apps waits for one of them: a list must not wait for a disk that sleeps.
const GLANCE: Duration = Duration::from_secs(1);

/// The directory that holds the apps. Clones share what was last seen in it.
///
/// It may lie on a disk that sleeps or on a network that hangs, and so may each app by itself: every call here has a
/// deadline, and an app that hangs keeps no other from being seen.
#[derive(Debug, Clone)]
pub struct AppsDir {
    host: HostName,
    root: PathBuf,
    disk: Disk,
    seen: Arc<Mutex<Option<Arc<AppsLook>>>>,
    /// Looks follow each other: each takes over from the last one.
    looking: Arc<tokio::sync::Mutex<()>>,
    /// Looks at single apps that are under way: many who ask for one at once share two of them.
    finding: Arc<Mutex<BTreeMap<AppName, Finding>>>,
}

/// Looks at one app, shared by all who ask for it at the same time.
type Finding = Arc<Flights<Result<Option<AppDir>, Hangs>>>;

impl AppsDir {
    /// The apps of a host. `root` is absolute; it need not exist yet.
    pub fn new(host: HostName, root: PathBuf) -> Self {
        Self {
            host,
            root,
            disk: Disk::default(),
            seen: Arc::default(),
            looking: Arc::default(),
            finding: Arc::default(),
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// All apps, by name. What is no app (no Compose file, no valid name, a link that leads out) is not among them.
    /// One that hangs is among them.
    ///
    /// # Errors
    /// The directory itself cannot be read, or hangs.
    pub async fn list(&self) -> Result<Vec<AppDir>, AppDirError> {
        Ok(self.look().await?.apps().map(|found| found.dir.clone()).collect())
    }

    /// All apps with the state of their files, as they are now: only what has changed since the last look is read.
    ///
    /// # Errors
    /// As [`AppsDir::list`].
    pub async fn look(&self) -> Result<Arc<AppsLook>, AppDirError> {
        let _looking = self.looking.lock().await;
        let look = Arc::new(AppsLook::at(self, self.last_look()).await?);
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(look.clone());
        Ok(look)
    }

    fn last_look(&self) -> Option<Arc<AppsLook>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns whether an app was there at the last look.
    pub fn was_seen(&self, name: &str) -> bool {
        self.last_look().is_some_and(|look| look.has(name))
    }

    /// The state of an app's files now.
    ///
    /// # Errors
    /// The app's directory hangs.
    pub async fn fingerprint(&self, app: &AppDir) -> Result<Arc<Fingerprint>, AppDirError> {
        let (seen, own) = (self.last_look(), app.clone());
        let now = move || {
            let known = seen.and_then(|seen| seen.files_of(&own));
            known.unwrap_or_else(|| Arc::new(Fingerprint::of(&own.path)))
        };
        Ok(self.disk.run(&app.path, now).await?)
    }

    /// The names that an app could have, of everything in the directory.
    fn names(&self) -> Result<Vec<AppName>, AppDirError> {
        let wrong = |error: io::Error| AppDirError::Directory {
            path: self.root.display().to_string(),
            reason: error.to_string(),
        };
        let entries = std::fs::read_dir(&self.root).map_err(wrong)?;
        Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
    }

    /// One app.
    ///
    /// # Errors
    /// [`AppDirError::NoSuchApp`] for every text that is not an app's name and every name without an app; while the
    /// directory itself cannot be read or hangs, nobody can tell which apps there are.
    pub async fn find(&self, name: &str) -> Result<AppDir, AppDirError> {
        let none = || AppDirError::NoSuchApp(name.chars().take(80).collect());
        let parsed = name.parse::<AppName>().map_err(|_| none())?;
        let finding = self.lock_finding().entry(parsed.clone()).or_default().clone();
        let (apps, path, own) = (self.clone(), self.root.join(parsed.as_str()), parsed.clone());
        let found = finding.run(Duration::ZERO, || self.disk.run(&path, move || apps.open(own))).await;
        drop(finding);
        // Whoever is the last takes it away.
        self.lock_finding().retain(|_, finding| Arc::strong_count(finding) > 1);
        match found? {
            Some(app) => Ok(app),
            None => Err(self.check().await.err().unwrap_or_else(none)),
        }
    }

    fn lock_finding(&self) -> MutexGuard<'_, BTreeMap<AppName, Finding>> {
        self.finding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Proves that the directory can be read.
    ///
    /// # Errors
    /// It cannot, or hangs.
    pub async fn check(&self) -> Result<(), AppDirError> {
        let apps = self.clone();
        self.disk.run(&self.root, move || apps.names()).await?.map(drop)
    }

    fn open(&self, name: AppName) -> Option<AppDir> {
        let path = self.root.join(name.as_str());
        let real = path.canonicalize().ok()?;
        if !real.starts_with(self.root.canonicalize().ok()?) || !path.is_dir() {
            return None;
        }
        // `symlink_metadata`: a Compose file that is a dangling link is a broken app, not no app.
        let compose_file =
            COMPOSE_FILES.iter().map(|file| path.join(file)).find(|file| file.symlink_metadata().is_ok())?;
        let manifest = read_manifest(&path.join("manifest.json"));
        let icon = icon(&real, manifest.as_ref());
        Some(AppDir {
            host: self.host.clone(),
            name,
            path,
            compose_file,
            real,
            manifest,
            icon,
            disk: self.disk.clone(),
        })
    }

    /// An app of which nothing can be seen.
    fn unseen(&self, name: AppName) -> AppDir {
        let path = self.root.join(name.as_str());
        let compose_file = path.join(COMPOSE_FILES[0]);
        AppDir {
            host: self.host.clone(),
            name,
            real: path.clone(),
            path,
            compose_file,
            manifest: None,
            icon: None,
            disk: self.disk.clone(),
        }
    }
}

impl AppDir {
    /// The app as what a job works on.
    pub fn target(&self) -> Target {
        Target::new(&self.host, Subject::App(self.name.to_string()))
    }

    /// The app's name with its host.
    pub fn id(&self) -> AppId {
        AppId { host: self.host.clone(), name: self.name.clone() }
    }

    /// Returns whether there is a Compose file: a link may lead to none.
    ///
    /// # Errors
    /// The directory hangs.
    pub async fn has_compose_file(&self) -> Result<bool, AppDirError> {
        let file = self.compose_file.clone();
        Ok(self.disk.run(&self.path, move || file.is_file()).await?)
    }

    /// The bytes of a picture of this app.
    ///
    /// # Errors
    /// The directory hangs; the inner result says why the file cannot be read.
    pub async fn read(&self, icon: &Icon) -> Result<io::Result<Vec<u8>>, AppDirError> {
        let path = icon.path.clone();
        Ok(self.disk.run(&self.path, move || std::fs::read(path)).await?)
    }

    /// Returns whether `dir` is this app's directory by another name. One that hangs is not.
    pub async fn is_at(&self, dir: &Path) -> bool {
        if dir == self.path {
            return true;
        }
        let other = dir.to_owned();
        let found = self.disk.run(dir, move || other.canonicalize()).await;
        found.is_ok_and(|found| found.is_ok_and(|found| found == self.real))
    }

    /// The names of the external volumes that the manifest asks for, or what is wrong with the manifest.
    pub fn manifest_volumes(&self) -> Result<Vec<String>, String> {
        match &self.manifest {
            None => Ok(Vec::new()),
            Some(Err(reason)) => Err(reason.clone()),
            Some(Ok(manifest)) => manifest.volumes.iter().map(|volume| self.volume_name(volume)).collect(),
        }
    }

    /// Volume names share the grammar of app names (Docker: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`).
    fn volume_name(&self, short: &str) -> Result<String, String> {
        match short.parse::<AppName>() {
            Ok(short) => Ok(format!("furtka_{}_{short}", self.name)),
            Err(_) => {
                Err(format!("manifest.json: `{short}` is no name of a volume: use letters, digits, `_`, `.` and `-`"))
            }
        }
    }

    /// The values of the app's own variables, which no message may show: those of `.env` and other `*.env` files, and
    /// those of its `env_file`s, and those under `environment` of its Compose files. Best effort: what cannot be read has no values.
    ///
    /// # Errors
    /// The directory hangs: then nobody can tell what is secret.
    pub async fn secret_values(&self) -> Result<Vec<String>, AppDirError> {
        let path = self.path.clone();
        Ok(self.disk.run(&self.path, move || secret_values(&path)).await?)
    }
}

/// The picture that a manifest names: a file of a known type in the app's own directory `real`, where links count as what
/// they lead to. `None` for anything else.
fn icon(real: &Path, manifest: Option<&Result<Manifest, String>>) -> Option<Icon> {
    let named = manifest?.as_ref().ok()?.icon.as_ref()?;
    let path = real.join(named).canonicalize().ok()?;
    let file = path.metadata().ok()?;
    if !path.starts_with(real) || !file.is_file() || file.len() > LARGEST_PICTURE {
        return None;
    }
    let ending = path.extension()?.to_str()?.to_ascii_lowercase();
    let (_, media_type) = PICTURES.into_iter().find(|(known, _)| *known == ending)?;
    Some(Icon { path, media_type })
}

fn secret_values(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut values = Vec::new();
    for file in entries {
        let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(text) = read_small(&file) else { continue };
        if name.ends_with(".env") || name.starts_with(".env") {
            values.extend(env_values(&text));
        } else if (name.ends_with(".yaml") || name.ends_with(".yml"))
            && let Ok(document) = serde_yaml::from_str::<serde_yaml::Value>(&text)
        {
            collect_environment(&document, false, &mut values);
            let files = env_files(&document).into_iter().filter_map(|file| read_small(&dir.join(file)));
            files.for_each(|text| values.extend(env_values(&text)));
        }
    }
    values
}

fn read_small(path: &Path) -> Option<String> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return None;
    }
    std::fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Every text by which Compose might name a value of a file of variables: the value as it stands, without its comment,
/// without its quotes. A line that is no assignment belongs to a value of several lines.
fn env_values(text: &str) -> Vec<String> {
    let mut values = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        // Compose takes `KEY: value` as well; but such a line may also be one of a value of several lines.
        let assigned = line.split_once(['=', ':']).filter(|(key, _)| is_variable(key));
        let value = assigned.map_or(line, |(_, value)| value.trim());
        values.extend(assigned.filter(|(key, _)| line[key.len()..].starts_with(':')).map(|_| line.to_owned()));
        let plain = value.split(" #").next().unwrap_or_default().trim();
        let quoted = value.chars().next().filter(|quote| matches!(quote, '"' | '\''));
        let quoted = quoted.and_then(|quote| value[1..].split(quote).next());
        values.extend([value, plain, value.trim_matches(['"', '\''])].into_iter().chain(quoted).map(str::to_owned));
    }
    values
}

fn is_variable(key: &str) -> bool {
    let name = key.trim().trim_start_matches("export ").trim();
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// The files that any key `env_file` of a Compose file names.
fn env_files(value: &serde_yaml::Value) -> Vec<String> {
    let inside = |value: &serde_yaml::Value| match value {
        serde_yaml::Value::String(path) => vec![path.clone()],
        serde_yaml::Value::Sequence(items) => {
            let path =
                |item: &serde_yaml::Value| Some(item.as_str().or_else(|| item.get("path")?.as_str())?.to_owned());
            items.iter().filter_map(path).collect()
        }
        _ => Vec::new(),
    };
    match value {
        serde_yaml::Value::Mapping(mapping) => {
            let of = |(key, value): (&serde_yaml::Value, _)| {
                if key.as_str() == Some("env_file") { inside(value) } else { env_files(value) }
            };
            mapping.iter().flat_map(of).collect()
        }
        serde_yaml::Value::Sequence(items) => items.iter().flat_map(env_files).collect(),
        _ => Vec::new(),
    }
}

/// Collects the scalars below every key `environment`, whatever the document's shape.
fn collect_environment(value: &serde_yaml::Value, inside: bool, values: &mut Vec<String>) {
    match value {
        serde_yaml::Value::Mapping(mapping) => {
            for (key, value) in mapping {
                collect_environment(value, inside || key.as_str() == Some("environment"), values);
            }
        }
        serde_yaml::Value::Sequence(items) => items.iter().for_each(|item| collect_environment(item, inside, values)),
        serde_yaml::Value::Tagged(tagged) => collect_environment(&tagged.value, inside, values),
        serde_yaml::Value::String(text) if inside => {
            // A `$` is written `$$` here, and Compose says it as one.
            values.push(text.split_once('=').map_or(text.as_str(), |(_, value)| value).replace("$$", "$"));
        }
        serde_yaml::Value::Number(number) if inside => values.push(number.to_string()),
        _ => {}
    }
}

fn read_manifest(path: &Path) -> Option<Result<Manifest, String>> {
    let metadata = std::fs::metadata(path).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_FILE {
        return Some(Err("manifest.json is no file, or larger than 1 MiB".into()));
    }
    let read = std::fs::read(path).map_err(|error| format!("manifest.json cannot be read: {error}"));
    Some(
        read.and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| format!("manifest.json is invalid: {error}"))
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn apps(files: &[(&str, &str)]) -> (tempfile::TempDir, AppsDir) {
        let dir = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = dir.path().join("apps").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let apps = AppsDir::new(HostName::local(), dir.path().join("apps"));
        (dir, apps)
    }

    #[test]
    fn a_value_after_a_colon_is_a_value() {
        let values = env_values("A: hunter22\nexport B:swordfish # mine\nC=x:y\nhttps://a.test/token\n");
        for value in ["hunter22", "swordfish", "x:y", "https://a.test/token"] {
            assert!(values.iter().any(|known| known == value), "{value}: {values:?}");
        }
    }

    #[tokio::test]
    async fn directories_with_a_compose_file_are_apps() {
        let (_dir, apps) =
            apps(&[("b/compose.yml", ""), ("a/docker-compose.yaml", ""), ("none/readme", ""), (".x/compose.yaml", "")]);
        let names: Vec<_> = apps.list().await.unwrap().into_iter().map(|app| app.name.to_string()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[tokio::test]
    async fn the_first_of_the_four_names_wins() {
        let (_dir, apps) = apps(&[("a/docker-compose.yml", ""), ("a/compose.yml", "")]);
        assert!(apps.find("a").await.unwrap().compose_file.ends_with("compose.yml"));
    }

    #[tokio::test]
    async fn links_that_lead_out_are_no_apps_and_links_inside_are() {
        let (dir, apps) = apps(&[("a/compose.yaml", ""), ("../outside/compose.yaml", "")]);
        let root = dir.path().join("apps");
        std::os::unix::fs::symlink(dir.path().join("outside"), root.join("out")).unwrap();
        std::os::unix::fs::symlink(root.join("a"), root.join("in")).unwrap();
        assert!(apps.find("out").await.is_err());
        assert!(apps.find("in").await.is_ok());
        for name in ["..", ".", "", "a/../a", "%2e%2e"] {
            assert!(apps.find(name).await.is_err(), "{name}");
        }
    }

    #[tokio::test]
    async fn an_unreadable_directory_is_no_proof_that_an_app_is_gone() {
        let (dir, apps) = apps(&[("a/compose.yaml", "")]);
        fs::rename(dir.path().join("apps"), dir.path().join("unmounted")).unwrap();
        assert!(matches!(apps.find("a").await, Err(AppDirError::Directory { .. })));
        assert!(matches!(apps.find("../a").await, Err(AppDirError::NoSuchApp(_))));
        assert!(apps.list().await.is_err() && apps.check().await.is_err());
        fs::rename(dir.path().join("unmounted"), dir.path().join("apps")).unwrap();
        assert!(apps.find("a").await.is_ok() && apps.list().await.is_ok());
        assert!(matches!(apps.find("b").await, Err(AppDirError::NoSuchApp(_))));
    }

    #[tokio::test]
    async fn a_look_sees_every_change_and_is_the_same_without_one() {
        let (dir, apps) = apps(&[("a/compose.yaml", "x"), ("b/readme", "")]);
        let root = dir.path().join("apps");
        let mut version = apps.look().await.unwrap().version;
        let mut changed = async |what: &str, is_seen: bool| {
            let look = apps.look().await.unwrap();
            assert_eq!(look.version != version, is_seen, "{what}");
            version = look.version;
            look.apps().count()
        };
        assert_eq!(changed("nothing", false).await, 1);
        // Most often in the same tick of the clock.
        fs::write(root.join("a/compose.yaml"), "xx").unwrap();
        changed("an edit", true).await;
        fs::write(root.join("b/compose.yaml"), "").unwrap();
        assert_eq!(changed("a new app", true).await, 2);
        fs::write(root.join("b/data"), "").unwrap();
        assert_eq!(changed("a file that the project does not use", false).await, 2);
        fs::write(root.join("a/manifest.json"), "{}").unwrap();
        changed("a manifest", true).await;
        fs::remove_dir_all(root.join("a")).unwrap();
        assert_eq!(changed("an app that went", true).await, 1);
    }

    #[tokio::test]
    async fn a_manifest_names_its_volumes_and_a_wrong_one_says_so() {
        let (_dir, apps) = apps(&[
            ("a/compose.yaml", ""),
            ("a/manifest.json", r#"{"name": "a", "volumes": ["data"], "ports": [8080]}"#),
            ("b/compose.yaml", ""),
            ("b/manifest.json", "{"),
            ("c/compose.yaml", ""),
            ("c/manifest.json", r#"{"volumes": ["../x"]}"#),
        ]);
        assert_eq!(apps.find("a").await.unwrap().manifest_volumes().unwrap(), ["furtka_a_data"]);
        assert!(apps.find("b").await.unwrap().manifest_volumes().unwrap_err().contains("manifest.json is invalid"));
        assert!(apps.find("c").await.unwrap().manifest_volumes().is_err());
    }

    #[tokio::test]
    async fn an_icon_is_a_picture_in_the_apps_own_directory() {
        let (dir, apps) = apps(&[("a/compose.yaml", ""), ("b/secret.png", ""), ("a/img/i.SVG", "<svg/>")]);
        let a = dir.path().join("apps/a");
        fs::write(a.join("notes.txt"), "").unwrap();
        fs::write(a.join("large.png"), vec![0; 2 << 20]).unwrap();
        fs::create_dir(a.join("directory.png")).unwrap();
        std::os::unix::fs::symlink("../b/secret.png", a.join("out.png")).unwrap();
        std::os::unix::fs::symlink("notes.txt", a.join("notes.png")).unwrap();
        std::os::unix::fs::symlink("img/i.SVG", a.join("in.png")).unwrap();
        let icon = async |named: &str| {
            fs::write(a.join("manifest.json"), serde_json::json!({ "icon": named }).to_string()).unwrap();
            apps.find("a").await.unwrap().icon.map(|icon| icon.media_type)
        };
        assert_eq!((icon("img/i.SVG").await, icon("in.png").await), (Some("image/svg+xml"), Some("image/svg+xml")));
        let other = dir.path().join("apps/b/secret.png");
        let refused = ["../b/secret.png", other.to_str().unwrap(), "out.png", "notes.png", "notes.txt", "large.png"];
        for named in refused.into_iter().chain(["directory.png", "gone.png", "", ".", "https://example.test/i.png"]) {
            assert_eq!(icon(named).await, None, "{named}");
        }
    }

    #[tokio::test]
    async fn values_of_variables_are_known_so_that_no_message_shows_them() {
        let (_dir, apps) = apps(&[
            (
                "a/compose.yaml",
                "services: {a: {environment: {P: hunter2, L: [x]}, image: nginx}, b: {environment: [\"Q=swordfish\"]}}",
            ),
            (
                "a/.env",
                "# comment\nTOKEN=\"abc def\" # spoken\nPIN=s3cret # my note\nKEY=\"begin\nMIIE+abc/part=\nend\"\n",
            ),
            ("a/override.yaml", "services: {a: {env_file: [{path: secrets.txt}]}, b: {env_file: more.txt}}"),
            ("a/secrets.txt", "export A=one-of-a-list"),
            ("a/more.txt", "B=the-only-one"),
        ]);
        let values = apps.find("a").await.unwrap().secret_values().await.unwrap();
        for value in ["hunter2", "swordfish", "abc def", "s3cret", "MIIE+abc/part=", "one-of-a-list", "the-only-one"] {
            assert!(values.iter().any(|known| known == value), "{value}");
        }
        assert!(!values.iter().any(|known| known == "nginx"));
    }
}

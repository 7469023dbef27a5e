//! Login, sessions and keys.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use crate::adapters::store::Store;
use crate::adapters::task;
use crate::config::Secret;
use crate::domain::access::{Rights, Scope};
use crate::error::{Code, Error};

/// How long a session lasts.
pub const SESSION: Duration = Duration::from_secs(7 * 24 * 3600);
/// So many wrong passwords from one address are free.
const FREE_FAILURES: u32 = 5;
/// The longest that an address has to wait after a wrong password.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// How long wrong passwords are held against an address.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);
/// How many addresses are remembered by themselves: more than guess at once at a home. All others count as one.
const MAX_ADDRESSES: usize = 4096;
/// Each comparison takes 19 MiB; more at once would make guessing a way to fill the memory.
const COMPARISONS: usize = 2;

type Hash = [u8; 32];

/// The gate: whether a caller is known, and what it may do.
pub struct Access {
    login: Option<Login>,
    keys: Vec<(Hash, Rights)>,
    store: Store,
    failures: Mutex<HashMap<Bucket, Failures>>,
    comparing: Semaphore,
}

struct Login {
    user: String,
    password: Secret,
    /// The password's argon2id hash. Made when it is first needed: hashing would delay the start.
    hash: OnceCell<String>,
}

struct Failures {
    count: u32,
    last: Instant,
}

impl Access {
    /// No login and no keys leave everything open.
    pub fn new(login: Option<(String, Secret)>, keys: Vec<(Hash, Rights)>, store: Store) -> Arc<Self> {
        let login = login.map(|(user, password)| Login { user, password, hash: OnceCell::new() });
        let comparing = Semaphore::new(COMPARISONS);
        Arc::new(Self { login, keys, store, failures: Mutex::default(), comparing })
    }

    /// Returns whether anybody has to say who they are.
    pub fn is_enabled(&self) -> bool {
        self.login.is_some() || !self.keys.is_empty()
    }

    /// The number of a key, by which the history names it (the first of the file is 1), and its rights. All keys are
    /// compared by their hashes, so that the time tells nothing of any of them.
    pub fn key(&self, key: &str) -> Option<(usize, &Rights)> {
        let hash = hash_of(key);
        (1..).zip(&self.keys).find(|(_, (known, _))| *known == hash).map(|(number, (_, rights))| (number, rights))
    }

    /// The user of a session, if the cookie is that of one.
    pub async fn session(&self, cookie: &str) -> Result<Option<String>, Error> {
        let Some(login) = &self.login else { return Ok(None) };
        // A session begun with a former password ends here.
        self.password_hash(login).await?;
        let session = self.store.session(&hex(&hash_of(cookie))).await?;
        let live = session.filter(|(user, expires)| *user == login.user && *expires > Timestamp::now());
        Ok(live.map(|(user, _)| user))
    }

    /// Begins a session, and gives the cookie's value; `None` for a wrong user or password.
    ///
    /// # Errors
    /// `too_many_attempts` while `peer` has to wait.
    pub async fn login(&self, user: &str, password: &str, peer: Option<IpAddr>) -> Result<Option<String>, Error> {
        let Some(login) = &self.login else { return Ok(None) };
        self.begin_attempt(peer)?;
        let hash = self.password_hash(login).await?;
        let right_password = self.compare(hash, password).await?;
        // Both are always looked at, so that an unknown user takes as long as a wrong password.
        let right_user = hash_of(user) == hash_of(&login.user);
        if !(right_user && right_password) {
            // The wait begins with the answer: the comparison itself may take a second on a busy machine.
            let mut failures = self.lock_failures();
            let bucket = known_bucket(&mut failures, peer);
            if let Some(failed) = failures.get_mut(&bucket) {
                failed.last = Instant::now();
            }
            drop(failures);
            tracing::warn!(peer = peer.map(|peer| peer.to_string()), "a login failed");
            return Ok(None);
        }
        self.lock_failures().remove(&Bucket::of(peer));
        let token = random_token()?;
        let expires = Timestamp::now().checked_add(SignedDuration::try_from(SESSION).unwrap_or_default());
        let expires = expires.map_err(|error| Error::new(Code::Clock, error.to_string()))?;
        self.store.begin_session(&hex(&hash_of(&token)), &login.user, expires).await?;
        Ok(Some(token))
    }

    /// Ends a session.
    pub async fn logout(&self, cookie: &str) -> Result<(), Error> {
        Ok(self.store.end_session(&hex(&hash_of(cookie))).await?)
    }

    /// The hash of the configured password: the one from the last run while the password is the same.
    async fn password_hash<'a>(&self, login: &'a Login) -> Result<&'a String, Error> {
        let hash = login.hash.get_or_try_init(|| async {
            if let Some(kept) = self.store.password_hash(&login.user).await?
                && self.compare(&kept, login.password.expose()).await?
            {
                return Ok(kept);
            }
            let password = login.password.clone();
            let hash =
                self.heavy(move || argon2().hash_password(password.expose().as_bytes()).map(|hash| hash.to_string()));
            let hash = hash.await?.map_err(hashing_failed)?;
            self.store.replace_password(&login.user, &hash).await?;
            Ok::<_, Error>(hash)
        });
        hash.await
    }

    async fn compare(&self, hash: &str, password: &str) -> Result<bool, Error> {
        let (hash, password) = (hash.to_owned(), Secret::new(password));
        self.heavy(move || {
            let hash = PasswordHash::new(&hash);
            hash.is_ok_and(|hash| argon2().verify_password(password.expose().as_bytes(), &hash).is_ok())
        })
        .await
    }

    async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
        let _permit = self.comparing.acquire().await.map_err(hashing_failed)?;
        task::blocking("password", work).await.map_err(hashing_failed)
    }

    /// Counts an attempt as failed until it has succeeded: many at once are no way around the delay.
    fn begin_attempt(&self, peer: Option<IpAddr>) -> Result<(), Error> {
        let mut failures = self.lock_failures();
        let bucket = known_bucket(&mut failures, peer);
        let failed = failures.entry(bucket).or_insert(Failures { count: 0, last: Instant::now() });
        if failed.last.elapsed() > REMEMBERED {
            failed.count = 0;
        }
        let left = delay(failed.count).saturating_sub(failed.last.elapsed());
        if !left.is_zero() {
            let seconds = left.as_secs() + 1;
            let error = Error::new(Code::TooManyAttempts, "too many wrong passwords from this address");
            return Err(error.hint(format!("try again in {seconds} s")).retry_after(seconds));
        }
        failed.count += 1;
        failed.last = Instant::now();
        Ok(())
    }

    fn lock_failures(&self) -> std::sync::MutexGuard<'_, HashMap<Bucket, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whose wrong passwords are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Bucket {
    /// A socket of this machine.
    Local,
    /// An address; of IPv6 its network, since a host has a whole /64 to guess from.
    Address(IpAddr),
    /// Every address that there is no room for.
    Others,
}

impl Bucket {
    fn of(peer: Option<IpAddr>) -> Self {
        peer.map_or(Self::Local, |peer| match peer.to_canonical() {
            IpAddr::V6(address) => Self::Address(IpAddr::V6((address.to_bits() & !u128::from(u64::MAX)).into())),
            v4 => Self::Address(v4),
        })
    }
}

/// Where the failures of an address are counted. To forget some that still count would be a way around the delay, so that
/// addresses without room share it.
fn known_bucket(failures: &mut HashMap<Bucket, Failures>, peer: Option<IpAddr>) -> Bucket {
    let bucket = Bucket::of(peer);
    if failures.len() < MAX_ADDRESSES || failures.contains_key(&bucket) {
        return bucket;
    }
    failures.retain(|_, failed| failed.last.elapsed() <= REMEMBERED);
    if failures.len() < MAX_ADDRESSES { bucket } else { Bucket::Others }
}

fn delay(failures: u32) -> Duration {
    match failures.checked_sub(FREE_FAILURES) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(2 << more.min(5)).min(LONGEST_DELAY),
    }
}

/// Argon2id with its default cost: 19 MiB, two passes.
fn argon2() -> Argon2<'static> {
    Argon2::default()
}

fn hashing_failed(error: impl std::fmt::Display) -> Error {
    Error::new(Code::Hashing, format!("the password could not be hashed: {error}"))
}

fn hash_of(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| Error::new(Code::Random, error.to_string()))?;
    Ok(hex(&bytes))
}

/// Reads a file of keys: one a line, `key` or `key scope[,scope]`; `#` begins a comment at a line's start and after white
/// space, and is part of a key within one. All mistakes are told at once, by line, and no key is.
pub fn read_keys(path: &Path) -> Result<Vec<(Hash, Rights)>, Vec<String>> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| vec![format!("--api-key-file: {} cannot be read: {error}", path.display())])?;
    let (mut keys, mut mistakes) = (Vec::new(), Vec::new());
    for (number, line) in text.lines().enumerate() {
        let mut words = line.split_whitespace().take_while(|word| !word.starts_with('#'));
        let Some(key) = words.next() else { continue };
        let scopes =
            words.next().map(|scopes| scopes.split(',').map(str::parse).collect::<Result<BTreeSet<Scope>, _>>());
        let mut wrong = |what: &str| mistakes.push(format!("--api-key-file: line {}: {what}", number + 1));
        match (scopes, words.next()) {
            (_, Some(_)) => wrong("expected `key` or `key scope,scope`"),
            (Some(Err(unknown)), _) => wrong(&unknown.to_string()),
            _ if key.len() < 16 => wrong("a key has at least 16 characters"),
            (None, None) => keys.push((hash_of(key), Rights::all())),
            (Some(Ok(scopes)), None) => keys.push((hash_of(key), Rights::of(scopes))),
        }
    }
    if keys.is_empty() && mistakes.is_empty() {
        mistakes.push(format!("--api-key-file: {} has no key", path.display()));
    }
    if mistakes.is_empty() { Ok(keys) } else { Err(mistakes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(dir: &Path, password: &str) -> Arc<Access> {
        let store = Store::open(dir).unwrap();
        Access::new(Some(("me".into(), Secret::new(password))), Vec::new(), store)
    }

    #[tokio::test]
    async fn a_session_outlives_a_restart_and_ends_with_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let cookie = access(dir.path(), "one").login("me", "one", None).await.unwrap().unwrap();
        assert_eq!(access(dir.path(), "one").session(&cookie).await.unwrap().as_deref(), Some("me"));
        assert_eq!(access(dir.path(), "two").session(&cookie).await.unwrap(), None);
        let again = access(dir.path(), "two");
        let cookie = again.login("me", "two", None).await.unwrap().unwrap();
        again.logout(&cookie).await.unwrap();
        assert_eq!(again.session(&cookie).await.unwrap(), None);
        assert_eq!(again.session("forged").await.unwrap(), None);
    }

    #[tokio::test]
    async fn guessing_is_slowed_for_each_address() {
        let dir = tempfile::tempdir().unwrap();
        let access = access(dir.path(), "right");
        let (guesser, other) = ("192.0.2.1".parse().ok(), "192.0.2.2".parse().ok());
        for user in ["me", "you", "me", "you", "me"] {
            assert_eq!(access.login(user, "wrong", guesser).await.unwrap(), None);
        }
        assert_eq!(access.login("me", "right", guesser).await.unwrap_err().code, Code::TooManyAttempts);
        assert!(access.login("me", "right", other).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn guessing_from_many_addresses_fills_no_memory_and_forgets_no_failure() {
        let dir = tempfile::tempdir().unwrap();
        let access = access(dir.path(), "right");
        let guesser: Option<IpAddr> = "192.0.2.1".parse().ok();
        // As of an hour-long night of guesses; the passwords themselves need not be compared.
        while access.begin_attempt(guesser).is_ok() {}
        let guessed = access.lock_failures()[&Bucket::of(guesser)].count;
        let network = |n: u32| Some(IpAddr::V4((0x0a00_0000 + n).into()));
        for n in 0..10_000 {
            // Those that share one count are slowed as well.
            let _ = access.begin_attempt(network(n));
        }
        assert!(access.lock_failures().len() <= MAX_ADDRESSES + 1);
        assert_eq!(access.lock_failures()[&Bucket::of(guesser)].count, guessed, "still remembered");
        assert_eq!(known_bucket(&mut access.lock_failures(), network(20_000)), Bucket::Others, "no room of its own");
    }

    #[test]
    fn keys_are_read_with_their_scopes_and_mistakes_are_told_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "# mine\n0123456789abcdef\nfedcba9876543210 read,images # a note\n").unwrap();
        let keys = read_keys(file.path()).unwrap();
        assert!(
            keys[0].1.include(Scope::Update) && !keys[1].1.include(Scope::Update) && keys[1].1.include(Scope::Images)
        );
        std::fs::write(file.path(), "short\n0123456789abcdef fly\n0123456789abcdef read images\n").unwrap();
        let mistakes = read_keys(file.path()).unwrap_err().join("\n");
        assert!(["line 1", "line 2", "line 3"].iter().all(|line| mistakes.contains(line)), "{mistakes}");
        assert!(!mistakes.contains("0123456789"));
    }

    #[test]
    fn a_key_may_contain_the_sign_that_begins_a_comment() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "#0123456789abcdef\n 0123456789abcdef#more read\t#mine\n").unwrap();
        let keys = read_keys(file.path()).unwrap();
        assert_eq!(keys.iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), [hash_of("0123456789abcdef#more")]);
        assert!(!keys[0].1.include(Scope::Update));
    }

    #[test]
    fn a_whole_ipv6_network_is_one_address() {
        let address = |text: &str| Bucket::of(text.parse().ok());
        assert_eq!(address("2001:db8::1"), address("2001:db8::ffff:1"));
        assert_ne!(address("2001:db8::1"), address("2001:db8:0:1::1"));
        assert_eq!(address("::ffff:192.0.2.1"), address("192.0.2.1"));
    }
}

//! What is known of each host while the program runs, and the order in which it is asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::HeaderMap;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use super::challenge::Challenge;
use super::error::RegistryError;

/// All hosts that were asked so far: registries, token servers, targets of redirects.
pub(super) struct Hosts {
    table: Mutex<HashMap<String, Arc<Host>>>,
    /// Requests to one host at the same time.
    concurrency: usize,
}

/// One host (with port) and the manners it expects.
pub(super) struct Host {
    pub name: String,
    places: Semaphore,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    challenge: Option<Challenge>,
    limit: Option<Limit>,
    /// Answers in a row that said "too many requests".
    strikes: u32,
    last_answer: Option<Instant>,
    last_failure: Option<(Instant, RegistryError)>,
    allowance: Option<Allowance>,
}

/// How many pulls a registry allows: Docker Hub says it with each answer about a manifest.
struct Allowance {
    limit: u64,
    remaining: u64,
    /// When this is no longer true, because the window that pulls are counted in has passed.
    until: Instant,
}

/// The window that pulls are counted in where the registry does not say it: the Hub's own.
const WINDOW: Duration = Duration::from_secs(6 * 3600);

struct Limit {
    /// For comparing: it does not jump with the system's clock.
    until: Instant,
    /// The same moment, for people.
    shown: Timestamp,
}

impl Hosts {
    pub(super) fn new(concurrency: usize) -> Self {
        Self { table: Mutex::default(), concurrency: concurrency.max(1) }
    }

    /// The host by name and port, as a URL writes them.
    pub(super) fn named(&self, name: &str) -> Arc<Host> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Arc::new(Host::new(name, self.concurrency));
        table.entry(name.to_owned()).or_insert_with(new).clone()
    }

    /// The host that a URL leads to.
    pub(super) fn of(&self, url: &Url) -> Arc<Host> {
        self.named(&authority(url))
    }
}

/// Host and, where it is not the scheme's own, port.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Host {
    fn new(name: &str, concurrency: usize) -> Self {
        Self { name: name.to_owned(), places: Semaphore::new(concurrency), memory: Mutex::default() }
    }

    /// Waits for a place among those who ask this host.
    ///
    /// `since` is when the caller's question began. If the host turned out to be out of reach after that, the caller gets
    /// the same error without trying: a queue of 300 ends with the first timeout and not with the last. A new question
    /// always tries, so a host that is back is noticed at once.
    ///
    /// # Errors
    ///
    /// [`RegistryError::RateLimited`] while the host is to be left alone, or the failure of those who went before.
    pub(super) async fn enter(&self, since: Instant) -> Result<Option<SemaphorePermit<'_>>, RegistryError> {
        self.check(since)?;
        // The semaphore is never closed, so there always is a permit.
        let permit = self.places.acquire().await.ok();
        self.check(since)?;
        Ok(permit)
    }

    /// The part of [`enter`](Self::enter) that needs no waiting.
    pub(super) fn check(&self, since: Instant) -> Result<(), RegistryError> {
        let memory = self.memory();
        if let Some(limit) = memory.limit.as_ref().filter(|limit| limit.until > Instant::now()) {
            return Err(RegistryError::RateLimited { host: self.name.clone(), until: limit.shown });
        }
        match &memory.last_failure {
            Some((at, error)) if *at >= since => Err(error.clone()),
            _ => Ok(()),
        }
    }

    /// Notes any answer but "too many requests".
    pub(super) fn answered(&self) {
        let mut memory = self.memory();
        memory.last_answer = Some(Instant::now());
        memory.strikes = 0;
    }

    /// Notes that a request that began at `began` failed. If the host answered another one meanwhile, the host is not
    /// what is broken, and nobody else is told.
    pub(super) fn failed(&self, began: Instant, error: &RegistryError) {
        let mut memory = self.memory();
        if memory.last_answer.is_none_or(|answer| answer < began) {
            memory.last_failure = Some((Instant::now(), error.clone()));
        }
    }

    /// Notes "too many requests"; `wait` gives the time to wait from the number of such answers in a row.
    pub(super) fn limited(&self, wait: impl FnOnce(u32) -> Duration) -> RegistryError {
        let mut memory = self.memory();
        memory.last_answer = Some(Instant::now());
        let already = memory.limit.as_ref().is_some_and(|limit| limit.until > Instant::now());
        // The answers to requests that were on their way together are one refusal.
        if !already {
            memory.strikes = memory.strikes.saturating_add(1);
        }
        let wait = wait(memory.strikes);
        let limit = Limit { until: Instant::now() + wait, shown: Timestamp::now() + wait };
        let until = limit.shown;
        memory.limit = Some(limit);
        RegistryError::RateLimited { host: self.name.clone(), until }
    }

    /// Notes how many pulls are allowed, where an answer says so: `ratelimit-limit: 100;w=21600`.
    pub(super) fn note_allowance(&self, headers: &HeaderMap) {
        let field = |name: &str| {
            let field = headers.get(name)?.to_str().ok()?;
            let (number, window) = field.split_once(";w=").unwrap_or((field, ""));
            Some((number.trim().parse::<u64>().ok()?, window.trim().parse().ok()))
        };
        if let (Some((limit, _)), Some((remaining, window))) = (field("ratelimit-limit"), field("ratelimit-remaining"))
        {
            let window = window.map_or(WINDOW, Duration::from_secs).min(WINDOW);
            self.memory().allowance = Some(Allowance { limit, remaining, until: Instant::now() + window });
        }
    }

    /// Takes one of the pulls that are allowed, as long as more than half of them are left.
    pub(super) fn spare(&self) -> bool {
        let mut memory = self.memory();
        match memory.allowance.as_mut().filter(|allowance| allowance.until > Instant::now()) {
            Some(allowance) if allowance.remaining.saturating_mul(2) > allowance.limit => {
                allowance.remaining -= 1;
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    /// What the host wanted to see the last time.
    pub(super) fn challenge(&self) -> Option<Challenge> {
        self.memory().challenge.clone()
    }

    pub(super) fn remember(&self, challenge: &Challenge) {
        self.memory().challenge = Some(challenge.clone());
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn down() -> RegistryError {
        RegistryError::Timeout { registry: "h".to_owned() }
    }

    #[tokio::test]
    async fn those_who_waited_share_a_failure_and_those_who_come_later_try_again() {
        let hosts = Hosts::new(1);
        let host = hosts.named("h");
        let before = Instant::now();
        host.failed(before, &down());
        assert_eq!(host.enter(before).await.err(), Some(down()));
        assert!(host.enter(Instant::now()).await.is_ok());
    }

    #[tokio::test]
    async fn a_failure_beside_an_answer_is_nobody_elses() {
        let host = Host::new("h", 1);
        let began = Instant::now();
        host.answered();
        host.failed(began, &down());
        assert!(host.enter(began).await.is_ok());
    }

    #[tokio::test]
    async fn a_limit_holds_for_its_time_and_counts_refusals_in_a_row() {
        let host = Host::new("h", 1);
        let mut strikes = Vec::new();
        for wait in [0, 0, 60, 60] {
            host.limited(|strike| {
                strikes.push(strike);
                Duration::from_secs(wait)
            });
        }
        assert_eq!(strikes, [1, 2, 3, 3]);
        assert!(matches!(host.check(Instant::now()), Err(RegistryError::RateLimited { .. })));
    }

    #[test]
    fn half_of_the_pulls_that_are_allowed_is_kept() {
        let host = Host::new("h", 1);
        assert!(host.spare(), "a registry that says nothing allows everything");
        let allows = |limit: &str, remaining: &str| {
            let fields = [("ratelimit-limit", limit), ("ratelimit-remaining", remaining)];
            let fields = fields.map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")));
            host.note_allowance(&HeaderMap::from_iter(fields));
        };
        allows("100;w=21600", "52;w=21600");
        assert_eq!([host.spare(), host.spare(), host.spare()], [true, true, false]);
        allows("nonsense", "100");
        assert!(!host.spare());
        allows("100", "100;w=0");
        assert!(host.spare());
    }

    #[test]
    fn urls_and_names_lead_to_the_same_host() {
        let hosts = Hosts::new(1);
        let of = |url: &str| hosts.of(&url.parse().expect("a URL"));
        assert!(Arc::ptr_eq(&of("https://a.example/x"), &hosts.named("a.example")));
        assert!(Arc::ptr_eq(&of("http://[::1]:5000/x"), &hosts.named("[::1]:5000")));
    }
}

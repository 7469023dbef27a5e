//! Jobs go into a real database file and come back.

use std::collections::{BTreeMap, BTreeSet};

use tempfile::TempDir;

use super::*;
use crate::adapters::task;
use crate::domain::app::{ProjectName, ServiceName};
use crate::domain::failure::{Code, Kind as ErrorKind};
use crate::domain::image::ImageId;
use crate::domain::job::{JobError, JobResult, Kind, Outcome};
use crate::domain::journal::Before;

fn id(n: u128) -> JobId {
    JobId::new(ulid::Ulid(n))
}

fn app(name: &str) -> AppId {
    name.parse().unwrap()
}

fn on(name: &str) -> Target {
    Target::local(Subject::App(name.to_owned()))
}

fn queued(n: u128, app: &str) -> Job {
    Job {
        id: id(n),
        kind: Kind::Update,
        target: Target::local(Subject::App(app.into())),
        state: State::Queued,
        step: None,
        outcome: None,
        result: None,
        error: None,
        blocked: None,
        by: Some("me (192.168.1.2)".into()),
        request_id: Some("r1".into()),
        started_at: "2025-03-01T10:00:00.123456789Z".parse().unwrap(),
        finished_at: None,
    }
}

fn finished(n: u128, app: &str, outcome: Outcome, updated: bool) -> Job {
    let result = JobResult {
        updated,
        services: vec![],
        outcome,
        recreated: vec![],
        skipped: vec![],
        job: id(n),
        duration_ms: 5,
        warnings: vec!["look".into()],
        report: None,
        check: None,
    };
    Job {
        state: State::Finished,
        step: Some(Step::Verify),
        outcome: Some(outcome),
        result: Some(result),
        finished_at: Some("2025-03-01T10:00:02Z".parse().unwrap()),
        ..queued(n, app)
    }
}

fn journal() -> Journal {
    let before = Before {
        reference: "nginx:1".into(),
        images: vec![ImageId::new("sha256:1")],
        digests: vec!["nginx@sha256:2".into()],
        version: None,
        running: true,
        unhealthy: false,
    };
    Journal {
        project: ProjectName::new("p"),
        before: BTreeMap::from([(ServiceName::new("web"), before)]),
        changes: vec![],
        profiles: BTreeSet::from(["debug".to_owned()]),
        rollback: true,
        selected: None,
        resumed: false,
        containers: BTreeMap::new(),
    }
}

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

/// Writes a step and its journal as former versions did.
async fn write_journal(store: &Store, job: &JobId, step: Step, journal: &Journal) -> Result<(), StoreError> {
    let (job, journal) = (job.clone(), json(journal));
    let update = "UPDATE jobs SET state = ?2, step = ?3, journal = ?4 WHERE id = ?1";
    store
        .call(move |connection| {
            let values = params![job.as_str(), word(&State::Running)?, word(&step)?, journal?];
            known(connection.execute(update, values)?, &job)
        })
        .await
}

/// Takes a finished job through its whole life.
async fn add(store: &Store, job: &Job) {
    let new = Job { state: State::Queued, step: None, outcome: None, result: None, finished_at: None, ..job.clone() };
    store.insert(&new).await.unwrap();
    write_journal(store, &job.id, Step::Apply, &journal()).await.unwrap();
    store.finish(job).await.unwrap();
}

fn ids(jobs: &[Job]) -> Vec<JobId> {
    jobs.iter().map(|job| job.id.clone()).collect()
}

#[tokio::test]
async fn a_job_is_read_as_it_was_written() {
    let (_dir, store) = store();
    let error = JobError {
        code: "x".into(),
        message: "y".into(),
        hint: None,
        service: None,
        command: None,
        containers: Vec::new(),
        stderr: Some("z\n".into()),
        kind: ErrorKind::Upstream,
    };
    let targets = [
        Target::local(Subject::App("a".into())),
        Target::local(Subject::Container("c".into())),
        Target::local(Subject::Group("docker.io/library/x:1".into())),
        Target::local(Subject::All),
    ];
    for (n, target) in (1..).zip(targets) {
        let job = Job { target, error: Some(error.clone()), ..finished(n, "a", Outcome::Failed, false) };
        store.insert(&job).await.unwrap();
        assert_eq!(store.job(&job.id).await.unwrap(), Some(job));
    }
    assert_eq!(store.job(&id(9)).await.unwrap(), None);
}

#[tokio::test]
async fn a_job_lives_from_queued_to_finished() {
    let (_dir, store) = store();
    store.insert(&queued(2, "a")).await.unwrap();
    store.insert(&queued(1, "b")).await.unwrap();
    assert_eq!(ids(&store.running().await.unwrap()), [id(2), id(1)]);

    store.set_step(&id(2), Step::Pull).await.unwrap();
    let running = store.running_for(Kind::Update, &on("a")).await.unwrap().unwrap();
    assert_eq!((running.state, running.step), (State::Running, Some(Step::Pull)));
    assert_eq!(store.journal::<Journal>(&id(2)).await.unwrap(), None);

    write_journal(&store, &id(2), Step::Apply, &journal()).await.unwrap();
    assert_eq!(store.job(&id(2)).await.unwrap().unwrap().step, Some(Step::Apply));

    let done = finished(2, "a", Outcome::Updated, true);
    store.finish(&done).await.unwrap();
    assert_eq!(store.job(&id(2)).await.unwrap(), Some(done));
    assert_eq!(store.journal(&id(2)).await.unwrap(), Some(journal()));
    assert_eq!(store.running_for(Kind::Update, &on("a")).await.unwrap(), None);
    assert_eq!(ids(&store.running().await.unwrap()), [id(1)]);
}

#[tokio::test]
async fn a_job_that_was_never_inserted_is_an_error() {
    let (_dir, store) = store();
    let finish = store.finish(&finished(1, "a", Outcome::Updated, true)).await;
    assert!(matches!(finish, Err(StoreError::UnknownJob { .. })));
    assert!(store.set_step(&id(1), Step::Pull).await.is_err());
    assert!(write_journal(&store, &id(1), Step::Apply, &journal()).await.is_err());
}

#[tokio::test]
async fn the_history_is_read_in_pages_newest_first() {
    let (_dir, store) = store();
    for n in 1..=5 {
        let of = if n == 3 { "b" } else { "a" };
        add(&store, &finished(n, of, Outcome::Unchanged, false)).await;
    }
    store.insert(&queued(6, "a")).await.unwrap();
    let page = async |app: Option<&str>, before| {
        let filter = HistoryFilter { app: app.map(Into::into), limit: 2, before, ..HistoryFilter::default() };
        ids(&store.history(&filter).await.unwrap())
    };
    assert_eq!(page(None, None).await, [id(5), id(4)]);
    assert_eq!(page(None, Some(id(4))).await, [id(3), id(2)]);
    assert_eq!(page(Some("a"), Some(id(4))).await, [id(2), id(1)]);
    assert_eq!(page(Some("a"), Some(id(1))).await, []);
    assert_eq!(page(Some("c"), None).await, []);
}

#[tokio::test]
async fn the_last_update_is_the_last_that_changed_containers() {
    let (_dir, store) = store();
    assert_eq!(store.last_update(&app("a")).await.unwrap(), None);
    let jobs = [
        finished(1, "a", Outcome::Updated, true),
        finished(2, "a", Outcome::Interrupted, true),
        finished(3, "a", Outcome::Interrupted, false),
        finished(4, "a", Outcome::RolledBack, true),
        finished(5, "a", Outcome::Unchanged, false),
        finished(6, "b", Outcome::Updated, true),
        Job { kind: Kind::Rollback, ..finished(7, "a", Outcome::Updated, true) },
    ];
    let mut expected = [1, 2, 2, 2, 2, 2, 2].into_iter();
    for job in &jobs {
        add(&store, job).await;
        let (last, found) = store.last_update(&app("a")).await.unwrap().unwrap();
        let profiles = found.project().unwrap().profiles.clone();
        assert_eq!((last.id, profiles), (id(expected.next().unwrap()), journal().profiles), "after {}", job.id);
    }
}

#[tokio::test]
async fn a_word_from_the_future_spoils_only_its_own_row() {
    let (_dir, store) = store();
    add(&store, &finished(1, "a", Outcome::Updated, true)).await;
    add(&store, &finished(2, "a", Outcome::Updated, true)).await;
    let spoil = |connection: &mut Connection| {
        Ok(connection.execute("UPDATE jobs SET step = 'teleport' WHERE id = ?1", [id(2).as_str()])?)
    };
    store.call(spoil).await.unwrap();
    let all = HistoryFilter { limit: 10, ..HistoryFilter::default() };
    assert_eq!(ids(&store.history(&all).await.unwrap()), [id(1)]);
    let message = store.job(&id(2)).await.unwrap_err().to_string();
    assert!(message.contains(id(2).as_str()) && message.contains("`teleport`"), "{message}");
    assert!(store.last_update(&app("a")).await.is_err(), "an older one would be the wrong one");
}

#[tokio::test]
async fn what_one_process_writes_another_reads() {
    let (dir, one) = store();
    let other = Store::open(dir.path()).unwrap();
    one.insert(&queued(1, "a")).await.unwrap();
    other.set_step(&id(1), Step::Pull).await.unwrap();
    one.check_writable().await.unwrap();
    assert_eq!(one.job(&id(1)).await.unwrap().unwrap().step, Some(Step::Pull));
    let writes = (10..60).map(|n| {
        let store = if n % 2 == 0 { one.clone() } else { other.clone() };
        task::spawn("insert", async move { store.insert(&queued(n, "a")).await })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(other.running().await.unwrap().len(), 51);
}

#[tokio::test]
async fn what_was_answered_is_there_after_a_crash() {
    let (dir, store) = store();
    store.insert(&queued(1, "a")).await.unwrap();
    write_journal(&store, &id(1), Step::Apply, &journal()).await.unwrap();
    // What a dead process leaves: the files as they are, and no orderly close. SQLite's locks die with a process, but
    // not with a forgotten connection, so the files are looked at under another name.
    std::mem::forget(store);
    let after = tempfile::tempdir().unwrap();
    for file in ["restock.db", "restock.db-wal"] {
        std::fs::copy(dir.path().join(file), after.path().join(file)).unwrap();
    }
    let store = Store::open(after.path()).unwrap();
    assert_eq!(store.running().await.unwrap()[0].step, Some(Step::Apply));
    assert_eq!(store.journal(&id(1)).await.unwrap(), Some(journal()));
}

#[tokio::test]
async fn passes_that_changed_nothing_are_forgotten_after_a_month() {
    let (_dir, store) = store();
    let old = jiff::Timestamp::now() - std::time::Duration::from_secs(31 * 24 * 3600);
    let pass = |n, outcome, at| Job { finished_at: Some(at), ..pass(n, outcome, None) };
    add(&store, &pass(1, Outcome::Unchanged, old)).await;
    add(&store, &pass(2, Outcome::Updated, old)).await;
    add(&store, &Job { finished_at: Some(old), ..finished(3, "a", Outcome::Unchanged, false) }).await;
    add(&store, &pass(4, Outcome::Unchanged, jiff::Timestamp::now())).await;
    let left = store.history(&HistoryFilter { limit: 10, ..HistoryFilter::default() }).await.unwrap();
    assert_eq!(ids(&left), [id(4), id(3), id(2)]);
}

fn pass(n: u128, outcome: Outcome, error: Option<JobError>) -> Job {
    let mut pass = Job {
        kind: Kind::AutoUpdate,
        target: Target::local(Subject::All),
        finished_at: Some(jiff::Timestamp::now()),
        step: None,
        error,
        ..finished(n, "*", outcome, false)
    };
    if pass.error.is_some() {
        pass.result = None;
    }
    pass
}

fn failure(code: Code) -> JobError {
    let (hint, service, command, stderr) = (None, None, None, None);
    let (kind, code) = (code.kind(), code.word().to_owned());
    JobError { message: code.clone(), code, hint, service, command, stderr, kind, containers: Vec::new() }
}

#[tokio::test]
async fn a_pass_that_fails_like_the_one_before_takes_its_place() {
    let (_dir, store) = store();
    let rows = async || {
        let count = |connection: &mut Connection| {
            Ok(connection.query_row("SELECT count(*) FROM jobs", [], |row| row.get::<_, u32>(0))?)
        };
        store.call(count).await.unwrap()
    };
    for n in 1..=3 {
        add(&store, &pass(n, Outcome::Failed, None)).await;
    }
    let all = HistoryFilter { limit: 10, ..HistoryFilter::default() };
    assert_eq!(ids(&store.history(&all).await.unwrap()), [id(3)]);
    // Another reason is another row, and what is only an answer is none of the history.
    for n in 4..=6 {
        add(&store, &pass(n, Outcome::Failed, Some(failure(Code::AppsDirectoryUnreadable)))).await;
    }
    assert_eq!((ids(&store.history(&all).await.unwrap()), rows().await), (vec![id(3)], 2));
    add(&store, &pass(7, Outcome::Unchanged, None)).await;
    add(&store, &pass(8, Outcome::Unchanged, None)).await;
    assert_eq!(ids(&store.history(&all).await.unwrap()), [id(8), id(7), id(3)]);
}

#[tokio::test]
async fn what_is_only_an_answer_is_forgotten_after_an_hour() {
    let (_dir, store) = store();
    let old = jiff::Timestamp::now() - std::time::Duration::from_secs(2 * 3600);
    let dry = |n, at| Job { kind: Kind::Check, finished_at: Some(at), ..finished(n, "a", Outcome::Pending, false) };
    add(&store, &dry(1, old)).await;
    add(&store, &dry(2, jiff::Timestamp::now())).await;
    assert_eq!(store.job(&id(1)).await.unwrap(), None);
    assert!(store.job(&id(2)).await.unwrap().is_some(), "a client may come back for it");
}

#[tokio::test]
async fn jobs_have_the_order_in_which_they_began_whatever_the_clock_said() {
    let (_dir, store) = store();
    // The clock was a year ahead, and has been corrected since.
    for n in [900, 5, 6] {
        add(&store, &finished(n, "a", Outcome::Updated, true)).await;
    }
    let page = async |before| {
        let filter = HistoryFilter { app: Some("a".into()), limit: 2, before, ..HistoryFilter::default() };
        ids(&store.history(&filter).await.unwrap())
    };
    assert_eq!(page(None).await, [id(6), id(5)]);
    assert_eq!(page(Some(id(5))).await, [id(900)]);
    assert_eq!(store.last_update(&app("a")).await.unwrap().unwrap().0.id, id(6));
    assert_eq!(store.last_job(&on("a")).await.unwrap().unwrap().id, id(6));
}

#[tokio::test]
async fn an_open_job_with_words_of_a_newer_version_is_shown_as_blocked_and_not_settled() {
    let (_dir, store) = store();
    let newer = [
        ("kind", "teleport"),
        ("state", "levitating"),
        ("step", "dream"),
        ("outcome", "sublimated"),
        ("result", "{}"),
        ("error", "{}"),
    ];
    for (n, (column, word)) in (1..).zip(newer) {
        store.insert(&queued(n, "a")).await.unwrap();
        let update = format!("UPDATE jobs SET {column} = ?1 WHERE id = ?2");
        store.call(move |connection| Ok(connection.execute(&update, [word, id(n).as_str()])?)).await.unwrap();
    }
    store.insert(&queued(7, "a")).await.unwrap();
    let open = store.running().await.unwrap();
    assert_eq!(ids(&open), (1..=7).map(id).collect::<Vec<_>>());
    assert_eq!(open[6].blocked, None);
    for (job, (column, _)) in open.iter().zip(newer) {
        assert_eq!((job.state, &job.target), (State::Running, &on("a")), "{column}");
        assert!(job.blocked.as_ref().is_some_and(|why| why.contains("newer Restock")), "{column}: {job:?}");
        assert!(matches!(store.job(&job.id).await, Err(StoreError::Row { .. })), "{column}");
    }
    assert!(store.running_for(Kind::Update, &on("a")).await.is_err(), "nothing else begins on the same app");
}

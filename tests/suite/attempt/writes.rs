//! The database fails at each write of a change, for a moment or for long, or the process dies before it.
//!
//! The writes are those of a run without faults, so a new one cannot be forgotten. Triggers count them, row by row, and
//! refuse those after a number of others, as a full disk does: what the same transaction has written before goes with it.

use std::time::Duration;

use restock::adapters::store::HistoryFilter;
use restock::domain::job::Job;
use rusqlite::Connection;

use super::checks::{There, check, check_database, containers, settled};
use super::kinds::{Change, start};
use crate::world::{Life, Log, Options, Service, World, until};

const FULL: &str = "the disk is full";
/// A patience that is not at its end before the test is.
const LONG: Duration = Duration::from_secs(60);

/// The database of a world, whose writes are counted from now on.
struct Counted(Connection);

impl Counted {
    fn new(world: &World) -> Self {
        let database = Connection::open(world.path("data/restock.db")).unwrap();
        let query = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
        let tables: Vec<String> = {
            let mut query = database.prepare(query).unwrap();
            query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let mut sql = "CREATE TABLE written (n INTEGER PRIMARY KEY, what TEXT NOT NULL);
                       CREATE TABLE fails (after INTEGER NOT NULL);"
            .to_owned();
        for table in tables {
            for verb in ["INSERT", "UPDATE", "DELETE"] {
                sql += &format!(
                    "CREATE TRIGGER counts_{verb}_{table} BEFORE {verb} ON {table} BEGIN
                        SELECT RAISE(ABORT, '{FULL}')
                        WHERE (SELECT COUNT(*) FROM written) >= (SELECT after FROM fails);
                        INSERT INTO written (what) VALUES ('{verb} {table}');
                     END;"
                );
            }
        }
        database.execute_batch(&format!("BEGIN IMMEDIATE; {sql} COMMIT;")).unwrap();
        Self(database)
    }

    fn written(&self) -> Vec<String> {
        let mut query = self.0.prepare("SELECT what FROM written ORDER BY n").unwrap();
        query.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Refuses all writes after so many.
    fn fail_after(&self, writes: usize) {
        self.0.execute("INSERT INTO fails VALUES (?1)", [i64::try_from(writes).unwrap()]).unwrap();
    }

    fn work_again(&self) {
        self.0.execute("DELETE FROM fails", []).unwrap();
    }
}

fn options(writes: Duration) -> Options {
    let mut options = Options::default();
    options.waits.writes = writes;
    options
}

/// What a run without faults writes.
async fn faultless(kind: Change, life: Life) -> Vec<String> {
    let world = kind.set_up(life).await;
    let service = start(&world, Options::default()).await;
    let counted = Counted::new(&world);
    let job = kind.run(&service).await.unwrap();
    assert_eq!(job.outcome, Some(kind.faultless_end(life)), "{kind:?} {life:?}: {job:?}");
    counted.written()
}

/// Each transaction of a change fails, from the last to the first.
pub(super) async fn each_write_fails(kind: Change) {
    for life in [Life::Runs, Life::Unhealthy] {
        let writes = faultless(kind, life).await;
        // The first after the one that begins the attempt.
        let begun = writes.iter().position(|what| what == "UPDATE attempts").unwrap();
        let mut end = writes.len();
        while end > 0 {
            let row = end - 1;
            let case = format!("{kind:?} to an image that {life:?}, the database fails at {row}: {}", writes[row]);
            let (first, ended) = fails(&case, kind, life, row, LONG, Duration::ZERO).await;
            if first >= begun {
                let expected = kind.faultless_end(life);
                assert!(
                    ended.as_ref().is_some_and(|job| job.outcome == Some(expected)),
                    "{case}, for a moment: {ended:?}"
                );
            }
            assert!(first <= row, "{case}: it did not fail");
            fails(&case, kind, life, first, Duration::from_millis(5), Duration::from_millis(50)).await;
            dies(&case, kind, life, first).await;
            end = first;
        }
    }
}

/// Lets the write `row` fail, and those after it, and lets the database work again when it has failed for so long. Gives
/// the number of the first write of the transaction, and the job where there was one.
async fn fails(
    case: &str,
    kind: Change,
    life: Life,
    row: usize,
    patience: Duration,
    lasting: Duration,
) -> (usize, Option<Job>) {
    let case = format!("{case}, with a patience of {patience:?}");
    let world = kind.set_up(life).await;
    let before = containers(&world);
    let log = Log::default();
    let _logs_here = tracing::dispatcher::set_default(&log.dispatch());
    let service = start(&world, options(patience)).await;
    let counted = Counted::new(&world);
    counted.fail_after(row);
    let changing = kind.run(&service);
    let failing = async {
        until("the failure", || log.says(FULL).then_some(())).await;
        let first = counted.written().len();
        tokio::time::sleep(lasting).await;
        counted.work_again();
        first
    };
    tokio::pin!(changing, failing);
    let (first, ended) = tokio::select! {
        biased;
        first = &mut failing => (first, changing.await),
        // Refused at once, and so said to the caller alone.
        ended = &mut changing => {
            let first = counted.written().len();
            counted.work_again();
            (first, ended)
        }
    };
    let job = match ended {
        Ok(job) => {
            let job = settled(&service, &job).await;
            check_end(&case, kind, &world, &before, &job);
            Some(job)
        }
        Err(error) => {
            assert!(error.message.contains(FULL), "{case}: {error:?}");
            assert_eq!(containers(&world), before, "{case}");
            None
        }
    };
    (first, job)
}

/// Lets the process die when everything before the write `row` is written, and another one go on.
async fn dies(case: &str, kind: Change, life: Life, row: usize) {
    let case = format!("{case}, and the process dies");
    let world = kind.set_up(life).await;
    let before = containers(&world);
    let earlier = newest(&start(&world, Options::default()).await).await;
    let counted = Counted::new(&world);
    counted.fail_after(row);
    let log = Log::default();
    let dispatch = log.dispatch();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        // For as long as the thread lives.
        .on_thread_start(move || std::mem::forget(tracing::dispatcher::set_default(&dispatch)))
        .build()
        .unwrap();
    let inner = world.clone();
    let mut changing = runtime.spawn(async move {
        // It stays at this write, but on the way back, which goes on without.
        let service = start(&inner, options(LONG)).await.that_dies();
        kind.run(&service).await.map(drop)
    });
    tokio::select! {
        () = until("the failure", || log.says(FULL).then_some(())) => {}
        _ = &mut changing => {}
    }
    runtime.shutdown_background();
    counted.work_again();
    let service = start(&world, Options::default()).await;
    if let Some(job) = service.host.service.store.running().await.unwrap().first() {
        return check_end(&case, kind, &world, &before, &settled(&service, job).await);
    }
    // On the way back it may have come to its end before it died.
    match newest(&service).await.filter(|job| earlier.as_ref().is_none_or(|earlier| earlier.id != job.id)) {
        Some(job) => check_end(&case, kind, &world, &before, &job),
        None => assert_eq!(containers(&world), before, "{case}"),
    }
}

/// The job that ended last.
async fn newest(service: &Service) -> Option<Job> {
    let filter = HistoryFilter { limit: 1, ..HistoryFilter::default() };
    service.host.service.store.history(&filter).await.unwrap().pop()
}

fn check_end(case: &str, kind: Change, world: &World, before: &There, job: &Job) {
    if job.result.is_none() && job.error.as_ref().is_some_and(|error| error.message.contains(FULL)) {
        // Refused before anything was touched.
        assert_eq!(containers(world), *before, "{case}: {job:?}");
    } else {
        check(case, kind, world, before, job);
    }
    check_database(case, world);
}

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::*;
use crate::domain::app::ProjectName;
use crate::domain::attempt::slot::Slot;
use crate::domain::attempt::{Cause, Fact, Intent, ProjectFact, Reference, Replica, Setback, Unit, WasThere};
use crate::domain::host::{Subject, Target};
use crate::domain::image::ImageId;
use crate::domain::job::{Job, Kind};
use crate::domain::plan::Change;

/// A row as the first format has it: what a released program wrote must be read for ever.
const FORMAT_1: &str = include_str!("../../../../fixtures/recorded/database/attempt-format-1.json");

fn image(letter: char) -> ImageId {
    ImageId::new(format!("sha256:{}", letter.to_string().repeat(64)))
}

fn facts() -> Vec<Fact> {
    let service = ServiceName::new("web");
    let change = Change {
        service: service.clone(),
        from: vec![image('a')],
        to: image('b'),
        to_manifest: Some(format!("sha256:{}", "c".repeat(64)).parse().unwrap()),
        reference: "registry.test/web:1".into(),
        version_to: Some("2".into()),
        source: None,
        to_digests: vec!["registry.test/web@sha256:b".into()],
    };
    let reference = Reference { change, from_digests: vec!["registry.test/web@sha256:a".into()], version_from: None };
    let started_at = Some("2026-01-02T03:04:05Z".parse().unwrap());
    let project = ProjectFact {
        name: ProjectName::new("shop"),
        profiles: ["prod".to_owned()].into(),
        selected: Some([service.clone()].into()),
        before: BTreeMap::from([(service, WasThere { running: true, unhealthy: false, replicas: 1 })]),
        replicas: vec![Replica { id: "1".into(), name: "shop-web-1".into(), started_at }],
    };
    let slot = Slot {
        name: "web".into(),
        suffix: "1234".into(),
        old_id: "1".into(),
        made_old: None,
        made_new: None,
        old_image: image('a'),
        new_image: image('b'),
        running: true,
        auto_remove: true,
        restart_policy: json!({"Name": "no"}),
        grace: Some(10),
        platform: Some("linux/arm64".into()),
        connect: vec![("lan".into(), json!({"Aliases": ["web"]}))],
        follows: Some(("2".into(), "3".into())),
    };
    let unit =
        Unit { unit: "web.service".into(), name: "web".into(), old: image('a'), new: image('b'), replica: "1".into() };
    vec![Fact::Reference(reference), Fact::Project(project), Fact::Slot(Box::new(slot)), Fact::Unit(unit)]
}

async fn store() -> (tempfile::TempDir, Store, Attempt) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let job = Job {
        id: JobId::new(ulid::Ulid::new()),
        kind: Kind::Update,
        target: Target::local(Subject::App("shop".into())),
        state: State::Running,
        step: None,
        outcome: None,
        result: None,
        error: None,
        blocked: None,
        by: None,
        request_id: None,
        started_at: Timestamp::now(),
        finished_at: None,
    };
    store.insert(&job).await.unwrap();
    let attempt = Attempt {
        job: job.id,
        intent: Intent::Update,
        facts: facts(),
        take_back: true,
        stage: Stage::Forward,
        exposed: false,
        deaths: 0,
    };
    (dir, store, attempt)
}

#[tokio::test]
async fn an_attempt_is_read_as_it_was_recorded_at_every_stage() {
    let (_dir, store, mut attempt) = store().await;
    store.begin_attempt(&attempt, Some(&json!({"Env": ["A=1"]})), "me", Step::Apply, Vec::new()).await.unwrap();
    let causes = [
        Cause::Image(BTreeSet::from([ServiceName::new("web")])),
        Cause::Setup,
        Cause::NotRecorded,
        Cause::DiedTwice,
        Cause::Lost,
    ];
    let back = causes.map(|cause| Stage::Back { why: Setback::new(cause, "it did not work") });
    let proven = [Side::Old, Side::New].map(|side| Stage::Proven { side, why: None });
    for stage in back.into_iter().chain(proven) {
        attempt.stage = stage;
        store.enter(&attempt, "me", None, &[], "shop", &[]).await.unwrap();
        let found = store.attempt(&attempt.job).await.unwrap().unwrap();
        assert_eq!((&found.attempt, found.recipe), (&attempt, Some(json!({"Env": ["A=1"]}))));
    }
}

#[tokio::test]
async fn only_the_process_that_works_on_it_moves_it() {
    let (_dir, store, attempt) = store().await;
    store.begin_attempt(&attempt, None, "me", Step::Apply, Vec::new()).await.unwrap();
    let refused = store.enter(&attempt, "another", None, &[], "shop", &[]).await;
    assert!(matches!(refused, Err(StoreError::Taken { .. })));
    assert_eq!(store.take_over(&attempt.job, "another").await.unwrap(), 1);
    let refused = store.begin_action(&attempt.job, "me", "start", true).await;
    assert!(matches!(refused, Err(StoreError::Taken { .. })));
}

#[tokio::test]
async fn only_a_process_that_was_at_work_on_the_new_side_has_died() {
    let (_dir, store, mut attempt) = store().await;
    store.begin_attempt(&attempt, None, "1", Step::Apply, Vec::new()).await.unwrap();
    assert_eq!(store.take_over(&attempt.job, "2").await.unwrap(), 1);
    store.let_go(&attempt.job, "2", Some("the engine is away")).await.unwrap();
    assert_eq!(store.take_over(&attempt.job, "3").await.unwrap(), 1);
    store.let_all_go("3").await.unwrap();
    assert_eq!(store.take_over(&attempt.job, "4").await.unwrap(), 1);
    attempt.stage = Stage::Proven { side: Side::New, why: None };
    store.enter(&attempt, "4", None, &[], "shop", &[]).await.unwrap();
    assert_eq!(store.take_over(&attempt.job, "5").await.unwrap(), 1);
}

#[tokio::test]
async fn the_end_of_the_job_leaves_no_secret() {
    let (dir, store, attempt) = store().await;
    let recipe = json!({"Env": ["PASSWORD=hunter2-hunter2"]});
    store.begin_attempt(&attempt, Some(&recipe), "me", Step::Apply, Vec::new()).await.unwrap();
    let mut job = store.job(&attempt.job).await.unwrap().unwrap();
    job.state = State::Finished;
    store.finish(&job).await.unwrap();
    let found = store.attempt(&attempt.job).await.unwrap().unwrap();
    assert_eq!((found.attempt.stage, found.recipe), (Stage::Closed, None));
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(!bytes.windows(15).any(|part| part == b"hunter2-hunter2"));
    }
}

#[tokio::test]
async fn a_recorded_row_of_the_first_format_is_read() {
    let (_dir, store, attempt) = store().await;
    store.begin_attempt(&attempt, None, "me", Step::Apply, Vec::new()).await.unwrap();
    let (job, text) = (attempt.job.clone(), FORMAT_1.trim().to_owned());
    let overwrite = move |connection: &mut Connection| {
        connection.execute("UPDATE attempts SET facts = ?2 WHERE job = ?1", params![job.as_str(), text])?;
        Ok(())
    };
    store.call(overwrite).await.unwrap();
    assert_eq!(store.attempt(&attempt.job).await.unwrap().unwrap().attempt, attempt);
}

#[tokio::test]
async fn what_a_newer_program_has_written_is_an_error_and_stays() {
    for (column, value) in [("format", "99"), ("stage", "'sideways'"), ("facts", "'{\"intent\":\"dance\"}'")] {
        let (_dir, store, attempt) = store().await;
        store.begin_attempt(&attempt, None, "me", Step::Apply, Vec::new()).await.unwrap();
        let update = format!("UPDATE attempts SET {column} = {value}");
        assert_eq!(store.call(move |connection| Ok(connection.execute(&update, [])?)).await.unwrap(), 1);
        let error = store.attempt(&attempt.job).await.unwrap_err();
        assert!(error.to_string().contains("newer Restock"), "{error}");
    }
}

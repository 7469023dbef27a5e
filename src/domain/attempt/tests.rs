use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::json;

use super::slot::{Occupant, Slot, SlotSeen};
use super::*;

fn image(letter: char) -> ImageId {
    ImageId::new(format!("sha256:{}", letter.to_string().repeat(64)))
}

fn reference(service: &str) -> Fact {
    let change = Change {
        service: ServiceName::new(service),
        from: vec![image('a')],
        to: image('b'),
        to_manifest: None,
        reference: format!("registry.test/{service}:1"),
        version_to: None,
        source: None,
        to_digests: Vec::new(),
    };
    Fact::Reference(Reference { change, from_digests: Vec::new(), version_from: None })
}

fn project() -> Fact {
    let name = ProjectName::new("p");
    let (profiles, before) = (BTreeSet::new(), BTreeMap::new());
    Fact::Project(ProjectFact { name, profiles, selected: None, before, replicas: Vec::new() })
}

fn slot(auto_remove: bool) -> Slot {
    Slot {
        name: "web".into(),
        suffix: "1".into(),
        old_id: "old".into(),
        made_old: None,
        made_new: None,
        old_image: image('a'),
        new_image: image('b'),
        running: true,
        auto_remove,
        restart_policy: json!({"Name": if auto_remove { "no" } else { "always" }}),
        grace: None,
        platform: None,
        connect: vec![("second".into(), json!({}))],
        follows: None,
    }
}

fn attempt(facts: Vec<Fact>) -> Attempt {
    let job = JobId::new(ulid::Ulid::nil());
    let (intent, stage) = (Intent::Update, Stage::Forward);
    Attempt { job, intent, facts, take_back: true, stage, exposed: false, deaths: 0 }
}

fn at(now: char) -> Seen {
    Seen::Reference { now: Some(image(now)), old: Hold::Here, new: Hold::Here }
}

fn setback(cause: Cause) -> Setback {
    Setback::new(cause, "it does not work")
}

/// An engine with the two containers of one slot.
#[derive(Debug, Clone)]
struct Engine {
    slot: Slot,
    tag: char,
    old: Option<Occupant>,
    new: Option<Occupant>,
}

impl Engine {
    fn new(auto_remove: bool) -> Self {
        let slot = slot(auto_remove);
        let networks = ["second".to_owned()].into();
        let restart_policy = slot.restart_policy.clone();
        let old = Occupant { id: "old".into(), name: "web".into(), up: true, restart_policy, networks };
        Self { slot, tag: 'b', old: Some(old), new: None }
    }

    fn attempt(&self) -> Attempt {
        attempt(vec![reference("web"), Fact::Slot(Box::new(self.slot.clone()))])
    }

    fn seen(&self) -> Vec<Seen> {
        let (old, new) = (self.old.clone(), self.new.clone());
        vec![at(self.tag), Seen::Slot(SlotSeen { old, new, recipe: self.slot.auto_remove, foreign: None })]
    }

    fn side(&mut self, side: Side) -> &mut Option<Occupant> {
        if side == Side::Old { &mut self.old } else { &mut self.new }
    }

    fn does(&mut self, action: &Action) {
        let slot = self.slot.clone();
        let own = |occupant: &mut Option<Occupant>, change: &dyn Fn(&mut Occupant)| {
            change(occupant.as_mut().expect("an action is on a container that was seen"));
        };
        match action {
            Action::Retag { image: to, .. } => self.tag = if *to == image('a') { 'a' } else { 'b' },
            Action::Create(side) => {
                let (name, restart_policy) = (slot.aside(*side), slot.restart_policy.clone());
                let id = format!("{side:?} made");
                let made = Occupant { id, name, up: false, restart_policy, networks: BTreeSet::new() };
                *self.side(*side) = Some(made);
            }
            Action::Disarm(side) => own(self.side(*side), &|one| one.restart_policy = json!({"Name": "no"})),
            Action::Stop(side) if slot.auto_remove => *self.side(*side) = None,
            Action::Stop(side) => own(self.side(*side), &|one| one.up = false),
            Action::Park(side) => own(self.side(*side), &|one| one.name = slot.aside(*side)),
            Action::Name(side) => own(self.side(*side), &|one| one.name = slot.name.clone()),
            Action::Connect(side, network) => own(self.side(*side), &|one| {
                one.networks.insert(network.clone());
            }),
            Action::Arm(side) => own(self.side(*side), &|one| one.restart_policy = slot.restart_policy.clone()),
            Action::Start(side) => own(self.side(*side), &|one| one.up = true),
            Action::Remove(side) => *self.side(*side) = None,
            _ => {}
        }
    }

    /// Does everything up to the next decision that is not an action.
    fn follow(&mut self, attempt: &Attempt) -> (Vec<Action>, Next) {
        let mut run = ThisRun::default();
        loop {
            match next(attempt, &self.seen(), &run) {
                Next::Do(action) => {
                    self.does(&action);
                    run.done.push(action);
                }
                other => return (run.done, other),
            }
        }
    }
}

fn proves(side: Side) -> Next {
    Next::Prove { side, lost: None }
}

#[test]
fn the_new_container_is_made_before_the_old_one_is_touched_and_the_old_one_goes_last() {
    let mut engine = Engine::new(false);
    let mut attempt = engine.attempt();
    let (done, then) = engine.follow(&attempt);
    let second = "second".to_owned();
    let (old, new) = (Side::Old, Side::New);
    let expected = [
        Action::Create(new),
        Action::Disarm(old),
        Action::Stop(old),
        Action::Park(old),
        Action::Name(new),
        Action::Connect(new, second),
        Action::Start(new),
    ];
    assert_eq!((done.as_slice(), then), (expected.as_slice(), proves(new)));
    attempt.stage = Stage::Proven { side: new, why: None };
    let (done, then) = engine.follow(&attempt);
    assert_eq!(done, [Action::Remove(old), Action::FollowDependents]);
    assert_eq!(then, Next::Close);
}

#[test]
fn going_back_is_the_same_route_to_the_other_side() {
    let mut engine = Engine::new(false);
    let mut attempt = engine.attempt();
    engine.follow(&attempt);
    attempt.stage = Stage::Back { why: setback(Cause::Setup) };
    let (done, then) = engine.follow(&attempt);
    let retag = Action::Retag { reference: "registry.test/web:1".into(), image: image('a') };
    let (old, new) = (Side::Old, Side::New);
    let expected = [
        retag,
        Action::Disarm(new),
        Action::Stop(new),
        Action::Park(new),
        Action::Name(old),
        Action::Arm(old),
        Action::Start(old),
    ];
    assert_eq!((done.as_slice(), then), (expected.as_slice(), proves(old)));
}

#[test]
fn a_container_that_removed_itself_exists_again_before_the_new_one_is_stopped() {
    let mut engine = Engine::new(true);
    let mut attempt = engine.attempt();
    engine.follow(&attempt);
    assert!(engine.old.is_none());
    attempt.stage = Stage::Back { why: setback(Cause::Setup) };
    let (done, then) = engine.follow(&attempt);
    assert_eq!(done[1..3], [Action::Create(Side::Old), Action::Stop(Side::New)]);
    assert_eq!(then, proves(Side::Old));
    assert!(engine.old.is_some_and(|old| old.up && old.name == "web"));
}

#[test]
fn without_an_old_container_and_a_recipe_the_new_one_is_not_touched() {
    let mut engine = Engine::new(false);
    let mut attempt = engine.attempt();
    engine.follow(&attempt);
    engine.old = None;
    engine.tag = 'a';
    attempt.stage = Stage::Back { why: setback(Cause::Setup) };
    let (done, then) = engine.follow(&attempt);
    assert!(done.is_empty() && matches!(then, Next::Stuck(_)), "{done:?} {then:?}");
    // On the way there the new one is what counts.
    attempt.stage = Stage::Forward;
    engine.tag = 'b';
    assert_eq!(engine.follow(&attempt), (Vec::new(), proves(Side::New)));
}

#[test]
fn a_container_of_somebody_else_under_the_name_stops_everything() {
    let engine = Engine::new(false);
    let mut seen = engine.seen();
    if let Seen::Slot(slot) = &mut seen[1] {
        slot.foreign = Some("somebody else's".into());
    }
    assert!(matches!(next(&engine.attempt(), &seen, &ThisRun::default()), Next::Stuck(_)));
}

#[test]
fn what_cannot_be_had_stays_and_the_others_go_back() {
    let gone = || Seen::Reference { now: Some(image('b')), old: Hold::Lost("gone".into()), new: Hold::Here };
    let back = Stage::Back { why: setback(Cause::Setup) };
    let attempt = Attempt { stage: back, ..attempt(vec![reference("a"), reference("b"), project()]) };
    let clean = Seen::Project { leftovers: false };
    let run = ThisRun::default();
    let seen = [gone(), at('a'), clean.clone()];
    assert_eq!(next(&attempt, &seen, &run), Next::Do(Action::Compose(Side::Old)));
    let run = ThisRun { done: vec![Action::Compose(Side::Old)] };
    let Next::Prove { side: Side::Old, lost: Some(lost) } = next(&attempt, &seen, &run) else { panic!("no proof") };
    assert_eq!(lost.service, Some(ServiceName::new("a")));
    // Where nothing can be had, nothing is touched.
    let seen = [gone(), gone(), clean];
    assert!(matches!(next(&attempt, &seen, &ThisRun::default()), Next::Stuck(_)));
}

#[test]
fn compose_runs_after_its_leftovers_are_gone_and_once_in_a_run() {
    let attempt = attempt(vec![reference("a"), project()]);
    let next = |leftovers, done: &[Action]| {
        next(&attempt, &[at('b'), Seen::Project { leftovers }], &ThisRun { done: done.to_vec() })
    };
    assert_eq!(next(true, &[]), Next::Do(Action::CleanLeftovers));
    assert_eq!(next(false, &[]), Next::Do(Action::Compose(Side::New)));
    assert_eq!(next(false, &[Action::Compose(Side::New)]), proves(Side::New));
}

#[test]
fn a_setback_leads_back_only_once_and_an_obstacle_nowhere() {
    let forward = attempt(vec![]);
    let back = Attempt { stage: Stage::Back { why: setback(Cause::Setup) }, ..attempt(vec![]) };
    let leave = Attempt { take_back: false, ..attempt(vec![]) };
    let image = || setback(Cause::Image([ServiceName::new("a")].into()));
    assert!(matches!(after(&forward, image()), Ok(Some(Stage::Back { .. }))));
    assert_eq!(after(&back, image()), Ok(None));
    assert_eq!(after(&leave, image()), Ok(None));
    // What is not recorded, or was refused before it began, is put back whatever the caller asked for.
    assert!(matches!(after(&leave, setback(Cause::NotRecorded)), Ok(Some(Stage::Back { .. }))));
    for attempt in [forward, back, leave] {
        let engine = setback(Cause::Obstacle(Obstacle::Engine));
        assert_eq!(after(&attempt, engine), Err(Obstacle::Engine));
    }
}

/// What happens to the world or to the process between two actions.
#[derive(Debug, Clone, Copy)]
enum Event {
    Nothing,
    /// The action is done, and nobody knows.
    AnswerLost,
    /// The action is done a second time.
    Twice,
    /// Another process goes on.
    Dies,
    /// The attempt turns back, if it still can.
    Setback,
    /// Both containers stop, as when the machine is restarted.
    PowerCut,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => Just(Event::Nothing),
        1 => Just(Event::AnswerLost),
        1 => Just(Event::Twice),
        1 => Just(Event::Dies),
        1 => Just(Event::Setback),
        1 => Just(Event::PowerCut),
    ];
    proptest::collection::vec(event, 0..40)
}

proptest! {
    /// Whatever happens on the way, the attempt ends with the goal's container in the slot, and removes nothing before.
    #[test]
    fn every_route_ends_on_one_side(auto_remove: bool, events in events()) {
        let mut engine = Engine::new(auto_remove);
        let mut attempt = engine.attempt();
        let mut run = ThisRun::default();
        let mut events = events.into_iter();
        let mut went_back = false;
        for turn in 0.. {
            prop_assert!(turn < 300, "it does not end: {engine:?}");
            let event = events.next().unwrap_or(Event::Nothing);
            match next(&attempt, &engine.seen(), &run) {
                Next::Do(action) => {
                    let removes = matches!(action, Action::Remove(_));
                    let proven = matches!(attempt.stage, Stage::Proven { .. });
                    prop_assert!(!removes || proven, "{action:?} too early");
                    engine.does(&action);
                    if matches!(event, Event::Twice) && !matches!(action, Action::Stop(_) | Action::Remove(_)) {
                        engine.does(&action);
                    }
                    if !matches!(event, Event::AnswerLost) {
                        run.done.push(action);
                    }
                }
                Next::Prove { side, .. } => {
                    let why = None;
                    attempt.stage = Stage::Proven { side, why };
                    run = ThisRun::default();
                }
                Next::Stuck(setback) => prop_assert!(false, "{setback:?} {engine:?}"),
                Next::Close => break,
            }
            match event {
                Event::Dies => run = ThisRun::default(),
                Event::Setback if attempt.stage == Stage::Forward => {
                    if let Ok(Some(stage)) = after(&attempt, setback(Cause::Setup)) {
                        (attempt.stage, run, went_back) = (stage, ThisRun::default(), true);
                    }
                }
                Event::PowerCut if !auto_remove && !matches!(attempt.stage, Stage::Proven { .. }) => {
                    engine.old.iter_mut().chain(&mut engine.new).for_each(|one| one.up = false);
                    run = ThisRun::default();
                }
                _ => {}
            }
            prop_assert!(engine.old.is_some() || engine.new.is_some());
        }
        let Stage::Proven { side, .. } = attempt.stage else { return Err(TestCaseError::fail("it is not proven")) };
        prop_assert_eq!(side == Side::Old, went_back);
        let (own, other) = if side == Side::Old { (engine.old, engine.new) } else { (engine.new, engine.old) };
        prop_assert!(other.is_none());
        let own = own.expect("the proven side has a container");
        prop_assert!(own.up && own.name == "web" && own.restart_policy == engine.slot.restart_policy);
        prop_assert!(own.networks.contains("second"));
        prop_assert_eq!(engine.tag, if side == Side::Old { 'a' } else { 'b' });
    }
}

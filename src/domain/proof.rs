//! The proof that a container works: looking again, not trusting exit codes.

use std::time::Duration;

use super::container::{ContainerState, Health, Vitals};
use super::image::{Digest, ImageId};

/// So many restarts are a loop, also when a look finds the container running.
const LOOP: i64 = 3;
/// How long a container may be found stopped before somebody or something is expected to have started it.
const REST: Duration = Duration::from_secs(3);

/// What a container must run, and whether it must be up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expectation {
    /// `None` where any image will do: a service that was only restarted.
    pub image: Option<ExpectedImage>,
    /// It was up before and must be up again.
    pub up: bool,
    /// It is done when it has exited with 0: a one-shot that others wait for.
    pub completes: bool,
    /// Its healthcheck had failed before already: it must only run.
    pub may_be_unhealthy: bool,
}

/// An image by both names a container may know it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedImage {
    pub id: ImageId,
    pub manifest: Option<Digest>,
}

/// The judgement over one container at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Good,
    /// Not yet, and why.
    Wait(String),
    /// It will not get better.
    Bad(String),
}

impl ExpectedImage {
    /// Returns whether a container runs it.
    pub fn is_run_by(&self, vitals: &Vitals) -> bool {
        vitals.image_id == self.id || (self.manifest.is_some() && vitals.manifest == self.manifest)
    }
}

/// Judges a container that has been in its present life (since its last start or stop) for `stable`.
///
/// With a healthcheck the container's own word counts; without one it must have stayed up for `settle`.
pub fn judge(vitals: &Vitals, expected: &Expectation, stable: Duration, settle: Duration) -> Verdict {
    if expected.image.as_ref().is_some_and(|image| !image.is_run_by(vitals)) {
        return Verdict::Bad("it does not run the new image".into());
    }
    if !expected.up {
        return Verdict::Good;
    }
    match vitals.state {
        ContainerState::Running if vitals.health == Health::Unhealthy && !expected.may_be_unhealthy => {
            Verdict::Bad(match &vitals.health_output {
                Some(output) => format!("its healthcheck says it is unhealthy: {}", first_words(output)),
                None => "its healthcheck says it is unhealthy".into(),
            })
        }
        // Also one that is healthy between its restarts.
        ContainerState::Running | ContainerState::Restarting if vitals.restarts >= LOOP => {
            Verdict::Bad(format!("it restarts in a loop (exit code {})", vitals.exit_code))
        }
        ContainerState::Running if vitals.health == Health::Healthy => Verdict::Good,
        ContainerState::Running if vitals.health == Health::Starting => {
            Verdict::Wait("its health is still starting".into())
        }
        ContainerState::Running if stable >= settle => Verdict::Good,
        ContainerState::Running => Verdict::Wait(format!("it has not yet stayed up for {} s", settle.as_secs())),
        ContainerState::Restarting => Verdict::Wait(format!("it restarts (exit code {})", vitals.exit_code)),
        ContainerState::Exited if vitals.exit_code == 0 && expected.completes => Verdict::Good,
        ContainerState::Exited if vitals.comes_back && stable < REST => Verdict::Wait("it has exited".into()),
        ContainerState::Exited => Verdict::Bad(format!("it exited with code {}", vitals.exit_code)),
        ContainerState::Created if stable < REST => Verdict::Wait("it has not been started".into()),
        ContainerState::Created => Verdict::Bad(match &vitals.error {
            Some(error) => format!("it could not be started: {error}"),
            None => "it has not been started".into(),
        }),
        ContainerState::Paused => Verdict::Bad("it is paused".into()),
        ContainerState::Removing | ContainerState::Dead | ContainerState::Unknown if stable < REST => {
            Verdict::Wait("it is not running".into())
        }
        ContainerState::Removing | ContainerState::Dead | ContainerState::Unknown => {
            Verdict::Bad("it is not running".into())
        }
    }
}

fn first_words(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(5);

    fn vitals(state: ContainerState, health: Health) -> Vitals {
        Vitals {
            state,
            health,
            exit_code: 0,
            restarts: 0,
            started_at: None,
            start_period: Duration::ZERO,
            comes_back: false,
            error: None,
            health_output: None,
            image_id: ImageId::new("new"),
            manifest: None,
        }
    }

    fn up(completes: bool) -> Expectation {
        let image = ExpectedImage { id: ImageId::new("new"), manifest: None };
        Expectation { image: Some(image), up: true, completes, may_be_unhealthy: false }
    }

    fn verdict(vitals: &Vitals, stable: u64) -> Verdict {
        judge(vitals, &up(false), Duration::from_secs(stable), SETTLE)
    }

    #[test]
    fn without_a_healthcheck_one_look_proves_nothing() {
        let running = vitals(ContainerState::Running, Health::None);
        assert!(matches!(verdict(&running, 4), Verdict::Wait(_)));
        assert_eq!(verdict(&running, 5), Verdict::Good);
    }

    #[test]
    fn a_healthcheck_decides() {
        assert_eq!(verdict(&vitals(ContainerState::Running, Health::Healthy), 0), Verdict::Good);
        assert!(matches!(verdict(&vitals(ContainerState::Running, Health::Starting), 60), Verdict::Wait(_)));
        assert!(matches!(verdict(&vitals(ContainerState::Running, Health::Unhealthy), 60), Verdict::Bad(_)));
    }

    #[test]
    fn a_loop_is_a_failure_also_when_a_look_finds_it_running() {
        let looping = Vitals { restarts: 3, ..vitals(ContainerState::Running, Health::None) };
        assert!(matches!(verdict(&looping, 10), Verdict::Bad(_)));
        let once = Vitals { restarts: 1, ..vitals(ContainerState::Running, Health::None) };
        assert_eq!(verdict(&once, 5), Verdict::Good);
    }

    #[test]
    fn only_a_one_shot_may_exit_with_zero() {
        let exited = vitals(ContainerState::Exited, Health::None);
        assert!(matches!(verdict(&exited, 0), Verdict::Bad(_)));
        assert_eq!(judge(&exited, &up(true), Duration::ZERO, SETTLE), Verdict::Good);
        let failed = Vitals { exit_code: 1, ..exited };
        assert!(matches!(judge(&failed, &up(true), Duration::ZERO, SETTLE), Verdict::Bad(_)));
    }

    #[test]
    fn the_wrong_image_is_a_failure_whatever_else() {
        let old = Vitals { image_id: ImageId::new("old"), ..vitals(ContainerState::Running, Health::Healthy) };
        assert!(matches!(verdict(&old, 60), Verdict::Bad(_)));
    }

    #[test]
    fn a_stopped_service_only_needs_the_image() {
        let expected = Expectation { up: false, ..up(false) };
        assert_eq!(
            judge(&vitals(ContainerState::Created, Health::None), &expected, Duration::ZERO, SETTLE),
            Verdict::Good
        );
    }
}

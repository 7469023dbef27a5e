//! How much of a job is done.

use std::collections::HashMap;

use super::job::Step;

/// Where the pull ends, in percent of the whole.
const PULLED: u64 = 55;

/// The parts of a job that are counted.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes that are here and bytes that there are, by layer.
    layers: HashMap<String, (u64, u64)>,
    /// What is done, of how many things.
    counted: Option<(u64, u64)>,
}

impl Progress {
    /// Notes how much of a layer is here. Services may share one, which then is told for each of them.
    pub fn layer(&mut self, layer: &str, current: u64, total: u64) {
        self.layers.insert(layer.to_owned(), (current.min(total), total));
    }

    /// Notes how many things are done, of how many.
    pub fn count(&mut self, done: u64, all: u64) {
        self.counted = Some((done.min(all), all));
    }

    /// How much is done when `step` runs, from 0 to 100: a guess between the steps, a count within the pull.
    pub fn percent(&self, step: Option<Step>) -> u8 {
        if let Some((done, all)) = self.counted {
            return share(done, all, 100);
        }
        let begins = match step {
            None => 1,
            Some(Step::Resolve) => 2,
            Some(Step::Snapshot) => 3,
            Some(Step::Pull) => 6,
            Some(Step::Plan) => 55,
            Some(Step::HooksBefore) => 57,
            Some(Step::Apply) => 60,
            Some(Step::Verify) => 80,
            Some(Step::RollBack) => 85,
            Some(Step::HooksAfter) => 95,
        };
        if step != Some(Step::Pull) {
            return begins;
        }
        let sum = |(done, all): (u64, u64), (current, total): &(u64, u64)| {
            (done.saturating_add(*current), all.saturating_add(*total))
        };
        let (done, all) = self.layers.values().fold((0, 0), sum);
        begins + share(done, all, PULLED - u64::from(begins))
    }
}

fn share(done: u64, all: u64, of: u64) -> u8 {
    let share = u128::from(done) * u128::from(of) / u128::from(all.max(1));
    u8::try_from(share).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_count_within_the_pull_only() {
        let mut progress = Progress::default();
        assert_eq!(progress.percent(Some(Step::Pull)), 6);
        progress.layer("a", 50, 100);
        progress.layer("b", u64::MAX, 100);
        assert_eq!(progress.percent(Some(Step::Pull)), 6 + 36);
        assert_eq!(progress.percent(Some(Step::Verify)), 80);
        progress.count(1, 3);
        assert_eq!(progress.percent(None), 33);
        progress.count(0, 0);
        assert_eq!(progress.percent(None), 0);
    }
}

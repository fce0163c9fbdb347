//! Which draws an actor's environments and actions begin with. Who comes after another one at the same place, or to a run that goes on,
//! has draws of its own: those of the first would be the same episodes once more.

use impala_common::ids::ActorIndex;
use impala_env::seed;

/// Gives every actor its seed.
#[derive(Debug)]
pub(super) struct Draws {
    run_seed: u64,
    /// Whether an index was given out before, 64 a word.
    given: Vec<u64>,
    /// How many began after another one; a run that goes on counts from its updates.
    later: u64,
    goes_on: bool,
}

impl Draws {
    /// Of a run with this many updates before.
    pub(super) fn new(run_seed: u64, updates: u64) -> Self {
        Self { run_seed, given: Vec::new(), later: updates, goes_on: updates > 0 }
    }

    /// The seed of the actor that begins at this place.
    pub(super) fn seed(&mut self, index: ActorIndex) -> u64 {
        let (word, bit) = (index.0 as usize / 64, 1 << (index.0 % 64));
        if self.given.len() <= word {
            self.given.resize(word + 1, 0);
        }
        let is_first = self.given[word] & bit == 0 && !self.goes_on;
        self.given[word] |= bit;
        if is_first {
            return self.run_seed;
        }
        self.later += 1;
        seed::later(self.run_seed, self.later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_at_a_place_has_the_runs_seed_and_each_later_one_has_another() {
        let mut draws = Draws::new(7, 0);
        assert_eq!([0, 1, 1 << 20].map(|index| draws.seed(ActorIndex(index))), [7; 3]);
        let mut resumed = Draws::new(7, 90);
        let later = [1, 1, 0].map(|index| draws.seed(ActorIndex(index)));
        let all = later.into_iter().chain([0, 1, 1].map(|index| resumed.seed(ActorIndex(index)))).chain([7]);
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 7);
    }
}

//! Actions that last.

use crate::array::{ArrayMut, ArrayRef};
use crate::environment::Outcome;
use crate::scene::Scene;
use crate::seed::Rng;
use crate::vectorised::Environment;
use serde::{Deserialize, Serialize};

/// An environment that takes each action several times, until the episode ends; what is paid for it is the sum. Masks are told before
/// the first of these steps only: what they allow there must be allowed in the following ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionRepeat<E> {
    inner: E,
    times: u32,
}

impl<E> ActionRepeat<E> {
    /// Each action so many times.
    ///
    /// # Panics
    /// It is no time.
    pub fn new(inner: E, times: u32) -> Self {
        assert!(times > 0, "actions that are never taken");
        Self { inner, times }
    }
}

impl<E: Environment> Environment for ActionRepeat<E> {
    fn reset(&mut self, rng: &mut Rng) {
        self.inner.reset(rng);
    }

    fn step(&mut self, action: ArrayRef<'_>, rng: &mut Rng) -> (f32, Outcome) {
        let (mut sum, mut outcome) = self.inner.step(action, rng);
        for _ in 1..self.times {
            if outcome != Outcome::Continues {
                break;
            }
            let (reward, next) = self.inner.step(action, rng);
            sum += reward;
            outcome = next;
        }
        (sum, outcome)
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        self.inner.observe(observation);
    }

    fn mask(&self, choices: &mut [u8]) {
        self.inner.mask(choices);
    }

    fn accepts(&self, saved: &Self) -> bool {
        saved.times == self.times && self.inner.accepts(&saved.inner)
    }

    fn scene(&self) -> Option<Scene> {
        self.inner.scene()
    }
}

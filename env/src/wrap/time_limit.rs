//! A limit of steps.

use crate::array::{ArrayMut, ArrayRef};
use crate::environment::Outcome;
use crate::scene::Scene;
use crate::seed::Rng;
use crate::vectorised::Environment;
use serde::{Deserialize, Serialize};

/// An environment whose episodes are cut after so many steps, unless they end by themselves in that step.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TimeLimit<E> {
    inner: E,
    steps_max: u32,
    /// Of the episode so far.
    steps: u32,
}

impl<E> TimeLimit<E> {
    /// Cuts the environment's episodes after so many steps. It may have a limit of its own; the lower one counts.
    ///
    /// # Panics
    /// The limit is 0.
    pub fn new(inner: E, steps_max: u32) -> Self {
        assert!(steps_max > 0, "episodes of no steps");
        Self { inner, steps_max, steps: 0 }
    }
}

impl<E: Environment> Environment for TimeLimit<E> {
    fn reset(&mut self, rng: &mut Rng) {
        self.inner.reset(rng);
        self.steps = 0;
    }

    fn step(&mut self, action: ArrayRef<'_>, rng: &mut Rng) -> (f32, Outcome) {
        let (reward, outcome) = self.inner.step(action, rng);
        self.steps += 1;
        let is_cut = outcome == Outcome::Continues && self.steps >= self.steps_max;
        (reward, if is_cut { Outcome::Truncated } else { outcome })
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        self.inner.observe(observation);
    }

    fn mask(&self, choices: &mut [u8]) {
        self.inner.mask(choices);
    }

    fn accepts(&self, saved: &Self) -> bool {
        saved.steps_max == self.steps_max && saved.steps < self.steps_max && self.inner.accepts(&saved.inner)
    }

    fn scene(&self) -> Option<Scene> {
        self.inner.scene()
    }
}

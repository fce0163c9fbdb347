//! One environment as a person writes it, and N of them as an actor steps them.
//!
//! An [`Environment`] is the short way to one of your own: it knows nothing of batches, of when the next episode begins, or of
//! checkpoints. [`EnvironmentKind::of_one`] adds these. What is stepped millions of times a second implements
//! [`VectorEnvironment`] itself, as a structure of arrays.

use crate::array::{ArrayMut, ArrayRef};
use crate::environment::{Outcome, StateError, Step, VectorEnvironment};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::state;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// One environment. It is made once and plays one episode after another; whatever is random in it comes from the source that it is
/// handed, or a run cannot be repeated.
///
/// A treasure on a row of cells, where nobody can walk off the end:
///
/// ```
/// use impala_env::array::{ArrayMut, ArrayRef};
/// use impala_env::seed::Rng;
/// use impala_env::space::{ActionSpace, ObservationSpace};
/// use impala_env::{Environment, EnvironmentKind, Outcome, builtin};
/// use rand::RngExt;
/// use serde::{Deserialize, Serialize};
///
/// const CELLS: usize = 9;
///
/// #[derive(Serialize, Deserialize)]
/// struct Treasure {
///     place: usize,
///     treasure: usize,
/// }
///
/// impl Environment for Treasure {
///     fn reset(&mut self, rng: &mut Rng) {
///         self.place = CELLS / 2;
///         self.treasure = rng.random_range(0..CELLS);
///     }
///
///     fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
///         self.place = if action.u8()[0] == 0 { self.place - 1 } else { self.place + 1 };
///         match self.place == self.treasure {
///             true => (1.0, Outcome::Terminated),
///             false => (-0.1, Outcome::Continues),
///         }
///     }
///
///     fn observe(&self, observation: ArrayMut<'_>) {
///         let cells = observation.u8();
///         cells.fill(0);
///         cells[self.place] = 128;
///         cells[self.treasure] = 255;
///     }
///
///     fn mask(&self, choices: &mut [u8]) {
///         choices.copy_from_slice(&[u8::from(self.place > 0), u8::from(self.place < CELLS - 1)]);
///     }
/// }
///
/// let (observations, actions) = (ObservationSpace::bytes(&[CELLS]), ActionSpace::Discrete(2));
/// let new = || Treasure { place: 0, treasure: 0 };
/// let kind = EnvironmentKind::of_one("treasure", observations, actions, 0.6, new)?.with_masks()?;
/// let mut registry = builtin();
/// registry.register(kind.with_action_names(&["left", "right"])?)?;
/// # Ok::<(), impala_env::KindError>(())
/// ```
pub trait Environment: Sized + Send + 'static {
    /// Begins an episode. Nothing that is left from the one before may show in it.
    fn reset(&mut self, rng: &mut Rng);

    /// Takes an action, and gives the reward and how that left the episode. It computes and never waits. What
    /// [`Environment::observe`] shows afterwards belongs to the same episode; [`Environment::reset`] follows when that is over.
    ///
    /// # Shapes
    /// `action`: `[D]`, of a discrete space bytes, of a box numbers within its bounds
    fn step(&mut self, action: ArrayRef<'_>, rng: &mut Rng) -> (f32, Outcome);

    /// Writes every number of the current observation.
    ///
    /// # Shapes
    /// `observation`: `[O]` of the space's kind of numbers
    fn observe(&self, observation: ArrayMut<'_>);

    /// Writes 1 for every choice that the next action may make and 0 for the others; each component has one at least. It is asked only of kinds
    /// that were made [`EnvironmentKind::with_masks`].
    ///
    /// # Shapes
    /// `choices`: `[M]`
    fn mask(&self, choices: &mut [u8]) {
        choices.fill(1);
    }

    /// Whether a saved one, of which any number may be damaged, can go on in the place of this one: it was made with the same settings,
    /// and an episode that goes on can be in its state. What is accepted must not make a later step panic.
    fn accepts(&self, saved: &Self) -> bool {
        let _ = saved;
        true
    }

    /// What it looks like, for people who watch; every scene has the same size. It is also asked at the end of each episode.
    fn scene(&self) -> Option<Scene> {
        None
    }
}

impl EnvironmentKind {
    /// An [`Environment`], of which an actor makes as many as it steps; see [`EnvironmentKind::new`]. Its state is what serde writes of
    /// it, at most `8 * O + 1024` bytes: fields that serde skips must not matter to the next steps.
    ///
    /// # Errors
    /// The name or one of the numbers is out of bounds.
    pub fn of_one<E: Environment + Serialize + DeserializeOwned>(
        name: &str,
        observations: ObservationSpace,
        actions: ActionSpace,
        solved_return: f64,
        make: impl Fn() -> E + Send + Sync + 'static,
    ) -> Result<Self, KindError> {
        let of_name = name.to_owned();
        let make = move |rngs| -> Box<dyn VectorEnvironment> { Box::new(Vectorised::new(&of_name, &make, rngs)) };
        Self::new(name, observations, actions, solved_return, make)
    }

    /// The same of what serde cannot write; see [`EnvironmentKind::without_state`].
    ///
    /// # Errors
    /// The name or one of the numbers is out of bounds.
    pub fn of_one_without_state<E: Environment>(
        name: &str,
        observations: ObservationSpace,
        actions: ActionSpace,
        solved_return: f64,
        make: impl Fn() -> E + Send + Sync + 'static,
    ) -> Result<Self, KindError> {
        let of_name = name.to_owned();
        let make =
            move |rngs| -> Box<dyn VectorEnvironment> { Box::new(Vectorised::without_state(&of_name, &make, rngs)) };
        Ok(Self::new(name, observations, actions, solved_return, make)?.without_state())
    }
}

/// N environments of one kind, each with a random source of its own.
struct Vectorised<E> {
    name: String,
    environments: Vec<E>,
    rngs: Vec<Rng>,
    /// `[N]`: how each one's last episode ended, for pictures alone.
    ends: Vec<Option<Scene>>,
    saving: Option<Saving<E>>,
}

/// How environments are written and read: by functions, so that those that cannot be need no serde.
struct Saving<E> {
    save: fn(&str, &[E], &[Rng]) -> Vec<u8>,
    load: Load<E>,
}

/// From the kind's name, how many there must be, and bytes.
type Load<E> = fn(&str, usize, &[u8]) -> Result<(Vec<E>, Vec<Rng>), StateError>;

impl<E: Environment> Vectorised<E> {
    /// One environment for each random source, all at the start of an episode. Their state cannot be saved.
    fn without_state(name: &str, make: impl Fn() -> E, mut rngs: Vec<Rng>) -> Self {
        let mut environments: Vec<_> = rngs.iter().map(|_| make()).collect();
        environments.iter_mut().zip(&mut rngs).for_each(|(environment, rng)| environment.reset(rng));
        let ends = vec![None; rngs.len()];
        Self { name: name.to_owned(), environments, rngs, ends, saving: None }
    }
}

impl<E: Environment + Serialize + DeserializeOwned> Vectorised<E> {
    /// One environment for each random source, all at the start of an episode.
    fn new(name: &str, make: impl Fn() -> E, rngs: Vec<Rng>) -> Self {
        let saving = Saving {
            save: |name, environments, rngs| state::encode(name, &(environments, rngs)),
            load: |name, environments, bytes| state::decode(name, environments, bytes),
        };
        Self { saving: Some(saving), ..Self::without_state(name, make, rngs) }
    }
}

impl<E: Environment> VectorEnvironment for Vectorised<E> {
    fn environments(&self) -> usize {
        self.environments.len()
    }

    fn observe(&self, mut observations: ArrayMut<'_>, masks: &mut [u8]) {
        let n = self.environments.len().max(1);
        let (o, m) = (observations.view().len() / n, masks.len() / n);
        for (i, environment) in self.environments.iter().enumerate() {
            environment.observe(observations.reborrow().range(o * i..o * (i + 1)));
            if m > 0 {
                environment.mask(&mut masks[m * i..m * (i + 1)]);
            }
        }
    }

    fn step(&mut self, actions: ArrayRef<'_>, mut step: Step<'_>) {
        let n = self.environments.len().max(1);
        let (d, o, m) = (actions.len() / n, step.observations.view().len() / n, step.masks.len() / n);
        for (i, (environment, rng)) in self.environments.iter_mut().zip(&mut self.rngs).enumerate() {
            let (reward, outcome) = environment.step(actions.range(d * i..d * (i + 1)), rng);
            (step.rewards[i], step.outcomes[i]) = (reward, outcome);
            let mut row = step.observations.reborrow().range(o * i..o * (i + 1));
            if outcome == Outcome::Truncated {
                environment.observe(row.reborrow());
                step.final_observations.extend(row.view());
            }
            if outcome != Outcome::Continues {
                self.ends[i] = environment.scene();
                environment.reset(rng);
            }
            environment.observe(row);
            if m > 0 {
                environment.mask(&mut step.masks[m * i..m * (i + 1)]);
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        let saved = self.saving.as_ref().map(|saving| (saving.save)(&self.name, &self.environments, &self.rngs));
        saved.unwrap_or_default()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let n = self.environments.len();
        let refused = || StateError::new(self.name.clone(), n);
        let saving = self.saving.as_ref().ok_or_else(refused)?;
        let (environments, rngs) = (saving.load)(&self.name, n, state)?;
        let is_accepted = |(saved, own): (&E, &E)| own.accepts(saved);
        let is_possible =
            (environments.len(), rngs.len()) == (n, n) && environments.iter().zip(&self.environments).all(is_accepted);
        if !is_possible {
            return Err(refused());
        }
        (self.environments, self.rngs) = (environments, rngs);
        self.ends.fill(None);
        Ok(())
    }

    fn scene(&mut self, index: usize) -> Option<Scene> {
        self.environments[index].scene()
    }

    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        self.ends[index].clone()
    }
}

#[cfg(test)]
mod tests;

//! What an environment is: N of one kind that are stepped in one call, as structures of arrays.
//!
//! O, the numbers in an observation, D, the components of an action, and M, the choices of all components, are those of its
//! [`EnvironmentSpec`]; N is the number of random sources that its constructor is given.

use crate::array::{Array, ArrayMut, ArrayRef};
use crate::scene::Scene;
use crate::spec::EnvironmentSpec;
use std::borrow::Cow;

/// How a step left its episode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// The episode goes on.
    #[default]
    Continues = 0,
    /// The environment reached an end of its own: nothing follows.
    Terminated = 1,
    /// The step limit cut the episode: what would follow is worth the value of the true final observation.
    Truncated = 2,
}

impl Outcome {
    /// The outcome that a byte of the wire stands for.
    pub fn from_u8(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Continues),
            1 => Some(Self::Terminated),
            2 => Some(Self::Truncated),
            _ => None,
        }
    }
}

/// Where one step of N environments is written. A step overwrites every number of all arrays but the last; observations and
/// rewards are finite and at most 1e9 in magnitude, and so are the sums of an episode's rewards: the actor ends otherwise.
#[derive(Debug)]
pub struct Step<'a> {
    /// `[N, O]` of the spec's kind of numbers: what the next action is chosen from; after an episode's end the first observation of the
    /// next one.
    pub observations: ArrayMut<'a>,
    /// `[N, M]`, empty where the spec has no masks: 1 for every choice that the next action may make, 0 for the others. Each component
    /// has one at least.
    pub masks: &'a mut [u8],
    /// `[N]`
    pub rewards: &'a mut [f32],
    /// `[N]`: where an environment comes to its own end in the very step of its limit, it has terminated.
    pub outcomes: &'a mut [Outcome],
    /// `[K, O]`: the true final observation of every truncated environment is appended, in the environments' order.
    pub final_observations: &'a mut Array,
}

/// Memory of the steps of N environments, for whoever steps them outside an unroll.
#[derive(Clone, Debug, PartialEq)]
pub struct StepBuffer {
    /// `[N, O]`
    pub observations: Array,
    /// `[N, M]`
    pub masks: Vec<u8>,
    /// `[N]`
    pub rewards: Vec<f32>,
    /// `[N]`
    pub outcomes: Vec<Outcome>,
    /// `[K, O]`, of the newest step.
    pub final_observations: Array,
}

impl StepBuffer {
    /// Zeros for so many environments of this spec.
    pub fn new(spec: &EnvironmentSpec, environments: usize) -> Self {
        let observations = &spec.observations;
        Self {
            observations: Array::zeros(observations.dtype, environments * observations.len()),
            masks: vec![0; environments * spec.mask_len()],
            rewards: vec![0.0; environments],
            outcomes: vec![Outcome::Continues; environments],
            final_observations: Array::zeros(observations.dtype, 0),
        }
    }

    /// What the environments show now.
    pub fn observe(&mut self, environments: &dyn VectorEnvironment) {
        environments.observe(self.observations.view_mut(), &mut self.masks);
    }

    /// One step of the environments.
    pub fn step(&mut self, environments: &mut dyn VectorEnvironment, actions: ArrayRef<'_>) {
        self.final_observations.clear();
        let step = Step {
            observations: self.observations.view_mut(),
            masks: &mut self.masks,
            rewards: &mut self.rewards,
            outcomes: &mut self.outcomes,
            final_observations: &mut self.final_observations,
        };
        environments.step(actions, step);
    }
}

/// A half of the environments: the first of them, or the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// Those from the first on.
    First,
    /// Those after them.
    Second,
}

/// Environments in processes of their own, of which one half steps while the caller chooses the actions of the other. A caller begins
/// a step of a half and waits for its end before it begins the next one; results are those of whole steps.
pub trait Halves {
    /// How many environments the first half has: at least one, and fewer than all.
    fn first(&self) -> usize;

    /// Begins a step of a half, which goes on while the caller does something else.
    ///
    /// # Shapes
    /// `actions`: `[n, D]` of the half's environments
    fn begin(&mut self, half: Half, actions: ArrayRef<'_>);

    /// Waits for the end of a half's step. The arrays are those of its environments; after a failure, which
    /// [`VectorEnvironment::fault`] tells, they have zeros.
    fn end(&mut self, half: Half, step: Step<'_>);
}

/// N environments of one kind that are stepped together. Those whose episode ended begin the next one within the step. Each keeps
/// its own limit of steps, if it has one; returns and lengths of episodes are counted by the caller.
pub trait VectorEnvironment: Send {
    /// N
    fn environments(&self) -> usize;

    /// Writes the current observations and masks.
    ///
    /// # Shapes
    /// `observations`: `[N, O]`, `masks`: `[N, M]`, as in a [`Step`]
    fn observe(&self, observations: ArrayMut<'_>, masks: &mut [u8]);

    /// Takes one action in every environment. It computes and never waits: the actor's socket may be served by the same thread.
    ///
    /// # Shapes
    /// `actions`: `[N, D]`, of a discrete space bytes below the component's choices that the masks allow, of a box numbers within its
    /// bounds; `step`: see [`Step`].
    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>);

    /// The same environments by halves, where a step of them is waited for; None where it is computed here.
    fn halves(&mut self) -> Option<&mut dyn Halves> {
        None
    }

    /// Everything that the next steps depend on, the random sources among it, in the environments' own format. Only
    /// environments of the same kind and number read it; it travels and lies in checkpoints as bytes. With what the actor itself
    /// keeps it is at most `N * (8 * O + 1024) + 1024` bytes, or a deterministic run ends.
    fn state(&self) -> Vec<u8>;

    /// Goes on from a state that environments of the same kind and number were in. The bytes come from outside.
    ///
    /// # Errors
    /// It is another kind's or number's state, or no step leads to it; the environments are unchanged.
    fn restore(&mut self, state: &[u8]) -> Result<(), StateError>;

    /// Why the newest call did not do what was asked, in a sentence that names environment and value; None as long as all is well. Only
    /// environments that live elsewhere, in a process of their own, say anything here: a step that failed leaves zeros.
    fn fault(&self) -> Option<String> {
        None
    }

    /// What one of them (`index` below N) looks like now, for people who watch. Nothing is learned from it: without it an
    /// environment trains as well, but there are no pictures of it. Every scene of an environment has the same size.
    fn scene(&mut self, index: usize) -> Option<Scene> {
        let _ = index;
        None
    }

    /// What it looked like when its last episode ended, which [`Self::scene`] never shows: a step that ends an episode begins the
    /// next. Asked right after such a step; where it is left out, pictures of an episode end a step earlier.
    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        let _ = index;
        None
    }
}

/// A state that cannot be taken up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the saved state is not one of {environments} {kind} environments")]
pub struct StateError {
    kind: Cow<'static, str>,
    environments: usize,
}

impl StateError {
    /// The state is not one of so many environments of this kind.
    pub fn new(kind: impl Into<Cow<'static, str>>, environments: usize) -> Self {
        Self { kind: kind.into(), environments }
    }
}

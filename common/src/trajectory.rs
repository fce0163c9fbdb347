//! A trajectory: what one actor saw and did over one unroll with one version of the weights, and its invariants.
//!
//! Index convention, settled here once: `observations[t] -> actions[t] -> rewards[t], outcomes[t] -> observations[t+1]`.
//! After an episode's end `observations[t+1]` is the first of the next episode; a truncated step keeps the true final
//! observation beside it. Every array is time-major and flat.

use crate::ids::{Sequence, WeightsVersion};
use bytes::Bytes;
use impala_env::Outcome;
use impala_env::array::{Array, ArrayRef, Dtype};
use impala_env::space::{ActionSpace, ObservationSpace};
use impala_env::spec::EnvironmentSpec;
use impala_policy::distribution::Distribution;
use impala_policy::network::PolicyHead;
use std::sync::Arc;
use std::time::Duration;

/// An episode that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Undiscounted, unscaled sum of rewards.
    pub episode_return: f32,
    /// Length in steps.
    pub length: u32,
}

/// Sizes of a trajectory, and of what its arrays are made.
#[derive(Clone, Debug, PartialEq)]
pub struct TrajectoryShape {
    /// T
    pub unroll_length: usize,
    /// N
    pub environments: usize,
    /// What is observed and done.
    spec: Arc<EnvironmentSpec>,
    /// O, D and M of the spec.
    sizes: [usize; 3],
    /// The largest logarithm of a probability or density.
    log_prob_max: f32,
    /// The largest number of an action, as it is drawn.
    action_max: f32,
}

// The bounds are numbers.
impl Eq for TrajectoryShape {}

impl TrajectoryShape {
    /// T steps of N environments of this spec by a policy with this head.
    pub fn new(unroll_length: usize, environments: usize, spec: &EnvironmentSpec, head: &PolicyHead) -> Self {
        let sizes = [spec.observation_len(), spec.actions.components(), spec.mask_len()];
        let distribution = Distribution::of(head);
        let (log_prob_max, action_max) = (distribution.log_prob_max(), distribution.action_max());
        Self { unroll_length, environments, spec: Arc::new(spec.clone()), sizes, log_prob_max, action_max }
    }

    /// The same of observations of so many numbers and one choice among so many actions.
    pub fn plain(unroll_length: usize, environments: usize, observation_len: usize, action_count: usize) -> Self {
        let (observations, actions) = (ObservationSpace::vector(observation_len), ActionSpace::Discrete(action_count));
        let spec = EnvironmentSpec::new("plain", observations, actions);
        Self::new(unroll_length, environments, &spec, &PolicyHead::single(action_count))
    }

    /// What is observed and done.
    pub fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    /// O
    pub fn observation_len(&self) -> usize {
        self.sizes[0]
    }

    /// D
    pub fn components(&self) -> usize {
        self.sizes[1]
    }

    /// M
    pub fn mask_len(&self) -> usize {
        self.sizes[2]
    }

    /// `T * N`: environment steps in the trajectory.
    pub fn frames(&self) -> usize {
        self.unroll_length * self.environments
    }

    /// Largest size of such a trajectory on the wire, bytes: every step truncated, and room for
    /// the fields' tags and lengths and for other messages.
    pub fn wire_bytes_max(&self) -> usize {
        const OVERHEAD: usize = 1 << 16;
        // Log-probability, reward, outcome.
        const FRAME: usize = 4 + 4 + 1;
        let frames = self.unroll_length.saturating_mul(self.environments);
        let rows = frames.saturating_mul(2).saturating_add(self.environments);
        let observations =
            rows.saturating_mul(self.observation_len()).saturating_mul(self.spec.observations.dtype.size());
        let frame = FRAME + self.components() * self.spec.actions.dtype().size() + self.mask_len();
        let actor_state = actor_state_bytes_max(self.environments, self.observation_len());
        [frames.saturating_mul(frame), actor_state, OVERHEAD].into_iter().fold(observations, usize::saturating_add)
    }
}

/// The arrays of a trajectory before anybody has checked them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrajectoryParts {
    /// Position among the actor's trajectories.
    pub sequence: Sequence,
    /// The weights that chose every action.
    pub weights_version: WeightsVersion,
    /// `[T+1, N, O]`
    pub observations: Array,
    /// `[T, N, D]`: choices, or numbers as they were drawn.
    pub actions: Array,
    /// `[T, N, M]`: what of each action's choices was allowed.
    pub masks: Vec<u8>,
    /// `[T, N]`, natural logarithm of the behaviour policy's probability of the action, or its density.
    pub behaviour_log_probs: Vec<f32>,
    /// `[T, N]`, as the environment gave them.
    pub rewards: Vec<f32>,
    /// `[T, N]`
    pub outcomes: Vec<Outcome>,
    /// `[K, O]`: the true final observation of each truncated step, in the order of `outcomes`.
    pub final_observations: Array,
}

/// Where a rollout's time went, for one trajectory or for the sum of many. It says what limits a run; no data and nothing
/// that is learned depends on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RolloutTime {
    /// Waiting for room: for the receipt of an earlier trajectory, or for the link to take one.
    pub room: Duration,
    /// Waiting for weights that are new enough.
    pub weights: Duration,
    /// Acting.
    pub unroll: Duration,
}

impl RolloutTime {
    /// Both waits.
    pub fn blocked(&self) -> Duration {
        self.room.saturating_add(self.weights)
    }

    /// All of it.
    pub fn total(&self) -> Duration {
        self.blocked().saturating_add(self.unroll)
    }
}

impl std::ops::AddAssign for RolloutTime {
    /// Saturates: a peer may send any numbers.
    fn add_assign(&mut self, other: Self) {
        self.room = self.room.saturating_add(other.room);
        self.weights = self.weights.saturating_add(other.weights);
        self.unroll = self.unroll.saturating_add(other.unroll);
    }
}

/// Largest state of an actor after a trajectory, bytes: random states and whatever else N environments remember, which is
/// seldom more than what they show. What is opaque to the learner is bounded here all the same.
pub fn actor_state_bytes_max(environments: usize, observation_len: usize) -> usize {
    let each = observation_len.saturating_mul(8).saturating_add(1024);
    environments.saturating_mul(each).saturating_add(1024)
}

/// Largest observation, reward or return: one absurd number must not be able to end a training by overflow.
pub const MAGNITUDE_MAX: f32 = 1e9;

/// A valid trajectory; see the module for its layout.
#[derive(Clone, Debug, PartialEq)]
pub struct Trajectory {
    shape: TrajectoryShape,
    parts: TrajectoryParts,
    time: RolloutTime,
    actor_state: Option<Bytes>,
}

/// Why arrays do not make a trajectory.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TrajectoryError {
    /// An array has the wrong number of elements.
    #[error("{array} has {actual} elements, expected {expected} for {shape:?}")]
    Length {
        /// Name of the array.
        array: &'static str,
        /// Elements found.
        actual: usize,
        /// Elements that the shape asks for.
        expected: usize,
        /// The agreed shape.
        shape: Box<TrajectoryShape>,
    },
    /// A number is NaN, infinite, or so large that squares of it would be; or that of an action is larger than any of the policy.
    #[error("{array}[{position}] is {value}, expected a number within {max} of 0")]
    Magnitude {
        /// Name of the array.
        array: &'static str,
        /// Flat position.
        position: usize,
        /// The number as text.
        value: String,
        /// The largest as text.
        max: String,
    },
    /// A log-probability is larger than any of the policy.
    #[error("behaviour_log_probs[{position}] is {value}, expected at most {max}")]
    LogProb {
        /// Flat position.
        position: usize,
        /// The number as text.
        value: String,
        /// The largest as text.
        max: String,
    },
    /// An array has numbers of the other kind.
    #[error("{array} holds numbers of {actual}, expected {expected}")]
    Dtype {
        /// Name of the array.
        array: &'static str,
        /// What they are.
        actual: Dtype,
        /// What the spec says.
        expected: Dtype,
    },
    /// A mask is none, or allows nothing.
    #[error(
        "masks[{position}] is {value}: 1 allows a choice and 0 forbids it, and each component has one at least that is allowed"
    )]
    Mask {
        /// Flat position; that of a component's first choice where none is allowed.
        position: usize,
        /// The byte.
        value: u8,
    },
    /// An action is one that the mask forbids.
    #[error("actions[{position}] is {action}, which its mask forbids")]
    Forbidden {
        /// Flat position.
        position: usize,
        /// The action.
        action: u8,
    },
    /// An action is outside the action set.
    #[error("actions[{position}] is {action}, expected less than {action_count}")]
    Action {
        /// Flat position.
        position: usize,
        /// The action.
        action: u8,
        /// A
        action_count: usize,
    },
}

impl Trajectory {
    /// Checks lengths, magnitudes and actions.
    ///
    /// # Errors
    /// Names the first array that breaks an invariant, with position and value.
    pub fn try_new(shape: TrajectoryShape, parts: TrajectoryParts) -> Result<Self, TrajectoryError> {
        let frames = shape.frames();
        let truncated = parts.outcomes.iter().filter(|o| **o == Outcome::Truncated).count();
        let observations = frames + shape.environments;
        let dtypes = [
            ("observations", parts.observations.dtype(), shape.spec.observations.dtype),
            ("actions", parts.actions.dtype(), shape.spec.actions.dtype()),
            ("final_observations", parts.final_observations.dtype(), shape.spec.observations.dtype),
        ];
        if let Some((array, actual, expected)) = dtypes.into_iter().find(|(_, actual, expected)| actual != expected) {
            return Err(TrajectoryError::Dtype { array, actual, expected });
        }
        let lengths = [
            ("observations", parts.observations.len(), observations * shape.observation_len()),
            ("actions", parts.actions.len(), frames * shape.components()),
            ("masks", parts.masks.len(), frames * shape.mask_len()),
            ("behaviour_log_probs", parts.behaviour_log_probs.len(), frames),
            ("rewards", parts.rewards.len(), frames),
            ("outcomes", parts.outcomes.len(), frames),
            ("final_observations", parts.final_observations.len(), truncated * shape.observation_len()),
        ];
        for (array, actual, expected) in lengths {
            if actual != expected {
                return Err(TrajectoryError::Length { array, actual, expected, shape: Box::new(shape) });
            }
        }
        if let ArrayRef::F32(numbers) = parts.observations.view() {
            bounded("observations", numbers, MAGNITUDE_MAX)?;
        }
        bounded("behaviour_log_probs", &parts.behaviour_log_probs, MAGNITUDE_MAX)?;
        bounded("rewards", &parts.rewards, MAGNITUDE_MAX)?;
        if let ArrayRef::F32(numbers) = parts.final_observations.view() {
            bounded("final_observations", numbers, MAGNITUDE_MAX)?;
        }
        // Rounding of a log-softmax leaves a certain action a hair above 0.
        if let Some(position) = parts.behaviour_log_probs.iter().position(|p| *p > shape.log_prob_max) {
            let (value, max) = (parts.behaviour_log_probs[position].to_string(), shape.log_prob_max.to_string());
            return Err(TrajectoryError::LogProb { position, value, max });
        }
        match parts.actions.view() {
            ArrayRef::U8(choices) => check_choices(choices, &parts.masks, shape.spec.actions.choices())?,
            ArrayRef::F32(numbers) => bounded("actions", numbers, shape.action_max)?,
        }
        Ok(Self { shape, parts, time: RolloutTime::default(), actor_state: None })
    }

    /// Adds the state of the actor after this trajectory.
    #[must_use]
    pub fn with_actor_state(self, actor_state: Option<Bytes>) -> Self {
        Self { actor_state, ..self }
    }

    /// The state of the actor after this trajectory, in the actor's own format; in deterministic runs.
    pub fn actor_state(&self) -> Option<&Bytes> {
        self.actor_state.as_ref()
    }

    /// Notes how the rollout's time went.
    #[must_use]
    pub fn with_time(self, time: RolloutTime) -> Self {
        Self { time, ..self }
    }

    /// How the rollout's time went; zeros if nobody told.
    pub fn time(&self) -> RolloutTime {
        self.time
    }

    /// Its sizes.
    pub fn shape(&self) -> &TrajectoryShape {
        &self.shape
    }

    /// Takes the arrays out, for their memory to be used again.
    pub fn into_parts(self) -> TrajectoryParts {
        self.parts
    }
}

impl std::ops::Deref for Trajectory {
    type Target = TrajectoryParts;

    fn deref(&self) -> &TrajectoryParts {
        &self.parts
    }
}

/// Whether every choice is one of its component's, and allowed.
fn check_choices(actions: &[u8], masks: &[u8], choices: &[usize]) -> Result<(), TrajectoryError> {
    let none = |position: usize, action_count: usize| {
        Err(TrajectoryError::Action { position, action: actions[position], action_count })
    };
    if let [action_count] = *choices {
        if let Some(position) = actions.iter().position(|action| usize::from(*action) >= action_count) {
            return none(position, action_count);
        }
    } else {
        let bounds = choices.iter().cycle().enumerate();
        let mut beyond = actions.iter().zip(bounds).filter(|(action, (_, choices))| usize::from(**action) >= **choices);
        if let Some((_, (position, action_count))) = beyond.next() {
            return none(position, *action_count);
        }
    }
    if masks.is_empty() {
        return Ok(());
    }
    if let Some(position) = masks.iter().position(|mask| *mask > 1) {
        return Err(TrajectoryError::Mask { position, value: masks[position] });
    }
    let mut first = 0;
    for (position, (action, choices)) in actions.iter().zip(choices.iter().cycle()).enumerate() {
        let mask = &masks[first..first + choices];
        if !mask.contains(&1) {
            return Err(TrajectoryError::Mask { position: first, value: 0 });
        }
        if mask[usize::from(*action)] == 0 {
            return Err(TrajectoryError::Forbidden { position, action: *action });
        }
        first += choices;
    }
    Ok(())
}

fn bounded(array: &'static str, values: &[f32], max: f32) -> Result<(), TrajectoryError> {
    // Counting vectorises where a search with an early exit does not.
    let is_bad = |x: &f32| x.is_nan() | (x.abs() > max);
    if values.iter().filter(|x| is_bad(x)).count() == 0 {
        return Ok(());
    }
    let Some(position) = values.iter().position(is_bad) else {
        return Ok(());
    };
    let (value, max) = (values[position].to_string(), format!("{max:e}"));
    Err(TrajectoryError::Magnitude { array, position, value, max })
}

#[cfg(test)]
mod tests;

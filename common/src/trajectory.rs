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
}

// A bound is a number.
impl Eq for TrajectoryShape {}

impl TrajectoryShape {
    /// T steps of N environments of this spec by a policy with this head.
    pub fn new(unroll_length: usize, environments: usize, spec: &EnvironmentSpec, head: &PolicyHead) -> Self {
        let sizes = [spec.observation_len(), spec.actions.components(), spec.mask_len()];
        let log_prob_max = Distribution::of(head).log_prob_max();
        Self { unroll_length, environments, spec: Arc::new(spec.clone()), sizes, log_prob_max }
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
    /// A number is NaN, infinite, or so large that squares of it would be.
    #[error("{array}[{position}] is {value}, expected a number within {MAGNITUDE_MAX:e} of 0")]
    Magnitude {
        /// Name of the array.
        array: &'static str,
        /// Flat position.
        position: usize,
        /// The number as text.
        value: String,
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
            bounded("observations", numbers)?;
        }
        bounded("behaviour_log_probs", &parts.behaviour_log_probs)?;
        bounded("rewards", &parts.rewards)?;
        if let ArrayRef::F32(numbers) = parts.final_observations.view() {
            bounded("final_observations", numbers)?;
        }
        // Rounding of a log-softmax leaves a certain action a hair above 0.
        if let Some(position) = parts.behaviour_log_probs.iter().position(|p| *p > shape.log_prob_max) {
            let (value, max) = (parts.behaviour_log_probs[position].to_string(), shape.log_prob_max.to_string());
            return Err(TrajectoryError::LogProb { position, value, max });
        }
        match parts.actions.view() {
            ArrayRef::U8(choices) => check_choices(choices, &parts.masks, shape.spec.actions.choices())?,
            ArrayRef::F32(numbers) => bounded("actions", numbers)?,
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

fn bounded(array: &'static str, values: &[f32]) -> Result<(), TrajectoryError> {
    // Counting vectorises where a search with an early exit does not.
    let is_bad = |x: &f32| x.is_nan() | (x.abs() > MAGNITUDE_MAX);
    if values.iter().filter(|x| is_bad(x)).count() == 0 {
        return Ok(());
    }
    let Some(position) = values.iter().position(is_bad) else {
        return Ok(());
    };
    let value = values[position].to_string();
    Err(TrajectoryError::Magnitude { array, position, value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> TrajectoryShape {
        TrajectoryShape::plain(3, 2, 4, 2)
    }

    fn parts() -> TrajectoryParts {
        let mut outcomes = vec![Outcome::Continues; 6];
        outcomes[2] = Outcome::Terminated;
        outcomes[5] = Outcome::Truncated;
        TrajectoryParts {
            observations: vec![0.5; 32].into(),
            actions: vec![1_u8; 6].into(),
            behaviour_log_probs: vec![-0.7; 6],
            rewards: vec![1.0; 6],
            outcomes,
            final_observations: vec![0.25; 4].into(),
            ..TrajectoryParts::default()
        }
    }

    #[test]
    fn sound_parts_make_a_trajectory() {
        let trajectory = Trajectory::try_new(shape(), parts()).unwrap();
        assert_eq!(trajectory.shape().frames(), 6);
        assert_eq!(trajectory.into_parts(), parts());
    }

    #[test]
    fn each_broken_array_is_named() {
        let error = |change: fn(&mut TrajectoryParts)| {
            let mut parts = parts();
            change(&mut parts);
            Trajectory::try_new(shape(), parts).unwrap_err().to_string()
        };
        assert!(
            error(|p| p.observations = vec![0.5; 31].into()).starts_with("observations has 31 elements, expected 32")
        );
        assert!(error(|p| p.actions.extend(ArrayRef::U8(&[0]))).starts_with("actions has 7"));
        assert!(error(|p| p.masks.push(1)).starts_with("masks has 1"));
        assert_eq!(error(|p| p.actions = vec![1.0; 6].into()), "actions holds numbers of f32, expected u8");
        assert!(error(|p| p.final_observations.clear()).starts_with("final_observations has 0"));
        assert_eq!(error(|p| p.rewards[4] = f32::NAN), "rewards[4] is NaN, expected a number within 1e9 of 0");
        assert_eq!(
            error(|p| p.observations.view_mut().f32()[7] = f32::INFINITY),
            "observations[7] is inf, expected a number within 1e9 of 0"
        );
        assert!(error(|p| p.rewards[0] = -f32::MAX).starts_with("rewards[0] is -340282350000000"));
        assert!(error(|p| p.behaviour_log_probs[1] = 0.5).starts_with("behaviour_log_probs[1] is 0.5"));
        assert_eq!(error(|p| p.actions.view_mut().u8()[3] = 2), "actions[3] is 2, expected less than 2");
    }

    fn spec(actions: ActionSpace, masked: bool) -> EnvironmentSpec {
        EnvironmentSpec { masked, ..EnvironmentSpec::new("mine", ObservationSpace::bytes(&[2]), actions) }
    }

    /// One step of one environment that is observed in bytes.
    fn one(spec: &EnvironmentSpec, actions: Array, masks: &[u8], log_prob: f32) -> Result<Trajectory, TrajectoryError> {
        let shape = TrajectoryShape::new(1, 1, spec, &PolicyHead::of(spec, false));
        let parts = TrajectoryParts {
            observations: vec![7_u8; 4].into(),
            actions,
            masks: masks.to_vec(),
            behaviour_log_probs: vec![log_prob],
            rewards: vec![1.0],
            outcomes: vec![Outcome::Continues],
            final_observations: Array::zeros(Dtype::U8, 0),
            ..TrajectoryParts::default()
        };
        Trajectory::try_new(shape, parts)
    }

    #[test]
    fn a_choice_is_one_of_its_component_and_allowed() {
        let masked = spec(ActionSpace::MultiDiscrete(vec![2, 3]), true);
        let refusal =
            |actions: [u8; 2], masks| one(&masked, actions.to_vec().into(), masks, -1.0).unwrap_err().to_string();
        one(&masked, vec![1_u8, 2].into(), &[0, 1, 1, 0, 1], -1.0).unwrap();
        assert_eq!(refusal([2, 0], &[1; 5]), "actions[0] is 2, expected less than 2");
        assert_eq!(refusal([1, 3], &[1; 5]), "actions[1] is 3, expected less than 3");
        assert_eq!(refusal([1, 1], &[1, 1, 1, 0, 1]), "actions[1] is 1, which its mask forbids");
        assert!(refusal([1, 1], &[1, 2, 1, 1, 1]).starts_with("masks[1] is 2"));
        assert!(refusal([1, 1], &[1, 1, 0, 0, 0]).starts_with("masks[2] is 0"));
        assert!(refusal([1, 1], &[1; 4]).starts_with("masks has 4 elements, expected 5"));
    }

    #[test]
    fn a_density_may_exceed_1_and_numbers_are_bounded() {
        let numbers = spec(ActionSpace::bounded(&[-1.0; 2], &[1.0; 2]), false);
        one(&numbers, vec![3.0, -0.5].into(), &[], 2.5).unwrap();
        let refusal = |actions: [f32; 2], log_prob| {
            one(&numbers, actions.to_vec().into(), &[], log_prob).unwrap_err().to_string()
        };
        assert!(refusal([0.0, f32::NAN], 0.0).starts_with("actions[1] is NaN"));
        assert!(refusal([0.0, 0.0], 100.0).starts_with("behaviour_log_probs[0] is 100, expected at most"));
    }
}

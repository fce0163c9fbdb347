//! A trajectory: what one actor saw and did over one unroll with one version of the weights, and its invariants.
//!
//! Index convention, settled here once: `observations[t] -> actions[t] -> rewards[t], outcomes[t] -> observations[t+1]`.
//! After an episode's end `observations[t+1]` is the first of the next episode; a truncated step keeps the true final
//! observation beside it. Every array is time-major and flat.

use crate::ids::{Sequence, WeightsVersion};
use bytes::Bytes;
use impala_env::Outcome;
use std::time::Duration;

/// An episode that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Episode {
    /// Undiscounted, unscaled sum of rewards.
    pub episode_return: f32,
    /// Length in steps.
    pub length: u32,
}

/// Sizes of a trajectory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrajectoryShape {
    /// T
    pub unroll_length: usize,
    /// N
    pub environments: usize,
    /// O
    pub observation_len: usize,
    /// A; actions are below it.
    pub action_count: usize,
}

impl TrajectoryShape {
    /// `T * N`: environment steps in the trajectory.
    pub fn frames(&self) -> usize {
        self.unroll_length * self.environments
    }

    /// Largest size of such a trajectory on the wire, bytes: every step truncated, and room for
    /// the fields' tags and lengths and for other messages.
    pub fn wire_bytes_max(&self) -> usize {
        const OVERHEAD: usize = 1 << 16;
        // Action, log-probability, reward, outcome.
        const FRAME: usize = 1 + 4 + 4 + 1;
        let frames = self.unroll_length.saturating_mul(self.environments);
        let rows = frames.saturating_mul(2).saturating_add(self.environments);
        let observations = rows.saturating_mul(self.observation_len).saturating_mul(4);
        let actor_state = actor_state_bytes_max(self.environments, self.observation_len);
        [frames.saturating_mul(FRAME), actor_state, OVERHEAD].into_iter().fold(observations, usize::saturating_add)
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
    pub observations: Vec<f32>,
    /// `[T, N]`
    pub actions: Vec<u8>,
    /// `[T, N]`, natural logarithm of the behaviour policy's probability of the action.
    pub behaviour_log_probs: Vec<f32>,
    /// `[T, N]`, as the environment gave them.
    pub rewards: Vec<f32>,
    /// `[T, N]`
    pub outcomes: Vec<Outcome>,
    /// `[K, O]`: the true final observation of each truncated step, in the order of `outcomes`.
    pub final_observations: Vec<f32>,
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
        shape: TrajectoryShape,
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
    /// A log-probability is positive.
    #[error("behaviour_log_probs[{position}] is {value}, expected at most 0")]
    PositiveLogProb {
        /// Flat position.
        position: usize,
        /// The number as text.
        value: String,
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
        let lengths = [
            ("observations", parts.observations.len(), observations * shape.observation_len),
            ("actions", parts.actions.len(), frames),
            ("behaviour_log_probs", parts.behaviour_log_probs.len(), frames),
            ("rewards", parts.rewards.len(), frames),
            ("outcomes", parts.outcomes.len(), frames),
            ("final_observations", parts.final_observations.len(), truncated * shape.observation_len),
        ];
        for (array, actual, expected) in lengths {
            if actual != expected {
                return Err(TrajectoryError::Length { array, actual, expected, shape });
            }
        }
        bounded("observations", &parts.observations)?;
        bounded("behaviour_log_probs", &parts.behaviour_log_probs)?;
        bounded("rewards", &parts.rewards)?;
        bounded("final_observations", &parts.final_observations)?;
        // Rounding of a log-softmax leaves a certain action a hair above 0.
        if let Some(position) = parts.behaviour_log_probs.iter().position(|p| *p > 1e-5) {
            let value = parts.behaviour_log_probs[position].to_string();
            return Err(TrajectoryError::PositiveLogProb { position, value });
        }
        let action_count = shape.action_count;
        if let Some(position) = parts.actions.iter().position(|a| usize::from(*a) >= action_count) {
            let action = parts.actions[position];
            return Err(TrajectoryError::Action { position, action, action_count });
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

    /// T, N, O and A.
    pub fn shape(&self) -> TrajectoryShape {
        self.shape
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

    const SHAPE: TrajectoryShape =
        TrajectoryShape { unroll_length: 3, environments: 2, observation_len: 4, action_count: 2 };

    fn parts() -> TrajectoryParts {
        let mut outcomes = vec![Outcome::Continues; 6];
        outcomes[2] = Outcome::Terminated;
        outcomes[5] = Outcome::Truncated;
        TrajectoryParts {
            observations: vec![0.5; 32],
            actions: vec![1; 6],
            behaviour_log_probs: vec![-0.7; 6],
            rewards: vec![1.0; 6],
            outcomes,
            final_observations: vec![0.25; 4],
            ..TrajectoryParts::default()
        }
    }

    #[test]
    fn sound_parts_make_a_trajectory() {
        let trajectory = Trajectory::try_new(SHAPE, parts()).unwrap();
        assert_eq!(trajectory.shape().frames(), 6);
        assert_eq!(trajectory.into_parts(), parts());
    }

    #[test]
    fn each_broken_array_is_named() {
        let error = |change: fn(&mut TrajectoryParts)| {
            let mut parts = parts();
            change(&mut parts);
            Trajectory::try_new(SHAPE, parts).unwrap_err().to_string()
        };
        assert!(error(|p| p.observations.truncate(31)).starts_with("observations has 31 elements, expected 32"));
        assert!(error(|p| p.actions.push(0)).starts_with("actions has 7"));
        assert!(error(|p| p.final_observations.clear()).starts_with("final_observations has 0"));
        assert_eq!(error(|p| p.rewards[4] = f32::NAN), "rewards[4] is NaN, expected a number within 1e9 of 0");
        assert_eq!(
            error(|p| p.observations[7] = f32::INFINITY),
            "observations[7] is inf, expected a number within 1e9 of 0"
        );
        assert!(error(|p| p.rewards[0] = -f32::MAX).starts_with("rewards[0] is -340282350000000"));
        assert!(error(|p| p.behaviour_log_probs[1] = 0.5).starts_with("behaviour_log_probs[1] is 0.5"));
        assert_eq!(error(|p| p.actions[3] = 2), "actions[3] is 2, expected less than 2");
    }
}

//! A batch: the trajectories of one update side by side in host memory, time-major.

use impala_common::ids::WeightsVersion;
use impala_common::trajectory::{Episode, Trajectory};
use impala_env::Outcome;

/// Trajectories joined into `[T, B]` arrays; B is the sum of their environments.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// T
    pub unroll_length: usize,
    /// B
    pub columns: usize,
    /// O
    pub observation_len: usize,
    /// `[(T+1) * B + K, O]`: all observations, then the true final observation of each truncated step.
    pub observations: Vec<f32>,
    /// `[T, B]`
    pub actions: Vec<u8>,
    /// `[T, B]`
    pub behaviour_log_probs: Vec<f32>,
    /// `[T, B]`
    pub rewards: Vec<f32>,
    /// `[T, B]`
    pub outcomes: Vec<Outcome>,
    /// `[K]`: for each final observation the flat `[T, B]` position of its step.
    pub truncated: Vec<usize>,
    /// The version that made each trajectory.
    pub weights_versions: Vec<WeightsVersion>,
    /// Episodes that ended in the batch.
    pub episodes: Vec<Episode>,
}

impl Batch {
    /// Joins trajectories of one shape, in their order.
    ///
    /// # Panics
    /// If there are none, or their unroll lengths or observations differ: they come from one agreement.
    pub fn join(trajectories: &[Trajectory]) -> Self {
        let first = trajectories.first().expect("a batch has at least one trajectory").shape();
        let (steps, width) = (first.unroll_length, first.observation_len);
        let same = |t: &Trajectory| (t.shape().unroll_length, t.shape().observation_len) == (steps, width);
        assert!(trajectories.iter().all(same), "trajectories of one batch agree on their shape");
        let columns = trajectories.iter().map(|t| t.shape().environments).sum();
        let truncated = truncated_positions(trajectories, columns);

        let finals = trajectories.iter().flat_map(|t| &t.final_observations);
        let mut observations = rows(trajectories, steps + 1, width, |t| &t.observations);
        observations.extend(finals);
        Self {
            unroll_length: steps,
            columns,
            observation_len: width,
            observations,
            actions: rows(trajectories, steps, 1, |t| &t.actions),
            behaviour_log_probs: rows(trajectories, steps, 1, |t| &t.behaviour_log_probs),
            rewards: rows(trajectories, steps, 1, |t| &t.rewards),
            outcomes: rows(trajectories, steps, 1, |t| &t.outcomes),
            truncated,
            weights_versions: trajectories.iter().map(|t| t.weights_version).collect(),
            episodes: trajectories.iter().flat_map(|t| t.episodes.iter().copied()).collect(),
        }
    }

    /// `T * B`
    pub fn frames(&self) -> usize {
        self.unroll_length * self.columns
    }

    /// Rows of `observations`.
    pub fn rows(&self) -> usize {
        self.observations.len() / self.observation_len
    }
}

/// Copies `steps` rows of `[N, width]` from every trajectory, side by side.
fn rows<T: Copy>(
    trajectories: &[Trajectory],
    steps: usize,
    width: usize,
    array: impl Fn(&Trajectory) -> &[T],
) -> Vec<T> {
    let mut joined = Vec::with_capacity(trajectories.iter().map(|t| array(t).len()).sum());
    for step in 0..steps {
        for trajectory in trajectories {
            let len = trajectory.shape().environments * width;
            joined.extend_from_slice(&array(trajectory)[step * len..(step + 1) * len]);
        }
    }
    joined
}

/// Where in `[T, B]` the truncated steps lie, in the order in which the final observations are joined.
fn truncated_positions(trajectories: &[Trajectory], columns: usize) -> Vec<usize> {
    let mut positions = Vec::new();
    let mut first_column = 0;
    for trajectory in trajectories {
        let environments = trajectory.shape().environments;
        let truncated = trajectory.outcomes.iter().enumerate().filter(|(_, o)| **o == Outcome::Truncated);
        positions.extend(truncated.map(|(i, _)| i / environments * columns + first_column + i % environments));
        first_column += environments;
    }
    positions
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::trajectory::{TrajectoryParts, TrajectoryShape};

    /// Two steps; observations and actions carry their own position: `step * 10 + environment`, offset by `base`.
    fn trajectory(base: u8, environments: usize, truncated: &[usize]) -> Trajectory {
        let shape = TrajectoryShape { unroll_length: 2, environments, observation_len: 1, action_count: 256 };
        let label = |i: usize| base + (i / environments * 10 + i % environments) as u8;
        let frames = 2 * environments;
        let mut outcomes = vec![Outcome::Continues; frames];
        truncated.iter().for_each(|i| outcomes[*i] = Outcome::Truncated);
        let parts = TrajectoryParts {
            observations: (0..frames + environments).map(|i| f32::from(label(i))).collect(),
            actions: (0..frames).map(label).collect(),
            behaviour_log_probs: vec![-1.0; frames],
            rewards: vec![1.0; frames],
            outcomes,
            episodes: vec![Episode { episode_return: 1.0, length: 1 }; truncated.len()],
            final_observations: truncated.iter().map(|i| f32::from(label(*i)) + 0.5).collect(),
            ..TrajectoryParts::default()
        };
        Trajectory::try_new(shape, parts).unwrap()
    }

    #[test]
    fn rows_lie_side_by_side_and_final_observations_know_their_step() {
        let batch = Batch::join(&[trajectory(0, 2, &[3]), trajectory(100, 1, &[0, 1])]);
        assert_eq!((batch.columns, batch.frames(), batch.rows()), (3, 6, 12));
        assert_eq!(batch.actions, [0, 1, 100, 10, 11, 110]);
        assert_eq!(batch.observations[..9], [0.0, 1.0, 100.0, 10.0, 11.0, 110.0, 20.0, 21.0, 120.0]);
        assert_eq!(batch.observations[9..], [11.5, 100.5, 110.5]);
        assert_eq!(batch.truncated, [4, 2, 5]);
        for (row, position) in batch.truncated.iter().enumerate() {
            assert_eq!(batch.outcomes[*position], Outcome::Truncated);
            assert_eq!(batch.observations[9 + row], f32::from(batch.actions[*position]) + 0.5);
        }
    }
}

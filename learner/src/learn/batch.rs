//! A batch: the trajectories of one update as they arrived, and the arrays of some of its columns gathered from them.
//!
//! A column is one environment's part of a trajectory, T steps long; columns do not depend on one another. A step gathers a
//! block of columns just before it computes with them, so nothing is copied that a core does not want next.

use impala_common::ids::WeightsVersion;
use impala_common::trajectory::Trajectory;
use impala_env::Outcome;
use impala_env::array::{Array, ArrayRef, Dtype};
use impala_policy::policy::widened;
use std::ops::Range;

/// Trajectories of one shape side by side. B, the number of columns, is the sum of their environments.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    trajectories: Vec<Trajectory>,
    /// The first column of each trajectory, then B.
    starts: Vec<usize>,
}

/// Arrays of C neighbouring columns of a batch, time-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Columns {
    /// T
    pub unroll_length: usize,
    /// C
    pub columns: usize,
    /// O
    pub observation_len: usize,
    /// `[(T+1) * C + K, O]`: all observations, then the true final observation of each truncated step. Bytes are numbers from 0 to 1
    /// here: as many as one core wants next.
    pub observations: Vec<f32>,
    /// `[T, C, D]`
    pub actions: Array,
    /// `[T, C, M]`
    pub masks: Vec<u8>,
    /// `[T, C]`
    pub behaviour_log_probs: Vec<f32>,
    /// `[T, C]`
    pub rewards: Vec<f32>,
    /// `[T, C]`
    pub outcomes: Vec<Outcome>,
    /// `[K]`: for each final observation the flat `[T, C]` position of its step.
    pub truncated: Vec<usize>,
}

impl Batch {
    /// Takes the trajectories of one update, in their order.
    ///
    /// # Panics
    /// If there are none, or their unroll lengths or environments differ: they come from one agreement.
    pub fn new(trajectories: Vec<Trajectory>) -> Self {
        let first = trajectories.first().expect("a batch has at least one trajectory").shape();
        let (steps, spec) = (first.unroll_length, first.spec());
        let same = |t: &Trajectory| t.shape().unroll_length == steps && t.shape().spec() == spec;
        assert!(trajectories.iter().all(same), "trajectories of one batch agree on their shape");
        let mut starts = vec![0];
        for trajectory in &trajectories {
            starts.push(starts[starts.len() - 1] + trajectory.shape().environments);
        }
        Self { trajectories, starts }
    }

    /// The trajectories in their order.
    pub fn trajectories(&self) -> &[Trajectory] {
        &self.trajectories
    }

    /// T
    pub fn unroll_length(&self) -> usize {
        self.trajectories[0].shape().unroll_length
    }

    /// O
    pub fn observation_len(&self) -> usize {
        self.trajectories[0].shape().observation_len()
    }

    /// B
    pub fn columns(&self) -> usize {
        self.starts[self.trajectories.len()]
    }

    /// `T * B`
    pub fn frames(&self) -> usize {
        self.unroll_length() * self.columns()
    }

    /// The version that made each trajectory.
    pub fn weights_versions(&self) -> impl Iterator<Item = WeightsVersion> {
        self.trajectories.iter().map(|trajectory| trajectory.weights_version)
    }

    /// Copies so many columns side by side; the memory of `into` is used again.
    ///
    /// # Panics
    /// If the batch has not as many.
    pub fn gather(&self, columns: Range<usize>, into: &mut Columns) {
        let (steps, width) = (self.unroll_length(), self.observation_len());
        into.unroll_length = steps;
        into.columns = columns.len();
        into.observation_len = width;
        let shape = self.trajectories[0].shape();
        let components = shape.components();
        match shape.spec().observations.dtype {
            Dtype::F32 => {
                self.rows(&columns, steps + 1, width, |t| t.observations.view().f32(), &mut into.observations, |x| x);
            }
            Dtype::U8 => {
                self.rows(&columns, steps + 1, width, |t| t.observations.view().u8(), &mut into.observations, widened);
            }
        }
        if into.actions.dtype() != shape.spec().actions.dtype() {
            into.actions = Array::zeros(shape.spec().actions.dtype(), 0);
        }
        match &mut into.actions {
            Array::U8(actions) => self.rows(&columns, steps, components, |t| t.actions.view().u8(), actions, |x| x),
            Array::F32(actions) => self.rows(&columns, steps, components, |t| t.actions.view().f32(), actions, |x| x),
        }
        self.rows(&columns, steps, shape.mask_len(), |t| &t.masks, &mut into.masks, |x| x);
        self.rows(&columns, steps, 1, |t| &t.behaviour_log_probs, &mut into.behaviour_log_probs, |x| x);
        self.rows(&columns, steps, 1, |t| &t.rewards, &mut into.rewards, |x| x);
        self.rows(&columns, steps, 1, |t| &t.outcomes, &mut into.outcomes, |x| x);
        self.finals(&columns, into);
    }

    /// The trajectories in which the columns lie: the first of their columns there, the trajectory, and which of its
    /// environments they are.
    fn parts(&self, columns: &Range<usize>) -> impl Iterator<Item = (usize, &Trajectory, Range<usize>)> + Clone {
        let first = self.starts.partition_point(|start| *start <= columns.start) - 1;
        let parts = self.trajectories[first..].iter().zip(&self.starts[first..]);
        let (from, to) = (columns.start, columns.end);
        parts.take_while(move |(_, start)| **start < to).map(move |(trajectory, start)| {
            let environments = from.max(*start) - start..(to - start).min(trajectory.shape().environments);
            (from.max(*start) - from, trajectory, environments)
        })
    }

    /// Copies `steps` rows of `[N, width]`, of the columns' environments, from every trajectory, each number as `taken` makes it.
    fn rows<T: Copy, U: Copy>(
        &self,
        columns: &Range<usize>,
        steps: usize,
        width: usize,
        array: impl Fn(&Trajectory) -> &[T],
        into: &mut Vec<U>,
        taken: impl Fn(T) -> U,
    ) {
        into.clear();
        let parts = self.parts(columns);
        for step in 0..steps {
            for (_, trajectory, environments) in parts.clone() {
                let start = step * trajectory.shape().environments;
                let row = &array(trajectory)[(start + environments.start) * width..(start + environments.end) * width];
                into.extend(row.iter().map(|number| taken(*number)));
            }
        }
    }

    /// Adds the final observations of the columns' truncated steps, trajectory by trajectory, and notes their steps.
    fn finals(&self, columns: &Range<usize>, into: &mut Columns) {
        into.truncated.clear();
        for (first, trajectory, environments) in self.parts(columns) {
            let all = trajectory.shape().environments;
            let steps = trajectory.outcomes.iter().enumerate().filter(|(_, outcome)| **outcome == Outcome::Truncated);
            // Without final observations there is no truncated step to look for.
            let (all_finals, width) = (trajectory.final_observations.view(), into.observation_len.max(1));
            let finals = (0..all_finals.len() / width).map(|row| all_finals.range(row * width..(row + 1) * width));
            for (observation, (position, _)) in finals.zip(steps) {
                let environment = position % all;
                if environments.contains(&environment) {
                    let column = first + environment - environments.start;
                    into.truncated.push(position / all * into.columns + column);
                    match observation {
                        ArrayRef::F32(numbers) => into.observations.extend_from_slice(numbers),
                        ArrayRef::U8(bytes) => into.observations.extend(bytes.iter().map(|byte| widened(*byte))),
                    }
                }
            }
        }
    }
}

impl Columns {
    /// `T * C`
    pub fn frames(&self) -> usize {
        self.unroll_length * self.columns
    }

    /// Rows of `observations`.
    pub fn rows(&self) -> usize {
        self.observations.len() / self.observation_len
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::trajectory::{TrajectoryParts, TrajectoryShape};

    /// Two steps; observations and actions carry their own position: `step * 10 + environment`, offset by `base`.
    fn trajectory(base: u8, environments: usize, truncated: &[usize]) -> Trajectory {
        let shape = TrajectoryShape::plain(2, environments, 1, 256);
        let label = |i: usize| base + (i / environments * 10 + i % environments) as u8;
        let frames = 2 * environments;
        let mut outcomes = vec![Outcome::Continues; frames];
        truncated.iter().for_each(|i| outcomes[*i] = Outcome::Truncated);
        let parts = TrajectoryParts {
            observations: (0..frames + environments).map(|i| f32::from(label(i))).collect(),
            actions: (0..frames).map(label).collect::<Array>(),
            behaviour_log_probs: vec![-1.0; frames],
            rewards: vec![1.0; frames],
            outcomes,
            final_observations: truncated.iter().map(|i| f32::from(label(*i)) + 0.5).collect(),
            ..TrajectoryParts::default()
        };
        Trajectory::try_new(shape, parts).unwrap()
    }

    fn gathered(batch: &Batch, columns: Range<usize>) -> Columns {
        let mut gathered = Columns::default();
        batch.gather(columns, &mut gathered);
        gathered
    }

    #[test]
    fn columns_lie_side_by_side_and_final_observations_know_their_step() {
        let batch = Batch::new(vec![trajectory(0, 2, &[3]), trajectory(100, 1, &[0, 1])]);
        assert_eq!((batch.columns(), batch.frames()), (3, 6));
        let all = gathered(&batch, 0..3);
        assert_eq!((all.columns, all.frames(), all.rows()), (3, 6, 12));
        assert_eq!(all.actions.view().u8(), [0, 1, 100, 10, 11, 110]);
        assert_eq!(all.observations[..9], [0.0, 1.0, 100.0, 10.0, 11.0, 110.0, 20.0, 21.0, 120.0]);
        assert_eq!(all.observations[9..], [11.5, 100.5, 110.5]);
        assert_eq!(all.truncated, [4, 2, 5]);
        for (row, position) in all.truncated.iter().enumerate() {
            assert_eq!(all.outcomes[*position], Outcome::Truncated);
            assert_eq!(all.observations[9 + row], f32::from(all.actions.view().u8()[*position]) + 0.5);
        }
    }

    #[test]
    fn any_block_of_columns_is_that_part_of_the_whole() {
        let batch = Batch::new(vec![trajectory(0, 3, &[4]), trajectory(100, 1, &[1]), trajectory(200, 2, &[0, 3])]);
        let all = gathered(&batch, 0..6);
        let finals = &all.observations[18..];
        for (from, to) in (0..6).flat_map(|from| (from + 1..=6).map(move |to| (from, to))) {
            let block = gathered(&batch, from..to);
            let columns = |row: usize| row * 6 + from..row * 6 + to;
            let expected: Vec<u8> = (0..2).flat_map(|row| &all.actions.view().u8()[columns(row)]).copied().collect();
            assert_eq!(block.actions.view().u8(), expected);
            let of_block = |position: &usize| (from..to).contains(&(position % 6));
            let mut expected: Vec<f32> = (0..3).flat_map(|row| &all.observations[columns(row)]).copied().collect();
            expected.extend(all.truncated.iter().zip(finals).filter(|(p, _)| of_block(p)).map(|(_, o)| o));
            assert_eq!(block.observations, expected, "{from}..{to}");
            let positions = all.truncated.iter().filter(|p| of_block(p)).map(|p| p / 6 * (to - from) + p % 6 - from);
            assert_eq!(block.truncated, positions.collect::<Vec<_>>());
        }
    }
}

//! The unroll buffer: builds one [`Trajectory`] after the other, step by step, in the index convention of
//! `observations[t] -> actions[t] -> rewards[t], outcomes[t] -> observations[t+1]`.
//!
//! It lends its memory to the policy and the environments instead of copying from them, and counts episodes across
//! unrolls. It knows neither of the two.

use impala_common::ids::{Sequence, WeightsVersion};
use impala_common::trajectory::{Episode, Trajectory, TrajectoryError, TrajectoryParts, TrajectoryShape};
use impala_env::Outcome;
use impala_env::Step;
use impala_env::array::{Array, ArrayMut, ArrayRef};
use impala_policy::policy::Decision;
use std::ops::Range;

/// A trajectory under construction. Each of its T steps is a [`decision`](Self::decision), a
/// [`transition`](Self::transition) and an [`advance`](Self::advance), in this order.
#[derive(Debug)]
pub struct UnrollBuffer {
    shape: TrajectoryShape,
    parts: TrajectoryParts,
    /// `[N, M]`: what the choices of the next step may be, until that step is done.
    next_masks: Vec<u8>,
    /// Steps done, at most T.
    time: usize,
    /// `[N]`: rewards of each environment's running episode, summed in double precision, so that long sums stay exact.
    returns: Vec<f64>,
    /// `[N]`: steps of each environment's running episode.
    lengths: Vec<u32>,
    /// Those that ended in this unroll, in the order of its outcomes.
    ended: Vec<Episode>,
}

impl UnrollBuffer {
    /// An empty buffer. Its first observations are zeros until [`first_observations`](Self::first_observations) is
    /// filled.
    pub fn new(shape: TrajectoryShape) -> Self {
        let environments = shape.environments;
        let (returns, lengths) = (vec![0.0; environments], vec![0; environments]);
        let (parts, next_masks) = (empty_parts(&shape), vec![0; environments * shape.mask_len()]);
        Self { shape, parts, next_masks, time: 0, returns, lengths, ended: Vec::new() }
    }

    /// Its sizes.
    pub fn shape(&self) -> &TrajectoryShape {
        &self.shape
    }

    /// The observations before the first step, `[N, O]`, and their masks, `[N, M]`. Later unrolls begin with the last ones of the unroll
    /// before.
    pub fn first_observations(&mut self) -> (ArrayMut<'_>, &mut [u8]) {
        let len = self.row_len();
        (self.parts.observations.view_mut().range(0..len), &mut self.next_masks)
    }

    /// `[N]` each: rewards and steps of the running episodes.
    pub fn running_episodes(&self) -> (&[f64], &[u32]) {
        (&self.returns, &self.lengths)
    }

    /// Goes on with episodes that another buffer counted; false if they are not N finite returns and lengths.
    pub fn take_up_episodes(&mut self, returns: Vec<f64>, lengths: Vec<u32>) -> bool {
        let n = self.shape.environments;
        let is_sound = returns.len() == n && lengths.len() == n && returns.iter().all(|r| r.is_finite());
        if is_sound {
            (self.returns, self.lengths) = (returns, lengths);
        }
        is_sound
    }

    /// The episodes that ended in the newest unroll, done or under way, in the order of its outcomes.
    pub fn ended_episodes(&self) -> &[Episode] {
        &self.ended
    }

    /// Whether all T steps are done.
    pub fn is_full(&self) -> bool {
        self.time == self.shape.unroll_length
    }

    /// Whether the step that is counted next is the last.
    pub fn is_last(&self) -> bool {
        self.time + 1 == self.shape.unroll_length
    }

    /// The current observations, `[N, O]`, their masks, `[N, M]`, and where to write what the policy decides on them.
    pub fn decision(&mut self) -> (ArrayRef<'_>, &[u8], Decision<'_>) {
        self.decision_of(0..self.shape.environments, 0)
    }

    /// The same of some environments, `ahead` steps after the one that is counted next: 0, or 1 where theirs is written already.
    pub fn decision_of(&mut self, environments: Range<usize>, ahead: usize) -> (ArrayRef<'_>, &[u8], Decision<'_>) {
        let frames = self.frames(&environments, self.time + ahead);
        let (len, mask_len, components) =
            (self.shape.observation_len(), self.shape.mask_len(), self.shape.components());
        let masks = &mut self.parts.masks[frames.start * mask_len..frames.end * mask_len];
        masks.copy_from_slice(&self.next_masks[environments.start * mask_len..environments.end * mask_len]);
        let decision = Decision {
            actions: self.parts.actions.view_mut().range(frames.start * components..frames.end * components),
            behaviour_log_probs: &mut self.parts.behaviour_log_probs[frames.clone()],
        };
        (self.parts.observations.view().range(frames.start * len..frames.end * len), masks, decision)
    }

    /// The decided actions, `[N, D]`, and where to write what the environments make of them.
    pub fn transition(&mut self) -> (ArrayRef<'_>, Step<'_>) {
        self.transition_of(0..self.shape.environments, 0)
    }

    /// The same of some environments, `ahead` steps after the one that is counted next. Final observations are appended, so those of a
    /// step come in the order of the environments.
    pub fn transition_of(&mut self, environments: Range<usize>, ahead: usize) -> (ArrayRef<'_>, Step<'_>) {
        let frames = self.frames(&environments, self.time + ahead);
        let next = self.frames(&environments, self.time + ahead + 1);
        let (len, mask_len, components) =
            (self.shape.observation_len(), self.shape.mask_len(), self.shape.components());
        let step = Step {
            observations: self.parts.observations.view_mut().range(next.start * len..next.end * len),
            masks: &mut self.next_masks[environments.start * mask_len..environments.end * mask_len],
            rewards: &mut self.parts.rewards[frames.clone()],
            outcomes: &mut self.parts.outcomes[frames.clone()],
            final_observations: &mut self.parts.final_observations,
        };
        (self.parts.actions.view().range(frames.start * components..frames.end * components), step)
    }

    /// Counts the step that was just written.
    pub fn advance(&mut self) {
        let n = self.shape.environments;
        let rewards = &self.parts.rewards[self.time * n..][..n];
        let outcomes = &self.parts.outcomes[self.time * n..][..n];
        if self.time == 0 {
            self.ended.clear();
        }
        self.time += 1;
        for (episode_return, reward) in self.returns.iter_mut().zip(rewards) {
            *episode_return += f64::from(*reward);
        }
        self.lengths.iter_mut().for_each(|length| *length += 1);
        if outcomes.iter().fold(0, |any, outcome| any | *outcome as u8) == 0 {
            return;
        }
        for (i, _) in outcomes.iter().enumerate().filter(|(_, outcome)| **outcome != Outcome::Continues) {
            let (episode_return, length) = (self.returns[i] as f32, self.lengths[i]);
            self.ended.push(Episode { episode_return, length });
            (self.returns[i], self.lengths[i]) = (0.0, 0);
        }
    }

    /// Takes the finished trajectory out; the next one begins where it ended.
    ///
    /// # Errors
    /// A number in it is not finite, e.g. because the weights overflow the network.
    ///
    /// # Panics
    /// Steps are missing: a mistake of the caller.
    pub fn finish(
        &mut self,
        sequence: Sequence,
        weights_version: WeightsVersion,
    ) -> Result<Trajectory, TrajectoryError> {
        assert!(self.is_full(), "{} of {} steps are done", self.time, self.shape.unroll_length);
        let mut next = empty_parts(&self.shape);
        let row_len = self.row_len();
        let last = self.parts.observations.view().range(self.time * row_len..(self.time + 1) * row_len);
        next.observations.view_mut().range(0..row_len).copy_from(last);
        let parts = std::mem::replace(&mut self.parts, next);
        self.time = 0;
        Trajectory::try_new(self.shape.clone(), TrajectoryParts { sequence, weights_version, ..parts })
    }

    /// Where the frames of some environments at a time lie in arrays of `[.., N]`.
    fn frames(&self, environments: &Range<usize>, time: usize) -> Range<usize> {
        let start = time * self.shape.environments;
        start + environments.start..start + environments.end
    }

    fn row_len(&self) -> usize {
        self.shape.environments * self.shape.observation_len()
    }
}

fn empty_parts(shape: &TrajectoryShape) -> TrajectoryParts {
    let (frames, spec) = (shape.frames(), shape.spec());
    let observed = spec.observations.dtype;
    TrajectoryParts {
        observations: Array::zeros(observed, (frames + shape.environments) * shape.observation_len()),
        actions: Array::zeros(spec.actions.dtype(), frames * shape.components()),
        masks: vec![0; frames * shape.mask_len()],
        final_observations: Array::zeros(observed, 0),
        behaviour_log_probs: vec![0.0; frames],
        rewards: vec![0.0; frames],
        outcomes: vec![Outcome::Continues; frames],
        ..TrajectoryParts::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> TrajectoryShape {
        TrajectoryShape::plain(3, 2, 1, 2)
    }

    /// One step in which environment 0 continues and environment 1 leaves its episode by `outcome`; every number tells
    /// when it was written.
    fn step(buffer: &mut UnrollBuffer, time: f32, outcome: Outcome) {
        let (observations, _, mut decision) = buffer.decision();
        assert_eq!(observations.f32(), [time, -time], "the observations of time {time}");
        decision.actions.copy_from(ArrayRef::U8(&[0, 1]));
        decision.behaviour_log_probs.fill(-time);
        let (actions, step) = buffer.transition();
        assert_eq!(actions.u8(), [0, 1]);
        step.observations.f32().copy_from_slice(&[time + 1.0, -time - 1.0]);
        step.rewards.copy_from_slice(&[1.0, 10.0 * time]);
        step.outcomes.copy_from_slice(&[Outcome::Continues, outcome]);
        if outcome == Outcome::Truncated {
            step.final_observations.extend(ArrayRef::F32(&[100.0 + time]));
        }
        buffer.advance();
    }

    /// Two trajectories one after the other, each with the episodes that ended in it.
    fn two_unrolls() -> [(Trajectory, Vec<Episode>); 2] {
        let mut buffer = UnrollBuffer::new(shape());
        buffer.first_observations().0.f32().fill(0.0);
        let outcomes = [Outcome::Continues, Outcome::Truncated, Outcome::Continues, Outcome::Terminated];
        let mut outcomes = outcomes.into_iter().chain([Outcome::Continues; 2]);
        [0_u64, 1].map(|sequence| {
            for time in 0..3_u8 {
                assert!(!buffer.is_full());
                step(&mut buffer, 3.0 * sequence as f32 + f32::from(time), outcomes.next().unwrap());
            }
            let trajectory = buffer.finish(Sequence(sequence), WeightsVersion(10 + sequence)).unwrap();
            (trajectory, buffer.ended_episodes().to_vec())
        })
    }

    #[test]
    fn each_number_lies_at_its_time() {
        let [(first, _), (second, _)] = two_unrolls();
        assert_eq!(first.observations.view().f32(), [0.0, 0.0, 1.0, -1.0, 2.0, -2.0, 3.0, -3.0]);
        assert_eq!(first.actions.view().u8(), [0, 1, 0, 1, 0, 1]);
        assert_eq!(first.behaviour_log_probs, [0.0, 0.0, -1.0, -1.0, -2.0, -2.0]);
        assert_eq!(first.rewards, [1.0, 0.0, 1.0, 10.0, 1.0, 20.0]);
        assert_eq!(first.final_observations.view().f32(), [101.0]);
        assert_eq!((first.sequence, first.weights_version), (Sequence(0), WeightsVersion(10)));
        let (begins, ended) = (second.observations.view().range(0..2), first.observations.view().range(6..8));
        assert_eq!(begins, ended, "an unroll begins where the last one ended");
        assert_eq!(second.rewards, [1.0, 30.0, 1.0, 40.0, 1.0, 50.0]);
        assert!(second.final_observations.is_empty());
    }

    #[test]
    fn episodes_are_counted_across_unrolls() {
        let [(_, first), (_, second)] = two_unrolls();
        assert_eq!(first, [Episode { episode_return: 10.0, length: 2 }]);
        assert_eq!(second, [Episode { episode_return: 20.0 + 30.0, length: 2 }]);
    }

    #[test]
    fn a_number_that_is_not_finite_makes_no_trajectory() {
        let mut buffer = UnrollBuffer::new(shape());
        (0..3_u8).for_each(|time| step(&mut buffer, f32::from(time), Outcome::Continues));
        buffer.parts.behaviour_log_probs[3] = f32::NAN;
        let error = buffer.finish(Sequence(0), WeightsVersion(0)).unwrap_err();
        assert!(matches!(error, TrajectoryError::Magnitude { array: "behaviour_log_probs", position: 3, .. }));
    }

    #[test]
    #[should_panic(expected = "0 of 3 steps are done")]
    fn an_unfinished_unroll_is_no_trajectory() {
        let _ = UnrollBuffer::new(shape()).finish(Sequence(0), WeightsVersion(0));
    }
}

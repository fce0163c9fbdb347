//! What one actor's environments are in the middle of, and how fast it is.

use super::Source;
use super::order::{EpisodeOrder, Number};
use impala_common::ids::Sequence;
use impala_common::trajectory::{Episode, MAGNITUDE_MAX, Trajectory};
use impala_env::Outcome;

/// Unrolls of an average environment over which an actor's pace is taken: a pause of a few, as on a busy machine, is no sign
/// of a slow one, and for so long such a one holds up the others.
const STRETCH_UNROLLS: usize = 64;
/// An actor is slow whose environments make less than this part of the steps of an average one.
const SLOW_BELOW: f64 = 0.25;
/// A slow actor is not any more from this part on.
const BACK_FROM: f64 = 0.5;

/// Running sums, and the pace.
#[derive(Clone, Debug)]
pub(super) struct RecordedActor {
    /// Sequence of the trajectory that follows without a gap.
    next: u64,
    /// Steps of each environment since it came here.
    steps: u64,
    /// Return of each environment's episode until now, in double precision, so that long sums stay exact.
    returns: Vec<f64>,
    episodes: Vec<Running>,
    /// Where the stretch began over which its pace is taken: steps of an average environment, and its own.
    stretch: (f64, u64),
    is_slow: bool,
}

/// The episode that an environment is in the middle of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Running {
    /// Steps of the environment when it began.
    pub(super) began: u64,
    /// Its place in the order; none if its beginning was not seen, or its actor was slow then.
    pub(super) number: Option<Number>,
}

impl RecordedActor {
    /// One that comes when an average environment has made `pace` steps, in the middle of episodes whose beginnings were not
    /// seen. `next` is the sequence of its first trajectory.
    pub(super) fn new(environments: usize, next: Sequence, pace: f64) -> Self {
        Self {
            next: next.0,
            steps: 0,
            returns: vec![0.0; environments],
            episodes: vec![Running::default(); environments],
            stretch: (pace, 0),
            is_slow: false,
        }
    }

    /// One that goes on in the middle of these episodes, with their returns until now, after so many steps.
    pub(super) fn resumed(next: Sequence, steps: u64, returns: Vec<f64>, episodes: Vec<Running>) -> Self {
        Self { next: next.0, steps, returns, episodes, stretch: (0.0, steps), is_slow: false }
    }

    /// Every environment begins an episode.
    pub(super) fn begin_all(&mut self, source: Source, order: &mut EpisodeOrder) {
        for episode in &mut self.episodes {
            episode.number = Some(order.begin(source));
        }
    }

    /// N
    pub(super) fn environments(&self) -> usize {
        self.episodes.len()
    }

    /// Sequence of the trajectory that follows without a gap.
    pub(super) fn next(&self) -> Sequence {
        Sequence(self.next)
    }

    /// The episode of each environment: its place in the order, return and length until now.
    pub(super) fn running(&self) -> impl Iterator<Item = (Option<Number>, f64, u64)> {
        let episodes = self.episodes.iter().zip(&self.returns);
        episodes.map(|(episode, episode_return)| (episode.number, *episode_return, self.steps - episode.began))
    }

    /// Steps of an episode that it is in the middle of, until now.
    pub(super) fn length_of(&self, number: Number) -> Option<u64> {
        let episode = self.episodes.iter().find(|episode| episode.number == Some(number))?;
        Some(self.steps - episode.began)
    }

    /// None of the episodes that it is in the middle of will count, and none that began since the oldest of them did.
    pub(super) fn censor(&self, source: Source, order: &mut EpisodeOrder) {
        let numbers = self.episodes.iter().filter_map(|episode| episode.number);
        if let Some(oldest) = numbers.filter(|number| order.runs(*number)).min() {
            order.censor_from(source, oldest);
        }
    }

    /// Adds the rewards of a trajectory, ends and begins episodes.
    pub(super) fn record(&mut self, source: Source, trajectory: &Trajectory, order: &mut EpisodeOrder) {
        self.next = trajectory.sequence.0 + 1;
        let n = self.returns.len().max(1);
        for (rewards, outcomes) in trajectory.rewards.chunks_exact(n).zip(trajectory.outcomes.chunks_exact(n)) {
            self.steps += 1;
            for (episode_return, reward) in self.returns.iter_mut().zip(rewards) {
                *episode_return += f64::from(*reward);
            }
            if outcomes.iter().fold(0, |any, outcome| any | *outcome as u8) == 0 {
                continue;
            }
            for (environment, _) in outcomes.iter().enumerate().filter(|(_, outcome)| **outcome != Outcome::Continues) {
                self.end(environment, source, order);
            }
        }
    }

    /// An environment's episode ends, and the next one begins.
    fn end(&mut self, environment: usize, source: Source, order: &mut EpisodeOrder) {
        let episode_return = std::mem::take(&mut self.returns[environment]);
        let number = (!self.is_slow).then(|| order.begin(source));
        let ended = std::mem::replace(&mut self.episodes[environment], Running { began: self.steps, number });
        let Some(number) = ended.number else { return };
        // A sum beyond what an honest actor sends is held to that, as one in a checkpoint is.
        let max = f64::from(MAGNITUDE_MAX);
        let length = u32::try_from(self.steps - ended.began).unwrap_or(u32::MAX);
        order.end(number, Episode { episode_return: episode_return.clamp(-max, max) as f32, length });
    }

    /// Whether it has become slow, when an average environment has made `pace` steps. What it does is compared over stretches
    /// of 64 unrolls of an average environment, its own environments among them. It is slow after one in which its environments
    /// made less than a quarter of the steps, until one in which they make half of them or more.
    pub(super) fn look_at_pace(&mut self, pace: f64, unroll_length: usize) -> bool {
        let average = pace - self.stretch.0;
        if average < (STRETCH_UNROLLS * unroll_length) as f64 {
            return false;
        }
        let own = (self.steps - self.stretch.1) as f64;
        let was_slow = self.is_slow;
        self.is_slow = own < average * if was_slow { BACK_FROM } else { SLOW_BELOW };
        self.stretch = (pace, self.steps);
        self.is_slow && !was_slow
    }
}

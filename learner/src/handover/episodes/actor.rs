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
    /// Of the trajectory that follows without a gap.
    next: u64,
    /// Steps of each environment since it came here.
    steps: u64,
    environments: Vec<Environment>,
    /// Where the stretch began over which its pace is taken: steps of an average environment, and its own.
    stretch: (f64, u64),
    is_slow: bool,
}

/// The episode that an environment is in the middle of.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Environment {
    /// Summed in double precision, so that long sums stay exact.
    pub(super) episode_return: f64,
    /// Steps of the environment when it began.
    pub(super) began: u64,
    /// Its place in the order; none if its beginning was not seen, or its actor was slow then.
    pub(super) number: Option<Number>,
}

impl RecordedActor {
    /// One that comes when an average environment has made `pace` steps, in the middle of episodes whose beginnings were not
    /// seen. `next` is the sequence of its first trajectory.
    pub(super) fn new(environments: usize, next: Sequence, pace: f64) -> Self {
        Self::resumed(next, 0, vec![Environment::default(); environments], pace)
    }

    /// One that goes on in the middle of these episodes after so many steps.
    pub(super) fn resumed(next: Sequence, steps: u64, environments: Vec<Environment>, pace: f64) -> Self {
        Self { next: next.0, steps, environments, stretch: (pace, steps), is_slow: false }
    }

    /// Every environment begins an episode.
    pub(super) fn begin_all(&mut self, source: Source, order: &mut EpisodeOrder) {
        for environment in &mut self.environments {
            environment.number = Some(order.begin(source));
        }
    }

    /// N
    pub(super) fn environments(&self) -> usize {
        self.environments.len()
    }

    /// Sequence of the trajectory that follows without a gap.
    pub(super) fn next(&self) -> Sequence {
        Sequence(self.next)
    }

    /// The episode of each environment with its length until now.
    pub(super) fn running(&self) -> impl Iterator<Item = (&Environment, u64)> {
        self.environments.iter().map(|environment| (environment, self.steps - environment.began))
    }

    /// None of the episodes that it is in the middle of will count, and none that began since the oldest of them did.
    pub(super) fn censor(&self, source: Source, order: &mut EpisodeOrder) {
        let numbers = self.environments.iter().filter_map(|environment| environment.number);
        if let Some(oldest) = numbers.filter(|number| order.runs(*number)).min() {
            order.censor_from(source, oldest);
        }
    }

    /// Adds the rewards of a trajectory, ends and begins episodes.
    pub(super) fn record(&mut self, source: Source, trajectory: &Trajectory, order: &mut EpisodeOrder) {
        self.next = trajectory.sequence.0 + 1;
        let n = self.environments.len().max(1);
        for (rewards, outcomes) in trajectory.rewards.chunks_exact(n).zip(trajectory.outcomes.chunks_exact(n)) {
            self.steps += 1;
            for (environment, reward) in self.environments.iter_mut().zip(rewards) {
                environment.episode_return += f64::from(*reward);
            }
            if outcomes.iter().fold(0, |any, outcome| any | *outcome as u8) == 0 {
                continue;
            }
            for (environment, outcome) in self.environments.iter_mut().zip(outcomes) {
                if *outcome == Outcome::Continues {
                    continue;
                }
                if let Some(number) = environment.number {
                    order.end(number, environment.ended(self.steps));
                }
                let number = (!self.is_slow).then(|| order.begin(source));
                *environment = Environment { episode_return: 0.0, began: self.steps, number };
            }
        }
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

impl Environment {
    /// Its episode, which ends. A sum beyond what an honest actor sends is held to that, since a checkpoint is too.
    fn ended(&self, steps: u64) -> Episode {
        let max = f64::from(MAGNITUDE_MAX);
        let episode_return = self.episode_return.clamp(-max, max) as f32;
        Episode { episode_return, length: u32::try_from(steps - self.began).unwrap_or(u32::MAX) }
    }
}

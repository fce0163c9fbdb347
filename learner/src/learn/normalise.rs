//! Running statistics of what a learner trains on, by which observations and rewards are brought to a common size.
//!
//! Observations: the mean and the standard deviation of each of the O numbers over all frames trained so far. A version of the
//! policy is its weights with the statistics up to then ([`ObservationScale`] applies them, here and in actors), so an update sees
//! its batch as the version before it would, and adds the batch afterwards.
//!
//! Rewards: return-based scaling (Schaul et al. 2021, arXiv 2105.05347, equation 5). Temporal differences are brought to size one by
//!
//! ```text
//! sigma^2 = Var[R] + Var[gamma] E[G^2]
//! ```
//!
//! over rewards R, discounts gamma (0 at an end, else the discount) and returns G, for which V-trace's targets stand. It is never
//! less than that of the batch at hand: the first reward of a sparse task would otherwise weigh what all before it weighed together.
//!
//! Sums are double and merged trajectory by trajectory in the order in which they are trained, so they depend on that order alone.

use crate::learn::batch::{Batch, Columns};
use impala_common::trajectory::Trajectory;
use impala_env::Outcome;
use impala_env::array::ArrayRef;
use impala_policy::normalisation::ObservationScale;
use impala_policy::policy::widened;
use serde::{Deserialize, Serialize};

/// Added to variances: a number that has not changed so far is not blown up without bound when it does.
const VARIANCE_MIN: f64 = 1e-8;
/// Frames that the statistics of a policy count for which a new run begins with: how many they came from is not known.
const FRAMES_BEFORE: f64 = 100_000.0;

/// Means and variances of some numbers that come together.
#[derive(Clone, Debug, Default, PartialEq)]
struct Moments {
    count: f64,
    mean: Vec<f64>,
    /// Sum of the squared distances from the mean.
    squares: Vec<f64>,
}

impl Moments {
    fn new(numbers: usize) -> Self {
        Self { count: 0.0, mean: vec![0.0; numbers], squares: vec![0.0; numbers] }
    }

    /// Adds rows, each of which has all numbers.
    fn add(&mut self, rows: impl Iterator<Item = f64>) {
        let numbers = self.mean.len();
        let mut rows = rows.peekable();
        // Distances from about where the numbers lie lose nothing where they are large and differ little.
        let mut origin = self.mean.clone();
        let (mut sums, mut squares, mut added) = (vec![0.0; numbers], vec![0.0; numbers], 0_u64);
        let mut first = self.count == 0.0;
        while rows.peek().is_some() {
            for i in 0..numbers {
                let number = rows.next().expect("rows are whole");
                if first {
                    origin[i] = number;
                }
                let distance = number - origin[i];
                sums[i] += distance;
                squares[i] += distance * distance;
            }
            first = false;
            added += 1;
        }
        let all = self.count + added as f64;
        for i in 0..numbers {
            self.mean[i] = origin[i] + sums[i] / all.max(1.0);
            self.squares[i] = (self.squares[i] + squares[i] - sums[i] * sums[i] / all.max(1.0)).max(0.0);
        }
        self.count = all;
    }

    fn variance(&self, number: usize) -> f64 {
        self.squares[number] / self.count.max(1.0)
    }
}

/// What return-based scaling knows.
#[derive(Clone, Debug, PartialEq)]
struct RewardMoments {
    discount: f64,
    /// Of rewards and discounts.
    steps: Moments,
    /// Of squared returns, in rewards as they are given.
    squared_returns: Moments,
    /// The deviation by which the batch at hand is divided.
    deviation: f64,
}

impl RewardMoments {
    fn new(discount: f32) -> Self {
        let (steps, squared_returns) = (Moments::new(2), Moments::new(1));
        Self { discount: discount.into(), steps, squared_returns, deviation: 1.0 }
    }

    /// The deviation of temporal differences, where steps are spread like these.
    fn deviation_of(&self, steps: &Moments) -> f64 {
        (steps.variance(0) + steps.variance(1) * self.squared_returns.mean[0]).sqrt()
    }

    fn add(&mut self, batch: &Batch) {
        let mut of_batch = Moments::new(2);
        for trajectory in batch.trajectories() {
            let discount = |outcome: &Outcome| if *outcome == Outcome::Terminated { 0.0 } else { self.discount };
            let steps = || trajectory.rewards.iter().zip(&trajectory.outcomes);
            let numbers = || steps().flat_map(|(reward, outcome)| [f64::from(*reward), discount(outcome)]);
            self.steps.add(numbers());
            of_batch.add(numbers());
        }
        let deviation = self.deviation_of(&self.steps).max(self.deviation_of(&of_batch));
        // Where nothing differs yet there is nothing to divide by.
        self.deviation = if deviation > VARIANCE_MIN { deviation } else { 1.0 };
    }
}

/// The statistics of a run, as far as it keeps some.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Normaliser {
    observations: Option<Moments>,
    rewards: Option<RewardMoments>,
}

/// Statistics as a checkpoint keeps them: doubles by their bits, which JSON does not round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedNormaliser {
    /// Frames, then the means, then the sums of squared distances, of observations.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    observations: Vec<u64>,
    /// The same of rewards and discounts, then of squared returns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rewards: Vec<u64>,
}

/// What is done to a block of a batch before anything is computed from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InputScale {
    observations: Option<ObservationScale>,
    /// What rewards are divided by.
    deviation: Option<f32>,
}

impl InputScale {
    /// Changes observations and rewards.
    pub fn apply(&self, columns: &mut Columns) {
        if let Some(scale) = &self.observations {
            scale.apply(&mut columns.observations);
        }
        if let Some(deviation) = self.deviation {
            columns.rewards.iter_mut().for_each(|reward| *reward /= deviation);
        }
    }
}

impl Normaliser {
    /// Statistics of O numbers of observations, where these are normalised, and of rewards, where these are, with the run's discount.
    pub fn new(observation_len: Option<usize>, discount: Option<f32>) -> Self {
        Self { observations: observation_len.map(Moments::new), rewards: discount.map(RewardMoments::new) }
    }

    /// Whether rewards are scaled.
    pub fn scales_rewards(&self) -> bool {
        self.rewards.is_some()
    }

    /// Begins with the statistics of a policy, `[2 O]` at the end of its parameters. Those of one that has seen nothing are none.
    pub fn begin_with(&mut self, statistics: &[f32]) {
        let Some(moments) = &mut self.observations else { return };
        let (mean, scale) = statistics.split_at(moments.mean.len());
        let has_seen_nothing = mean.iter().all(|mean| *mean == 0.0) && scale.iter().all(|scale| *scale == 1.0);
        // Factors that are no inverses of deviations are of no learner: what they came from is not known.
        let is_sound = scale.iter().all(|scale| scale.is_finite() && *scale > 0.0);
        if has_seen_nothing || !is_sound {
            return;
        }
        let squares = |scale: &f32| (f64::from(*scale).powi(-2) - VARIANCE_MIN).max(0.0) * FRAMES_BEFORE;
        *moments = Moments {
            count: FRAMES_BEFORE,
            mean: mean.iter().copied().map(f64::from).collect(),
            squares: scale.iter().map(squares).collect(),
        };
    }

    /// What observations are normalised by now.
    pub fn observation_scale(&self) -> Option<ObservationScale> {
        let moments = self.observations.as_ref()?;
        let len = moments.mean.len();
        if moments.count == 0.0 {
            return Some(ObservationScale::identity(len));
        }
        let scale = |number| (1.0 / (moments.variance(number) + VARIANCE_MIN).sqrt()) as f32;
        let mean = moments.mean.iter().map(|mean| *mean as f32).collect();
        Some(ObservationScale::new(mean, (0..len).map(scale).collect()))
    }

    /// What is done to a batch that is trained on now.
    pub fn begin(&mut self, batch: &Batch) -> InputScale {
        if let Some(rewards) = &mut self.rewards {
            rewards.add(batch);
        }
        let deviation = self.rewards.as_ref().map(|rewards| rewards.deviation as f32);
        InputScale { observations: self.observation_scale(), deviation }
    }

    /// The batch has been trained on; `squared_target` is the mean square of its value targets, in rewards that were scaled by
    /// `reward_scale` after the division.
    pub fn end(&mut self, batch: &Batch, squared_target: f64, reward_scale: f32) {
        if let Some(moments) = &mut self.observations {
            for trajectory in batch.trajectories() {
                let frames = trained_observations(trajectory);
                match frames {
                    ArrayRef::F32(numbers) => moments.add(numbers.iter().map(|x| f64::from(*x))),
                    ArrayRef::U8(bytes) => moments.add(bytes.iter().map(|byte| f64::from(widened(*byte)))),
                }
            }
        }
        if let Some(rewards) = &mut self.rewards {
            let unit = rewards.deviation / f64::from(reward_scale);
            // A mean of means: each batch counts for what it is, one estimate.
            rewards.squared_returns.add([squared_target * unit * unit].into_iter());
        }
    }

    /// For a checkpoint; nothing where there are no statistics.
    pub fn save(&self) -> Option<SavedNormaliser> {
        let saved = SavedNormaliser {
            observations: self.observations.iter().flat_map(bits).collect(),
            rewards: self.rewards.iter().flat_map(|r| bits(&r.steps).chain(bits(&r.squared_returns))).collect(),
        };
        (saved != SavedNormaliser::default()).then_some(saved)
    }

    /// Goes on with what a checkpoint kept, as far as this run keeps it too; tells whether it is such as statistics can be. Those of
    /// observations belong to a network and must be there; rewards may be scaled from now on, or no longer.
    #[must_use]
    pub fn restore(&mut self, saved: &SavedNormaliser) -> bool {
        let observations: Vec<_> = self.observations.iter_mut().collect();
        let is_sound = read(observations, &saved.observations);
        let RewardMoments { mut steps, mut squared_returns, .. } = RewardMoments::new(0.0);
        if saved.rewards.is_empty() {
            return is_sound;
        }
        let are_sound = read(vec![&mut steps, &mut squared_returns], &saved.rewards);
        if let Some(rewards) = &mut self.rewards {
            (rewards.steps, rewards.squared_returns) = (steps, squared_returns);
        }
        is_sound && are_sound
    }
}

/// The T rows of a trajectory from which actions were taken; the one after them is the first of the next.
fn trained_observations(trajectory: &Trajectory) -> ArrayRef<'_> {
    let frames = trajectory.shape().environments * trajectory.shape().unroll_length;
    trajectory.observations.view().range(0..frames * trajectory.shape().observation_len())
}

fn bits(moments: &Moments) -> impl Iterator<Item = u64> {
    let numbers = std::iter::once(&moments.count).chain(&moments.mean).chain(&moments.squares);
    numbers.map(|number| number.to_bits())
}

/// Reads moments from bits, which must be theirs exactly.
fn read(moments: Vec<&mut Moments>, bits: &[u64]) -> bool {
    let mut numbers = bits.iter().map(|bits| f64::from_bits(*bits));
    for Moments { count, mean, squares } in moments {
        for place in std::iter::once(&mut *count).chain(mean.iter_mut()).chain(squares.iter_mut()) {
            let Some(number) = numbers.next().filter(|number| number.is_finite()) else { return false };
            *place = number;
        }
        if *count < 0.0 || squares.iter().any(|squares| *squares < 0.0) {
            return false;
        }
    }
    numbers.next().is_none()
}

#[cfg(test)]
mod tests;

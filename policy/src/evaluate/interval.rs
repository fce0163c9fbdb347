//! How far the mean return of a policy may lie from that of the episodes that were played: a bootstrap interval (Efron 1979, percentiles).
//! It never leaves the range of the returns, unlike Student's, which has a policy that always reaches 500 of 500 surpass it.

use super::Evaluation;
use impala_env::seed::Rng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;

/// Resamples: of so many, an end of the interval varies by 0.7 % of its length (the standard deviation of that percentile, of a normal
/// distribution).
const RESAMPLES: usize = 10_000;
/// Fewer of many episodes, so that it takes a second and not a minute.
const DRAWS_MAX: usize = 200_000_000;
/// Fewest.
const RESAMPLES_MIN: usize = 1000;

/// Holds the true mean return with 95 % confidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Its lower end.
    pub low: f64,
    /// Its upper end.
    pub high: f64,
}

impl Evaluation {
    /// The 95 % confidence interval of the mean return: the 2.5 % and 97.5 % percentiles of the means of resamples with replacement.
    /// The same returns give the same interval; `None` below two episodes.
    pub fn interval(&self) -> Option<Interval> {
        let returns: Vec<f64> = self.returns().map(f64::from).collect();
        if returns.len() < 2 {
            return None;
        }
        let resamples = (DRAWS_MAX / returns.len()).clamp(RESAMPLES_MIN, RESAMPLES);
        let mut rng = Rng::seed_from_u64(0);
        let mut resample = || {
            let sum: f64 = (0..returns.len()).map(|_| returns[rng.random_range(0..returns.len())]).sum();
            sum / returns.len() as f64
        };
        let mut means: Vec<f64> = (0..resamples).map(|_| resample()).collect();
        means.sort_unstable_by(f64::total_cmp);
        let percentile = |q: f64| means[((q * resamples as f64) as usize).min(resamples - 1)];
        Some(Interval { low: percentile(0.025), high: percentile(0.975) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{End, Played};

    fn of(returns: impl IntoIterator<Item = f32>) -> Option<Interval> {
        let played = |episode_return| Played { episode_return, length: 1, end: End::Terminated };
        Evaluation { episodes: returns.into_iter().map(played).collect() }.interval()
    }

    #[test]
    fn it_is_that_of_the_normal_distribution_for_many_and_stays_within_the_returns() {
        // Half 0, half 1: the mean's standard error is 0.5 / 20.
        let interval = of((0..400).map(|i| (i % 2) as f32)).unwrap();
        assert!((interval.low - (0.5 - 1.96 * 0.025)).abs() < 0.004, "{interval:?}");
        assert!((interval.high - (0.5 + 1.96 * 0.025)).abs() < 0.004, "{interval:?}");
        let skewed = of([500.0; 19].into_iter().chain([100.0])).unwrap();
        assert!(skewed.high <= 500.0 && (400.0..500.0).contains(&skewed.low), "{skewed:?}");
        assert_eq!(of([500.0; 10]), Some(Interval { low: 500.0, high: 500.0 }));
    }

    #[test]
    fn one_episode_tells_nothing_of_others() {
        assert_eq!((of([1.0]), of([])), (None, None));
    }

    #[test]
    fn nineteen_of_twenty_intervals_hold_the_true_mean() {
        let mut rng = Rng::seed_from_u64(7);
        let holds = |_| {
            let interval = of((0..60).map(|_| rng.random::<f32>())).unwrap();
            (interval.low..=interval.high).contains(&0.5)
        };
        let held = (0..200).map(holds).filter(|holds| *holds).count();
        assert!((180..=198).contains(&held), "{held} of 200");
    }
}

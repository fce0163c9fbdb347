//! How the policy fares: what the updates of the recent past told, and how far mean returns have come up and gone down. What is
//! told of a single batch is noise; the doctor judges by these.
//!
//! Written by the trainer through the progress, read by reports. Of a process, not of a run: a checkpoint does not keep it.

use crate::learn::noise::GradientNoise;
use crate::learn::step::StepReport;
use crate::learn::value_fit::ValueFit;

/// Updates that the means look back on: a batch of 80 frames is some 2 % off, two hundred of them are not.
const UPDATES: u64 = 200;
/// Updates that must tell of the gradient noise before its scale is told, the estimates of a single one being as large as what they
/// estimate; and updates after the last such one until it is told no longer.
const UPDATES_TO_TELL: u64 = 100;

/// Means over the recent updates, each with a weight that falls by a 200th with every later one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Vitals {
    /// Updates that were told of.
    pub updates: u64,
    /// Effective sample size of the importance ratios over the batch's frames, 0 to 1.
    pub effective_samples: f64,
    /// Share of the frames whose importance ratio was clipped, 0 to 1.
    pub clipped: f64,
    /// Estimate of the divergence of the policy that learns from those that acted, KL(mu || pi), nats.
    pub approximate_kl: f64,
    /// How well the values told their targets.
    pub values: ValueFit,
    /// Of the policy, nats.
    pub entropy: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// Of the change of all parameters.
    pub update_norm: f64,
    /// Updates between the policy that made a trajectory and the one that trained it.
    pub policy_lag: f64,
    /// Environment columns in a batch.
    pub batch_columns: f64,
    /// Updates whose batches were told of: on an accelerator one more, whose report is still to come.
    pub batches: u64,
    /// Of those that told how noisy their gradient was.
    pub noise: NoiseMeans,
    /// Nothing before the first hundred episodes.
    pub returns: Option<ReturnRange>,
}

/// Means of what updates told of their gradient's noise.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct NoiseMeans {
    /// Updates that told it.
    pub updates: u64,
    /// The newest of them, as counted over all.
    pub newest_update: u64,
    /// Square of the true gradient's norm.
    pub signal: f64,
    /// Variance of the gradient of one column.
    pub noise: f64,
}

impl NoiseMeans {
    fn record(&mut self, newest: GradientNoise, update: u64) {
        self.updates += 1;
        self.newest_update = update;
        let part = weight(self.updates);
        self.signal += part * (newest.signal - self.signal);
        self.noise += part * (newest.noise - self.noise);
    }
}

/// Between which the mean return of the last hundred episodes has moved.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReturnRange {
    /// The newest.
    pub newest: f64,
    /// The highest.
    pub best: f64,
    /// The lowest.
    pub worst: f64,
}

impl Vitals {
    /// An update is done.
    pub fn record_step(&mut self, report: &StepReport) {
        self.updates += 1;
        let weight = weight(self.updates);
        for (mean, newest) in [
            (&mut self.effective_samples, report.ratios.effective.into()),
            (&mut self.clipped, report.ratios.clipped.into()),
            (&mut self.approximate_kl, report.ratios.approximate_kl.into()),
            (&mut self.values.squared_error, report.values.squared_error),
            (&mut self.values.error_variance, report.values.error_variance),
            (&mut self.values.target_variance, report.values.target_variance),
            (&mut self.values.squared_target, report.values.squared_target),
            (&mut self.entropy, report.losses.entropy.into()),
            (&mut self.gradient_norm, report.gradient_norm.into()),
            (&mut self.update_norm, report.update_norm.into()),
        ] {
            let newest: f64 = newest;
            *mean += weight * (newest - *mean);
        }
        if let Some(noise) = report.noise {
            self.noise.record(noise, self.updates);
        }
    }

    /// The gradient noise scale of the recent updates, in columns; nothing as long as too few have told it, and when they no longer
    /// do.
    pub fn noise_scale(&self) -> Option<f64> {
        let NoiseMeans { updates, newest_update, signal, noise } = self.noise;
        let is_told = updates >= UPDATES_TO_TELL && newest_update + UPDATES_TO_TELL > self.updates;
        (is_told && signal > 0.0).then(|| noise / signal)
    }

    /// The lags of the trajectories of an update, and its columns.
    pub fn record_batch(&mut self, lags: &[u64], columns: usize) {
        self.batches += 1;
        let newest = lags.iter().map(|lag| *lag as f64).sum::<f64>() / lags.len().max(1) as f64;
        self.policy_lag += weight(self.batches) * (newest - self.policy_lag);
        self.batch_columns += weight(self.batches) * (columns as f64 - self.batch_columns);
    }

    /// The mean return of the last hundred episodes.
    pub fn record_return(&mut self, newest: f64) {
        let ReturnRange { best, worst, .. } =
            self.returns.unwrap_or(ReturnRange { newest, best: newest, worst: newest });
        self.returns = Some(ReturnRange { newest, best: best.max(newest), worst: worst.min(newest) });
    }
}

/// Of the newest of so many: the first ones count alike.
fn weight(count: u64) -> f64 {
    1.0 / count.min(UPDATES) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::loss::Losses;
    use crate::learn::ratios::RatioStatistics;

    fn report(effective: f32) -> StepReport {
        let losses = Losses { entropy: 0.5, ..Losses::default() };
        let values = ValueFit { squared_error: 4.0, error_variance: 0.5, target_variance: 2.0, squared_target: 6.0 };
        StepReport {
            losses,
            values,
            ratios: RatioStatistics { effective, clipped: 0.25, ..RatioStatistics::default() },
            ..StepReport::default()
        }
    }

    #[test]
    fn the_first_updates_count_alike_and_older_ones_are_forgotten() {
        let mut vitals = Vitals::default();
        [1.0, 0.5, 0.75].into_iter().for_each(|effective| vitals.record_step(&report(effective)));
        assert!((vitals.effective_samples - 0.75).abs() < 1e-12 && vitals.updates == 3);
        assert_eq!((vitals.clipped, vitals.entropy), (0.25, 0.5));
        // Of the means of the variances: a batch whose targets are all alike counts for as little as it tells.
        assert_eq!((vitals.values.error(), vitals.values.explained_variance()), (2.0, Some(0.75)));
        (0..2000).for_each(|_| vitals.record_step(&report(0.25)));
        assert!((vitals.effective_samples - 0.25).abs() < 1e-3, "{vitals:?}");
        vitals.record_batch(&[1, 4], 16);
        vitals.record_batch(&[3], 8);
        assert_eq!((vitals.policy_lag, vitals.batch_columns), (2.75, 12.0));
    }

    #[test]
    fn returns_are_told_with_the_best_and_the_worst() {
        let mut vitals = Vitals::default();
        [20.0, 300.0, 9.5, 10.0].into_iter().for_each(|mean| vitals.record_return(mean));
        assert_eq!(vitals.returns, Some(ReturnRange { newest: 10.0, best: 300.0, worst: 9.5 }));
    }
}

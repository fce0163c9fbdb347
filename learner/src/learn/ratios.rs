//! How far the policy that learns has moved from those that acted, told by the importance ratios of a batch.
//!
//! With the unclipped ratio `w_i = pi(a_i | x_i) / mu(a_i | x_i)` of each of the M frames, whatever the correction does with it:
//!
//! ```text
//! effective share = (sum_i w_i)^2 / (M sum_i w_i^2)
//! clipped share   = 1/M sum_i [ w_i > (1 + tolerance) rho_bar ]
//! approximate KL  = 1/M sum_i [ w_i - 1 - log w_i ]
//! ```
//!
//! The first is Kish's effective sample size (Kish 1965, "Survey Sampling", section 11.7; of importance weights: Kong 1992,
//! "A note on importance sampling using standardized weights") as a share of the frames: 1 where every frame counts alike, as
//! on-policy, and 1/M where one frame decides everything. The last estimates the divergence KL(mu || pi) from the actions that mu
//! took: its mean is the divergence's, no term is negative but by rounding, and for policies that are near each other its variance is far less
//! than that of `-log w_i` (Schulman 2020, "Approximating KL Divergence"). Sums of blocks add up to those of the batch.

use super::sums::pair_sums;
use impala_policy::activation::exp;

/// A ratio counts as clipped from this much above its bound. Half of the ratios lie above the usual bound of 1 in any batch,
/// by rounding alone where actor and learner have the same policy; clipping such changes nothing.
pub(super) const CLIPPED_FROM: f32 = 1.01;

/// Sums over the ratios of a block or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RatioSums {
    frames: usize,
    ratios: f64,
    squares: f64,
    clipped: f64,
    divergences: f64,
}

/// What is told of the ratios of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RatioStatistics {
    /// Effective sample size over the number of frames, 0 to 1; 1 on-policy.
    pub effective: f32,
    /// Share of the frames whose ratio is above rho_bar, by more than 1 %.
    pub clipped: f32,
    /// Estimate of KL(mu || pi), nats.
    pub approximate_kl: f32,
}

impl RatioSums {
    /// The sums over a block's frames.
    ///
    /// # Shapes
    /// - target, behaviour: `[M]`, log-probabilities of the actions that were taken
    pub fn of(target: &[f32], behaviour: &[f32], rho_bar: f32) -> Self {
        let bound = CLIPPED_FROM * rho_bar;
        let [ratios, squares, clipped, divergences] = pair_sums(target, behaviour, |target, behaviour| {
            let log_ratio = target - behaviour;
            // Between e^-87 and e^88: its square does not fit f32.
            let ratio = f64::from(exp(log_ratio));
            let is_clipped = f64::from(u8::from(ratio > f64::from(bound)));
            [ratio, ratio * ratio, is_clipped, ratio - 1.0 - f64::from(log_ratio)]
        });
        Self { frames: target.len(), ratios, squares, clipped, divergences }
    }

    /// As means over the frames; zeros without frames.
    pub fn statistics(&self) -> RatioStatistics {
        let frames = self.frames.max(1) as f64;
        let effective = self.ratios * self.ratios / (frames * self.squares).max(f64::MIN_POSITIVE);
        RatioStatistics {
            effective: effective as f32,
            clipped: (self.clipped / frames) as f32,
            // Rounding of the exponential is larger than what policies that are nearly the same differ by.
            approximate_kl: (self.divergences / frames).max(0.0) as f32,
        }
    }
}

impl std::ops::AddAssign for RatioSums {
    /// Adds the sums of two blocks of one batch.
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.ratios += other.ratios;
        self.squares += other.squares;
        self.clipped += other.clipped;
        self.divergences += other.divergences;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition in double precision.
    fn by_definition(target: &[f32], behaviour: &[f32], rho_bar: f32) -> [f64; 3] {
        let ratios: Vec<f64> =
            target.iter().zip(behaviour).map(|(t, b)| (f64::from(*t) - f64::from(*b)).exp()).collect();
        let frames = ratios.len() as f64;
        let sum: f64 = ratios.iter().sum();
        let squares: f64 = ratios.iter().map(|w| w * w).sum();
        let clipped = ratios.iter().filter(|w| **w > f64::from(CLIPPED_FROM * rho_bar)).count() as f64;
        let divergence: f64 = ratios.iter().map(|w| w - 1.0 - w.ln()).sum();
        [sum * sum / (frames * squares), clipped / frames, divergence / frames]
    }

    proptest! {
        #[test]
        fn shares_are_those_of_the_definition_in_blocks_as_in_one(
            frames in prop::collection::vec((-6.0_f32..0.0, -6.0_f32..0.0), 1..200),
            rho_bar in 0.3_f32..4.0,
            cut in any::<prop::sample::Index>(),
        ) {
            let (target, behaviour): (Vec<f32>, Vec<f32>) = frames.into_iter().unzip();
            // What lies at the bound itself may fall to either side by rounding.
            let is_clear = |(t, b): (&f32, &f32)| ((t - b).exp() / (CLIPPED_FROM * rho_bar) - 1.0).abs() > 1e-5;
            prop_assume!(target.iter().zip(&behaviour).all(is_clear));
            let [effective, clipped, divergence] = by_definition(&target, &behaviour, rho_bar);
            let cut = cut.index(target.len());
            let mut parts = RatioSums::of(&target[..cut], &behaviour[..cut], rho_bar);
            parts += RatioSums::of(&target[cut..], &behaviour[cut..], rho_bar);
            for shares in [RatioSums::of(&target, &behaviour, rho_bar).statistics(), parts.statistics()] {
                prop_assert!((f64::from(shares.effective) - effective).abs() < 1e-5, "{shares:?}, not {effective}");
                prop_assert!((f64::from(shares.clipped) - clipped).abs() < 1e-6, "{shares:?}, not {clipped}");
                let told = f64::from(shares.approximate_kl);
                prop_assert!((told - divergence).abs() < 1e-5 * divergence.max(1.0), "{shares:?}, not {divergence}");
            }
        }
    }

    #[test]
    fn on_policy_every_frame_counts_and_rounding_clips_none() {
        let behaviour: Vec<f32> = (0..37).map(|i| -0.1 * (i % 9) as f32).collect();
        let target: Vec<f32> = behaviour.iter().map(|b| b + 2e-7).collect();
        let shares = RatioSums::of(&target, &behaviour, 1.0).statistics();
        assert!((shares.effective - 1.0).abs() < 1e-6 && shares.clipped == 0.0, "{shares:?}");
        assert!((0.0..1e-6).contains(&shares.approximate_kl), "{shares:?}");
    }

    #[test]
    fn the_divergence_is_that_of_the_policies_where_every_action_is_taken_as_often_as_they_say() {
        // mu = (1/4, 3/4), pi = (1/2, 1/2): KL(mu || pi) = 1/4 log 1/2 + 3/4 log 3/2.
        let (mu, pi) = ([0.25_f32, 0.75], 0.5_f32);
        let behaviour: Vec<f32> = [0, 1, 1, 1].repeat(25).iter().map(|action| mu[*action].ln()).collect();
        let told = RatioSums::of(&[pi.ln(); 100], &behaviour, 1.0).statistics().approximate_kl;
        let expected = 0.25 * 0.5_f32.ln() + 0.75 * 1.5_f32.ln();
        assert!((told - expected).abs() < 1e-6, "{told}, not {expected}");
    }

    #[test]
    fn one_frame_that_decides_everything_is_one_of_many_and_nothing_overflows() {
        // A ratio without end, and 19 that vanish beside it.
        let behaviour: Vec<f32> = (0..20).map(|i| if i == 3 { -1e9 } else { 0.0 }).collect();
        let shares = RatioSums::of(&[-200.0; 20], &behaviour, f32::MAX).statistics();
        assert!((shares.effective - 0.05).abs() < 1e-6 && shares.clipped == 0.0, "{shares:?}");
        let vanishing = RatioSums::of(&[-1e9; 20], &[0.0; 20], 1.0).statistics();
        assert_eq!((vanishing.effective, vanishing.clipped), (1.0, 0.0));
        assert!(shares.approximate_kl.is_finite() && vanishing.approximate_kl > 9e8, "{shares:?} {vanishing:?}");
        assert_eq!(RatioSums::default().statistics(), RatioStatistics::default());
    }
}

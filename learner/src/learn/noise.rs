//! How noisy a batch's gradient is, told by the gradients of its parts: whether larger batches, and so more actors, would pay.
//!
//! With the gradient `g` over B columns and those `g_k` of its parts, of `n_k` columns each and with the share
//! `q_k = n_k / B` of the whole, `g = sum_k q_k g_k`. Where columns are independent, with the true gradient G and the covariance S
//! of that of one column,
//!
//! ```text
//! E |g|^2               = |G|^2 + tr(S) / B
//! E sum_k |q_k g_k|^2   = |G|^2 sum_k q_k^2 + tr(S) / B
//! ```
//!
//! which two lines give unbiased estimates of `|G|^2` and of `tr(S)` (McCandlish et al. 2018, "An Empirical Model of Large-Batch
//! Training", appendix A.1). Their means over many updates have the quotient `tr(S) / |G|^2`, the gradient noise scale, in columns:
//! with batches of that size a run needs about twice the frames of one with the smallest, and twice the updates of one with the
//! largest.

use super::flat::square_sum;

/// Sums over the parts of a batch, of which there are at least two or this is all zero.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PartSums {
    /// `sum_k |q_k g_k|^2`
    squares: f64,
    /// `sum_k q_k^2`
    shares: f64,
}

/// What a batch tells; the estimates of a single one may well be negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNoise {
    /// Estimate of `|G|^2`.
    pub signal: f64,
    /// Estimate of `tr(S)`, the variance of the gradient of one column.
    pub noise: f64,
}

impl PartSums {
    /// Of one part: its gradient as it is added to the others', and its share of the columns.
    pub(super) fn of(gradient: &[f32], share: f64) -> Self {
        Self { squares: square_sum(gradient), shares: share * share }
    }

    /// The estimates, with the norm of the whole gradient of so many columns; nothing without two parts.
    pub(super) fn noise(&self, norm: f32, columns: usize) -> Option<GradientNoise> {
        let whole = f64::from(norm) * f64::from(norm);
        let signal = (self.shares > 0.0).then(|| (whole - self.squares) / (1.0 - self.shares))?;
        Some(GradientNoise { signal, noise: (whole - signal) * columns as f64 })
    }
}

impl std::ops::AddAssign for PartSums {
    /// Adds another part of the same batch.
    fn add_assign(&mut self, other: Self) {
        self.squares += other.squares;
        self.shares += other.shares;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::distr::Uniform;
    use rand::rngs::SmallRng;
    use rand::{RngExt, SeedableRng};

    /// Gradients of columns with the given mean in each of 50 parameters and a variance of 3 in each.
    #[test]
    fn signal_and_noise_are_found_without_bias_from_parts_of_unlike_sizes() {
        let (parameters, mean, parts) = (50, 0.2, [15, 15, 15, 5]);
        let columns: usize = parts.iter().sum();
        let mut rng = SmallRng::seed_from_u64(3);
        let uniform = Uniform::new(-3.0_f32, 3.0).unwrap();
        let rounds = 4000;
        let (mut signal, mut noise) = (0.0, 0.0);
        for _ in 0..rounds {
            let (mut sums, mut whole) = (PartSums::default(), vec![0.0_f32; parameters]);
            for part in parts {
                let mut gradient = vec![0.0_f32; parameters];
                for _ in 0..part {
                    gradient.iter_mut().for_each(|g| *g += (mean + rng.sample(uniform)) / columns as f32);
                }
                sums += PartSums::of(&gradient, part as f64 / columns as f64);
                whole.iter_mut().zip(&gradient).for_each(|(sum, g)| *sum += g);
            }
            let found = sums.noise(square_sum(&whole).sqrt() as f32, columns).unwrap();
            signal += found.signal / f64::from(rounds);
            noise += found.noise / f64::from(rounds);
        }
        // 50 x 0.2^2 and 50 x 3.
        assert!((signal - 2.0).abs() < 0.06 && (noise - 150.0).abs() < 3.0, "{signal} {noise}");
    }

    #[test]
    fn a_batch_in_one_part_tells_nothing() {
        assert_eq!(PartSums::default().noise(1.0, 8), None);
    }
}

//! How well the value function tells V-trace's targets, from a batch before its update.
//!
//! With the error `e_i = V_i - vs_i` of each of the M frames:
//!
//! ```text
//! value error        = sqrt(1/M sum_i e_i^2)
//! explained variance = 1 - Var(e) / Var(vs)
//! ```
//!
//! The second is 1 where the values tell all that differs between the targets, 0 where they tell no more than one number for
//! all would, and below 0 where they tell less. Sums of blocks add up to those of the batch.

use super::sums::pair_sums;

/// Sums over the frames of a block or of several.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValueSums {
    frames: usize,
    errors: f64,
    squared_errors: f64,
    targets: f64,
    squared_targets: f64,
}

/// What is told of the values of a batch, in scaled rewards.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ValueFit {
    /// Mean of the squared errors.
    pub squared_error: f64,
    /// Variance of the errors.
    pub error_variance: f64,
    /// Variance of the targets.
    pub target_variance: f64,
    /// Mean of the squared targets.
    pub squared_target: f64,
}

impl ValueSums {
    /// The sums over a block's frames.
    ///
    /// # Shapes
    /// - values, vs: `[M]`
    pub fn of(values: &[f32], vs: &[f32]) -> Self {
        let [errors, squared_errors, targets, squared_targets] = pair_sums(values, vs, |value, vs| {
            let (error, target) = (f64::from(value - vs), f64::from(vs));
            [error, error * error, target, target * target]
        });
        Self { frames: vs.len(), errors, squared_errors, targets, squared_targets }
    }

    /// As means over the frames; zeros without frames.
    pub fn fit(&self) -> ValueFit {
        let mean = |sum: f64| sum / self.frames.max(1) as f64;
        let moments = [self.errors, self.squared_errors, self.targets, self.squared_targets].map(mean);
        ValueFit::of_moments(moments, 0.0)
    }
}

impl ValueFit {
    /// From means over the frames: of the errors, their squares, the targets less an `origin`, and the squares of those.
    pub(super) fn of_moments([error, squared_error, target, squared_target]: [f64; 4], origin: f64) -> Self {
        let variance = |mean: f64, mean_of_squares: f64| (mean_of_squares - mean * mean).max(0.0);
        Self {
            squared_error,
            error_variance: variance(error, squared_error),
            target_variance: variance(target, squared_target),
            squared_target: squared_target + origin * (2.0 * target + origin),
        }
    }

    /// Root mean square of the errors.
    pub fn error(&self) -> f64 {
        self.squared_error.sqrt()
    }

    /// 1 where the values tell all differences between the targets; nothing where these do not differ.
    pub fn explained_variance(&self) -> Option<f64> {
        (self.target_variance > 0.0).then(|| 1.0 - self.error_variance / self.target_variance)
    }
}

impl std::ops::AddAssign for ValueSums {
    /// Adds the sums of two blocks of one batch.
    fn add_assign(&mut self, other: Self) {
        self.frames += other.frames;
        self.errors += other.errors;
        self.squared_errors += other.squared_errors;
        self.targets += other.targets;
        self.squared_targets += other.squared_targets;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variance(numbers: &[f64]) -> f64 {
        let count = numbers.len() as f64;
        let mean = numbers.iter().sum::<f64>() / count;
        numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count
    }

    proptest! {
        #[test]
        fn the_fit_is_that_of_the_definition_in_blocks_as_in_one(
            frames in prop::collection::vec((-3.0_f32..3.0, -3.0_f32..3.0), 2..200),
            away in prop::sample::select(vec![0.0_f32, 100.0, -5000.0]),
            cut in any::<prop::sample::Index>(),
        ) {
            let (values, vs): (Vec<f32>, Vec<f32>) = frames.into_iter().map(|(v, t)| (v + away, t + away)).unzip();
            let targets: Vec<f64> = vs.iter().copied().map(f64::from).collect();
            let errors: Vec<f64> = values.iter().zip(&vs).map(|(v, t)| f64::from(v - t)).collect();
            prop_assume!(variance(&targets) > 1e-3);
            let expected = 1.0 - variance(&errors) / variance(&targets);
            let error = (errors.iter().map(|e| e * e).sum::<f64>() / errors.len() as f64).sqrt();
            let cut = cut.index(vs.len());
            let mut parts = ValueSums::of(&values[..cut], &vs[..cut]);
            parts += ValueSums::of(&values[cut..], &vs[cut..]);
            for fit in [ValueSums::of(&values, &vs).fit(), parts.fit()] {
                let told = fit.explained_variance().unwrap();
                prop_assert!((told - expected).abs() < 1e-4 * expected.abs().max(1.0), "{told}, not {expected}");
                prop_assert!((fit.error() - error).abs() < 1e-9 * error.max(1.0), "{}, not {error}", fit.error());
            }
        }
    }

    #[test]
    fn perfect_values_explain_all_a_constant_nothing_and_equal_targets_have_nothing_to_explain() {
        let vs: Vec<f32> = (0..37).map(|i| (i % 5) as f32).collect();
        let explained = |values: &[f32], vs: &[f32]| ValueSums::of(values, vs).fit().explained_variance();
        assert_eq!(explained(&vs, &vs), Some(1.0));
        assert!(explained(&[7.0; 37], &vs).unwrap().abs() < 1e-12);
        assert!(explained(&vs.iter().map(|target| -target).collect::<Vec<_>>(), &vs).unwrap() < -1.0);
        assert_eq!(explained(&vs, &[2.0; 37]), None);
        assert_eq!(ValueSums::default().fit(), ValueFit::default());
    }
}

//! Observations in the network's unit: less a mean, times a scale, within a bound. Both are numbers of the policy beside its
//! weights, which a learner gathers from what it trains on; actor and learner apply them here, so that both see the same bits.

/// An observation's numbers are cut at so many standard deviations from the mean: what was hardly ever seen must not outweigh the rest.
pub const DEVIATIONS_MAX: f32 = 10.0;

/// What becomes of each number of an observation.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservationScale {
    mean: Vec<f32>,
    scale: Vec<f32>,
}

impl ObservationScale {
    /// One that changes numbers within [`DEVIATIONS_MAX`] of 0 not at all: that of a policy that has seen nothing yet.
    pub fn identity(observation_len: usize) -> Self {
        Self { mean: vec![0.0; observation_len], scale: vec![1.0; observation_len] }
    }

    /// The means and the factors of O numbers; a factor is one over a standard deviation.
    ///
    /// # Panics
    /// If there is not a factor for each mean.
    pub fn new(mean: Vec<f32>, scale: Vec<f32>) -> Self {
        assert_eq!(mean.len(), scale.len(), "a mean and a factor for each number");
        Self { mean, scale }
    }

    /// From the end of a policy's parameters.
    ///
    /// # Shapes
    /// - statistics: `[2 O]`, the means and then the factors
    pub fn of(statistics: &[f32]) -> Self {
        let (mean, scale) = statistics.split_at(statistics.len() / 2);
        Self::new(mean.to_vec(), scale.to_vec())
    }

    /// As the end of a policy's parameters, `[2 O]`.
    pub fn statistics(&self) -> impl Iterator<Item = f32> {
        self.mean.iter().chain(&self.scale).copied()
    }

    /// Changes observations to the network's unit.
    ///
    /// # Shapes
    /// - observations: `[n, O]`
    pub fn apply(&self, observations: &mut [f32]) {
        for row in observations.chunks_exact_mut(self.mean.len().max(1)) {
            for ((x, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *x = ((*x - mean) * scale).clamp(-DEVIATIONS_MAX, DEVIATIONS_MAX);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_become_deviations_from_the_mean_within_the_bound() {
        let scale = ObservationScale::new(vec![1.0, -2.0], vec![0.5, 1000.0]);
        let mut observations = [3.0, -2.0, -1.0, -1.999, 1e9, -1e9];
        scale.apply(&mut observations);
        assert_eq!(observations[..3], [1.0, 0.0, -1.0]);
        assert!((observations[3] - 1.0).abs() < 1e-3);
        assert_eq!(observations[4..], [10.0, -10.0]);
        assert_eq!(ObservationScale::of(&scale.statistics().collect::<Vec<_>>()), scale);
    }

    #[test]
    fn a_policy_that_has_seen_nothing_changes_nothing() {
        let mut observations = [9.5, -0.25, 0.0];
        ObservationScale::identity(3).apply(&mut observations);
        assert_eq!(observations, [9.5, -0.25, 0.0]);
    }
}

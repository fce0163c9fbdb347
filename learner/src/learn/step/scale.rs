//! By how much a gradient counts where batches have different sizes.
//!
//! A mean over more columns has less noise, in proportion to the root of their number. In units of the noise of a batch of fixed
//! size, with the factor `sqrt(columns / noise_columns)`, the noise of a gradient, and with it the optimiser's mean of squares, is
//! the same for every size: the size may change from one update to the next and none of the statistics has to be learned anew.
//! What stands out of the noise grows with the root of the size, and so do the steps in its direction; a factor on the learning
//! rate besides made runs worse.
//!
//! That holds where columns are independent of each other. Those of many actors that begin at the same moment are not: all their
//! environments are in the same few steps of an episode, and what looks like little noise is the same error many times. When 32
//! actors and more joined a run of two at once, soon after it was solved, its policy was lost for hundreds of thousands of frames.
//! So not more columns count than a bound, which follows the batches slowly: it may double, or halve, while the number of updates
//! doubles. That is quick at the start of a run and leaves a trained policy the time that its statistics and values need. A smaller batch
//! counts for what it is at once, and one such batch among large ones moves the bound by next to nothing.

/// The bound of the columns that count, from one update to the next.
#[derive(Clone, Copy, Debug)]
pub(super) struct GradientScale {
    /// In whose noise gradients are measured; nothing where every batch has the same size.
    noise_columns: Option<usize>,
    /// None before the first update.
    bound: Option<f64>,
    updates: u32,
}

impl GradientScale {
    pub(super) fn new(noise_columns: Option<usize>) -> Self {
        Self { noise_columns, bound: None, updates: 0 }
    }

    /// The bound of the last update, 0 if there is nothing to know.
    pub(super) fn bound(&self) -> f64 {
        self.bound.unwrap_or(0.0)
    }

    /// Goes on after so many updates, with the bound of the last.
    pub(super) fn restore(&mut self, updates: u32, bound: f64) {
        (self.updates, self.bound) = (updates, (bound > 0.0).then_some(bound));
    }

    /// The factor on the clipped gradient of the next update, whose batch has so many columns.
    pub(super) fn next(&mut self, columns: usize) -> f32 {
        let Some(noise_columns) = self.noise_columns else { return 1.0 };
        let (columns, part) = (columns as f64, 1.0 / f64::from(self.updates.max(1)));
        let bound = self.bound.map_or(columns, |bound| columns.clamp(bound * (1.0 - part), bound * (1.0 + part)));
        self.bound = Some(bound);
        self.updates = self.updates.saturating_add(1);
        (columns.min(bound) / noise_columns as f64).sqrt() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_twice_as_much_when_updates_have_doubled_and_less_at_once() {
        let mut scale = GradientScale::new(Some(8));
        assert!((0..100).all(|_| scale.next(8) == 1.0));
        assert!((100..199).all(|_| scale.next(512) < 2_f32.sqrt()));
        assert!((scale.next(512) / 2_f32.sqrt() - 1.0).abs() < 1e-3, "{scale:?}");
        assert_eq!(scale.next(2), 0.5);
        // One small batch does not make the next large one count for less, many do.
        assert!(scale.next(512) > 1.4, "{scale:?}");
        (0..400).for_each(|_| _ = scale.next(8));
        assert!(scale.next(512) < 1.01, "{scale:?}");
        // A run that begins with many has them all after a few updates.
        let mut scale = GradientScale::new(Some(8));
        scale.next(8);
        assert_eq!((0..63).map(|_| scale.next(512)).last(), Some(8.0));
    }

    #[test]
    fn a_run_that_is_resumed_goes_on_with_the_bound() {
        let mut before = GradientScale::new(Some(8));
        (0..50).for_each(|i| _ = before.next(8 + 8 * i));
        let mut after = GradientScale::new(Some(8));
        after.restore(50, before.bound());
        assert_eq!(after.next(512), before.next(512));
        // Of a checkpoint that does not tell: the next batch counts.
        after.restore(50, 0.0);
        assert_eq!(after.next(32), 2.0);
    }

    #[test]
    fn gradients_of_batches_of_one_size_are_left_alone() {
        let mut scale = GradientScale::new(None);
        assert_eq!((scale.next(8), scale.next(64), scale.bound()), (1.0, 1.0, 0.0));
    }
}

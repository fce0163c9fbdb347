//! The trainer's part of the looks at the network: it counts what the episodes returned, and when the reports ask, its own numbers.

use crate::handover::inspection::{Inspection, Look};
use crate::handover::progress::LagHistogram;
use crate::learn::histogram::{Counts, Histogram};
use crate::learn::step::LearnerStep;
use impala_common::trajectory::Episode;
use impala_policy::network::ParameterBlock;
use std::time::Instant;

/// Buckets to each power of two of parameters and gradients, as a power of two: a few dozen of them make a picture.
const NUMBER_BITS: u32 = 3;
/// The same of returns, which lie closer together: near 500 a bucket is 8 wide.
const RETURN_BITS: u32 = 5;

/// Makes the looks.
#[derive(Debug)]
pub struct Inspector {
    inspection: Inspection,
    layout: Vec<ParameterBlock>,
    returns: Counts,
    numbers: Counts,
}

impl Inspector {
    /// For a network of this layout.
    pub fn new(inspection: Inspection, layout: Vec<ParameterBlock>) -> Self {
        Self { inspection, layout, returns: Counts::new(RETURN_BITS), numbers: Counts::new(NUMBER_BITS) }
    }

    /// Counts episodes.
    pub(super) fn record(&mut self, episodes: &[Episode]) {
        self.returns.add(episodes.iter().map(|episode| episode.episode_return));
    }

    /// Whether somebody asked for a look since the last one.
    pub(super) fn is_asked(&self) -> bool {
        self.inspection.is_asked()
    }

    /// Leaves a look. Only here are gradients read back from an accelerator, which waits for it.
    pub(super) fn look(&mut self, step: &mut LearnerStep, frames: u64, lag: LagHistogram) {
        let begin = Instant::now();
        let returns = self.returns.take();
        let parameters = self.blocks(step.parameters());
        let gradient = self.blocks(step.gradient());
        self.inspection.leave(Look { frames, lag, returns, parameters, gradient, took: begin.elapsed() });
    }

    /// The numbers block by block; none where there are no numbers yet.
    fn blocks(&mut self, flat: &[f32]) -> Vec<(String, Histogram)> {
        let numbers = &mut self.numbers;
        let histogram = |block: &ParameterBlock| {
            numbers.add(flat.get(block.range.clone())?.iter().copied());
            Some((block.name.clone(), numbers.take()?))
        };
        self.layout.iter().filter_map(histogram).collect()
    }
}

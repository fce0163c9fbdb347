//! The loops over rows or frames of the columns of choices. They hold no sums over rows, so a row's bits depend on it alone.

use super::Buffers;
use crate::activation::{exp, ln};
use pulp::{Simd, WithSimd};
use std::ops::Range;

/// Where the components' numbers lie in columns of n.
#[inline(always)]
pub(super) fn blocks(choices: &[usize], n: usize) -> impl Iterator<Item = Range<usize>> {
    choices.iter().scan(0, move |end, choices| {
        let start = *end;
        *end += choices * n;
        Some(start..*end)
    })
}

/// Weights and their sums from the logits, which are brought below 0: the largest of a component weighs 1.
#[inline(always)]
fn softmax(choices: &[usize], n: usize, logits: &mut [f32], weights: &mut [f32], totals: &mut [f32]) {
    for (block, totals) in blocks(choices, n).zip(totals.chunks_exact_mut(n)) {
        let (logits, weights) = (&mut logits[block.clone()], &mut weights[block]);
        totals.fill(f32::NEG_INFINITY);
        for column in logits.chunks_exact(n) {
            totals.iter_mut().zip(column).for_each(|(largest, logit)| *largest = largest.max(*logit));
        }
        for column in logits.chunks_exact_mut(n) {
            column.iter_mut().zip(&*totals).for_each(|(logit, largest)| *logit -= largest);
        }
        totals.fill(0.0);
        for (weights, logits) in weights.chunks_exact_mut(n).zip(logits.chunks_exact(n)) {
            for ((weight, logit), total) in weights.iter_mut().zip(logits).zip(totals.iter_mut()) {
                // The kernel ends at exp(-87). What is no number keeps a weight, and shows in the log-probability.
                let exponential = exp(*logit);
                *weight = if *logit == f32::NEG_INFINITY { 0.0 } else { exponential };
                *total += *weight;
            }
        }
    }
}

/// Draws a choice of each component for every row; the buffers hold logits and uniform numbers.
pub(super) struct Draw<'a> {
    pub(super) choices: &'a [usize],
    pub(super) buffers: &'a mut Buffers,
    pub(super) actions: &'a mut [u8],
    pub(super) log_probs: &'a mut [f32],
}

impl WithSimd for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { choices, buffers, actions, log_probs } = self;
        let Buffers { logits, weights, totals, points, picked, picked_logits } = buffers;
        let n = log_probs.len();
        softmax(choices, n, logits, weights, totals);
        log_probs.fill(0.0);
        let components = blocks(choices, n).zip(totals.chunks_exact(n)).zip(points.chunks_exact_mut(n));
        for (component, ((block, totals), points)) in components.enumerate() {
            points.iter_mut().zip(totals).for_each(|(point, total)| *point *= total);
            picked.fill(0);
            picked_logits.copy_from_slice(&logits[block.start..][..n]);
            let columns = weights[block.clone()].chunks_exact(n).zip(logits[block].chunks_exact(n));
            for (choice, (weights, logits)) in (0..=u8::MAX).zip(columns) {
                let picks = picked.iter_mut().zip(picked_logits.iter_mut());
                let places = points.iter_mut().zip(weights.iter().zip(logits));
                for ((point, (weight, logit)), (picked, picked_logit)) in places.zip(picks) {
                    // The last choice with a weight that the point does not lie before: rounding of the sum cannot lead outside or
                    // to what is forbidden. The point moves down instead of the sum moving up: one buffer less.
                    let here = (*point >= 0.0) & (*weight > 0.0);
                    *picked = if here { choice } else { *picked };
                    *picked_logit = if here { *logit } else { *picked_logit };
                    *point -= weight;
                }
            }
            // At most 0: the largest weight is 1, so the total is at least that.
            let picked_logits = picked_logits.iter().zip(totals);
            log_probs.iter_mut().zip(picked_logits).for_each(|(sum, (logit, total))| *sum += logit - ln(*total));
            let actions = actions.iter_mut().skip(component).step_by(choices.len());
            actions.zip(picked.iter()).for_each(|(action, picked)| *action = *picked);
        }
    }
}

/// Logits in the buffers become log-probabilities, beside probabilities and entropies.
pub(super) struct Evaluate<'a> {
    pub(super) choices: &'a [usize],
    pub(super) buffers: &'a mut Buffers,
    pub(super) entropies: &'a mut [f32],
}

impl WithSimd for Evaluate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { choices, buffers, entropies } = self;
        let Buffers { logits, weights, totals, .. } = buffers;
        let n = entropies.len();
        softmax(choices, n, logits, weights, totals);
        entropies.fill(0.0);
        for (block, totals) in blocks(choices, n).zip(totals.chunks_exact_mut(n)) {
            let (log_probs, probs) = (&mut logits[block.clone()], &mut weights[block]);
            for column in probs.chunks_exact_mut(n) {
                column.iter_mut().zip(&*totals).for_each(|(prob, total)| *prob /= total);
            }
            totals.iter_mut().for_each(|total| *total = ln(*total));
            for column in log_probs.chunks_exact_mut(n) {
                column.iter_mut().zip(&*totals).for_each(|(log_prob, log_total)| *log_prob -= log_total);
            }
            totals.fill(0.0);
            for (probs, log_probs) in probs.chunks_exact(n).zip(log_probs.chunks_exact(n)) {
                for ((entropy, prob), log_prob) in totals.iter_mut().zip(probs).zip(log_probs) {
                    *entropy -= if *prob == 0.0 { 0.0 } else { prob * log_prob };
                }
            }
            entropies.iter_mut().zip(&*totals).for_each(|(sum, entropy)| *sum += entropy);
        }
    }
}

/// All of the gradient but what the choices that were made add.
pub(super) struct Gradient<'a> {
    pub(super) choices: &'a [usize],
    pub(super) buffers: &'a Buffers,
    pub(super) d_log_probs: &'a [f32],
    pub(super) d_entropy: f32,
    pub(super) gradient: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { choices, buffers, d_log_probs, d_entropy, gradient } = self;
        let Buffers { logits: log_probs, weights: probs, totals: entropies, .. } = buffers;
        let n = d_log_probs.len();
        for (block, entropies) in blocks(choices, n).zip(entropies.chunks_exact(n)) {
            let (log_probs, probs) = (log_probs[block.clone()].chunks_exact(n), probs[block.clone()].chunks_exact(n));
            for ((gradient, probs), log_probs) in gradient[block].chunks_exact_mut(n).zip(probs).zip(log_probs) {
                for i in 0..n {
                    let slope = -probs[i] * (d_log_probs[i] + d_entropy * (log_probs[i] + entropies[i]));
                    gradient[i] = if probs[i] == 0.0 { 0.0 } else { slope };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::Arch;

    #[test]
    fn a_point_that_rounding_brings_to_the_end_picks_the_last_choice_that_is_allowed() {
        let forbidden = f32::NEG_INFINITY;
        let mut buffers = Buffers {
            logits: vec![forbidden, 0.0, 0.0, forbidden],
            weights: vec![0.0; 4],
            totals: vec![0.0],
            points: vec![1.0],
            picked: vec![0],
            picked_logits: vec![0.0],
        };
        let (mut actions, mut log_probs) = ([9], [0.0]);
        let choices = &[4];
        Arch::new().dispatch(Draw { choices, buffers: &mut buffers, actions: &mut actions, log_probs: &mut log_probs });
        assert_eq!(actions, [2]);
        assert!((log_probs[0] + std::f32::consts::LN_2).abs() < 1e-6);
    }
}

//! Independent categoricals, one for each component of an action, with or without masks.
//!
//! With the logits `l_j` of a component's allowed choices and `p = softmax(l)`:
//!
//! ```text
//! log p(a)           = l_a - ln sum_j exp(l_j)
//! H                  = -sum_j p_j log p_j
//! d log p(a) / d l_j = [j = a] - p_j
//! d H / d l_j        = -p_j (log p_j + H)
//! ```
//!
//! A choice that is not allowed has the logit minus infinity, the probability 0 and the gradient 0. Logarithms of probabilities and
//! entropies of the components are summed.

mod kernels;

use super::{Frames, Rows};
use impala_env::seed::Rng;
use kernels::{Draw, Evaluate, Gradient, blocks};
use pulp::Arch;
use rand::RngExt;

/// What the components choose from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Categorical {
    /// `[D]`, each at least 1.
    choices: Vec<usize>,
    masked: bool,
}

/// Columns of n rows or frames. One with a number for every choice has as many blocks as there are components.
#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    /// `[P, n]`: logits less their component's largest, then the logarithms of the probabilities.
    logits: Vec<f32>,
    /// `[P, n]`: exponentials of these, then the probabilities.
    weights: Vec<f32>,
    /// `[D, n]`: sums of a component's weights, then its entropies.
    totals: Vec<f32>,
    /// `[D, n]`: uniform draws, then the point that each picks on a component's weights laid end to end.
    points: Vec<f32>,
    /// `[n]`: the choice of one component, and its logit.
    picked: Vec<u8>,
    picked_logits: Vec<f32>,
}

impl Categorical {
    pub(super) fn new(choices: &[usize], masked: bool) -> Self {
        Self { choices: choices.to_vec(), masked }
    }

    /// P
    pub(super) fn parameters(&self) -> usize {
        self.choices.iter().sum()
    }

    pub(super) fn components(&self) -> usize {
        self.choices.len()
    }

    pub(super) fn mask_len(&self) -> usize {
        if self.masked { self.parameters() } else { 0 }
    }

    pub(super) fn sample(
        &self,
        rows: Rows<'_>,
        rng: &mut Rng,
        buffers: &mut Buffers,
        actions: &mut [u8],
        log_probs: &mut [f32],
    ) {
        let n = log_probs.len();
        self.resize(buffers, n);
        buffers.points.resize(self.components() * n, 0.0);
        buffers.picked.resize(n, 0);
        buffers.picked_logits.resize(n, 0.0);
        for (i, row) in rows.outputs.chunks(rows.stride).take(n).enumerate() {
            // A row's draws lie side by side in the random source: more rows do not change those of the first.
            buffers.points.chunks_exact_mut(n).for_each(|column| column[i] = rng.random());
            buffers.logits.chunks_exact_mut(n).zip(row).for_each(|(column, logit)| column[i] = *logit);
        }
        self.forbid(rows.masks, n, &mut buffers.logits);
        Arch::new().dispatch(Draw { choices: &self.choices, buffers, actions, log_probs });
    }

    pub(super) fn mode(&self, rows: Rows<'_>, actions: &mut [u8]) {
        let width = self.parameters();
        for (i, actions) in actions.chunks_exact_mut(self.components()).enumerate() {
            let logits = &rows.outputs[i * rows.stride..][..width];
            let mask = if self.masked { &rows.masks[i * width..][..width] } else { &[] };
            for (block, action) in blocks(&self.choices, 1).zip(actions) {
                let mut best: Option<(u8, f32)> = None;
                for (choice, at) in (0..=u8::MAX).zip(block) {
                    let allowed = mask.get(at).is_none_or(|mask| *mask != 0);
                    if allowed && best.is_none_or(|(_, most)| logits[at] > most) {
                        best = Some((choice, logits[at]));
                    }
                }
                *action = best.map_or(0, |(choice, _)| choice);
            }
        }
    }

    pub(super) fn evaluate(
        &self,
        frames: &Frames<'_>,
        buffers: &mut Buffers,
        log_probs: &mut [f32],
        entropies: &mut [f32],
    ) {
        let n = log_probs.len();
        self.resize(buffers, n);
        let columns = frames.outputs.chunks_exact(frames.rows);
        buffers.logits.chunks_exact_mut(n).zip(columns).for_each(|(to, from)| to.copy_from_slice(&from[..n]));
        self.forbid(frames.masks, n, &mut buffers.logits);
        Arch::new().dispatch(Evaluate { choices: &self.choices, buffers, entropies });
        log_probs.fill(0.0);
        self.each_action(frames, n, |i, at| log_probs[i] += buffers.logits[at]);
    }

    pub(super) fn gradient(
        &self,
        frames: &Frames<'_>,
        buffers: &Buffers,
        d_log_probs: &[f32],
        d_entropy: f32,
        gradient: &mut [f32],
    ) {
        let n = d_log_probs.len();
        Arch::new().dispatch(Gradient { choices: &self.choices, buffers, d_log_probs, d_entropy, gradient });
        self.each_action(frames, n, |i, at| {
            if buffers.weights[at] != 0.0 {
                gradient[at] += d_log_probs[i];
            }
        });
    }

    /// Calls with every frame and the places in the columns of the choices that were made in it.
    fn each_action(&self, frames: &Frames<'_>, n: usize, mut call: impl FnMut(usize, usize)) {
        for (i, actions) in frames.actions.u8().chunks_exact(self.components()).enumerate() {
            for (block, action) in blocks(&self.choices, 1).zip(actions) {
                let choice = block.start + usize::from(*action);
                assert!(choice < block.end, "action {action} of {} choices", block.len());
                call(i, choice * n + i);
            }
        }
    }

    fn resize(&self, buffers: &mut Buffers, n: usize) {
        buffers.logits.resize(self.parameters() * n, 0.0);
        buffers.weights.resize(self.parameters() * n, 0.0);
        buffers.totals.resize(self.components() * n, 0.0);
    }

    /// # Shapes
    /// `masks`: `[n, M]`, `logits`: `[P, n]`
    fn forbid(&self, masks: &[u8], n: usize, logits: &mut [f32]) {
        if !self.masked {
            return;
        }
        for (i, mask) in masks.chunks_exact(self.parameters()).enumerate() {
            for (choice, _) in mask.iter().enumerate().filter(|(_, mask)| **mask == 0) {
                logits[choice * n + i] = f32::NEG_INFINITY;
            }
        }
    }
}

//! A diagonal Gaussian over the numbers of a box, squashed into the bounds or not.
//!
//! What is drawn, stored and sent is u, before bounds. With mean m, log standard deviation s within its own bounds, and
//! `z = (u - m) / exp(s)`, summed over the components:
//!
//! ```text
//! log p(u)           = -z^2/2 - s - 1/2 ln(2 pi)
//! H                  = s + 1/2 ln(2 pi e)
//! d log p / d m, d s = z / exp(s), z^2 - 1
//! d H     / d m, d s = 0, 1
//! ```
//!
//! The squashed action is `low + (tanh(u) + 1) (high - low) / 2`, and
//!
//! ```text
//! log p(a) = log p(u) - ln(1 - tanh(u)^2) - ln((high - low) / 2)
//! H        = H(u) + E[ln(1 - tanh(u)^2)] + ln((high - low) / 2)
//! ```
//!
//! The correction depends on u alone, so `log p(a)` has the gradient of `log p(u)`. No formula gives its mean: the entropy is an
//! estimate from the one u that was drawn, and so is its gradient, along `u = m + exp(s) z` with z held (Haarnoja et al. 2018, arXiv
//! 1812.05905, appendix C):
//!
//! ```text
//! d H / d m, d s = -2 tanh(u), 1 - 2 tanh(u) (u - m)
//! ```
//!
//! Where an older policy drew u, the estimate is of the newer one's entropy at the older one's draws.

mod kernels;

use super::{DistributionError, Frames, Rows, Squash};
use crate::activation::tanh;
use impala_env::seed::Rng;
use impala_env::space::Bounds;
use kernels::{Densities, Draw, Gradient};
use pulp::Arch;
use rand::RngExt;

/// Bounds of a log standard deviation, beyond which it stays and has no gradient.
pub(super) const LOG_STD_MIN: f32 = -10.0;
pub(super) const LOG_STD_MAX: f32 = 2.0;
/// Farthest from 0 that u is drawn: what a trajectory may hold.
const ACTION_MAX: f32 = 1e9;
/// Farthest from 0 that u is drawn where it is squashed: from 9 on its tanh is 1, while its correction goes on growing and would leave
/// no digits for the rest of the log-probability.
const SQUASHED_ACTION_MAX: f32 = 100.0;
const HALF_LOG_TWO_PI: f32 = 0.918_938_5;

/// What the numbers of an action are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gaussian {
    bounds: Bounds,
    squash: Squash,
    /// Sum over the components of `ln((high - low) / 2)`; 0 where nothing is squashed.
    log_scale: f32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Buffers {
    /// `[2 D, n]`: means and log standard deviations of an actor's rows.
    parameters: Vec<f32>,
    terms: Terms,
}

/// Columns of n rows or frames.
#[derive(Clone, Debug, Default)]
struct Terms {
    /// `[D, n]`: u; uniform numbers before it is drawn.
    actions: Vec<f32>,
    /// `[D, n]`: z
    deviations: Vec<f32>,
    /// `[D, n]`: `1 / exp(s)`
    inverse_stds: Vec<f32>,
    /// `[n]`: sum over the components of `ln(1 - tanh(u)^2)`; 0 where nothing is squashed.
    corrections: Vec<f32>,
}

impl Gaussian {
    /// # Errors
    /// It is to be squashed into bounds that are not finite, or too far apart.
    pub(super) fn new(bounds: &Bounds, squash: Squash) -> Result<Self, DistributionError> {
        let mut log_scale = 0.0;
        if squash == Squash::Tanh {
            for (component, (low, high)) in bounds.low.iter().zip(&bounds.high).enumerate() {
                if !(high - low).is_finite() {
                    return Err(DistributionError::Unbounded { component, low: *low, high: *high });
                }
                log_scale += (0.5 * (f64::from(*high) - f64::from(*low))).ln();
            }
        }
        Ok(Self { bounds: bounds.clone(), squash, log_scale: log_scale as f32 })
    }

    pub(super) fn components(&self) -> usize {
        self.bounds.low.len()
    }

    fn action_max(&self) -> f32 {
        match self.squash {
            Squash::None => ACTION_MAX,
            Squash::Tanh => SQUASHED_ACTION_MAX,
        }
    }

    /// No density is larger: the least standard deviation, and u where the squashed action moves least with it.
    pub(super) fn log_prob_max(&self) -> f32 {
        // -ln(1 - tanh(u)^2) is below 2 |u|.
        let correction = if self.squash == Squash::Tanh { 2.0 * SQUASHED_ACTION_MAX } else { 0.0 };
        let densities = self.components() as f32 * (correction - LOG_STD_MIN - HALF_LOG_TWO_PI);
        // The sum of so many rounded numbers may lie a hair above.
        densities - self.log_scale + 1e-5 * (1.0 + densities + self.log_scale.abs())
    }

    pub(super) fn sample(
        &self,
        rows: Rows<'_>,
        rng: &mut Rng,
        buffers: &mut Buffers,
        actions: &mut [f32],
        log_probs: &mut [f32],
    ) {
        let (d, n) = (self.components(), log_probs.len());
        let Buffers { parameters, terms } = buffers;
        self.resize(terms, n);
        parameters.resize(2 * d * n, 0.0);
        for (i, row) in rows.outputs.chunks(rows.stride).take(n).enumerate() {
            // A row's draws lie side by side in the random source: more rows do not change those of the first.
            terms.actions.chunks_exact_mut(n).for_each(|column| column[i] = rng.random());
            parameters.chunks_exact_mut(n).zip(row).for_each(|(column, number)| column[i] = *number);
        }
        let arch = Arch::new();
        arch.dispatch(Draw { parameters, actions: &mut terms.actions, action_max: self.action_max() });
        // Of u as it travels, which was rounded: the learner sees the same deviation.
        arch.dispatch(Densities { gaussian: self, parameters, rows: n, terms, log_probs });
        for (i, row) in actions.chunks_exact_mut(d).enumerate() {
            row.iter_mut().zip(terms.actions.chunks_exact(n)).for_each(|(u, column)| *u = column[i]);
        }
    }

    pub(super) fn mode(&self, rows: Rows<'_>, actions: &mut [f32]) {
        let d = self.components();
        for (actions, row) in actions.chunks_exact_mut(d).zip(rows.outputs.chunks(rows.stride)) {
            actions.iter_mut().zip(&row[..d]).for_each(|(u, mean)| *u = kernels::held(*mean, self.action_max()));
        }
    }

    /// The point of the box that each row of u stands for.
    pub(super) fn to_environment(&self, actions: &[f32], points: &mut Vec<f32>) {
        let Bounds { low, high } = &self.bounds;
        points.clear();
        for row in actions.chunks_exact(self.components()) {
            let components = row.iter().zip(low.iter().zip(high));
            points.extend(components.map(|(u, (low, high))| {
                let point = match self.squash {
                    Squash::None => *u,
                    Squash::Tanh => low + 0.5 * (tanh(*u) + 1.0) * (high - low),
                };
                point.clamp(*low, *high)
            }));
        }
    }

    pub(super) fn evaluate(
        &self,
        frames: &Frames<'_>,
        buffers: &mut Buffers,
        log_probs: &mut [f32],
        entropies: &mut [f32],
    ) {
        let (d, n, terms) = (self.components(), log_probs.len(), &mut buffers.terms);
        self.resize(terms, n);
        for (i, row) in frames.actions.f32().chunks_exact(d).enumerate() {
            terms.actions.chunks_exact_mut(n).zip(row).for_each(|(column, u)| column[i] = *u);
        }
        let Frames { outputs: parameters, rows, .. } = *frames;
        Arch::new().dispatch(Densities { gaussian: self, parameters, rows, terms: &mut *terms, log_probs });
        let constant = d as f32 * (HALF_LOG_TWO_PI + 0.5) + self.log_scale;
        entropies.iter_mut().zip(&terms.corrections).for_each(|(sum, correction)| *sum = constant + correction);
        for log_stds in parameters.chunks_exact(rows).skip(d).take(d) {
            entropies.iter_mut().zip(log_stds).for_each(|(sum, log_std)| *sum += kernels::bounded(*log_std));
        }
    }

    pub(super) fn gradient(
        &self,
        frames: &Frames<'_>,
        buffers: &Buffers,
        d_log_probs: &[f32],
        d_entropy: f32,
        gradient: &mut [f32],
    ) {
        Arch::new().dispatch(Gradient {
            gaussian: self,
            frames,
            terms: &buffers.terms,
            d_log_probs,
            d_entropy,
            gradient,
        });
    }

    fn resize(&self, terms: &mut Terms, n: usize) {
        let len = self.components() * n;
        let Terms { actions, deviations, inverse_stds, corrections } = terms;
        [actions, deviations, inverse_stds].into_iter().for_each(|columns| columns.resize(len, 0.0));
        corrections.resize(n, 0.0);
    }
}

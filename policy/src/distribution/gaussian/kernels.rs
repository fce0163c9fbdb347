//! The loops over rows or frames of a Gaussian's columns. They hold no sums over rows, so a row's bits depend on it alone.

use super::{Gaussian, HALF_LOG_TWO_PI, LOG_STD_MAX, LOG_STD_MIN, Terms};
use crate::activation::{exp, ln, tanh};
use crate::distribution::normal::normal;
use crate::distribution::{Frames, Squash};
use pulp::{Simd, WithSimd};
use std::f32::consts::LN_2;

/// A log standard deviation within its bounds.
#[inline(always)]
pub(super) fn bounded(log_std: f32) -> f32 {
    log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
}

/// A finite u; what is no number is 0, and shows in the log-probability.
#[inline(always)]
pub(super) fn held(u: f32, action_max: f32) -> f32 {
    if u.is_nan() { 0.0 } else { u.clamp(-action_max, action_max) }
}

/// `ln(1 - tanh(u)^2)` for any u: `2 (ln 2 - |u| - ln(1 + exp(-2 |u|)))`.
#[inline(always)]
fn correction(u: f32) -> f32 {
    let distance = u.abs();
    2.0 * (LN_2 - distance - ln(1.0 + exp(-2.0 * distance)))
}

/// Columns of uniform numbers become columns of u.
pub(super) struct Draw<'a> {
    /// `[2 D, n]`
    pub(super) parameters: &'a [f32],
    /// `[D, n]`
    pub(super) actions: &'a mut [f32],
    pub(super) action_max: f32,
}

impl WithSimd for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let (means, log_stds) = self.parameters.split_at(self.actions.len());
        for ((u, mean), log_std) in self.actions.iter_mut().zip(means).zip(log_stds) {
            *u = held(mean + exp(bounded(*log_std)) * normal(*u), self.action_max);
        }
    }
}

/// Log-probabilities of the actions in the columns, and what their gradient is made of.
pub(super) struct Densities<'a> {
    pub(super) gaussian: &'a Gaussian,
    /// `[2 D or more, rows]`, of which the first n are meant.
    pub(super) parameters: &'a [f32],
    pub(super) rows: usize,
    pub(super) terms: &'a mut Terms,
    /// `[n]`
    pub(super) log_probs: &'a mut [f32],
}

impl WithSimd for Densities<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { gaussian, parameters, rows, terms, log_probs } = self;
        let (d, n) = (gaussian.components(), log_probs.len());
        let Terms { actions, deviations, inverse_stds, corrections } = terms;
        log_probs.fill(-gaussian.log_scale);
        corrections.fill(0.0);
        for component in 0..d {
            let means = &parameters[component * rows..][..n];
            let log_stds = &parameters[(d + component) * rows..][..n];
            let actions = &actions[component * n..][..n];
            let deviations = &mut deviations[component * n..][..n];
            let inverse_stds = &mut inverse_stds[component * n..][..n];
            for i in 0..n {
                let log_std = bounded(log_stds[i]);
                inverse_stds[i] = exp(-log_std);
                deviations[i] = (actions[i] - means[i]) * inverse_stds[i];
                log_probs[i] -= 0.5 * deviations[i] * deviations[i] + log_std + HALF_LOG_TWO_PI;
            }
            if gaussian.squash == Squash::Tanh {
                corrections.iter_mut().zip(actions).for_each(|(sum, u)| *sum += correction(*u));
            }
        }
        log_probs.iter_mut().zip(&*corrections).for_each(|(log_prob, correction)| *log_prob -= correction);
    }
}

/// The gradient with respect to means and log standard deviations.
pub(super) struct Gradient<'a> {
    pub(super) gaussian: &'a Gaussian,
    pub(super) frames: &'a Frames<'a>,
    pub(super) terms: &'a Terms,
    /// `[n]`
    pub(super) d_log_probs: &'a [f32],
    pub(super) d_entropy: f32,
    /// `[2 D, n]`
    pub(super) gradient: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { gaussian, frames, terms, d_log_probs, d_entropy, gradient } = self;
        let (d, n) = (gaussian.components(), d_log_probs.len());
        let (of_means, of_log_stds) = gradient.split_at_mut(d * n);
        for component in 0..d {
            let means = &frames.outputs[component * frames.rows..][..n];
            let log_stds = &frames.outputs[(d + component) * frames.rows..][..n];
            let column = component * n..(component + 1) * n;
            let (of_means, of_log_stds) = (&mut of_means[column.clone()], &mut of_log_stds[column.clone()]);
            let (deviations, inverse_stds) = (&terms.deviations[column.clone()], &terms.inverse_stds[column.clone()]);
            for i in 0..n {
                of_means[i] = d_log_probs[i] * deviations[i] * inverse_stds[i];
                of_log_stds[i] = d_log_probs[i] * (deviations[i] * deviations[i] - 1.0) + d_entropy;
            }
            if gaussian.squash == Squash::Tanh {
                let actions = &terms.actions[column];
                for i in 0..n {
                    let slope = -2.0 * d_entropy * tanh(actions[i]);
                    of_means[i] += slope;
                    of_log_stds[i] += slope * (actions[i] - means[i]);
                }
            }
            for (gradient, log_std) in of_log_stds.iter_mut().zip(log_stds) {
                let beyond = (*log_std < LOG_STD_MIN) | (*log_std > LOG_STD_MAX);
                *gradient = if beyond { 0.0 } else { *gradient };
            }
        }
    }
}

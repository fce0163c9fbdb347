//! V-trace in tensor operations; [`crate::vtrace`] has the definition, and the loop for host memory.
//!
//! With `d_t = delta_t` and `a_t = discount_t * c_t` the correction `acc_t = vs_t - V(x_t)` is the linear recurrence
//! `acc_t = d_t + a_t acc_{t+1}`, `acc_T = 0`. Two neighbouring steps compose to one of the same form, so doubling the reach
//! of every step `ceil(log2 T)` times gives all of them (Blelloch 1990, "Prefix sums and their applications"):
//!
//! ```text
//! d_t <- d_t + a_t d_{t+s};  a_t <- a_t a_{t+s};  s = 1, 2, 4, ..
//! ```
//!
//! One kernel a doubling where the backend fuses, and none that waits for another's numbers on the host. There is no
//! division and no logarithm: a discount of 0 is nothing special. A hand-written kernel would need burn's feature
//! `extension` and the kernel language as a dependency of its own, to save a handful of launches.

use crate::vtrace::VtraceClipping;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The way from each step to the one `s` steps behind it, for s = 1, 2, 4, ..
#[derive(Debug)]
pub(super) struct Scan {
    steps: usize,
    /// Beginning with s = 1; never empty.
    shifts: Vec<Shift>,
}

#[derive(Debug)]
struct Shift {
    /// `[T]`: `t + s`, or the last step where that is outside.
    sources: Tensor<1, Int>,
    /// `[T, 1]`: 1 where `t + s` is inside, else 0.
    is_inside: Tensor<2>,
}

/// Arguments of [`vtrace`], all but the first `[T, B]`.
#[derive(Debug)]
pub(super) struct VtraceTensors {
    /// Log of the importance ratio of the action.
    pub(super) log_ratios: Tensor<2>,
    /// 0 behind the end of an episode.
    pub(super) discounts: Tensor<2>,
    pub(super) rewards: Tensor<2>,
    pub(super) values: Tensor<2>,
    /// Of the step behind; in the last row the bootstrap values.
    pub(super) next_values: Tensor<2>,
}

/// What [`vtrace`] gives, both `[T, B]`.
#[derive(Debug)]
pub(super) struct ReturnsTensors {
    pub(super) vs: Tensor<2>,
    pub(super) pg_advantages: Tensor<2>,
}

impl Scan {
    pub(super) fn new(steps: usize, device: &Device) -> Self {
        let shift = |by: usize| {
            let sources: Vec<i32> = (0..steps).map(|t| (t + by).min(steps - 1) as i32).collect();
            let is_inside: Vec<f32> = (0..steps).map(|t| f32::from(t + by < steps)).collect();
            Shift {
                sources: Tensor::from_data(TensorData::new(sources, [steps]), device),
                is_inside: Tensor::from_data(TensorData::new(is_inside, [steps, 1]), device),
            }
        };
        let reaches = std::iter::successors(Some(1), |by| Some(2 * by)).take_while(|by| *by == 1 || *by < steps);
        Self { steps, shifts: reaches.map(shift).collect() }
    }

    /// T
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Solves `acc_t = d_t + a_t acc_{t+1}`.
    fn solve(&self, mut d: Tensor<2>, mut a: Tensor<2>) -> Tensor<2> {
        for (index, shift) in self.shifts.iter().enumerate() {
            // Cut off at the end here, so that `d` needs no cut of its own.
            let reach = a.clone() * shift.is_inside.clone();
            let is_last = index + 1 == self.shifts.len();
            let next = (!is_last).then(|| reach.clone() * a.select(0, shift.sources.clone()));
            d = d.clone() + reach.clone() * d.select(0, shift.sources.clone());
            a = next.unwrap_or(reach);
        }
        d
    }
}

/// Computes V-trace targets and advantages.
pub(super) fn vtrace(inputs: &VtraceTensors, clipping: &VtraceClipping, scan: &Scan) -> ReturnsTensors {
    let VtraceTensors { log_ratios, discounts, rewards, values, next_values } = inputs;
    let ratios = log_ratios.clone().exp();
    let rho = ratios.clone().clamp_max(clipping.rho_bar);
    let c = ratios.clone().clamp_max(clipping.c_bar).mul_scalar(clipping.lambda);
    let delta = rho * (rewards.clone() + discounts.clone() * next_values.clone() - values.clone());
    let corrections = scan.solve(delta, discounts.clone() * c);

    let behind = &scan.shifts[0];
    let next_corrections = corrections.clone().select(0, behind.sources.clone()) * behind.is_inside.clone();
    let q = rewards.clone() + discounts.clone() * (next_values.clone() + next_corrections);
    ReturnsTensors {
        vs: values.clone() + corrections,
        pg_advantages: ratios.clamp_max(clipping.pg_rho_bar) * (q - values.clone()),
    }
}

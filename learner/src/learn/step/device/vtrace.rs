//! V-trace in tensor operations; [`crate::learn::vtrace`] has the definition, and the loop for host memory.
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

use super::join_up_to_here;
use crate::learn::vtrace::VtraceClipping;
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The way from each step to the one `s` steps after it, for s = 1, 2, 4, ..
#[derive(Debug)]
pub(super) struct Scan {
    steps: usize,
    /// `[T + 1]` each: `t + s`, or T where that is outside.
    sources: Vec<Tensor<1, Int>>,
}

/// Arguments of [`vtrace`], all but the first `[T, B]`.
#[derive(Debug)]
pub(super) struct VtraceTensors {
    /// Log of the importance ratio of the action.
    pub(super) log_ratios: Tensor<2>,
    /// 0 after the end of an episode.
    pub(super) discounts: Tensor<2>,
    pub(super) rewards: Tensor<2>,
    pub(super) values: Tensor<2>,
    /// Of the step after; in the last row the bootstrap values.
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
        let sources = |by: &usize| {
            let sources: Vec<i32> = (0..=steps).map(|t| (t + by).min(steps) as i32).collect();
            Tensor::from_data(TensorData::new(sources, [steps + 1]), device)
        };
        let reaches = std::iter::successors(Some(1), |by| Some(2 * by)).take_while(|by| *by < steps);
        Self { steps, sources: reaches.collect::<Vec<usize>>().iter().map(sources).collect() }
    }

    /// T
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    /// Solves `acc_t = d_t + a_t acc_{t+1}`, `acc_T = 0`.
    ///
    /// # Shapes
    /// - d, a: `[T, B]`
    /// - result: `[T + 1, B]`
    fn solve(&self, d: Tensor<2>, a: Tensor<2>) -> Tensor<2> {
        let [_, columns] = d.dims();
        // A row of zeros after the last step, for all that reach out of the array.
        let with_end = |array: Tensor<2>| {
            let end = Tensor::zeros([1, columns], &array.device());
            Tensor::cat(vec![array, end], 0)
        };
        let (mut d, mut a) = (with_end(d), with_end(a));
        for (index, sources) in self.sources.iter().enumerate() {
            // One kernel may not read an array both in place and at other places; the copies are made in the kernel before.
            let (d_after, a_after) = (d.clone().mul_scalar(1.0), a.clone().mul_scalar(1.0));
            join_up_to_here(&d);
            let is_last = index + 1 == self.sources.len();
            d = d + a.clone() * d_after.select(0, sources.clone());
            if !is_last {
                a = a * a_after.select(0, sources.clone());
            }
        }
        join_up_to_here(&d);
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
    let all_corrections = scan.solve(delta, discounts.clone() * c);
    let corrections = all_corrections.clone().narrow(0, 0, scan.steps());
    let next_corrections = all_corrections.narrow(0, 1, scan.steps());
    let q = rewards.clone() + discounts.clone() * (next_values.clone() + next_corrections);
    ReturnsTensors {
        vs: values.clone() + corrections,
        pg_advantages: ratios.clamp_max(clipping.pg_rho_bar) * (q - values.clone()),
    }
}

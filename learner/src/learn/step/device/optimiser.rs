//! The optimisers of [`crate::learn::optim`] on one array in device memory, and the guard that keeps numbers that are not finite
//! out of it.

use super::join_up_to_here;
use crate::learn::optim::{Divisor, OptimiserKind, OptimiserState};
use burn::tensor::{Device, Tensor};

/// What became of a step, both `[1]`.
#[derive(Debug)]
pub(super) struct Applied {
    /// Whether it was done, 1 or 0.
    pub(super) accepted: Tensor<1>,
    /// Sum of the squares of the parameters' changes.
    pub(super) change: Tensor<1>,
}

/// An optimiser with its moments, one number a parameter each.
#[derive(Debug)]
pub(super) struct DeviceOptimiser {
    kind: OptimiserKind,
    divisor: Divisor,
    /// `[P]`, running mean of squares.
    second: Tensor<1>,
    /// `[P]`, the largest that each of these has been.
    largest: Tensor<1>,
    /// `[P]`, momentum buffer or running mean.
    first: Tensor<1>,
    steps: i32,
}

impl DeviceOptimiser {
    pub(super) fn new(kind: OptimiserKind, divisor: Divisor, len: usize, device: &Device) -> Self {
        let zeros = || Tensor::zeros([len], device);
        Self { kind, divisor, second: zeros(), largest: zeros(), first: zeros(), steps: 0 }
    }

    /// One update of `parameters` against `gradient`, if `is_sound` is 1 and all new parameters are finite; else everything
    /// stays as it was.
    ///
    /// # Shapes
    /// - parameters, gradient: `[P]`
    /// - is_sound: `[1]`
    pub(super) fn step(
        &mut self,
        parameters: &mut Tensor<1>,
        gradient: Tensor<1>,
        learning_rate: f32,
        is_sound: Tensor<1>,
    ) -> Applied {
        self.steps = self.steps.saturating_add(1);
        let Updated { parameters: new, first, second, largest } =
            self.updated(parameters.clone(), gradient, learning_rate);
        // A sum of ones, not of the numbers: large ones may well add up to infinity.
        let unfit = is_finite(new.clone()).neg().add_scalar(1.0).sum();
        join_up_to_here(&unfit);
        let accepted = is_sound.mask_fill(unfit.greater_elem(0.0), 0.0);
        let keeps_old = accepted.clone().lower_elem(0.5).expand(parameters.dims());
        join_up_to_here(&accepted);
        let choose = |new: Tensor<1>, old: &Tensor<1>| new.mask_where(keeps_old.clone(), old.clone());
        let before = parameters.clone();
        *parameters = choose(new, parameters);
        self.first = choose(first, &self.first);
        self.second = choose(second, &self.second);
        self.largest = choose(largest, &self.largest);
        join_up_to_here(parameters);
        let difference = parameters.clone() - before;
        Applied { accepted, change: (difference.clone() * difference).sum() }
    }

    /// What it has gathered; `download` brings an array to the host in the layout's order.
    pub(super) fn state(&self, download: impl Fn(&Tensor<1>) -> Vec<f32>) -> OptimiserState {
        let steps = self.steps.unsigned_abs();
        let [first, second, largest] = [&self.first, &self.second, &self.largest].map(download);
        OptimiserState { first, second, largest, steps, columns: 0.0 }
    }

    /// Goes on from what another had gathered; `upload` is the inverse of the download.
    pub(super) fn restore(&mut self, state: &OptimiserState, upload: impl Fn(&[f32]) -> Tensor<1>) {
        self.steps = i32::try_from(state.steps).unwrap_or(i32::MAX);
        [self.first, self.second, self.largest] = [&state.first, &state.second, &state.largest].map(|x| upload(x));
    }

    /// The last step was not done after all.
    pub(super) fn forget_step(&mut self) {
        self.steps -= 1;
    }

    /// New parameters and moments.
    fn updated(&self, p: Tensor<1>, g: Tensor<1>, learning_rate: f32) -> Updated {
        let (m, v) = (self.first.clone(), self.second.clone());
        let largest = |v: &Tensor<1>| match self.divisor {
            Divisor::Largest => v.clone().max_pair(self.largest.clone()),
            Divisor::Present => v.clone(),
        };
        let updated = |parameters, first, second, largest| Updated { parameters, first, second, largest };
        let mean = |of: Tensor<1>, with: Tensor<1>, decay: f32| of.mul_scalar(decay) + with.mul_scalar(1.0 - decay);
        let squares = g.clone() * g.clone();
        match self.kind {
            OptimiserKind::RmsProp { decay, momentum, epsilon } => {
                let v = mean(v, squares, decay);
                let largest = largest(&v);
                let root = largest.clone().add_scalar(epsilon).sqrt();
                let m = m.mul_scalar(momentum) + g.mul_scalar(learning_rate) / root;
                updated(p - m.clone(), m, v, largest)
            }
            OptimiserKind::RmsPropTorch { decay, momentum, epsilon } => {
                let v = mean(v, squares, decay);
                let largest = largest(&v);
                let m = m.mul_scalar(momentum) + g / largest.clone().sqrt().add_scalar(epsilon);
                updated(p - m.clone().mul_scalar(learning_rate), m, v, largest)
            }
            OptimiserKind::Adam { beta1, beta2, epsilon } => {
                let m = mean(m, g, beta1);
                let v = mean(v, squares, beta2);
                let largest = largest(&v);
                let first = m.clone().div_scalar(1.0 - beta1.powi(self.steps)).mul_scalar(learning_rate);
                let second = largest.clone().div_scalar(1.0 - beta2.powi(self.steps)).sqrt().add_scalar(epsilon);
                updated(p - first / second, m, v, largest)
            }
        }
    }
}

/// What a step makes, each `[P]`.
struct Updated {
    parameters: Tensor<1>,
    first: Tensor<1>,
    second: Tensor<1>,
    largest: Tensor<1>,
}

/// 1 where a number is finite, else 0. By comparison, which is false for what is not a number: shader compilers may assume
/// that tests for infinity and NaN never succeed. Filled in by mask: a conversion from truth values is not fused.
pub(super) fn is_finite<const D: usize>(numbers: Tensor<D>) -> Tensor<D> {
    let zeros = numbers.zeros_like();
    zeros.mask_fill(numbers.abs().lower_equal_elem(f32::MAX), 1.0)
}

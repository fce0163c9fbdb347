//! Optimisers over the flat parameters.
//!
//! Written here because burn's RMSProp has its epsilon outside the root and its clipping works per tensor; the
//! hyperparameters of this system need both the other way. One pass over contiguous memory, in vectors; where parameters are
//! many, in parts on the threads of rayon's pool.

use crate::learn::flat::{LANES, PART, is_split};

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};
use serde::{Deserialize, Serialize};

/// Which update rule; each with its numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimiserKind {
    /// TensorFlow's RMSProp, the paper's: epsilon inside the root, the learning rate inside the momentum buffer.
    /// `ms = decay ms + (1 - decay) g^2; mom = momentum mom + lr g / sqrt(ms + epsilon); p -= mom`.
    /// The running square starts at 0.
    RmsProp {
        /// Of the running mean of squares.
        decay: f32,
        /// 0 for none.
        momentum: f32,
        /// Added to the mean square.
        epsilon: f32,
    },
    /// PyTorch's RMSProp: epsilon beside the root, the learning rate outside the momentum buffer.
    /// `ms = decay ms + (1 - decay) g^2; mom = momentum mom + g / (sqrt(ms) + epsilon); p -= lr mom`.
    RmsPropTorch {
        /// Of the running mean of squares.
        decay: f32,
        /// 0 for none.
        momentum: f32,
        /// Added to the root.
        epsilon: f32,
    },
    /// Adam (Kingma and Ba 2014, algorithm 1) with bias correction, epsilon beside the root.
    Adam {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root.
        epsilon: f32,
    },
}

/// Name of an update rule in flags and configuration files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum OptimiserName {
    /// RMSProp as in TensorFlow and the paper: epsilon inside the root.
    #[value(name = "rmsprop")]
    #[serde(rename = "rmsprop")]
    RmsProp,
    /// RMSProp as in PyTorch: epsilon beside the root.
    #[value(name = "rmsprop-torch")]
    #[serde(rename = "rmsprop-torch")]
    RmsPropTorch,
    /// Adam.
    Adam,
}

/// What an optimiser has gathered so far; its next steps depend on nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimiserState {
    /// `[P]`: momentum buffer or running mean.
    pub first: Vec<f32>,
    /// `[P]`: running mean of squares.
    pub second: Vec<f32>,
    /// Steps done.
    pub steps: u32,
}

/// An optimiser with its moments, one number a parameter each.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimiser {
    kind: OptimiserKind,
    /// Running mean of squares.
    second: Vec<f32>,
    /// Momentum buffer or running mean.
    first: Vec<f32>,
    steps: i32,
}

impl Optimiser {
    /// An optimiser at its start.
    pub fn new(kind: OptimiserKind, parameter_count: usize) -> Self {
        Self { kind, second: vec![0.0; parameter_count], first: vec![0.0; parameter_count], steps: 0 }
    }

    /// What it has gathered.
    pub fn state(&self) -> OptimiserState {
        let steps = self.steps.unsigned_abs();
        OptimiserState { first: self.first.clone(), second: self.second.clone(), steps }
    }

    /// Goes on from what an optimiser of the same kind had gathered.
    ///
    /// # Panics
    /// If the lengths differ from the parameter count given at the start.
    pub fn restore(&mut self, state: OptimiserState) {
        let OptimiserState { first, second, steps } = state;
        assert_eq!((first.len(), second.len()), (self.first.len(), self.second.len()));
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
        (self.first, self.second) = (first, second);
    }

    /// One update of `parameters` against `gradient`.
    ///
    /// # Panics
    /// If the lengths differ from the parameter count given at the start.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f32) {
        assert_eq!((parameters.len(), gradient.len()), (self.first.len(), self.first.len()));
        self.steps = self.steps.saturating_add(1);
        let rule = Rule { kind: self.kind, steps: self.steps, learning_rate };
        let update = |parameters: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]| {
            Arch::new().dispatch(Update { rule, parameters, gradient, first, second });
        };
        if !is_split(parameters.len()) {
            return update(parameters, gradient, &mut self.first, &mut self.second);
        }
        let parts = parameters.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
        parts
            .zip(self.first.par_chunks_mut(PART))
            .zip(self.second.par_chunks_mut(PART))
            .for_each(|(((p, g), m), v)| update(p, g, m, v));
    }
}

/// An update rule at one step.
#[derive(Clone, Copy)]
struct Rule {
    kind: OptimiserKind,
    steps: i32,
    learning_rate: f32,
}

/// One step of a part of the parameters.
struct Update<'a> {
    rule: Rule,
    parameters: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
}

impl WithSimd for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Rule { kind, steps, learning_rate } = self.rule;
        match kind {
            OptimiserKind::RmsProp { decay, momentum, epsilon } => self.each(|p, g, m, v| {
                let v = decay * v + (1.0 - decay) * g * g;
                let m = momentum * m + learning_rate * g / (v + epsilon).sqrt();
                (p - m, m, v)
            }),
            OptimiserKind::RmsPropTorch { decay, momentum, epsilon } => self.each(|p, g, m, v| {
                let v = decay * v + (1.0 - decay) * g * g;
                let m = momentum * m + g / (v.sqrt() + epsilon);
                (p - learning_rate * m, m, v)
            }),
            OptimiserKind::Adam { beta1, beta2, epsilon } => {
                let first_correction = 1.0 - beta1.powi(steps);
                let second_correction = 1.0 - beta2.powi(steps);
                self.each(|p, g, m, v| {
                    let m = beta1 * m + (1.0 - beta1) * g;
                    let v = beta2 * v + (1.0 - beta2) * g * g;
                    let step = learning_rate * (m / first_correction) / ((v / second_correction).sqrt() + epsilon);
                    (p - step, m, v)
                });
            }
        }
    }
}

impl Update<'_> {
    /// Applies the rule (parameter, gradient, both moments to parameter and both moments) to every parameter. In arrays of
    /// fixed length, of which the compiler knows that they don't overlap: so it makes vectors of them.
    #[inline(always)]
    fn each(self, rule: impl Fn(f32, f32, f32, f32) -> (f32, f32, f32)) {
        let (parameters, rest_p) = self.parameters.as_chunks_mut::<LANES>();
        let (gradient, rest_g) = self.gradient.as_chunks::<LANES>();
        let (first, rest_m) = self.first.as_chunks_mut::<LANES>();
        let (second, rest_v) = self.second.as_chunks_mut::<LANES>();
        for (((p, g), m), v) in parameters.iter_mut().zip(gradient).zip(first).zip(second) {
            let (mut new_p, mut new_m, mut new_v) = (*p, *m, *v);
            for i in 0..LANES {
                (new_p[i], new_m[i], new_v[i]) = rule(p[i], g[i], m[i], v[i]);
            }
            (*p, *m, *v) = (new_p, new_m, new_v);
        }
        for (((p, g), m), v) in rest_p.iter_mut().zip(rest_g).zip(rest_m).zip(rest_v) {
            (*p, *m, *v) = rule(*p, *g, *m, *v);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps from parameter 1 with gradients 0.5 and -0.25 at learning rate 0.1.
    fn two_steps(kind: OptimiserKind) -> [f32; 2] {
        let mut optimiser = Optimiser::new(kind, 1);
        let mut parameters = [1.0];
        optimiser.step(&mut parameters, &[0.5], 0.1);
        let first = parameters[0];
        optimiser.step(&mut parameters, &[-0.25], 0.1);
        [first, parameters[0]]
    }

    fn assert_steps(kind: OptimiserKind, expected: [f64; 2]) {
        for (actual, expected) in two_steps(kind).into_iter().zip(expected) {
            assert!((f64::from(actual) - expected).abs() < 1e-6, "{kind:?}: {actual} is not {expected}");
        }
    }

    #[test]
    fn rmsprop_has_epsilon_inside_the_root() {
        let (decay, momentum, epsilon) = (0.9, 0.5, 0.01);
        let ms1 = 0.1 * 0.25_f64;
        let mom1 = 0.1 * 0.5 / (ms1 + 0.01).sqrt();
        let ms2 = 0.9 * ms1 + 0.1 * 0.0625;
        let mom2 = 0.5 * mom1 - 0.1 * 0.25 / (ms2 + 0.01).sqrt();
        let kind = OptimiserKind::RmsProp { decay, momentum, epsilon };
        assert_steps(kind, [1.0 - mom1, 1.0 - mom1 - mom2]);
    }

    #[test]
    fn rmsprop_torch_has_epsilon_beside_the_root() {
        let (decay, momentum, epsilon) = (0.9, 0.5, 0.01);
        let ms1 = 0.1 * 0.25_f64;
        let mom1 = 0.5 / (ms1.sqrt() + 0.01);
        let ms2 = 0.9 * ms1 + 0.1 * 0.0625;
        let mom2 = 0.5 * mom1 - 0.25 / (ms2.sqrt() + 0.01);
        let kind = OptimiserKind::RmsPropTorch { decay, momentum, epsilon };
        assert_steps(kind, [1.0 - 0.1 * mom1, 1.0 - 0.1 * mom1 - 0.1 * mom2]);
    }

    #[test]
    fn adam_corrects_its_bias() {
        let kind = OptimiserKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        // The first corrected step is the sign of the gradient.
        let (m, v) = (0.9 * 0.05 - 0.1 * 0.25, 0.999 * 0.00025 + 0.001 * 0.0625);
        let second = (m / (1.0 - 0.81)) / (v / (1.0 - 0.998_001_f64)).sqrt();
        assert_steps(kind, [0.9, 0.9 - 0.1 * second]);
    }

    #[test]
    fn many_parameters_are_updated_in_parts_like_few() {
        let len = 2 * PART + 77;
        let numbers: Vec<f32> = (0..len).map(|i| ((i * 29 % 101) as f32 - 50.0) / 50.0).collect();
        let kind = OptimiserKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let run = |numbers: &[f32]| {
            let (mut optimiser, mut parameters) = (Optimiser::new(kind, numbers.len()), numbers.to_vec());
            (0..3).for_each(|_| optimiser.step(&mut parameters, numbers, 0.1));
            parameters
        };
        assert_eq!(run(&numbers), numbers.chunks(1000).flat_map(run).collect::<Vec<_>>());
    }
}

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
    /// The running square starts at 0; TensorFlow's own starts at 1, which makes its first steps small.
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

/// Which mean of squares divides a gradient. With the present one a solved task loses its policy at times: nearly all gradients
/// are tiny by then, the mean forgets the ordinary ones within some hundred updates, and the next ordinary one becomes a step
/// as large as at the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Divisor {
    /// The largest that the running mean of squares has been (AMSGrad: Reddi et al. 2018, "On the convergence of Adam and
    /// beyond", algorithm 2): no step is larger for being the first after many small ones.
    #[default]
    Largest,
    /// The running mean of squares as it is now.
    Present,
}

/// What an optimiser has gathered so far; its next steps depend on nothing else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OptimiserState {
    /// `[P]`: momentum buffer or running mean.
    pub first: Vec<f32>,
    /// `[P]`: running mean of squares.
    pub second: Vec<f32>,
    /// `[P]`: the largest that each of these has been; the same as `second` where the present one divides.
    pub largest: Vec<f32>,
    /// Steps done.
    pub steps: u32,
    /// Bound of the columns that counted in the last step; 0 where batches have one size.
    pub columns: f64,
}

/// An optimiser with its moments, one number a parameter each.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimiser {
    kind: OptimiserKind,
    divisor: Divisor,
    /// Running mean of squares.
    second: Vec<f32>,
    /// What divides.
    largest: Vec<f32>,
    /// Momentum buffer or running mean.
    first: Vec<f32>,
    steps: i32,
}

impl Optimiser {
    /// An optimiser at its start.
    pub fn new(kind: OptimiserKind, divisor: Divisor, parameter_count: usize) -> Self {
        let zeros = vec![0.0; parameter_count];
        Self { kind, divisor, second: zeros.clone(), largest: zeros.clone(), first: zeros, steps: 0 }
    }

    /// What it has gathered.
    pub fn state(&self) -> OptimiserState {
        let steps = self.steps.unsigned_abs();
        let Self { first, second, largest, .. } = self.clone();
        OptimiserState { first, second, largest, steps, columns: 0.0 }
    }

    /// Goes on from what an optimiser of the same kind had gathered.
    ///
    /// # Panics
    /// If the lengths differ from the parameter count given at the start.
    pub fn restore(&mut self, state: OptimiserState) {
        let OptimiserState { first, second, largest, steps, .. } = state;
        assert_eq!([first.len(), second.len(), largest.len()], [self.first.len(); 3]);
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
        (self.first, self.second, self.largest) = (first, second, largest);
    }

    /// One update of `parameters` against `gradient`.
    ///
    /// # Panics
    /// If the lengths differ from the parameter count given at the start.
    pub fn step(&mut self, parameters: &mut [f32], gradient: &[f32], learning_rate: f32) {
        assert_eq!((parameters.len(), gradient.len()), (self.first.len(), self.first.len()));
        self.steps = self.steps.saturating_add(1);
        let rule = Rule { kind: self.kind, divisor: self.divisor, steps: self.steps, learning_rate };
        let Self { first, second, largest, .. } = self;
        if !is_split(parameters.len()) {
            return Arch::new().dispatch(Update { rule, parameters, gradient, first, second, largest });
        }
        let parts = parameters.par_chunks_mut(PART).zip(gradient.par_chunks(PART));
        parts
            .zip(first.par_chunks_mut(PART))
            .zip(second.par_chunks_mut(PART))
            .zip(largest.par_chunks_mut(PART))
            .for_each(|((((parameters, gradient), first), second), largest)| {
                Arch::new().dispatch(Update { rule, parameters, gradient, first, second, largest });
            });
    }
}

/// An update rule at one step.
#[derive(Clone, Copy)]
struct Rule {
    kind: OptimiserKind,
    divisor: Divisor,
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
    largest: &'a mut [f32],
}

/// A parameter with its three moments.
type Moments = (f32, f32, f32, f32);

impl WithSimd for Update<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Rule { kind, divisor, steps, learning_rate } = self.rule;
        // No branch for every parameter: squares are not negative, so 0 of the largest before is below every new one.
        let kept = if divisor == Divisor::Largest { 1.0 } else { 0.0 };
        match kind {
            OptimiserKind::RmsProp { decay, momentum, epsilon } => self.each(|(p, m, v, largest), g| {
                let v = decay * v + (1.0 - decay) * g * g;
                let largest = v.max(kept * largest);
                let m = momentum * m + learning_rate * g / (largest + epsilon).sqrt();
                (p - m, m, v, largest)
            }),
            OptimiserKind::RmsPropTorch { decay, momentum, epsilon } => self.each(|(p, m, v, largest), g| {
                let v = decay * v + (1.0 - decay) * g * g;
                let largest = v.max(kept * largest);
                let m = momentum * m + g / (largest.sqrt() + epsilon);
                (p - learning_rate * m, m, v, largest)
            }),
            OptimiserKind::Adam { beta1, beta2, epsilon } => {
                let first_correction = 1.0 - beta1.powi(steps);
                let second_correction = 1.0 - beta2.powi(steps);
                self.each(|(p, m, v, largest), g| {
                    let m = beta1 * m + (1.0 - beta1) * g;
                    let v = beta2 * v + (1.0 - beta2) * g * g;
                    let largest = v.max(kept * largest);
                    let root = (largest / second_correction).sqrt();
                    (p - learning_rate * (m / first_correction) / (root + epsilon), m, v, largest)
                });
            }
        }
    }
}

impl Update<'_> {
    /// Applies the rule (of parameter and moments, and of the gradient) to every parameter. In arrays of fixed length, of which
    /// the compiler knows that they don't overlap: so it makes vectors of them.
    #[inline(always)]
    fn each(self, rule: impl Fn(Moments, f32) -> Moments) {
        let (parameters, rest_p) = self.parameters.as_chunks_mut::<LANES>();
        let (gradient, rest_g) = self.gradient.as_chunks::<LANES>();
        let (first, rest_m) = self.first.as_chunks_mut::<LANES>();
        let (second, rest_v) = self.second.as_chunks_mut::<LANES>();
        let (largest, rest_l) = self.largest.as_chunks_mut::<LANES>();
        for ((((p, g), m), v), l) in parameters.iter_mut().zip(gradient).zip(first).zip(second).zip(largest) {
            let (mut new_p, mut new_m, mut new_v, mut new_l) = (*p, *m, *v, *l);
            for i in 0..LANES {
                (new_p[i], new_m[i], new_v[i], new_l[i]) = rule((p[i], m[i], v[i], l[i]), g[i]);
            }
            (*p, *m, *v, *l) = (new_p, new_m, new_v, new_l);
        }
        for ((((p, g), m), v), l) in rest_p.iter_mut().zip(rest_g).zip(rest_m).zip(rest_v).zip(rest_l) {
            (*p, *m, *v, *l) = rule((*p, *m, *v, *l), *g);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two steps from parameter 1 with gradients 0.5 and -0.25 at learning rate 0.1.
    fn two_steps(kind: OptimiserKind) -> [f32; 2] {
        let mut optimiser = Optimiser::new(kind, Divisor::Present, 1);
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
    fn an_ordinary_gradient_after_many_tiny_ones_is_no_huge_step() {
        let kinds = [
            OptimiserKind::RmsProp { decay: 0.99, momentum: 0.0, epsilon: 1e-8 },
            OptimiserKind::RmsPropTorch { decay: 0.99, momentum: 0.0, epsilon: 1e-6 },
            OptimiserKind::Adam { beta1: 0.0, beta2: 0.99, epsilon: 1e-6 },
        ];
        for kind in kinds {
            let last_step = |divisor| {
                let (mut optimiser, mut parameters) = (Optimiser::new(kind, divisor, 1), [0.0]);
                let gradients = std::iter::repeat_n(0.1, 300).chain(std::iter::repeat_n(1e-5, 3000));
                gradients.for_each(|gradient| optimiser.step(&mut parameters, &[gradient], 0.001));
                let before = parameters[0];
                optimiser.step(&mut parameters, &[0.1], 0.001);
                (before - parameters[0]) / 0.001
            };
            // In steps of a gradient that is as large as the ones before it.
            let (present, largest) = (last_step(Divisor::Present), last_step(Divisor::Largest));
            assert!((present - 10.0).abs() < 0.1, "{kind:?}: {present}");
            assert!((largest - 1.0).abs() < 0.03, "{kind:?}: {largest}");
        }
    }

    #[test]
    fn many_parameters_are_updated_in_parts_like_few() {
        let len = 2 * PART + 77;
        let numbers: Vec<f32> = (0..len).map(|i| ((i * 29 % 101) as f32 - 50.0) / 50.0).collect();
        let kind = OptimiserKind::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
        let run = |numbers: &[f32]| {
            let (mut optimiser, mut parameters) =
                (Optimiser::new(kind, Divisor::Largest, numbers.len()), numbers.to_vec());
            (0..3).for_each(|_| optimiser.step(&mut parameters, numbers, 0.1));
            parameters
        };
        assert_eq!(run(&numbers), numbers.chunks(1000).flat_map(run).collect::<Vec<_>>());
    }
}

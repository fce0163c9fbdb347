//! The yardstick: forward and backward pass of the actor-critic network as they can be written by hand for one core, in
//! `f32`, with register-blocked matrix products and nothing else around them. What a learner's step reaches is measured
//! against it. It must agree with the network's definition; it takes no part in any training.
//!
//! Rows pass through the whole network, forth and back, in blocks that stay in the second-level cache. That is more than a
//! learner can do as tensor operations, whose every layer sees all rows before the next one begins.

mod product;

use impala_policy::activation::{Activation, tanh};
use impala_policy::network::NetworkSpec;
use product::{Init, Left, Matrix, product};
use pulp::{Arch, Simd, WithSimd};

/// Rows that pass through together. Measured: 120 to 480 differ by some percent.
const BLOCK_ROWS: usize = 240;
/// Columns are filled up with zeros to a multiple of this: one vector of AVX-512, two of AVX2.
const PANEL: usize = 16;

/// The network and the memory of its passes.
pub struct Yardstick {
    arch: Arch,
    activation: Activation,
    action_count: usize,
    /// Torso, then both heads as one layer: a column for each action, then the value.
    layers: Vec<Layer>,
}

/// `y = x W + b`. Rows of everything but the input have [`padded`] lengths.
struct Layer {
    inputs: usize,
    outputs: usize,
    /// `[inputs, padded(outputs)]`
    weight: Vec<f32>,
    /// `[outputs, padded(inputs)]`
    weight_transposed: Vec<f32>,
    /// `[padded(outputs)]`
    bias: Vec<f32>,
    /// As `weight` and `bias`.
    weight_gradient: Vec<f32>,
    bias_gradient: Vec<f32>,
    /// `[BLOCK_ROWS, padded(outputs)]`: the outputs of a block, after the activation in the torso.
    y: Vec<f32>,
    /// `[BLOCK_ROWS, padded(outputs)]`: the gradient with respect to the outputs before the activation.
    delta: Vec<f32>,
}

fn padded(columns: usize) -> usize {
    columns.next_multiple_of(PANEL)
}

impl Yardstick {
    /// A network of zeros.
    pub fn new(spec: &NetworkSpec) -> Self {
        let inputs = std::iter::once(spec.observation_len).chain(spec.hidden.iter().copied());
        let outputs = spec.hidden.iter().copied().chain([spec.head.outputs() + 1]);
        let layers = inputs.zip(outputs).map(|(inputs, outputs)| Layer::new(inputs, outputs)).collect();
        Self { arch: Arch::new(), activation: spec.activation, action_count: spec.head.outputs(), layers }
    }

    /// The gradient of `sum(outputs * output_gradients)` with respect to every parameter.
    ///
    /// # Shapes
    /// - parameters, gradient: flat, in the order of [`NetworkSpec::layout`]
    /// - observations: `[rows, O]`
    /// - output_gradients: `[rows, A + 1]`: of the logits, then of the value
    pub fn gradient(
        &mut self,
        parameters: &[f32],
        observations: &[f32],
        output_gradients: &[f32],
        gradient: &mut Vec<f32>,
    ) {
        self.load(parameters);
        let (arch, activation) = (self.arch, self.activation);
        arch.dispatch(Passes { activation, layers: &mut self.layers, observations, output_gradients });
        self.store(gradient);
    }

    fn load(&mut self, parameters: &[f32]) {
        let (actions, mut rest) = (self.action_count, parameters);
        let mut take = |len: usize| {
            let (head, tail) = rest.split_at(len);
            rest = tail;
            head
        };
        let depth = self.layers.len() - 1;
        for layer in &mut self.layers[..depth] {
            layer.set_columns(0, take(layer.inputs * layer.outputs), take(layer.outputs));
        }
        let heads = &mut self.layers[depth];
        heads.set_columns(0, take(heads.inputs * actions), take(actions));
        heads.set_columns(actions, take(heads.inputs), take(1));
        for layer in &mut self.layers {
            layer.weight_gradient.fill(0.0);
            layer.bias_gradient.fill(0.0);
        }
    }

    fn store(&self, gradient: &mut Vec<f32>) {
        gradient.clear();
        let (heads, torso) = self.layers.split_last().expect("the heads are there");
        for layer in torso {
            layer.push_columns(0..layer.outputs, gradient);
        }
        heads.push_columns(0..self.action_count, gradient);
        heads.push_columns(self.action_count..heads.outputs, gradient);
    }
}

impl Layer {
    fn new(inputs: usize, outputs: usize) -> Self {
        let zeros = |len: usize| vec![0.0; len];
        let width = padded(outputs);
        Self {
            inputs,
            outputs,
            weight: zeros(inputs * width),
            weight_transposed: zeros(outputs * padded(inputs)),
            bias: zeros(width),
            weight_gradient: zeros(inputs * width),
            bias_gradient: zeros(width),
            y: zeros(BLOCK_ROWS * width),
            delta: zeros(BLOCK_ROWS * width),
        }
    }

    /// Sets as many columns as `bias` has elements, from column `first` on.
    fn set_columns(&mut self, first: usize, weight: &[f32], bias: &[f32]) {
        let (columns, width, width_transposed) = (bias.len(), padded(self.outputs), padded(self.inputs));
        self.bias[first..first + columns].copy_from_slice(bias);
        for (input, row) in weight.chunks_exact(columns).enumerate() {
            self.weight[input * width + first..][..columns].copy_from_slice(row);
            for (column, w) in row.iter().enumerate() {
                self.weight_transposed[(first + column) * width_transposed + input] = *w;
            }
        }
    }

    fn push_columns(&self, columns: std::ops::Range<usize>, gradient: &mut Vec<f32>) {
        for row in self.weight_gradient.chunks_exact(padded(self.outputs)) {
            gradient.extend_from_slice(&row[columns.clone()]);
        }
        gradient.extend_from_slice(&self.bias_gradient[columns]);
    }
}

/// All rows, forth and back.
struct Passes<'a> {
    activation: Activation,
    layers: &'a mut [Layer],
    observations: &'a [f32],
    output_gradients: &'a [f32],
}

impl WithSimd for Passes<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { activation, layers, observations, output_gradients } = self;
        let observation_len = layers[0].inputs;
        let output_len = layers[layers.len() - 1].outputs;
        let blocks = observations.chunks(BLOCK_ROWS * observation_len);
        for (x, d) in blocks.zip(output_gradients.chunks(BLOCK_ROWS * output_len)) {
            let rows = d.len() / output_len;
            forward(simd, activation, layers, x, rows);
            let heads = layers.last_mut().expect("the heads are there");
            for (delta, d) in heads.delta.chunks_exact_mut(padded(output_len)).zip(d.chunks_exact(output_len)) {
                delta[..output_len].copy_from_slice(d);
                heads.bias_gradient.iter_mut().zip(d).for_each(|(sum, d)| *sum += d);
            }
            backward(simd, activation, layers, x, rows);
        }
    }
}

#[inline(always)]
fn forward<S: Simd>(simd: S, activation: Activation, layers: &mut [Layer], observations: &[f32], rows: usize) {
    let depth = layers.len() - 1;
    for l in 0..=depth {
        let (before, rest) = layers.split_at_mut(l);
        let Layer { inputs, outputs, weight, bias, y, .. } = &mut rest[0];
        let (x, x_stride) = before.last().map_or((observations, *inputs), |layer| (&layer.y[..], padded(*inputs)));
        let width = padded(*outputs);
        let y = &mut y[..rows * width];
        let x = Matrix { values: x, stride: x_stride };
        let w = Matrix { values: weight, stride: width };
        product(simd, [rows, width, *inputs], Left::Rows(x), w, (y, width), Init::Bias(bias));
        if l < depth {
            match activation {
                Activation::Tanh => y.iter_mut().for_each(|y| *y = tanh(*y)),
                Activation::Relu => y.iter_mut().for_each(|y| *y = y.max(0.0)),
            }
        }
    }
}

#[inline(always)]
fn backward<S: Simd>(simd: S, activation: Activation, layers: &mut [Layer], observations: &[f32], rows: usize) {
    for l in (0..layers.len()).rev() {
        let (before, rest) = layers.split_at_mut(l);
        let Layer { inputs, outputs, weight_transposed, weight_gradient, delta, .. } = &mut rest[0];
        let (inputs, outputs, width) = (*inputs, *outputs, padded(*outputs));
        let d = Matrix { values: delta, stride: width };
        let Some(below) = before.last_mut() else {
            let x = Left::Columns(Matrix { values: observations, stride: inputs });
            product(simd, [inputs, width, rows], x, d, (weight_gradient, width), Init::Sum);
            return;
        };
        let x_stride = padded(inputs);
        let x = Left::Columns(Matrix { values: &below.y, stride: x_stride });
        product(simd, [inputs, width, rows], x, d, (weight_gradient, width), Init::Sum);
        let w = Matrix { values: weight_transposed, stride: x_stride };
        let dx = &mut below.delta[..rows * x_stride];
        product(simd, [rows, x_stride, outputs], Left::Rows(d), w, (dx, x_stride), Init::Zero);
        let pairs = dx.chunks_exact_mut(x_stride).zip(below.y.chunks_exact(x_stride));
        for (dx, y) in pairs {
            for ((dx, y), sum) in dx.iter_mut().zip(y).zip(&mut below.bias_gradient) {
                *dx *= match activation {
                    Activation::Tanh => 1.0 - y * y,
                    Activation::Relu => f32::from(u8::from(*y > 0.0)),
                };
                *sum += *dx;
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! The multilayer perceptron on the CPU: forward pass and explicit backward pass over a block of rows, by the kernels of
//! [`impala_policy::linear`], which the actors use too. Bias, activation and slope are applied to sums in registers, and a
//! layer's gradient takes the place of its activations, so a row costs the memory of its activations and nothing else.

use crate::learn::network::Network;
use impala_policy::linear::gradient::LinearGradient;
use impala_policy::linear::{Finish, Layout, Linear, PANEL};
use impala_policy::network::{LOG_STD, NetworkSpec};
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// A network by its sizes, with one set of parameters.
#[derive(Debug)]
pub struct Perceptron {
    spec: NetworkSpec,
    /// The hidden layers, then both heads as one layer: `[.., H]` of the policy and the value.
    layers: Vec<Layer>,
    /// `[H]` of a Gaussian policy, else none, and where they lie in the flat parameters.
    log_stds: Vec<f32>,
    log_std_range: Range<usize>,
}

#[derive(Debug)]
struct Layer {
    forward: Linear,
    /// By the transposed weights; the first layer's input needs no gradient.
    backward: Option<Linear>,
    /// Where the columns of weight and bias lie in the flat parameters: one part for a hidden layer, two for the heads.
    parts: Vec<Part>,
}

/// Columns of a layer that lie together in the flat parameters.
#[derive(Debug)]
struct Part {
    first: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// Memory of a pass.
#[derive(Debug, Default)]
pub struct PerceptronPass {
    rows: usize,
    /// Of each hidden layer, in panels; on the way back the gradient with respect to the layer's sums.
    activations: Vec<Vec<f32>>,
    /// Outputs of the heads, later their gradient, in panels.
    heads: Vec<f32>,
    gradients: Vec<LinearGradient>,
}

impl Perceptron {
    /// A network whose parameters are all zero.
    pub fn new(spec: &NetworkSpec) -> Self {
        let (blocks, log_std_blocks): (Vec<_>, Vec<_>) = spec.layout().into_iter().partition(|b| b.name != LOG_STD);
        let log_std_range = log_std_blocks.first().map_or(0..0, |block| block.range.clone());
        let parts: Vec<_> = blocks.chunks_exact(2).map(|pair| (pair[0].range.clone(), pair[1].range.clone())).collect();
        let part = |index: usize, first: usize| {
            let (weight, bias) = parts[index].clone();
            Part { first, weight, bias }
        };
        let mut layers = Vec::with_capacity(spec.hidden.len() + 1);
        let mut inputs = spec.observation_len;
        let mut push = |outputs: usize, parts: Vec<Part>| {
            let backward = (!layers.is_empty()).then(|| Linear::new(outputs, inputs));
            layers.push(Layer { forward: Linear::new(inputs, outputs), backward, parts });
            inputs = outputs;
        };
        for (index, outputs) in spec.hidden.iter().enumerate() {
            push(*outputs, vec![part(index, 0)]);
        }
        let (heads, outputs) = (spec.hidden.len(), spec.head.outputs());
        push(outputs + 1, vec![part(heads, 0), part(heads + 1, outputs)]);
        Self { spec: spec.clone(), layers, log_stds: vec![0.0; log_std_range.len()], log_std_range }
    }

    /// Both heads.
    fn heads(&self) -> &Layer {
        &self.layers[self.spec.hidden.len()]
    }
}

impl Network for Perceptron {
    type Pass = PerceptronPass;

    fn load(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.spec.parameter_count(), "parameters of another network");
        self.log_stds.copy_from_slice(&parameters[self.log_std_range.clone()]);
        for layer in &mut self.layers {
            for part in &layer.parts {
                let (weight, bias) = (&parameters[part.weight.clone()], &parameters[part.bias.clone()]);
                layer.forward.set_columns(part.first, weight, bias);
                if let Some(backward) = &mut layer.backward {
                    backward.set_transposed(part.first, weight);
                }
            }
        }
    }

    fn numbers_per_row(&self) -> usize {
        let outputs = self.spec.head.parameters() + 1;
        let layers: usize = self.layers.iter().map(|layer| layer.forward.stride()).sum();
        self.spec.observation_len + layers + 2 * outputs
    }

    fn forward(&self, observations: &[f32], pass: &mut Self::Pass, outputs: &mut Vec<f32>) {
        let rows = observations.len() / self.spec.observation_len;
        pass.make_room(self, rows);
        Arch::new().dispatch(Forward { network: self, observations, pass });
        outputs.clear();
        let value = self.spec.head.outputs();
        let add = |column: usize, outputs: &mut Vec<f32>| {
            let panel = &pass.heads[column / PANEL * rows * PANEL..][..rows * PANEL];
            outputs.extend(panel.chunks_exact(PANEL).map(|row| row[column % PANEL]));
        };
        (0..value).for_each(|column| add(column, outputs));
        // The same standard deviations in every row: columns like any other to whoever reads them.
        self.log_stds.iter().for_each(|log_std| outputs.resize(outputs.len() + rows, *log_std));
        add(value, outputs);
    }

    fn backward(&self, observations: &[f32], pass: &mut Self::Pass, output_gradient: &[f32], gradient: &mut [f32]) {
        let head = &self.spec.head;
        let frames = output_gradient.len() / (head.parameters() + 1);
        assert!(frames <= pass.rows, "a gradient for {frames} of {} rows", pass.rows);
        let (log_stds, value) = (head.outputs()..head.parameters(), head.parameters());
        let columns = || output_gradient.chunks_exact(frames).enumerate();
        for (into, (_, numbers)) in
            gradient[self.log_std_range.clone()].iter_mut().zip(columns().filter(|(i, _)| log_stds.contains(i)))
        {
            *into = numbers.iter().sum();
        }
        for (column, numbers) in columns().filter(|(i, _)| !log_stds.contains(i)) {
            let column = if column == value { head.outputs() } else { column };
            let panel = &mut pass.heads[column / PANEL * pass.rows * PANEL..][..frames * PANEL];
            panel.chunks_exact_mut(PANEL).zip(numbers).for_each(|(row, number)| row[column % PANEL] = *number);
        }
        Arch::new().dispatch(Backward { network: self, observations, frames, pass });
        for (layer, sums) in self.layers.iter().zip(&pass.gradients) {
            for part in &layer.parts {
                let (weights, biases) = gradient.split_at_mut(part.bias.start);
                sums.columns(part.first, &mut weights[part.weight.clone()], &mut biases[..part.bias.len()]);
            }
        }
    }
}

impl PerceptronPass {
    fn make_room(&mut self, network: &Perceptron, rows: usize) {
        let layers = &network.layers;
        if self.gradients.is_empty() {
            let zeros = |layer: &Layer| LinearGradient::new(layer.forward.inputs(), layer.forward.outputs());
            self.gradients = layers.iter().map(zeros).collect();
            self.activations = network.spec.hidden.iter().map(|_| Vec::new()).collect();
        }
        self.rows = rows;
        for (activations, layer) in self.activations.iter_mut().zip(layers) {
            activations.resize(rows * layer.forward.stride(), 0.0);
        }
        self.heads.resize(rows * network.heads().forward.stride(), 0.0);
    }
}

struct Forward<'a> {
    network: &'a Perceptron,
    observations: &'a [f32],
    pass: &'a mut PerceptronPass,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Perceptron { spec, layers, .. } = self.network;
        let PerceptronPass { rows, activations, heads, .. } = self.pass;
        let layout = Layout::panels(*rows);
        let mut x = (self.observations, Layout::rows(spec.observation_len));
        for (layer, y) in layers.iter().zip(activations.iter_mut()) {
            layer.forward.forward(simd, *rows, x, (&mut *y, layout), Finish::Activate(spec.activation));
            x = (y, layout);
        }
        self.network.heads().forward.forward(simd, *rows, x, (heads, layout), Finish::Keep);
    }
}

struct Backward<'a> {
    network: &'a Perceptron,
    observations: &'a [f32],
    frames: usize,
    pass: &'a mut PerceptronPass,
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Perceptron { spec, layers, .. } = self.network;
        let PerceptronPass { rows, activations, heads, gradients } = self.pass;
        let layout = Layout::panels(*rows);
        for (index, (layer, gradient)) in layers.iter().zip(gradients).enumerate().rev() {
            let (below, above) = activations.split_at_mut(index);
            let dy = (&**above.first().unwrap_or(heads), layout);
            let x = match below.last() {
                Some(x) => (&x[..], layout),
                None => (self.observations, Layout::rows(spec.observation_len)),
            };
            gradient.clear();
            gradient.add(simd, self.frames, x, dy);
            if let (Some(backward), Some(x)) = (&layer.backward, below.last_mut()) {
                backward.forward(simd, self.frames, dy, (x, layout), Finish::Slope(spec.activation));
            }
        }
    }
}

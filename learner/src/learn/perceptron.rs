//! The network on the CPU: forward pass and explicit backward pass over a block of rows.
//!
//! Matrix products are burn's; biases, activations and their slopes are applied in place between them, in vectorised
//! loops over the products' own memory. Nothing is recorded and next to nothing copied, on which the automatic
//! differentiation of so small a network spends as much time as on its products. Rows do not depend on one another:
//! blocks of a batch may be passed through in any order and at the same time.

use crate::learn::compute::ComputeDevice;
use crate::learn::model::floats;
use burn::tensor::{Tensor, TensorData};
use impala_policy::activation::Activation;
use impala_policy::network::NetworkSpec;
use pulp::{Arch, Simd, WithSimd};
use std::ops::Range;

/// One set of parameters, ready for passes.
#[derive(Debug)]
pub struct Perceptron {
    activation: Activation,
    /// The hidden layers, then both heads as one layer: `[.., A]` logits and the value.
    layers: Vec<Dense>,
}

/// `y = x W + b`
#[derive(Debug)]
struct Dense {
    /// `[inputs, outputs]`
    weight: Tensor<2>,
    /// `[outputs]`
    bias: Vec<f32>,
    /// Where the columns of weight and bias lie in the flat parameters: one part for a hidden layer, two for the heads.
    parts: Vec<Part>,
}

/// Columns of a layer that lie together in the flat parameters.
#[derive(Clone, Debug)]
struct Part {
    columns: Range<usize>,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// What a forward pass leaves for the backward pass.
#[derive(Debug)]
pub struct Pass {
    /// The input of every layer, `[rows, inputs]`.
    inputs: Vec<Tensor<2>>,
    /// `[rows, A + 1]`: logits, then the value.
    outputs: TensorData,
}

impl Perceptron {
    /// Takes the flat parameters of a network.
    ///
    /// # Panics
    /// If `parameters` are not as many as `spec` says: both belong to one run.
    pub fn load(spec: &NetworkSpec, parameters: &[f32], device: &ComputeDevice) -> Self {
        assert_eq!(parameters.len(), spec.parameter_count());
        let mut inputs = spec.observation_len;
        let mut start = 0;
        let mut part = |inputs: usize, columns: Range<usize>| {
            let weight = start..start + inputs * columns.len();
            let bias = weight.end..weight.end + columns.len();
            start = bias.end;
            Part { columns, weight, bias }
        };
        let mut layers = Vec::with_capacity(spec.hidden.len() + 1);
        for outputs in &spec.hidden {
            layers.push(Dense::load(vec![part(inputs, 0..*outputs)], inputs, parameters, device));
            inputs = *outputs;
        }
        let actions = spec.action_count;
        let heads = vec![part(inputs, 0..actions), part(inputs, actions..actions + 1)];
        layers.push(Dense::load(heads, inputs, parameters, device));
        Self { activation: spec.activation, layers }
    }

    /// Outputs of a block of rows.
    ///
    /// # Shapes
    /// - observations: `[rows, O]`
    pub fn forward(&self, observations: &[f32], device: &ComputeDevice) -> Pass {
        let rows = observations.len() / self.layers[0].weight.dims()[0];
        let mut inputs = Vec::with_capacity(self.layers.len());
        let mut x = tensor(observations.to_vec(), rows, device);
        for (index, layer) in self.layers.iter().enumerate() {
            let mut z = x.clone().matmul(layer.weight.clone()).into_data();
            inputs.push(x);
            let is_hidden = index + 1 < self.layers.len();
            layer.finish(floats_mut(&mut z), is_hidden.then_some(self.activation));
            if !is_hidden {
                return Pass { inputs, outputs: z };
            }
            x = Tensor::from_data(z, device.plain());
        }
        unreachable!("the heads are the last layer")
    }

    /// Carries the outputs' gradient back to the parameters.
    ///
    /// # Shapes
    /// - output_gradient: `[rows, A + 1]`
    /// - gradient: flat, overwritten
    pub fn backward(&self, pass: Pass, output_gradient: Vec<f32>, gradient: &mut [f32], device: &ComputeDevice) {
        let mut inputs = pass.inputs;
        let rows = inputs[0].dims()[0];
        let mut dz = TensorData::new(output_gradient, [rows, self.outputs_len()]);
        for (index, layer) in self.layers.iter().enumerate().rev() {
            let x = inputs.pop().expect("a forward pass leaves the input of every layer");
            layer.bias_gradient(floats(&dz), gradient);
            let dz_tensor = Tensor::from_data(dz, device.plain());
            let weight = x.clone().transpose().matmul(dz_tensor.clone()).into_data();
            layer.weight_gradient(floats(&weight), gradient);
            if index == 0 {
                return;
            }
            dz = dz_tensor.matmul(layer.weight.clone().transpose()).into_data();
            let (outputs, gradient) = (x.into_data(), floats_mut(&mut dz));
            Arch::new().dispatch(Slope { activation: self.activation, outputs: floats(&outputs), gradient });
        }
    }

    /// `A + 1`
    fn outputs_len(&self) -> usize {
        self.layers.last().map_or(0, |heads| heads.bias.len())
    }
}

impl Pass {
    /// `[rows, A + 1]`: logits, then the value.
    pub fn outputs(&self) -> &[f32] {
        floats(&self.outputs)
    }
}

impl Dense {
    fn load(parts: Vec<Part>, inputs: usize, parameters: &[f32], device: &ComputeDevice) -> Self {
        let bias = parts.iter().flat_map(|part| &parameters[part.bias.clone()]).copied().collect();
        let weight = match &parts[..] {
            [only] => parameters[only.weight.clone()].to_vec(),
            _ => {
                let row = |input: usize| {
                    let cells = move |part: &Part| {
                        let width = part.columns.len();
                        part.weight.start + input * width..part.weight.start + (input + 1) * width
                    };
                    parts.iter().flat_map(move |part| &parameters[cells(part)])
                };
                (0..inputs).flat_map(row).copied().collect()
            }
        };
        Self { weight: tensor(weight, inputs, device), bias, parts }
    }

    /// Bias and, for a hidden layer, activation.
    fn finish(&self, z: &mut [f32], activation: Option<Activation>) {
        Arch::new().dispatch(Finish { z, bias: &self.bias, activation });
    }

    fn bias_gradient(&self, dz: &[f32], gradient: &mut [f32]) {
        let mut sums = vec![0.0_f32; self.bias.len()];
        Arch::new().dispatch(ColumnSums { rows: dz, sums: &mut sums });
        for part in &self.parts {
            gradient[part.bias.clone()].copy_from_slice(&sums[part.columns.clone()]);
        }
    }

    /// Sorts `[inputs, outputs]` into the flat gradient.
    fn weight_gradient(&self, weight: &[f32], gradient: &mut [f32]) {
        for part in &self.parts {
            let rows = gradient[part.weight.clone()].chunks_exact_mut(part.columns.len());
            for (into, from) in rows.zip(weight.chunks_exact(self.bias.len())) {
                into.copy_from_slice(&from[part.columns.clone()]);
            }
        }
    }
}

/// Adds the bias to every row and applies the activation, if there is one.
struct Finish<'a> {
    z: &'a mut [f32],
    bias: &'a [f32],
    activation: Option<Activation>,
}

impl WithSimd for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.z.chunks_exact_mut(self.bias.len()) {
            for (z, bias) in row.iter_mut().zip(self.bias) {
                *z += bias;
            }
            if let Some(activation) = self.activation {
                activation.apply(row);
            }
        }
    }
}

/// Adds every row to the sums.
struct ColumnSums<'a> {
    rows: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for ColumnSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for row in self.rows.chunks_exact(self.sums.len()) {
            for (sum, number) in self.sums.iter_mut().zip(row) {
                *sum += number;
            }
        }
    }
}

/// Multiplies the gradient of a layer's outputs by the activation's slope there, which both activations tell from their
/// own value.
struct Slope<'a> {
    activation: Activation,
    outputs: &'a [f32],
    gradient: &'a mut [f32],
}

impl WithSimd for Slope<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let pairs = self.gradient.iter_mut().zip(self.outputs);
        match self.activation {
            Activation::Tanh => pairs.for_each(|(g, y)| *g *= 1.0 - y * y),
            Activation::Relu => pairs.for_each(|(g, y)| *g = if *y > 0.0 { *g } else { 0.0 }),
        }
    }
}

/// Host memory as a tensor, without a copy.
fn tensor(values: Vec<f32>, rows: usize, device: &ComputeDevice) -> Tensor<2> {
    let columns = values.len() / rows;
    Tensor::from_data(TensorData::new(values, [rows, columns]), device.plain())
}

/// The numbers of tensor data, to be changed in place.
fn floats_mut(data: &mut TensorData) -> &mut [f32] {
    data.as_mut_slice().expect("the model works in f32")
}

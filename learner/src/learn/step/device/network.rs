//! The network on the device: parameters in one array, forward pass and explicit backward pass over the whole batch.
//!
//! Both heads are one layer, so the order on the device is not the layout's; it is restored when parameters are read back.
//! The backward pass is written out instead of recorded: a layer then takes one product for the weights, one for the input
//! and one sum for the bias, whose pieces land in one array for clipping and optimiser.

use super::upload::ROWS_MULTIPLE;
use crate::learn::model::floats;
use burn::tensor::{Device, Tensor, TensorData};
use impala_policy::activation::Activation;
use impala_policy::network::NetworkSpec;
use std::ops::Range;

/// The array's length is a multiple of this many numbers, so that its last layers can be viewed without a copy too.
const LEN_MULTIPLE: usize = 64;
/// Fewest rows of one part of a split sum over rows.
const SPLIT_ROWS_MIN: usize = 512;
/// Numbers in all parts of a split gradient: 16 MiB. Larger networks have products large enough to fill a device.
const SPLIT_NUMBERS_MAX: usize = 1 << 22;

/// Sizes and order; the numbers are kept outside.
#[derive(Debug)]
pub(super) struct DeviceNetwork {
    activation: Activation,
    observation_len: usize,
    action_count: usize,
    /// The hidden layers, then the heads.
    shapes: Vec<LayerShape>,
    /// For each number in device order its place in the layout; what fills up the array has none.
    places: Vec<usize>,
    len: usize,
}

/// A layer's place in the array.
#[derive(Debug)]
struct LayerShape {
    inputs: usize,
    outputs: usize,
    weight: Range<usize>,
    bias: Range<usize>,
}

/// A layer's parameters.
#[derive(Debug)]
pub(super) struct Layer {
    /// `[inputs, outputs]`
    weight: Tensor<2>,
    /// `[1, outputs]`
    bias: Tensor<2>,
}

/// What a forward pass leaves.
#[derive(Debug)]
pub(super) struct Pass {
    /// The input of every layer, `[rows, inputs]`.
    inputs: Vec<Tensor<2>>,
    /// `[rows, A + 1]`: logits, then the value.
    pub(super) outputs: Tensor<2>,
}

impl DeviceNetwork {
    pub(super) fn new(spec: &NetworkSpec) -> Self {
        let layout = spec.layout();
        let mut shapes = Vec::with_capacity(spec.hidden.len() + 1);
        let mut places = Vec::with_capacity(spec.parameter_count());
        let mut push = |inputs: usize, outputs: usize, cells: &mut dyn Iterator<Item = usize>| {
            let weight = places.len()..places.len() + inputs * outputs;
            let bias = weight.end..weight.end + outputs;
            places.extend(cells);
            assert_eq!(places.len(), bias.end);
            shapes.push(LayerShape { inputs, outputs, weight, bias });
        };
        let mut inputs = spec.observation_len;
        for (outputs, pair) in spec.hidden.iter().zip(layout.chunks_exact(2)) {
            push(inputs, *outputs, &mut pair[0].range.clone().chain(pair[1].range.clone()));
            inputs = *outputs;
        }
        let [policy_weight, policy_bias, value_weight, value_bias] = &layout[2 * spec.hidden.len()..] else {
            unreachable!("the layout ends with the two heads")
        };
        let actions = spec.head.as_single().expect("`LearnerStep::device_computes` was asked");
        let row = |input: usize| {
            let policy = policy_weight.range.start + input * actions;
            (policy..policy + actions).chain([value_weight.range.start + input])
        };
        let biases = policy_bias.range.clone().chain(value_bias.range.clone());
        push(inputs, actions + 1, &mut (0..inputs).flat_map(row).chain(biases));
        let len = places.len().next_multiple_of(LEN_MULTIPLE);
        Self {
            activation: spec.activation,
            observation_len: spec.observation_len,
            action_count: actions,
            shapes,
            places,
            len,
        }
    }

    /// Numbers in the array.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// O
    pub(super) fn observation_len(&self) -> usize {
        self.observation_len
    }

    /// A
    pub(super) fn action_count(&self) -> usize {
        self.action_count
    }

    /// The array for flat parameters.
    ///
    /// # Panics
    /// If `parameters` are not as many as the network has: both belong to one run.
    pub(super) fn upload(&self, parameters: &[f32], device: &Device) -> Tensor<1> {
        assert_eq!(parameters.len(), self.places.len());
        let mut array: Vec<f32> = self.places.iter().map(|place| parameters[*place]).collect();
        array.resize(self.len, 0.0);
        Tensor::from_data(TensorData::new(array, [self.len]), device)
    }

    /// Flat parameters, or a flat gradient, from an array. Waits for the device.
    pub(super) fn download(&self, array: &Tensor<1>) -> Vec<f32> {
        let data = array.to_data();
        let mut flat = vec![0.0; self.places.len()];
        self.places.iter().zip(floats(&data)).for_each(|(place, number)| flat[*place] = *number);
        flat
    }

    /// Cuts the array up.
    pub(super) fn layers(&self, parameters: &Tensor<1>) -> Vec<Layer> {
        let cut = |range: &Range<usize>, rows: usize| {
            parameters.clone().slice([range.clone()]).reshape([rows, range.len() / rows])
        };
        let layer = |shape: &LayerShape| Layer { weight: cut(&shape.weight, shape.inputs), bias: cut(&shape.bias, 1) };
        self.shapes.iter().map(layer).collect()
    }

    /// Outputs of all rows.
    ///
    /// # Shapes
    /// - observations: `[rows, O]`
    pub(super) fn forward(&self, layers: &[Layer], observations: Tensor<2>) -> Pass {
        let (heads, hidden) = layers.split_last().expect("the heads are the last layer");
        let mut inputs = vec![observations];
        for layer in hidden {
            let x = inputs.last().expect("it begins with the observations").clone();
            let z = x.matmul(layer.weight.clone()) + layer.bias.clone();
            inputs.push(match self.activation {
                Activation::Tanh => z.tanh(),
                Activation::Relu => z.clamp_min(0.0),
            });
        }
        let x = inputs.last().expect("it begins with the observations").clone();
        Pass { inputs, outputs: x.matmul(heads.weight.clone()) + heads.bias.clone() }
    }

    /// Carries the outputs' gradient back to an array of the parameters' order.
    ///
    /// # Shapes
    /// - output_gradient: `[rows, A + 1]`
    /// - result: `[P]`
    pub(super) fn backward(
        &self,
        layers: &[Layer],
        pass: Pass,
        output_gradient: Tensor<2>,
        device: &Device,
    ) -> Tensor<1> {
        let [rows, _] = output_gradient.dims();
        let parts = self.parts(rows);
        let mut dz = output_gradient;
        // From the last piece to the first.
        let mut pieces = vec![Tensor::<2>::zeros([parts, self.len - self.places.len()], device)];
        for (index, (layer, x)) in layers.iter().zip(pass.inputs).enumerate().rev() {
            let LayerShape { inputs, outputs, .. } = self.shapes[index];
            let split_x = x.clone().reshape([parts, rows / parts, inputs]);
            let split_dz = dz.clone().reshape([parts, rows / parts, outputs]);
            pieces.push(split_dz.clone().sum_dim(1).reshape([parts, outputs]));
            pieces.push(split_x.swap_dims(1, 2).matmul(split_dz).reshape([parts, inputs * outputs]));
            if index > 0 {
                let dx = dz.matmul(layer.weight.clone().transpose());
                // Both activations tell their slope from their own value.
                dz = match self.activation {
                    Activation::Tanh => dx * (x.clone() * x).neg().add_scalar(1.0),
                    Activation::Relu => dx.mask_fill(x.lower_equal_elem(0.0), 0.0),
                };
            }
        }
        pieces.retain(|piece| piece.dims()[1] > 0);
        pieces.reverse();
        let gradient = Tensor::cat(pieces, 1);
        let gradient = if parts > 1 { gradient.sum_dim(0) } else { gradient };
        gradient.reshape([self.len])
    }

    /// Into how many parts the sum over the rows is split. The gradient of a narrow layer is a small matrix, each of whose
    /// numbers is a sum over all rows: as one product it would keep only a few of a device's processors busy.
    fn parts(&self, rows: usize) -> usize {
        let parts = (rows / SPLIT_ROWS_MIN).min(SPLIT_NUMBERS_MAX / self.len).clamp(1, ROWS_MULTIPLE);
        // The largest power of two, which divides the rows.
        1 << parts.ilog2()
    }
}

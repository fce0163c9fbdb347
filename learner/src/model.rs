//! The actor-critic network as a burn module, and the way between its tensors and the flat parameters.

use crate::device::ComputeDevice;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Gradients, Tensor, TensorData, activation};
use impala_common::activation::{Activation, tanh};
use impala_common::network::NetworkSpec;

/// Multilayer perceptron with a policy head and a value head; see [`NetworkSpec`] for the layout of its parameters.
#[derive(Module, Debug)]
pub struct ActorCritic {
    torso: Vec<Linear>,
    policy: Linear,
    value: Linear,
    #[module(skip)]
    activation: DeviceActivation,
}

/// The activation in the form that is fast on the device.
#[derive(Clone, Copy, Debug)]
enum DeviceActivation {
    /// The backend's own operations.
    Native(Activation),
    /// Hyperbolic tangent by our own vectorised function in host memory: the CPU backend's is scalar libm, 36 ns an
    /// element against about 1 ns, and would be 60 % of a step.
    HostTanh,
}

/// Outputs of one forward pass.
#[derive(Debug)]
pub struct Outputs {
    /// `[rows, A]`
    pub logits: Tensor<2>,
    /// `[rows, 1]`
    pub values: Tensor<2>,
}

impl ActorCritic {
    /// Loads flat parameters onto the device, ready for [`ActorCritic::forward`] and a backward pass.
    ///
    /// # Panics
    /// If `parameters` are not as many as `spec` says: both belong to one run.
    pub fn load(spec: &NetworkSpec, parameters: &[f32], device: &ComputeDevice) -> Self {
        assert_eq!(parameters.len(), spec.parameter_count());
        let layout = spec.layout();
        let mut layers = layout.chunks_exact(2).map(|pair| {
            let [inputs, outputs] = pair[0].shape[..] else { unreachable!("a weight has two dimensions") };
            let weight = leaf(&parameters[pair[0].range.clone()], [inputs, outputs], device.tensors());
            let bias = leaf(&parameters[pair[1].range.clone()], [outputs], device.tensors());
            Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
        });
        let torso = layers.by_ref().take(spec.hidden.len()).collect();
        let mut head = || layers.next().expect("the layout ends with the two heads");
        Self { torso, policy: head(), value: head(), activation: DeviceActivation::on(device, spec.activation) }
    }

    /// Logits and values of a batch.
    ///
    /// # Shapes
    /// - observations: `[rows, O]`
    /// - output: logits `[rows, A]`, values `[rows, 1]`
    pub fn forward(&self, observations: Tensor<2>) -> Outputs {
        let torso = self.torso.iter().fold(observations, |x, layer| self.activation.apply(layer.forward(x)));
        Outputs { logits: self.policy.forward(torso.clone()), values: self.value.forward(torso) }
    }

    /// The gradient of every parameter, flat, in the layout's order.
    pub fn flat_gradient(&self, gradients: &mut Gradients, into: &mut Vec<f32>) {
        into.clear();
        for layer in self.torso.iter().chain([&self.policy, &self.value]) {
            let weight = layer.weight.val().grad_remove(gradients).map(Tensor::into_data);
            let bias = layer.bias.as_ref().and_then(|bias| bias.val().grad_remove(gradients)).map(Tensor::into_data);
            for gradient in [weight, bias] {
                let data = gradient.expect("every parameter takes part in the outputs");
                into.extend_from_slice(floats(&data));
            }
        }
    }
}

impl DeviceActivation {
    fn on(device: &ComputeDevice, activation: Activation) -> Self {
        match activation {
            Activation::Tanh if device.is_cpu() => Self::HostTanh,
            other => Self::Native(other),
        }
    }

    fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Native(Activation::Tanh) => activation::tanh(x),
            Self::Native(Activation::Relu) => activation::relu(x),
            Self::HostTanh => host_tanh(x),
        }
    }
}

/// Hyperbolic tangent with its exact derivative, computed in host memory.
///
/// The result `y + (x - x) (1 - y^2)`, whose second `x` is a constant, has the value `y = tanh(x)` and, for the
/// differentiation, the slope `1 - y^2`.
fn host_tanh(x: Tensor<2>) -> Tensor<2> {
    let device = x.device();
    let constant = x.clone().inner();
    let mut y = constant.clone().into_data();
    let shape = y.shape().clone();
    let mut slope = vec![0.0; y.num_elements()];
    let values = y.as_mut_slice::<f32>().expect("the model works in f32");
    pulp::Arch::new().dispatch(|| {
        for (y, slope) in values.iter_mut().zip(&mut slope) {
            *y = tanh(*y);
            *slope = 1.0 - *y * *y;
        }
    });
    let y = Tensor::<2>::from_data(y, &device);
    let slope = Tensor::<2>::from_data(TensorData::new(slope, shape), &device);
    y + (x - constant.autodiff()) * slope
}

fn leaf<const D: usize>(values: &[f32], shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), device).require_grad()
}

/// The numbers of tensor data.
///
/// # Panics
/// If they are not `f32`: no tensor of this crate has another type.
pub fn floats(data: &TensorData) -> &[f32] {
    data.as_slice().expect("the model works in f32")
}

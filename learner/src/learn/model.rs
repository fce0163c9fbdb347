//! The actor-critic network as a burn module: the plain definition that the fast passes of `perceptron` and `step` and the
//! actor's policy are tested against, by way of `step/general`. No run computes with it.

use crate::learn::compute::ComputeDevice;
use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData, activation};
use impala_policy::activation::Activation;
use impala_policy::network::{LOG_STD, NetworkSpec};

/// Multilayer perceptron with a policy head and a value head; see [`NetworkSpec`] for the layout of its parameters.
#[derive(Module, Debug)]
pub struct ActorCritic {
    torso: Vec<Linear>,
    policy: Linear,
    /// `[1, H]` of a Gaussian policy.
    log_std: Option<Param<Tensor<2>>>,
    value: Linear,
    #[module(skip)]
    activation: Activation,
}

/// Outputs of one forward pass.
#[derive(Debug)]
pub struct Outputs {
    /// `[rows, P]`: what makes the policy's distribution.
    pub policy: Tensor<2>,
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
        let (layout, log_stds): (Vec<_>, Vec<_>) = spec.layout().into_iter().partition(|block| block.name != LOG_STD);
        let log_std = log_stds.first().map(|block| {
            let numbers = &parameters[block.range.clone()];
            Param::from_tensor(leaf(numbers, [1, numbers.len()], device.tensors()))
        });
        let mut layers = layout.chunks_exact(2).map(|pair| {
            let [inputs, outputs] = pair[0].shape[..] else { unreachable!("a weight has two dimensions") };
            let weight = leaf(&parameters[pair[0].range.clone()], [inputs, outputs], device.tensors());
            let bias = leaf(&parameters[pair[1].range.clone()], [outputs], device.tensors());
            Linear { weight: Param::from_tensor(weight), bias: Some(Param::from_tensor(bias)) }
        });
        let torso = layers.by_ref().take(spec.hidden.len()).collect();
        let mut head = || layers.next().expect("the layout ends with the two heads");
        Self { torso, policy: head(), log_std, value: head(), activation: spec.activation }
    }

    /// Outputs for a batch.
    ///
    /// # Shapes
    /// - observations: `[rows, O]`
    /// - output: policy `[rows, P]`, values `[rows, 1]`
    pub fn forward(&self, observations: Tensor<2>) -> Outputs {
        let activate = |x| match self.activation {
            Activation::Tanh => activation::tanh(x),
            Activation::Relu => activation::relu(x),
        };
        let torso = self.torso.iter().fold(observations, |x, layer| activate(layer.forward(x)));
        let mut policy = self.policy.forward(torso.clone());
        if let Some(log_std) = &self.log_std {
            let [rows, outputs] = policy.dims();
            policy = Tensor::cat(vec![policy, log_std.val().expand([rows, outputs])], 1);
        }
        Outputs { policy, values: self.value.forward(torso) }
    }
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

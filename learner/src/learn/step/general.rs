//! Any burn module as a network of the step, by automatic differentiation: the oracle of the passes that are written by
//! hand, and how a kind of network begins before it has one.
//!
//! Parameters are taken and gradients given in the order in which the module names its tensors, so a module's fields stand in
//! the layout's order.

use crate::learn::compute::ComputeDevice;
use crate::learn::model::{ActorCritic, floats};
use crate::learn::network::Network;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use impala_policy::network::NetworkSpec;

/// A module and what it computes.
#[derive(Debug)]
pub(super) struct General<M> {
    module: M,
    /// Observations `[rows, O]` to outputs `[rows, P + 1]`.
    forward: fn(&M, Tensor<2>) -> Tensor<2>,
    device: ComputeDevice,
    /// O
    observation_len: usize,
    numbers_per_row: usize,
}

/// The outputs with what was recorded on the way to them, `[rows, P + 1]`.
#[derive(Debug, Default)]
pub(super) struct GeneralPass {
    outputs: Option<Tensor<2>>,
}

impl General<ActorCritic> {
    /// The perceptron with two heads.
    pub(super) fn actor_critic(spec: &NetworkSpec) -> Self {
        let device = ComputeDevice::cpu();
        let module = ActorCritic::load(spec, &vec![0.0; spec.parameter_count()], &device);
        let forward = |module: &ActorCritic, observations| {
            let outputs = module.forward(observations);
            Tensor::cat(vec![outputs.policy, outputs.values], 1)
        };
        let numbers_per_row = spec.observation_len + spec.hidden.iter().sum::<usize>() + spec.head.parameters() + 1;
        Self { module, forward, device, observation_len: spec.observation_len, numbers_per_row }
    }
}

impl<M: Module + Sync> Network for General<M> {
    type Pass = GeneralPass;

    fn load(&mut self, parameters: &[f32]) {
        let mut setter = Setter { rest: parameters, device: self.device.tensors() };
        self.module = self.module.clone().map(&mut setter);
        assert!(setter.rest.is_empty(), "{} parameters more than the module has", setter.rest.len());
    }

    fn numbers_per_row(&self) -> usize {
        self.numbers_per_row
    }

    fn forward(&self, observations: &[f32], pass: &mut GeneralPass, outputs: &mut Vec<f32>) {
        let rows = observations.len() / self.observation_len;
        let data = TensorData::new(observations.to_vec(), [rows, self.observation_len]);
        let result = (self.forward)(&self.module, Tensor::from_data(data, self.device.tensors()));
        let by_column = result.clone().inner().transpose().into_data();
        outputs.clear();
        outputs.extend_from_slice(floats(&by_column));
        pass.outputs = Some(result);
    }

    fn backward(&self, _: &[f32], pass: &mut GeneralPass, output_gradient: &[f32], gradient: &mut [f32]) {
        let outputs = pass.outputs.take().expect("a forward pass comes before each backward pass");
        let [rows, width] = outputs.dims();
        let frames = output_gradient.len() / width;
        let mut by_column = vec![0.0; rows * width];
        for (into, from) in by_column.chunks_exact_mut(rows).zip(output_gradient.chunks_exact(frames)) {
            into[..frames].copy_from_slice(from);
        }
        let weights = Tensor::<2>::from_data(TensorData::new(by_column, [width, rows]), self.device.tensors());
        let mut gradients = (outputs * weights.transpose()).sum().backward();
        let mut reader = Reader { gradients: &mut gradients, rest: gradient };
        self.module.visit(&mut reader);
        assert!(reader.rest.is_empty(), "{} parameters more than the module has", reader.rest.len());
    }
}

/// Gives every tensor its part of the flat parameters.
struct Setter<'a> {
    rest: &'a [f32],
    device: &'a Device,
}

impl ModuleMapper for Setter<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|tensor| {
            let shape = tensor.dims();
            let (numbers, rest) = self.rest.split_at(shape.iter().product());
            self.rest = rest;
            Tensor::from_data(TensorData::new(numbers.to_vec(), shape), self.device).require_grad()
        })
    }
}

/// Copies every tensor's gradient to its part of the flat one.
struct Reader<'a> {
    gradients: &'a mut Gradients,
    rest: &'a mut [f32],
}

impl ModuleVisitor for Reader<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad_remove(self.gradients).expect("every parameter takes part in the outputs");
        let data = gradient.into_data();
        let (numbers, rest) = std::mem::take(&mut self.rest).split_at_mut(floats(&data).len());
        numbers.copy_from_slice(floats(&data));
        self.rest = rest;
    }
}

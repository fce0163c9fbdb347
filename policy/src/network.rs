//! The network as a specification: sizes, and the fixed order and shapes of its parameters. No tensors live here; the
//! learner's model and the actor's policy both read this layout.
//!
//! The network is a multilayer perceptron with two linear heads: `hidden` layers with the activation, then policy logits
//! and one value from the last hidden layer. All parameters of a network lie in one flat `f32` slice in this order:
//!
//! | block | shape |
//! |---|---|
//! | `torso.<i>.weight`, then `torso.<i>.bias`, for each hidden layer | `[inputs, outputs]`, `[outputs]` |
//! | `policy.weight`, `policy.bias` | `[inputs, actions]`, `[actions]` |
//! | `value.weight`, `value.bias` | `[inputs, 1]`, `[1]` |
//!
//! Weights are row-major with inputs first: `y = x W + b`.

use crate::activation::Activation;
use std::ops::Range;

/// Largest network that is accepted, in parameters (512 MiB of `f32`): its weights fit into a message even if they do not
/// compress.
pub const PARAMETER_COUNT_MAX: usize = 1 << 27;
/// Most hidden layers of a network that is accepted.
pub const HIDDEN_LAYERS_MAX: usize = 64;

/// Sizes and activation of the actor-critic network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Numbers in one observation.
    pub observation_len: usize,
    /// Width of each hidden layer.
    pub hidden: Vec<usize>,
    /// Nonlinearity after each hidden layer.
    pub activation: Activation,
    /// Policy logits.
    pub action_count: usize,
}

/// One tensor among the flat parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterBlock {
    /// Name in saved models, e.g. `torso.0.weight`.
    pub name: String,
    /// `[inputs, outputs]` of a weight, `[outputs]` of a bias.
    pub shape: Vec<usize>,
    /// Where it lies in the flat slice.
    pub range: Range<usize>,
}

impl NetworkSpec {
    /// The tensors in their fixed order, weight before bias, torso before policy before value.
    pub fn layout(&self) -> Vec<ParameterBlock> {
        let mut blocks = Vec::with_capacity(2 * self.hidden.len() + 4);
        let mut start = 0;
        for (name, inputs, outputs) in self.layers() {
            for (kind, shape) in [("weight", vec![inputs, outputs]), ("bias", vec![outputs])] {
                let len = shape.iter().product::<usize>();
                blocks.push(ParameterBlock { name: format!("{name}.{kind}"), shape, range: start..start + len });
                start += len;
            }
        }
        blocks
    }

    /// Number of parameters in all; saturates instead of overflowing on absurd sizes.
    pub fn parameter_count(&self) -> usize {
        self.layers().iter().fold(0_usize, |sum, (_, inputs, outputs)| {
            sum.saturating_add(inputs.saturating_add(1).saturating_mul(*outputs))
        })
    }

    /// Inputs of the two heads: the width of the last hidden layer.
    pub fn torso_len(&self) -> usize {
        self.hidden.last().copied().unwrap_or(self.observation_len)
    }

    /// `(name, inputs, outputs)` of every linear layer.
    fn layers(&self) -> Vec<(String, usize, usize)> {
        let inputs = std::iter::once(self.observation_len).chain(self.hidden.iter().copied());
        let torso = inputs.zip(&self.hidden).enumerate();
        let mut layers: Vec<_> = torso.map(|(i, (inputs, outputs))| (format!("torso.{i}"), inputs, *outputs)).collect();
        layers.push(("policy".into(), self.torso_len(), self.action_count));
        layers.push(("value".into(), self.torso_len(), 1));
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cartpole() -> NetworkSpec {
        NetworkSpec { observation_len: 4, hidden: vec![64, 64], activation: Activation::Tanh, action_count: 2 }
    }

    #[test]
    fn blocks_follow_one_another_without_gaps() {
        let spec = cartpole();
        let layout = spec.layout();
        let names: Vec<_> = layout.iter().map(|b| b.name.as_str()).collect();
        assert_eq!(names[..4], ["torso.0.weight", "torso.0.bias", "torso.1.weight", "torso.1.bias"]);
        assert_eq!(names[4..], ["policy.weight", "policy.bias", "value.weight", "value.bias"]);
        let mut end = 0;
        for block in &layout {
            assert_eq!(block.range.start, end);
            assert_eq!(block.range.len(), block.shape.iter().product::<usize>());
            end = block.range.end;
        }
        assert_eq!(end, spec.parameter_count());
        assert_eq!(end, 4 * 64 + 64 + 64 * 64 + 64 + 64 * 2 + 2 + 64 + 1);
    }

    #[test]
    fn a_network_without_hidden_layers_is_linear() {
        let spec = NetworkSpec { hidden: vec![], ..cartpole() };
        assert_eq!(spec.parameter_count(), 4 * 2 + 2 + 4 + 1);
    }

    #[test]
    fn absurd_sizes_saturate() {
        let spec = NetworkSpec { hidden: vec![usize::MAX, usize::MAX], ..cartpole() };
        assert_eq!(spec.parameter_count(), usize::MAX);
    }
}

//! The network as a specification: sizes, and the fixed order and shapes of its parameters. No tensors live here; the
//! learner's model and the actor's policy both read this layout.
//!
//! The network is a multilayer perceptron with two linear heads: `hidden` layers with the activation, then what the policy is made
//! of and one value from the last hidden layer. All parameters of a network lie in one flat `f32` slice in this order:
//!
//! | block | shape |
//! |---|---|
//! | `torso.<i>.weight`, then `torso.<i>.bias`, for each hidden layer | `[inputs, outputs]`, `[outputs]` |
//! | `policy.weight`, `policy.bias` | `[inputs, H]`, `[H]`: logits of all choices, or means of all components |
//! | `policy.log_std`, of a Gaussian policy alone | `[H]`: the same for every observation |
//! | `value.weight`, `value.bias` | `[inputs, 1]`, `[1]` |
//! | `observation.mean`, `observation.scale`, where observations are normalised | `[O]`, `[O]` |
//!
//! Weights are row-major with inputs first: `y = x W + b`. The last two are statistics of what was trained on and no weights: no
//! gradient reaches them ([`NetworkSpec::trained`]), and they travel exactly whatever the weights are rounded to.

use crate::activation::Activation;
use impala_env::space::{ActionSpace, dimensions};
use impala_env::spec::EnvironmentSpec;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Largest network that is accepted, in parameters (512 MiB of `f32`): its weights fit into a message even if they do not
/// compress.
pub const PARAMETER_COUNT_MAX: usize = 1 << 27;
/// Name of the block with the logarithms of standard deviations.
pub const LOG_STD: &str = "policy.log_std";
/// Name of the block with the means of observations.
pub const MEAN: &str = "observation.mean";
/// Name of the block with what observations are multiplied by.
pub const SCALE: &str = "observation.scale";
/// Name of the policy's head.
const POLICY: &str = "policy";
/// Most hidden layers of a network that is accepted.
pub const HIDDEN_LAYERS_MAX: usize = 64;

/// What the policy's head gives: the parameters of a distribution over actions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PolicyHead {
    /// `[D]`: a logit for each of so many choices of every component, components side by side.
    Choices(Vec<usize>),
    /// The same, of which the environment forbids some from step to step.
    MaskedChoices(Vec<usize>),
    /// The means of D components. Their standard deviations are parameters beside the head.
    Gaussian(usize),
    /// The same, of actions that are squashed by the hyperbolic tangent afterwards.
    SquashedGaussian(usize),
}

impl PolicyHead {
    /// The head for an environment; `squashed` decides among the two for a box.
    pub fn of(environment: &EnvironmentSpec, squashed: bool) -> Self {
        let actions = &environment.actions;
        match actions {
            ActionSpace::Discrete(_) | ActionSpace::MultiDiscrete(_) if environment.masked => {
                Self::MaskedChoices(actions.choices().to_vec())
            }
            ActionSpace::Discrete(_) | ActionSpace::MultiDiscrete(_) => Self::Choices(actions.choices().to_vec()),
            ActionSpace::Box(_) if squashed => Self::SquashedGaussian(actions.components()),
            ActionSpace::Box(_) => Self::Gaussian(actions.components()),
        }
    }

    /// One component of so many choices, all of them allowed always: the commonest head, with kernels of its own.
    pub fn single(choices: usize) -> Self {
        Self::Choices(vec![choices])
    }

    /// The choices, if it is [`Self::single`].
    pub fn as_single(&self) -> Option<usize> {
        match self {
            Self::Choices(choices) if choices.len() == 1 => Some(choices[0]),
            _ => None,
        }
    }

    /// D: components of an action.
    pub fn components(&self) -> usize {
        match self {
            Self::Choices(choices) | Self::MaskedChoices(choices) => choices.len(),
            Self::Gaussian(components) | Self::SquashedGaussian(components) => *components,
        }
    }

    /// M: bytes in the mask of an observation.
    pub fn mask_len(&self) -> usize {
        if matches!(self, Self::MaskedChoices(_)) { self.outputs() } else { 0 }
    }

    /// H: outputs of the head.
    pub fn outputs(&self) -> usize {
        match self {
            Self::Choices(choices) | Self::MaskedChoices(choices) => {
                choices.iter().fold(0, |sum: usize, choices| sum.saturating_add(*choices))
            }
            Self::Gaussian(components) | Self::SquashedGaussian(components) => *components,
        }
    }

    /// Parameters beside the head: a logarithm of a standard deviation for every component of a Gaussian.
    pub fn log_stds(&self) -> usize {
        match self {
            Self::Choices(_) | Self::MaskedChoices(_) => 0,
            Self::Gaussian(components) | Self::SquashedGaussian(components) => *components,
        }
    }

    /// P: numbers that make a row's distribution, the outputs and then the logarithms of standard deviations.
    pub fn parameters(&self) -> usize {
        self.outputs().saturating_add(self.log_stds())
    }

    /// Whether it is a head for this environment.
    pub fn fits(&self, environment: &EnvironmentSpec) -> bool {
        *self == Self::of(environment, matches!(self, Self::SquashedGaussian(_)))
    }
}

impl fmt::Display for PolicyHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choices(choices) | Self::MaskedChoices(choices) => {
                let masked = if matches!(self, Self::MaskedChoices(_)) { ", masked" } else { "" };
                let choices: Vec<_> = choices.iter().map(ToString::to_string).collect();
                write!(f, "{} actions{masked}", choices.join(" x "))
            }
            Self::Gaussian(components) => write!(f, "actions in {}", dimensions(*components)),
            Self::SquashedGaussian(components) => write!(f, "squashed actions in {}", dimensions(*components)),
        }
    }
}

/// Sizes and activation of the actor-critic network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSpec {
    /// Numbers in one observation.
    pub observation_len: usize,
    /// Width of each hidden layer.
    pub hidden: Vec<usize>,
    /// Nonlinearity after each hidden layer.
    pub activation: Activation,
    /// What the policy is made of.
    pub head: PolicyHead,
    /// Whether observations are normalised before the first layer, by statistics at the end of the parameters.
    pub normalises: bool,
}

/// One tensor among the flat parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterBlock {
    /// Name in saved models, e.g. `torso.0.weight`.
    pub name: String,
    /// `[inputs, outputs]` of a weight, `[outputs]` of anything else.
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
            if name == POLICY && self.head.log_stds() > 0 {
                let range = start..start + self.head.log_stds();
                start = range.end;
                blocks.push(ParameterBlock { name: LOG_STD.into(), shape: vec![range.len()], range });
            }
        }
        if self.normalises {
            for name in [MEAN, SCALE] {
                let range = start..start + self.observation_len;
                start = range.end;
                blocks.push(ParameterBlock { name: name.into(), shape: vec![range.len()], range });
            }
        }
        blocks
    }

    /// The same of observations that are normalised already: the network of the parameters that a gradient reaches, which are the
    /// first of all.
    #[must_use]
    pub fn trained(&self) -> Self {
        Self { normalises: false, ..self.clone() }
    }

    /// Numbers at the end of the parameters that no gradient reaches.
    pub fn statistics_len(&self) -> usize {
        if self.normalises { self.observation_len.saturating_mul(2) } else { 0 }
    }

    /// Number of parameters in all; saturates instead of overflowing on absurd sizes.
    pub fn parameter_count(&self) -> usize {
        let others = self.head.log_stds().saturating_add(self.statistics_len());
        self.layers().iter().fold(others, |sum, (_, inputs, outputs)| {
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
        layers.push((POLICY.into(), self.torso_len(), self.head.outputs()));
        layers.push(("value".into(), self.torso_len(), 1));
        layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::space::ObservationSpace;

    fn cartpole() -> NetworkSpec {
        let head = PolicyHead::single(2);
        NetworkSpec { observation_len: 4, hidden: vec![64, 64], activation: Activation::Tanh, head, normalises: false }
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
    fn a_gaussian_policy_has_standard_deviations_between_its_heads() {
        let spec = NetworkSpec { head: PolicyHead::Gaussian(3), ..cartpole() };
        let layout = spec.layout();
        let [.., bias, log_std, value, _] = &layout[..] else { panic!("{layout:?}") };
        assert_eq!((bias.name.as_str(), bias.range.len()), ("policy.bias", 3));
        assert_eq!((log_std.name.as_str(), log_std.range.clone()), (LOG_STD, bias.range.end..bias.range.end + 3));
        assert_eq!(value.range.start, log_std.range.end);
        assert_eq!(layout.last().unwrap().range.end, spec.parameter_count());
        assert_eq!((spec.head.outputs(), spec.head.parameters()), (3, 6));
    }

    #[test]
    fn the_statistics_of_observations_come_after_all_that_is_trained() {
        let spec = NetworkSpec { normalises: true, head: PolicyHead::Gaussian(1), ..cartpole() };
        let (layout, trained) = (spec.layout(), spec.trained());
        assert_eq!(layout[..layout.len() - 2], trained.layout());
        let [.., mean, scale] = &layout[..] else { panic!("{layout:?}") };
        let end = trained.parameter_count();
        assert_eq!((mean.name.as_str(), mean.range.clone(), mean.shape.as_slice()), (MEAN, end..end + 4, &[4][..]));
        assert_eq!((scale.name.as_str(), scale.range.clone()), (SCALE, end + 4..end + 8));
        assert_eq!((spec.parameter_count(), spec.statistics_len(), trained.statistics_len()), (end + 8, 8, 0));
    }

    #[test]
    fn a_head_fits_the_actions_that_it_was_made_for() {
        let spec = |actions| EnvironmentSpec::new("mine", ObservationSpace::vector(1), actions);
        let mut specs = vec![
            spec(ActionSpace::Discrete(2)),
            spec(ActionSpace::MultiDiscrete(vec![2, 3])),
            spec(ActionSpace::bounded(&[0.0; 2], &[1.0; 2])),
        ];
        specs.push(EnvironmentSpec { masked: true, ..specs[1].clone() });
        for environment in &specs {
            for squashed in [false, true] {
                let head = PolicyHead::of(environment, squashed);
                assert_eq!(
                    (head.components(), head.mask_len()),
                    (environment.actions.components(), environment.mask_len())
                );
                specs.iter().for_each(|other| assert_eq!(head.fits(other), other == environment));
                let read: PolicyHead = serde_json::from_str(&serde_json::to_string(&head).unwrap()).unwrap();
                assert_eq!(read, head);
            }
        }
    }

    #[test]
    fn absurd_sizes_saturate() {
        let spec = NetworkSpec { hidden: vec![usize::MAX, usize::MAX], ..cartpole() };
        assert_eq!(spec.parameter_count(), usize::MAX);
    }
}

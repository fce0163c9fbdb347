//! The distribution that a policy's head stands for.

use super::{Distribution, Squash};
use crate::network::PolicyHead;
use impala_env::space::ActionSpace;

impl Distribution {
    /// What the parameters of this head mean. Numbers are in the policy's own unit, which [`ActionScale`](crate::action_scale::ActionScale)
    /// brings into the environment's bounds.
    ///
    /// # Panics
    /// The head has no outputs: it was made for no valid space.
    pub fn of(head: &PolicyHead) -> Self {
        let unit = |components: usize, end: f32| ActionSpace::bounded(&vec![-end; components], &vec![end; components]);
        let (space, masked, squash) = match head {
            PolicyHead::Choices(choices) => (ActionSpace::MultiDiscrete(choices.clone()), false, Squash::None),
            PolicyHead::MaskedChoices(choices) => (ActionSpace::MultiDiscrete(choices.clone()), true, Squash::None),
            PolicyHead::Gaussian(components) => (unit(*components, f32::INFINITY), false, Squash::None),
            PolicyHead::SquashedGaussian(components) => (unit(*components, 1.0), false, Squash::Tanh),
        };
        Self::new(&space, masked, squash).expect("a valid head gives a valid space")
    }
}

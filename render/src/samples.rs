//! Policies that are known, and episodes of them, for the tests of this crate.

use crate::record::{RecordPlan, Recording, record};
use impala_env::builtin;
use impala_policy::activation::Activation;
use impala_policy::evaluate::Mode;
use impala_policy::network::{NetworkSpec, PolicyHead};

/// Greedy, the first seed.
pub(crate) const PLAN: RecordPlan = RecordPlan { seed: 1, mode: Mode::Greedy, steps_max: 1000 };

/// A linear policy for cart-poles that pushes the cart towards the side to which the pole leans and moves: it reaches the limit of
/// steps. Its value estimate is 10 more than the position.
pub(crate) fn balancing() -> (NetworkSpec, Vec<f32>) {
    let network = NetworkSpec {
        observation_len: 4,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let mut parameters = vec![0.0; network.parameter_count()];
    for (input, weight) in [0.05, 0.15, 1.0, 0.5].into_iter().enumerate() {
        parameters[2 * input + 1] = weight;
    }
    // After the policy's 4 x 2 weights and 2 biases the value's 4 weights and its bias.
    (parameters[10], parameters[14]) = (1.0, 10.0);
    (network, parameters)
}

/// A policy without any preference: greedily it always takes the first action, to the left.
pub(crate) fn indifferent(observation_len: usize, action_count: usize) -> (NetworkSpec, Vec<f32>) {
    let network = NetworkSpec {
        observation_len,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(action_count),
        normalises: false,
    };
    let parameters = vec![0.0; network.parameter_count()];
    (network, parameters)
}

/// An episode of a policy.
pub(crate) fn play(environment: &str, (network, parameters): (NetworkSpec, Vec<f32>), plan: RecordPlan) -> Recording {
    let registry = builtin();
    let kind = registry.get(&environment.parse().unwrap()).unwrap();
    record(&kind, &network, &parameters, plan, &mut |_| {}).unwrap()
}

/// A cart-pole that balances for some steps.
pub(crate) fn pole(steps_max: u32) -> Recording {
    play("cartpole-v1", balancing(), RecordPlan { steps_max, ..PLAN })
}

/// A paddle of Catch that goes to the left and stays there.
pub(crate) fn catch() -> Recording {
    play("catch", indifferent(50, 3), PLAN)
}

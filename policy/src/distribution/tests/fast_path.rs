//! Against the sampler that a policy keeps for one component of choices that are always allowed.

use super::*;
use crate::activation::Activation;
use crate::network::NetworkSpec;
use crate::policy::{Decision, Policy};

#[test]
fn a_policys_own_sampler_draws_the_same_choices_with_the_same_log_probabilities() {
    for choices in [1, 2, 5, 32] {
        let case = Case::random("choices", PolicyHead::single(choices), 300);
        // Without hidden layers, and with weights of 1 on the diagonal, the logits are the observations.
        let head = PolicyHead::single(choices);
        let spec = NetworkSpec {
            observation_len: choices,
            hidden: vec![],
            activation: Activation::Tanh,
            head,
            normalises: false,
        };
        let mut parameters = vec![0.0; spec.parameter_count()];
        parameters[..choices * choices].iter_mut().step_by(choices + 1).for_each(|weight| *weight = 1.0);
        let mut policy = Policy::new(&spec);
        policy.set_parameters(&parameters);
        let (mut actions, mut log_probs) = (vec![0; 300], vec![f32::NAN; 300]);
        let decision = Decision { actions: ArrayMut::U8(&mut actions), behaviour_log_probs: &mut log_probs };
        let observations = ArrayRef::F32(&case.parameters);
        policy.act(observations, &[], &mut seed::rng(4, Purpose::Policy { actor: 0 }), decision);
        assert_eq!(case.draw(4), (numbers(ArrayRef::U8(&actions)), log_probs));
    }
}

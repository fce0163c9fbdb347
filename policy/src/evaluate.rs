//! The greedy evaluation: whole episodes with the most probable actions, to tell what a policy has learned.

use crate::network::NetworkSpec;
use crate::policy::Policy;
use impala_env::Outcome;
use impala_env::Step;
use impala_env::seed::{self, Purpose};
use impala_env::spec::EnvironmentName;

/// Returns of the evaluated episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Undiscounted return of each episode.
    pub returns: Vec<f32>,
}

impl Evaluation {
    /// Mean return; NaN without episodes.
    pub fn mean(&self) -> f64 {
        self.returns.iter().map(|x| f64::from(*x)).sum::<f64>() / self.returns.len() as f64
    }

    /// Smallest return; infinite without episodes.
    pub fn min(&self) -> f32 {
        self.returns.iter().copied().fold(f32::INFINITY, f32::min)
    }

    /// Largest return; negative infinity without episodes.
    pub fn max(&self) -> f32 {
        self.returns.iter().copied().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Plays `episodes` episodes side by side, each in an environment of its own with a random source of its own, by the
/// most probable action. The same arguments give the same returns.
///
/// # Panics
/// If the parameters or the network do not fit the environment.
pub fn greedy(
    environment: EnvironmentName,
    network: &NetworkSpec,
    parameters: &[f32],
    episodes: usize,
    seed: u64,
) -> Evaluation {
    let spec = environment.spec();
    assert_eq!(network.observation_len, spec.observation_len, "the network reads another environment's observations");
    assert_eq!(network.action_count, spec.action_count, "the network has another environment's actions");
    let mut policy = Policy::new(network);
    policy.set_parameters(parameters);
    let rng = |environment| seed::rng(seed, Purpose::Evaluation { environment });
    let mut environments = impala_env::make(environment, (0_u32..).take(episodes).map(rng).collect());

    let mut observations = vec![0.0; episodes * spec.observation_len];
    let (mut actions, mut rewards) = (vec![0; episodes], vec![0.0; episodes]);
    let mut outcomes = vec![Outcome::Continues; episodes];
    let (mut returns, mut running) = (vec![0.0; episodes], vec![true; episodes]);
    let mut final_observations = Vec::new();
    environments.observe(&mut observations);
    // Only the first episode of each environment counts: the number of episodes does not favour short ones.
    while running.contains(&true) {
        policy.act_greedily(&observations, &mut actions);
        final_observations.clear();
        let step = Step {
            observations: &mut observations,
            rewards: &mut rewards,
            outcomes: &mut outcomes,
            final_observations: &mut final_observations,
        };
        environments.step(&actions, step);
        for i in 0..episodes {
            if running[i] {
                returns[i] += rewards[i];
                running[i] = outcomes[i] == Outcome::Continues;
            }
        }
    }
    Evaluation { returns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;

    /// A linear policy that pushes the cart towards the side to which the pole leans and moves.
    fn balancing() -> (NetworkSpec, Vec<f32>) {
        let network = NetworkSpec { observation_len: 4, hidden: vec![], activation: Activation::Tanh, action_count: 2 };
        let mut parameters = vec![0.0; network.parameter_count()];
        // Logit of action 1, push to the right, from position, velocity, angle and angular velocity.
        for (input, weight) in [0.05, 0.15, 1.0, 0.5].into_iter().enumerate() {
            parameters[2 * input + 1] = weight;
        }
        (network, parameters)
    }

    #[test]
    fn a_balancing_policy_reaches_the_step_limit() {
        let (network, parameters) = balancing();
        let evaluation = greedy(EnvironmentName::CartPoleV1, &network, &parameters, 100, 1);
        assert_eq!((evaluation.returns.len(), evaluation.mean(), evaluation.min()), (100, 500.0, 500.0));
        let evaluation = greedy(EnvironmentName::CartPoleV0, &network, &parameters, 10, 1);
        assert_eq!((evaluation.mean(), evaluation.max()), (200.0, 200.0));
    }

    #[test]
    fn a_policy_that_always_pushes_left_falls_soon_and_repeatably() {
        let (network, parameters) = balancing();
        let zeros = vec![0.0; parameters.len()];
        let evaluate = |seed| greedy(EnvironmentName::CartPoleV1, &network, &zeros, 50, seed);
        let evaluation = evaluate(1);
        assert!(evaluation.min() >= 8.0 && evaluation.max() <= 11.0, "{evaluation:?}");
        assert_eq!(evaluation, evaluate(1));
        assert_ne!(evaluation, evaluate(2));
    }
}

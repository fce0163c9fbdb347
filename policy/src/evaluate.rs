//! The greedy evaluation: whole episodes with the most probable actions, to tell what a policy has learned. It needs the
//! parameters and the environment, neither a learner nor an actor.

use crate::model_file::Model;
use crate::network::NetworkSpec;
use crate::policy::Policy;
use impala_env::seed::{self, Purpose};
use impala_env::spec::EnvironmentSpec;
use impala_env::{EnvironmentKind, Outcome, Registry, Step, UnknownEnvironment};

/// Steps after which an evaluated episode is cut where nobody chooses: an hour of a game at 30 steps a second. Without a limit,
/// an environment that never ends by itself would be evaluated for ever.
pub const STEPS_MAX: u64 = 108_000;

/// How to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationPlan {
    /// Episodes, played side by side.
    pub episodes: usize,
    /// Decides every draw of the environments.
    pub seed: u64,
    /// Steps after which an episode is cut; its return until then counts.
    pub steps_max: u64,
}

impl EvaluationPlan {
    /// So many episodes, of at most [`STEPS_MAX`] steps each.
    pub fn new(episodes: usize, seed: u64) -> Self {
        Self { episodes, seed, steps_max: STEPS_MAX }
    }
}

/// Returns of the evaluated episodes.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Undiscounted return of each episode.
    pub returns: Vec<f32>,
    /// Episodes among them that the evaluation's step limit cut.
    pub cut: usize,
}

/// Why a policy cannot be evaluated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvaluateError {
    /// The program does not know the model's environment.
    #[error(transparent)]
    Environment(#[from] UnknownEnvironment),
    /// The network was made for another environment.
    #[error(
        "the network reads observations of length {observation_len} and chooses among {action_count} actions: it is none for {environment}"
    )]
    Misfit {
        /// The network's.
        observation_len: usize,
        /// The network's.
        action_count: usize,
        /// What it was to play.
        environment: EnvironmentSpec,
    },
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

/// Evaluates a model that was loaded, in the environment that it was trained on.
///
/// # Errors
/// `registry` does not know the environment, or knows it with another shape.
pub fn model(model: &Model, registry: &Registry, plan: EvaluationPlan) -> Result<Evaluation, EvaluateError> {
    greedy(registry.get(&model.description.environment)?, &model.network, &model.parameters, plan)
}

/// Plays episodes side by side, each in an environment of its own with a random source of its own, by the most probable
/// action. The same arguments give the same returns.
///
/// # Errors
/// The network does not fit the environment.
///
/// # Panics
/// If the parameters are another network's.
pub fn greedy(
    environment: &EnvironmentKind,
    network: &NetworkSpec,
    parameters: &[f32],
    plan: EvaluationPlan,
) -> Result<Evaluation, EvaluateError> {
    let EvaluationPlan { episodes, seed, steps_max } = plan;
    let spec = environment.spec();
    let (observation_len, action_count) = (network.observation_len, network.action_count);
    if (observation_len, action_count) != (spec.observation_len, spec.action_count) {
        return Err(EvaluateError::Misfit { observation_len, action_count, environment: spec.clone() });
    }
    let mut policy = Policy::new(network);
    policy.set_parameters(parameters);
    let rng = |environment| seed::rng(seed, Purpose::Evaluation { environment });
    let mut environments = environment.make((0_u32..).take(episodes).map(rng).collect());

    let mut observations = vec![0.0; episodes * spec.observation_len];
    let (mut actions, mut rewards) = (vec![0; episodes], vec![0.0; episodes]);
    let mut outcomes = vec![Outcome::Continues; episodes];
    let (mut returns, mut running) = (vec![0.0; episodes], vec![true; episodes]);
    let mut final_observations = Vec::new();
    environments.observe(&mut observations);
    // Only the first episode of each environment counts: the number of episodes does not favour short ones.
    let mut steps = 0;
    while steps < steps_max && running.contains(&true) {
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
        steps += 1;
    }
    let cut = running.iter().filter(|is_running| **is_running).count();
    Ok(Evaluation { returns, cut })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::activation::Activation;
    use crate::model_file::ModelDescription;
    use impala_env::{StateError, VectorEnvironment, builtin};

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

    /// What a model of this policy for the environment reaches.
    fn evaluate(environment: &str, parameters: &[f32], plan: EvaluationPlan) -> Result<Evaluation, EvaluateError> {
        let (environment, activation) = (environment.parse().unwrap(), Activation::Tanh);
        let description = ModelDescription { environment, activation, frames: 0, updates: 0 };
        let loaded = Model { description, network: balancing().0, parameters: parameters.to_vec() };
        model(&loaded, &builtin(), plan)
    }

    #[test]
    fn a_balancing_policy_reaches_the_step_limit() {
        let (_, parameters) = balancing();
        let evaluation = evaluate("cartpole-v1", &parameters, EvaluationPlan::new(100, 1)).unwrap();
        assert_eq!((evaluation.returns.len(), evaluation.mean(), evaluation.min()), (100, 500.0, 500.0));
        let evaluation = evaluate("cartpole-v0", &parameters, EvaluationPlan::new(10, 1)).unwrap();
        assert_eq!((evaluation.mean(), evaluation.max(), evaluation.cut), (200.0, 200.0, 0));
    }

    #[test]
    fn a_policy_that_always_pushes_left_falls_soon_and_repeatably() {
        let zeros = vec![0.0; balancing().1.len()];
        let evaluate = |seed| evaluate("cartpole-v1", &zeros, EvaluationPlan::new(50, seed)).unwrap();
        let evaluation = evaluate(1);
        assert!(evaluation.min() >= 8.0 && evaluation.max() <= 11.0, "{evaluation:?}");
        assert_eq!(evaluation, evaluate(1));
        assert_ne!(evaluation, evaluate(2));
    }

    #[test]
    fn a_model_for_another_environment_is_refused_with_both() {
        let (_, parameters) = balancing();
        let refusal = |name| evaluate(name, &parameters, EvaluationPlan::new(1, 1)).unwrap_err().to_string();
        assert!(refusal("pong").contains("unknown environment `pong`: use one of cartpole-v1"));
        assert_eq!(
            refusal("catch"),
            "the network reads observations of length 4 and chooses among 2 actions: it is none for catch (observation \
             length 50, 3 actions)"
        );
    }

    /// Pays 1 a step and never ends.
    struct Endless(usize);

    impl VectorEnvironment for Endless {
        fn environments(&self) -> usize {
            self.0
        }

        fn observe(&self, observations: &mut [f32]) {
            observations.fill(0.0);
        }

        fn step(&mut self, _: &[u8], step: Step<'_>) {
            step.observations.fill(0.0);
            step.rewards.fill(1.0);
            step.outcomes.fill(Outcome::Continues);
        }

        fn state(&self) -> Vec<u8> {
            Vec::new()
        }

        fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
            Ok(())
        }
    }

    #[test]
    fn episodes_that_never_end_are_cut_at_the_limit_and_counted() {
        let kind = EnvironmentKind::new("endless", 4, 2, 1.0, |rngs| Box::new(Endless(rngs.len()))).unwrap();
        let (network, parameters) = balancing();
        let plan = EvaluationPlan { steps_max: 30, ..EvaluationPlan::new(3, 1) };
        let evaluation = greedy(&kind, &network, &parameters, plan).unwrap();
        assert_eq!(evaluation, Evaluation { returns: vec![30.0; 3], cut: 3 });
    }
}

//! Whole episodes of policies that are known, and how an evaluation ends.

use super::*;
use crate::activation::Activation;
use crate::model_file::ModelDescription;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::{StateError, Step, VectorEnvironment, builtin};

/// A linear policy that pushes the cart towards the side to which the pole leans and moves.
fn balancing() -> (NetworkSpec, Vec<f32>) {
    let network = NetworkSpec {
        observation_len: 4,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(2),
        normalises: false,
    };
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
    assert_eq!((evaluation.episodes.len(), evaluation.mean(), evaluation.min()), (100, 500.0, 500.0));
    let evaluation = evaluate("cartpole-v0", &parameters, EvaluationPlan::new(10, 1)).unwrap();
    assert_eq!((evaluation.mean(), evaluation.max(), evaluation.cut()), (200.0, 200.0, 0));
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
        "the network reads observations of length 4 and gives 2 actions: it is none for catch (observations f32[50], \
         3 actions)"
    );
}

/// Pays 1 a step and never ends.
struct Endless(usize);

impl VectorEnvironment for Endless {
    fn environments(&self) -> usize {
        self.0
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        observations.f32().fill(0.0);
    }

    fn step(&mut self, _: ArrayRef<'_>, step: Step<'_>) {
        step.observations.f32().fill(0.0);
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
    let evaluation = play(&kind, &network, &parameters, plan, &|| false).unwrap();
    assert_eq!(evaluation.episodes, [Played { episode_return: 30.0, length: 30, end: End::Cut }; 3]);
}

#[test]
fn an_evaluation_that_is_stopped_ends_before_the_next_step() {
    let kind = EnvironmentKind::new("endless", 4, 2, 1.0, |rngs| Box::new(Endless(rngs.len()))).unwrap();
    let (network, parameters) = balancing();
    let asked = std::cell::Cell::new(0);
    let is_stopped = || asked.replace(asked.get() + 1) == 5;
    let stopped = play(&kind, &network, &parameters, EvaluationPlan::new(3, 1), &is_stopped);
    assert_eq!((stopped, asked.get()), (Err(EvaluateError::Stopped), 6));
}

#[test]
fn every_try_and_every_part_of_it_plays_episodes_of_its_own() {
    let zeros = vec![0.0; balancing().1.len()];
    let returns = |first, series, mode| {
        let plan = EvaluationPlan { first, series, mode, ..EvaluationPlan::new(50, 1) };
        evaluate("cartpole-v1", &zeros, plan).unwrap().episodes
    };
    let mut all = Vec::new();
    for mode in Mode::ALL {
        for (first, series) in [(0, Series::Single), (0, Series::Try(1)), (50, Series::Try(1)), (0, Series::Try(2))] {
            all.push(returns(first, series, mode));
            assert_eq!(all.last(), Some(&returns(first, series, mode)), "not repeatable");
        }
    }
    for (i, one) in all.iter().enumerate() {
        assert!(!all[..i].contains(one), "two evaluations are the same");
    }
}

#[test]
fn a_sampled_evaluation_plays_by_the_policys_probabilities() {
    // Equal logits: greedily always to the left, sampled to either side, which balances for about 22 steps.
    let zeros = vec![0.0; balancing().1.len()];
    let plan = EvaluationPlan { mode: Mode::Sampled, ..EvaluationPlan::new(1000, 1) };
    let sampled = evaluate("cartpole-v1", &zeros, plan).unwrap();
    assert!((20.0..25.0).contains(&sampled.mean()), "{}", sampled.mean());
    assert_eq!(["greedy", "sampled"].map(str::parse), [Ok(Mode::Greedy), Ok(Mode::Sampled)]);
}

#[test]
fn the_standard_error_is_that_of_the_textbook_and_parts_add_up() {
    // Squared deviations from 5: 9, 1, 1, 1, 0, 0, 4, 16; their sum over 7 is 32 / 7.
    let played = |episode_return| Played { episode_return, length: 3, end: End::Terminated };
    let part = |returns: [f32; 4]| Evaluation { episodes: returns.map(played).to_vec() };
    let evaluation = part([2.0, 4.0, 4.0, 4.0]).and(part([5.0, 5.0, 7.0, 9.0]));
    assert_eq!((evaluation.mean(), evaluation.mean_length(), evaluation.episodes.len()), (5.0, 3.0, 8));
    assert!((evaluation.standard_deviation() - (32.0_f64 / 7.0).sqrt()).abs() < 1e-12);
    assert!((evaluation.standard_error() - (32.0_f64 / 7.0 / 8.0).sqrt()).abs() < 1e-12);
}

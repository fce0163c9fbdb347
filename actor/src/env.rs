//! Environments: all those of one process stepped in one call, as structures of arrays. The only trait of the project.
//!
//! An environment draws its resets from a random source of its own and knows nothing of policies, trajectories or the
//! wire. The rollout steps it; the unroll buffer lends the memory that a [`Step`] is written to.

mod cartpole;
mod catch;

use impala_common::seed::{self, Purpose, Rng};
use impala_common::spec::EnvironmentName;
use impala_common::trajectory::Outcome;
use serde::{Deserialize, Serialize};

/// Where one step of N environments is written.
#[derive(Debug)]
pub struct Step<'a> {
    /// `[N, O]`: what the next action is chosen from; after an episode's end the first observation of the next one.
    pub observations: &'a mut [f32],
    /// `[N]`
    pub rewards: &'a mut [f32],
    /// `[N]`
    pub outcomes: &'a mut [Outcome],
    /// `[K, O]`: the true final observation of every truncated environment is appended, in the environments' order.
    pub final_observations: &'a mut Vec<f32>,
}

/// N environments of one kind that are stepped together. Those whose episode ended begin the next one within the step.
pub trait VectorEnvironment: Send {
    /// N
    fn environments(&self) -> usize;

    /// Writes the current observations.
    ///
    /// # Shapes
    /// `observations`: `[N, O]`
    fn observe(&self, observations: &mut [f32]);

    /// Takes one action in every environment.
    ///
    /// # Shapes
    /// `actions`: `[N]`, each below the environment's action count; `step`: see [`Step`].
    fn step(&mut self, actions: &[u8], step: Step<'_>);

    /// Everything that the next steps depend on.
    fn state(&self) -> EnvironmentState;

    /// Goes on from a state that environments of the same kind and number were in.
    ///
    /// # Errors
    /// It is another kind's or number's state, or no step leads to it; the environments are unchanged.
    fn restore(&mut self, state: EnvironmentState) -> Result<(), StateError>;
}

/// The state of N environments of one kind, with their random sources.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum EnvironmentState {
    /// Of either version.
    CartPole(cartpole::State),
    /// Of Catch.
    Catch(catch::Catch),
}

/// A state that cannot be taken up.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the saved state is not one of {environments} {kind} environments")]
pub struct StateError {
    kind: &'static str,
    environments: usize,
}

/// One environment for each random source, all at the start of an episode.
pub fn make(name: EnvironmentName, rngs: Vec<Rng>) -> Box<dyn VectorEnvironment> {
    match name {
        EnvironmentName::CartPoleV1 => Box::new(cartpole::CartPole::new(cartpole::STEPS_MAX_V1, rngs)),
        EnvironmentName::CartPoleV0 => Box::new(cartpole::CartPole::new(cartpole::STEPS_MAX_V0, rngs)),
        EnvironmentName::Catch => Box::new(catch::Catch::new(rngs)),
    }
}

/// The random sources of an actor's environments, in their order.
pub fn rngs(run_seed: u64, actor: u32, environments: usize) -> Vec<Rng> {
    let purpose = |environment| Purpose::Environment { actor, environment };
    (0_u32..).take(environments).map(|environment| seed::rng(run_seed, purpose(environment))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_environment_keeps_its_spec() {
        for name in EnvironmentName::ALL {
            let spec = name.spec();
            let environments = 3;
            let mut environment = make(name, rngs(1, 0, environments));
            assert_eq!(environment.environments(), environments);
            let mut observations = vec![f32::NAN; environments * spec.observation_len];
            environment.observe(&mut observations);
            assert!(observations.iter().all(|x| x.is_finite()), "{name} leaves observations unwritten");
            for action in 0..spec.action_count {
                observations.fill(f32::NAN);
                let step = Step {
                    observations: &mut observations,
                    rewards: &mut [0.0; 3],
                    outcomes: &mut [Outcome::Continues; 3],
                    final_observations: &mut Vec::new(),
                };
                environment.step(&[u8::try_from(action).unwrap(); 3], step);
                assert!(observations.iter().all(|x| x.is_finite()), "{name} leaves observations unwritten");
            }
        }
    }
}

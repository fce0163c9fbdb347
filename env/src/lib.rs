//! Environments: all those of one process stepped in one call.
//!
//! An environment draws its resets from a random source of its own and knows nothing of policies, trajectories or the
//! wire. The rollout steps it; the unroll buffer lends the memory that a [`Step`] is written to.

mod cartpole;
mod catch;
mod environment;
mod named;
pub mod seed;
pub mod spec;

pub use environment::{EnvironmentState, Outcome, StateError, Step, VectorEnvironment};
use seed::{Purpose, Rng};
use spec::EnvironmentName;

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

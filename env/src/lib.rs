//! Environments: all those of one process stepped in one call, and the [`Registry`] that knows which there are.
//!
//! This crate is what a person with an environment of their own builds against: implement [`Environment`] for one of them, or
//! [`VectorEnvironment`] for all in one call, describe it by
//! an [`EnvironmentKind`], register it beside the [`builtin`] ones, and pass the registry to learner and actor.
//!
//! An environment draws its resets from a random source of its own and knows nothing of policies, trajectories or the
//! wire. The rollout steps it; the unroll buffer lends the memory that a [`Step`] is written to.

mod acrobot;
pub mod array;
mod breakout;
mod cartpole;
mod catch;
mod environment;
mod motion;
mod mountain_car;
mod named;
mod pendulum;
mod registry;
pub mod scene;
pub mod seed;
pub mod space;
pub mod spec;
mod state;
mod trig;
mod vectorised;
pub mod wrap;

pub use environment::{Half, Halves, Outcome, StateError, Step, StepBuffer, VectorEnvironment};
pub use registry::{
    EnvironmentKind, GOAL_EPISODES, KindError, Registry, STEPS_PER_SECOND_MAX, UnknownEnvironment, builtin, nearest,
};
use seed::{Purpose, Rng};
pub use state::StateOfFormat1;
pub use vectorised::Environment;

/// The random sources of an actor's environments, in their order.
pub fn rngs(run_seed: u64, actor: u32, environments: usize) -> Vec<Rng> {
    let purpose = |environment| Purpose::Environment { actor, environment };
    (0_u32..).take(environments).map(|environment| seed::rng(run_seed, purpose(environment))).collect()
}

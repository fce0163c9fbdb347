//! An environment of one's own: two rooms, a wall with a locked door between them, and moves that are forbidden. `src/main.rs` is the
//! program that trains on it:
//!
//! ```sh
//! cargo build --release -p impala -p grid-world
//! target/release/impala train --actor-program target/release/grid-world
//! ```

mod layout;
mod world;

use impala_env::space::{ActionSpace, ObservationSpace};
use impala_env::{EnvironmentKind, KindError, Registry};
use world::{GOAL, GridWorld, MOVES, SHAPE, STEP};

/// Mean return from which it counts as solved: about fifteen steps to the goal. The shortest ways take ten in the mean.
const SOLVED_RETURN: f64 = 4.25;
/// The pace at which it is watched.
const STEPS_PER_SECOND: u32 = 6;

/// `grid-world-v0` alone.
///
/// # Errors
/// One of its names and numbers is out of bounds.
pub fn registry() -> Result<Registry, KindError> {
    let (observations, actions) = (ObservationSpace::bytes(&SHAPE), ActionSpace::Discrete(MOVES.len()));
    let kind = EnvironmentKind::of_one("grid-world-v0", observations, actions, SOLVED_RETURN, GridWorld::default)?;
    let kind = kind.with_masks()?.with_rewards(STEP..=GOAL)?.with_steps_per_second(STEPS_PER_SECOND)?;
    Ok(Registry::only(kind.with_action_names(&MOVES.map(|(name, _)| name))?))
}

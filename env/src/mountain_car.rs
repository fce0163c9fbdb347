//! The car in a valley that is too weak to climb out at once (Moore 1990), as gymnasium has it: MountainCar-v0 with three choices, in
//! double precision, and MountainCarContinuous-v0 with a force, whose state gymnasium keeps in single precision. Steps have no
//! duration of their own: velocities are in m a step.

mod scene;

use crate::motion::{Motion, Moved, Moving};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::trig::sin_cos;
use rand::RngExt;

/// The equations with three choices. Numbers: position, m, and velocity, m a step.
pub(crate) struct Discrete;

/// The equations with a force. Both numbers are in single precision.
pub(crate) struct Continuous;

type DiscreteCars = Moving<Discrete, 2, 2>;
type ContinuousCars = Moving<Continuous, 2, 2>;

/// m
const POSITION_MIN: f64 = -1.2;
/// m
const POSITION_MAX: f64 = 0.6;
/// m a step
const VELOCITY_MAX: f64 = 0.07;
/// Of the car with three choices, m a step^2.
const FORCE: f64 = 0.001;
/// Of the car with a force of 1, m a step^2.
const POWER: f64 = 0.0015;
/// m a step^2
const GRAVITY: f64 = 0.0025;
/// The height of the ground is that of a sine of so many rad a m.
const WAVE: f64 = 3.0;
/// Where the flag stands for the car with three choices, m.
const GOAL_DISCRETE: f64 = 0.5;
/// Where it stands for the car with a force, m.
const GOAL_CONTINUOUS: f64 = 0.45;
/// A new episode draws its position uniformly from this one, m, to the next.
const RESET_MIN: f64 = -0.6;
const RESET_MAX: f64 = -0.4;
/// Paid at the flag, and the price of a force of 1, both of the car with a force.
const GOAL_REWARD: f64 = 100.0;
const FORCE_PRICE: f64 = 0.1;
/// The pace at which it is watched: gymnasium's.
const STEPS_PER_SECOND: u32 = 30;

/// `mountain-car-v0` and `mountain-car-continuous-v0`.
pub(crate) fn kinds() -> Result<Vec<EnvironmentKind>, KindError> {
    let numbers = || ObservationSpace::vector(2);
    // Solved: gymnasium's reward thresholds.
    let discrete = EnvironmentKind::new("mountain-car-v0", numbers(), ActionSpace::Discrete(3), -110.0, |rngs| {
        Box::new(DiscreteCars::new(rngs))
    })?;
    let force = ActionSpace::bounded(&[-1.0], &[1.0]);
    let continuous = EnvironmentKind::new("mountain-car-continuous-v0", numbers(), force, 90.0, |rngs| {
        Box::new(ContinuousCars::new(rngs))
    })?;
    let discrete = discrete.with_rewards(-1.0..=-1.0)?.with_action_names(&["left", "coast", "right"])?;
    let rewards = -FORCE_PRICE as f32..=GOAL_REWARD as f32;
    let continuous = continuous.with_rewards(rewards)?.with_action_names(&["force"])?;
    [discrete, continuous].map(|kind| kind.with_steps_per_second(STEPS_PER_SECOND)).into_iter().collect()
}

impl Motion<2, 2> for Discrete {
    const KIND: &'static str = "mountain-car";
    const STEPS_MAX: u32 = 200;

    fn start(rng: &mut Rng) -> [f64; 2] {
        [start(rng), 0.0]
    }

    #[inline(always)]
    fn force(action: f64) -> f64 {
        action - 1.0
    }

    #[inline(always)]
    fn advance([position, velocity]: [f64; 2], force: f64) -> Moved<2> {
        let slope = sin_cos(WAVE * position).1;
        let velocity = (velocity + (force * FORCE - slope * GRAVITY)).clamp(-VELOCITY_MAX, VELOCITY_MAX);
        let position = (position + velocity).clamp(POSITION_MIN, POSITION_MAX);
        let is_stopped = (position == POSITION_MIN) & (velocity < 0.0);
        let velocity = if is_stopped { 0.0 } else { velocity };
        let is_over = (position >= GOAL_DISCRETE) & (velocity >= 0.0);
        Moved { numbers: [position, velocity], reward: -1.0, is_over }
    }

    #[inline(always)]
    fn observe(numbers: [f64; 2]) -> [f32; 2] {
        numbers.map(|x| x as f32)
    }

    fn is_possible([position, velocity]: [f64; 2]) -> bool {
        let is_over = position >= GOAL_DISCRETE && velocity >= 0.0;
        (POSITION_MIN..=POSITION_MAX).contains(&position) && velocity.abs() <= VELOCITY_MAX && !is_over
    }

    fn draw([position, _]: [f64; 2], _: f64) -> Scene {
        scene::draw(position, GOAL_DISCRETE)
    }
}

impl Motion<2, 2> for Continuous {
    const KIND: &'static str = "mountain-car-continuous";
    const STEPS_MAX: u32 = 999;

    /// Gymnasium keeps what it draws in double precision until the first step. Here it is rounded at once, to what is seen of it.
    fn start(rng: &mut Rng) -> [f64; 2] {
        [f64::from(start(rng) as f32), 0.0]
    }

    #[inline(always)]
    fn force(action: f64) -> f64 {
        action.clamp(-1.0, 1.0)
    }

    /// Every operation is rounded to single precision as numpy does it, but for the cosine and its product.
    #[inline(always)]
    fn advance([position, velocity]: [f64; 2], force: f64) -> Moved<2> {
        const VELOCITY_LIMIT: f32 = VELOCITY_MAX as f32;
        const BOUNDS: [f32; 2] = [POSITION_MIN as f32, POSITION_MAX as f32];
        let (position, velocity) = (position as f32, velocity as f32);
        let slope = sin_cos(f64::from(WAVE as f32 * position)).1;
        let velocity = velocity + (force as f32 * POWER as f32 - (GRAVITY * slope) as f32);
        let velocity = velocity.clamp(-VELOCITY_LIMIT, VELOCITY_LIMIT);
        let position = (position + velocity).clamp(BOUNDS[0], BOUNDS[1]);
        let is_stopped = (position == BOUNDS[0]) & (velocity < 0.0);
        let velocity = if is_stopped { 0.0 } else { velocity };
        let is_over = (position >= GOAL_CONTINUOUS as f32) & (velocity >= 0.0);
        let reward = if is_over { GOAL_REWARD } else { 0.0 } - force * force * FORCE_PRICE;
        Moved { numbers: [position, velocity].map(f64::from), reward: reward as f32, is_over }
    }

    #[inline(always)]
    fn observe(numbers: [f64; 2]) -> [f32; 2] {
        numbers.map(|x| x as f32)
    }

    fn is_possible(numbers: [f64; 2]) -> bool {
        let [position, velocity] = numbers.map(|x| x as f32);
        let is_over = position >= GOAL_CONTINUOUS as f32 && velocity >= 0.0;
        (POSITION_MIN as f32..=POSITION_MAX as f32).contains(&position)
            && velocity.abs() <= VELOCITY_MAX as f32
            && numbers == [position, velocity].map(f64::from)
            && !is_over
    }

    fn draw([position, _]: [f64; 2], _: f64) -> Scene {
        scene::draw(position, GOAL_CONTINUOUS)
    }
}

/// m
fn start(rng: &mut Rng) -> f64 {
    RESET_MIN + rng.random::<f64>() * (RESET_MAX - RESET_MIN)
}

#[cfg(test)]
mod tests;

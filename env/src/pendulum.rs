//! A pendulum that swings up by a torque at its axle, too weak to lift it at once, as gymnasium's Pendulum-v1 has it, in double
//! precision. There is no end but the limit of steps.

mod scene;

use crate::motion::{Motion, Moved, Moving};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::trig::{sin_cos, wrapped};
use rand::RngExt;
use std::f64::consts::PI;

/// Its equations. Numbers: angle from upright, rad, which grows with every turn, and angular velocity, rad/s.
pub(crate) struct Pendulum;

/// N of them.
type Pendulums = Moving<Pendulum, 2, 3>;

/// s
const STEP_DURATION: f64 = 0.05;
/// m/s^2
const GRAVITY: f64 = 10.0;
/// m
const LENGTH: f64 = 1.0;
/// kg
const MASS: f64 = 1.0;
/// rad/s
const VELOCITY_MAX: f64 = 8.0;
/// N m
const TORQUE_MAX: f64 = 2.0;
/// A new episode draws its angle uniformly from `-PI..PI` and its velocity from `-RESET_VELOCITY_MAX..RESET_VELOCITY_MAX`, rad/s.
const RESET_VELOCITY_MAX: f64 = 1.0;
/// Prices of a square of the velocity and of the torque; that of the angle is 1.
const VELOCITY_PRICE: f64 = 0.1;
const TORQUE_PRICE: f64 = 0.001;
/// The pace at which it is watched: that of its time.
const STEPS_PER_SECOND: u32 = 20;
/// Gymnasium names no threshold. Where it begins decides what an episode can return: from nothing, upright, to -400, hanging; good policies
/// have a mean near -150, and means of 100 episodes a standard error of some 8. A policy that swings up but does not stay up is far below.
const SOLVED_RETURN: f64 = -200.0;

/// `pendulum-v1`.
pub(crate) fn kinds() -> Result<Vec<EnvironmentKind>, KindError> {
    let torque = ActionSpace::bounded(&[-TORQUE_MAX as f32], &[TORQUE_MAX as f32]);
    let kind = EnvironmentKind::new("pendulum-v1", ObservationSpace::vector(3), torque, SOLVED_RETURN, |rngs| {
        Box::new(Pendulums::new(rngs))
    })?;
    // Hanging, at full speed and with full torque; a millionth of it covers the rounding.
    let most = PI * PI + VELOCITY_PRICE * VELOCITY_MAX * VELOCITY_MAX + TORQUE_PRICE * TORQUE_MAX * TORQUE_MAX;
    let kind = kind.with_rewards(-(most * (1.0 + 1e-6)) as f32..=0.0)?.with_action_names(&["torque"])?;
    Ok(vec![kind.with_steps_per_second(STEPS_PER_SECOND)?])
}

impl Motion<2, 3> for Pendulum {
    const KIND: &'static str = "pendulum";
    const STEPS_MAX: u32 = 200;

    fn start(rng: &mut Rng) -> [f64; 2] {
        [PI, RESET_VELOCITY_MAX].map(|bound| rng.random::<f64>() * (2.0 * bound) - bound)
    }

    #[inline(always)]
    fn force(action: f64) -> f64 {
        action.clamp(-TORQUE_MAX, TORQUE_MAX)
    }

    /// What the torque is multiplied with and paid for is rounded to single precision, as numpy does it with actions in that precision.
    #[inline(always)]
    fn advance([angle, velocity]: [f64; 2], torque: f64) -> Moved<2> {
        let torque = torque as f32;
        let from_upright = wrapped(angle);
        let torque_cost = f64::from(TORQUE_PRICE as f32 * (torque * torque));
        let cost = from_upright * from_upright + VELOCITY_PRICE * (velocity * velocity) + torque_cost;

        let by_torque = f64::from((3.0 / (MASS * LENGTH * LENGTH)) as f32 * torque);
        let acceleration = 3.0 * GRAVITY / (2.0 * LENGTH) * sin_cos(angle).0 + by_torque;
        let velocity = (velocity + acceleration * STEP_DURATION).clamp(-VELOCITY_MAX, VELOCITY_MAX);
        let angle = angle + velocity * STEP_DURATION;
        Moved { numbers: [angle, velocity], reward: -cost as f32, is_over: false }
    }

    #[inline(always)]
    fn observe([angle, velocity]: [f64; 2]) -> [f32; 3] {
        let (sin, cos) = sin_cos(angle);
        [cos, sin, velocity].map(|x| x as f32)
    }

    fn is_possible([angle, velocity]: [f64; 2]) -> bool {
        // From half a turn and at full speed through a whole episode.
        let angle_max = PI + f64::from(Self::STEPS_MAX) * VELOCITY_MAX * STEP_DURATION;
        angle.abs() <= angle_max && velocity.abs() <= VELOCITY_MAX
    }

    fn draw([angle, _]: [f64; 2], torque: f64) -> Scene {
        scene::draw(angle, torque)
    }
}

#[cfg(test)]
mod tests;

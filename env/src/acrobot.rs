//! Acrobot, two links that hang from a joint and swing up by a torque between them (Sutton 1996), as gymnasium's Acrobot-v1 has it: the
//! equations of Sutton and Barto's book, one step of the classical Runge-Kutta method in double precision, no noise on the torque.

mod scene;

use crate::motion::{Motion, Moved, Moving};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::trig::{sin_cos, wrapped};
use rand::RngExt;
use std::f64::consts::PI;

/// Its equations. Numbers: angle of the first link from hanging down, angle of the second one from the first, and their velocities; rad, rad/s.
pub(crate) struct Acrobot;

/// N of them.
type Acrobots = Moving<Acrobot, 4, 6>;

/// s
const STEP_DURATION: f64 = 0.2;
/// m/s^2
const GRAVITY: f64 = 9.8;
/// Of each link, m.
const LENGTH: f64 = 1.0;
/// From a link's upper joint to its centre of mass, m.
const CENTRE: f64 = 0.5;
/// Of each link, kg.
const MASS: f64 = 1.0;
/// Of each link, kg m^2.
const INERTIA: f64 = 1.0;
/// rad/s
const VELOCITY_1_MAX: f64 = 4.0 * PI;
/// rad/s
const VELOCITY_2_MAX: f64 = 9.0 * PI;
/// How far above the upper joint the free end must come, m.
const GOAL_HEIGHT: f64 = 1.0;
/// A new episode draws each of its four numbers uniformly from `-RESET_MAX..RESET_MAX`.
const RESET_MAX: f64 = 0.1;
/// The pace at which it is watched: three times that of its time, as gymnasium shows it.
const STEPS_PER_SECOND: u32 = 15;

/// `acrobot-v1`.
pub(crate) fn kinds() -> Result<Vec<EnvironmentKind>, KindError> {
    let (observations, actions) = (ObservationSpace::vector(6), ActionSpace::Discrete(3));
    // Solved: gymnasium's reward threshold.
    let kind = EnvironmentKind::new("acrobot-v1", observations, actions, -100.0, |rngs| Box::new(Acrobots::new(rngs)))?;
    let kind = kind.with_rewards(-1.0..=0.0)?.with_action_names(&["torque -1", "no torque", "torque +1"])?;
    Ok(vec![kind.with_steps_per_second(STEPS_PER_SECOND)?])
}

impl Motion<4, 6> for Acrobot {
    const KIND: &'static str = "acrobot";
    const STEPS_MAX: u32 = 500;

    /// Gymnasium rounds what it draws to single precision; later states are not rounded.
    fn start(rng: &mut Rng) -> [f64; 4] {
        std::array::from_fn(|_| f64::from((rng.random::<f64>() * (2.0 * RESET_MAX) - RESET_MAX) as f32))
    }

    /// N m
    #[inline(always)]
    fn force(action: f64) -> f64 {
        action - 1.0
    }

    #[inline(always)]
    fn advance(numbers: [f64; 4], torque: f64) -> Moved<4> {
        let [angle_1, angle_2, velocity_1, velocity_2] = runge_kutta(numbers, torque);
        let numbers = [
            wrapped(angle_1),
            wrapped(angle_2),
            velocity_1.clamp(-VELOCITY_1_MAX, VELOCITY_1_MAX),
            velocity_2.clamp(-VELOCITY_2_MAX, VELOCITY_2_MAX),
        ];
        let is_over = height(numbers) > GOAL_HEIGHT;
        Moved { numbers, reward: if is_over { 0.0 } else { -1.0 }, is_over }
    }

    #[inline(always)]
    fn observe([angle_1, angle_2, velocity_1, velocity_2]: [f64; 4]) -> [f32; 6] {
        let ((sin_1, cos_1), (sin_2, cos_2)) = (sin_cos(angle_1), sin_cos(angle_2));
        [cos_1, sin_1, cos_2, sin_2, velocity_1, velocity_2].map(|x| x as f32)
    }

    fn is_possible(numbers @ [angle_1, angle_2, velocity_1, velocity_2]: [f64; 4]) -> bool {
        // Half a turn, up to the rounding of pi.
        let is_angle = |angle: f64| angle.abs() <= PI + 1e-9;
        is_angle(angle_1)
            && is_angle(angle_2)
            && velocity_1.abs() <= VELOCITY_1_MAX
            && velocity_2.abs() <= VELOCITY_2_MAX
            && height(numbers) <= GOAL_HEIGHT
    }

    fn draw(numbers: [f64; 4], _: f64) -> Scene {
        scene::draw(numbers)
    }
}

/// Of the free end above the upper joint, m.
#[inline(always)]
fn height([angle_1, angle_2, ..]: [f64; 4]) -> f64 {
    let ((sin_1, cos_1), (sin_2, cos_2)) = (sin_cos(angle_1), sin_cos(angle_2));
    -LENGTH * cos_1 - LENGTH * (cos_1 * cos_2 - sin_1 * sin_2)
}

#[inline(always)]
fn runge_kutta(state: [f64; 4], torque: f64) -> [f64; 4] {
    let after = |slope: [f64; 4], duration: f64| std::array::from_fn(|k| state[k] + duration * slope[k]);
    let half = STEP_DURATION / 2.0;
    let slope_1 = slope(state, torque);
    let slope_2 = slope(after(slope_1, half), torque);
    let slope_3 = slope(after(slope_2, half), torque);
    let slope_4 = slope(after(slope_3, STEP_DURATION), torque);
    let sum = std::array::from_fn(|k| slope_1[k] + 2.0 * slope_2[k] + 2.0 * slope_3[k] + slope_4[k]);
    after(sum, STEP_DURATION / 6.0)
}

/// How fast the four numbers change: Sutton and Barto (1998), section 11.3, whose names the letters are.
#[inline(always)]
fn slope([angle_1, angle_2, velocity_1, velocity_2]: [f64; 4], torque: f64) -> [f64; 4] {
    let ((sin_1, cos_1), (sin_2, cos_2)) = (sin_cos(angle_1), sin_cos(angle_2));
    let sin_sum = sin_1 * cos_2 + cos_1 * sin_2;
    const COUPLING: f64 = MASS * LENGTH * CENTRE;
    let d1 = MASS * CENTRE * CENTRE
        + MASS * (LENGTH * LENGTH + CENTRE * CENTRE + 2.0 * LENGTH * CENTRE * cos_2)
        + INERTIA
        + INERTIA;
    let d2 = MASS * (CENTRE * CENTRE + LENGTH * CENTRE * cos_2) + INERTIA;
    let phi2 = MASS * CENTRE * GRAVITY * sin_sum;
    let phi1 = -COUPLING * velocity_2 * velocity_2 * sin_2 - 2.0 * COUPLING * velocity_2 * velocity_1 * sin_2
        + (MASS * CENTRE + MASS * LENGTH) * GRAVITY * sin_1
        + phi2;
    let acceleration_2 = (torque + d2 / d1 * phi1 - COUPLING * velocity_1 * velocity_1 * sin_2 - phi2)
        / (MASS * CENTRE * CENTRE + INERTIA - d2 * d2 / d1);
    let acceleration_1 = -(d2 * acceleration_2 + phi1) / d1;
    [velocity_1, velocity_2, acceleration_1, acceleration_2]
}

#[cfg(test)]
mod tests;

//! CartPole, the cart-pole system of Barto, Sutton and Anderson (1983) as gymnasium has it: same constants, same order of
//! operations, Euler's method in double precision, observations in single precision.
//!
//! Every array holds one number for each environment, so that a step is a handful of loops that compilers vectorise.

mod scene;

use super::{StateError, Step, VectorEnvironment};
use crate::Outcome;
use crate::array::{ArrayMut, ArrayRef};
use crate::registry::{EnvironmentKind, KindError};
use crate::scene::Scene;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace};
use crate::state;
use crate::trig::series;
use pulp::{Arch, Simd, WithSimd};
use rand::RngExt;
use serde::{Deserialize, Serialize};

/// Tells its states from those of other environments.
pub(super) const KIND: &str = "cartpole";
/// Step limit of CartPole-v1.
const STEPS_MAX_V1: u32 = 500;
/// Step limit of CartPole-v0.
const STEPS_MAX_V0: u32 = 200;

/// Length of a whole observation: position, velocity, angle, angular velocity.
const OBSERVATION_LEN: usize = 4;
/// Length of an observation of the places alone: position, angle.
const PLACES_LEN: usize = 2;
/// m/s^2
const GRAVITY: f64 = 9.8;
/// kg
const MASS_CART: f64 = 1.0;
/// kg
const MASS_POLE: f64 = 0.1;
/// kg
const MASS_TOTAL: f64 = MASS_POLE + MASS_CART;
/// Half of the pole, m.
const LENGTH: f64 = 0.5;
/// kg m
const POLE_MASS_LENGTH: f64 = MASS_POLE * LENGTH;
/// N
const FORCE: f64 = 10.0;
/// s
const STEP_DURATION: f64 = 0.02;
/// The pace at which it is watched: that of its time.
const STEPS_PER_SECOND: u32 = 50;
/// rad: 12 degrees
const ANGLE_MAX: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
/// m
const POSITION_MAX: f64 = 2.4;
/// A new episode draws each of its four numbers uniformly from `-RESET_MAX..RESET_MAX`.
const RESET_MAX: f64 = 0.05;

/// `cartpole-v1`, `cartpole-v0`, and `stateless-cartpole-v1`: the first without velocities, for policies that remember.
pub(super) fn kinds() -> Result<Vec<EnvironmentKind>, KindError> {
    let kind = |name, observation_len, solved_return, make: fn(Vec<Rng>) -> CartPole| {
        let (observations, actions) = (ObservationSpace::vector(observation_len), ActionSpace::Discrete(2));
        EnvironmentKind::new(name, observations, actions, solved_return, move |rngs| Box::new(make(rngs)))?
            .with_rewards(1.0..=1.0)?
            .with_action_names(&["left", "right"])?
            .with_steps_per_second(STEPS_PER_SECOND)
    };
    // Solved: gymnasium's reward thresholds.
    Ok(vec![
        kind("cartpole-v1", OBSERVATION_LEN, 475.0, |rngs| CartPole::new(STEPS_MAX_V1, rngs))?,
        kind("cartpole-v0", OBSERVATION_LEN, 195.0, |rngs| CartPole::new(STEPS_MAX_V0, rngs))?,
        kind("stateless-cartpole-v1", PLACES_LEN, 475.0, |rngs| {
            CartPole::new(STEPS_MAX_V1, rngs).without_velocities()
        })?,
    ])
}

/// What is seen of a cart-pole.
#[derive(Clone, Copy)]
enum View {
    /// All four numbers.
    All,
    /// Position and angle; how they change must be remembered.
    Places,
}

/// N cart-poles.
pub(super) struct CartPole {
    view: View,
    arch: Arch,
    steps_max: u32,
    poles: Poles,
    rngs: Vec<Rng>,
    /// `[N]`: position and angle at the end of each one's last episode, for pictures alone.
    ends: Vec<Option<[f64; 2]>>,
}

/// What the next steps depend on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    poles: Poles,
    rngs: Vec<Rng>,
}

/// Carts and poles, `[N]` each.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Poles {
    /// m
    position: Vec<f64>,
    /// m/s
    velocity: Vec<f64>,
    /// rad from upright
    angle: Vec<f64>,
    /// rad/s
    angular_velocity: Vec<f64>,
    /// Steps of the episode so far.
    steps: Vec<u32>,
}

impl View {
    /// Numbers of an observation.
    #[inline(always)]
    fn len(self) -> usize {
        match self {
            Self::All => OBSERVATION_LEN,
            Self::Places => PLACES_LEN,
        }
    }
}

impl CartPole {
    /// One cart-pole for each random source.
    pub(super) fn new(steps_max: u32, rngs: Vec<Rng>) -> Self {
        let zeros = || vec![0.0; rngs.len()];
        let poles = Poles {
            position: zeros(),
            velocity: zeros(),
            angle: zeros(),
            angular_velocity: zeros(),
            steps: vec![0; rngs.len()],
        };
        let (view, ends) = (View::All, vec![None; rngs.len()]);
        let mut environment = Self { view, arch: Arch::new(), steps_max, poles, rngs, ends };
        for i in 0..environment.rngs.len() {
            environment.reset(i);
        }
        environment
    }

    /// The same, of which position and angle alone are seen.
    fn without_velocities(self) -> Self {
        Self { view: View::Places, ..self }
    }

    fn reset(&mut self, i: usize) {
        let rng = &mut self.rngs[i];
        let state = std::array::from_fn(|_| rng.random::<f64>() * (2.0 * RESET_MAX) - RESET_MAX);
        self.poles.set(i, state, 0);
    }

    /// Ends the episodes that are over: keeps the final observation of the truncated ones, starts the next.
    #[cold]
    fn reset_ended(&mut self, step: &mut Step<'_>) {
        let (observations, len) = (step.observations.reborrow().f32(), self.view.len());
        for (i, outcome) in step.outcomes.iter().enumerate() {
            if *outcome == Outcome::Continues {
                continue;
            }
            let row = &mut observations[len * i..][..len];
            if *outcome == Outcome::Truncated {
                step.final_observations.extend(ArrayRef::F32(row));
            }
            self.ends[i] = Some([self.poles.position[i], self.poles.angle[i]]);
            self.reset(i);
            self.poles.observe_one(self.view, i, row);
        }
    }
}

impl VectorEnvironment for CartPole {
    fn environments(&self) -> usize {
        self.rngs.len()
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        self.poles.observe(self.view, observations.f32());
    }

    fn step(&mut self, actions: ArrayRef<'_>, mut step: Step<'_>) {
        let integration = Integration {
            poles: &mut self.poles,
            view: self.view,
            steps_max: self.steps_max,
            actions: actions.u8(),
            observations: step.observations.reborrow().f32(),
            outcomes: step.outcomes,
        };
        let any_ended = self.arch.dispatch(integration);
        step.rewards.fill(1.0);
        if any_ended {
            self.reset_ended(&mut step);
        }
    }

    fn state(&self) -> Vec<u8> {
        state::encode(KIND, &State { poles: self.poles.clone(), rngs: self.rngs.clone() })
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let environments = self.rngs.len();
        let state: State = state::decode(KIND, environments, state)?;
        if !state.is_possible(environments, self.steps_max) {
            return Err(StateError::new(KIND, environments));
        }
        State { poles: self.poles, rngs: self.rngs } = state;
        self.ends.fill(None);
        Ok(())
    }

    fn scene(&mut self, index: usize) -> Option<Scene> {
        Some(scene::draw(self.poles.position[index], self.poles.angle[index]))
    }

    fn final_scene(&mut self, index: usize) -> Option<Scene> {
        self.ends[index].map(|[position, angle]| scene::draw(position, angle))
    }
}

impl State {
    /// Whether `environments` running episodes can be in it.
    fn is_possible(&self, environments: usize, steps_max: u32) -> bool {
        let Poles { position, velocity, angle, angular_velocity, steps } = &self.poles;
        let within = |numbers: &[f64], bound: f64| {
            numbers.len() == environments && numbers.iter().all(|x| x.is_finite() && x.abs() <= bound)
        };
        within(position, POSITION_MAX)
            && within(velocity, f64::MAX)
            && within(angle, ANGLE_MAX)
            && within(angular_velocity, f64::MAX)
            && steps.len() == environments
            && steps.iter().all(|steps| *steps < steps_max)
            && self.rngs.len() == environments
    }
}

impl Poles {
    fn set(&mut self, i: usize, state: [f64; 4], steps: u32) {
        [self.position[i], self.velocity[i], self.angle[i], self.angular_velocity[i]] = state;
        self.steps[i] = steps;
    }

    /// Moves every cart and pole by one step of time. The slices of one known length let the compiler drop the bounds
    /// checks and vectorise.
    #[inline(always)]
    fn advance(&mut self, actions: &[u8], sin_cos: impl Fn(f64) -> (f64, f64)) {
        let n = self.steps.len();
        let (position, velocity) = (&mut self.position[..n], &mut self.velocity[..n]);
        let (angle, angular_velocity) = (&mut self.angle[..n], &mut self.angular_velocity[..n]);
        let actions = &actions[..n];
        for i in 0..n {
            let state = [position[i], velocity[i], angle[i], angular_velocity[i]];
            let force = if actions[i] == 1 { FORCE } else { -FORCE };
            [position[i], velocity[i], angle[i], angular_velocity[i]] = euler(state, sin_cos(angle[i]), force);
        }
    }

    /// Counts the step and decides which episodes it ended.
    #[inline(always)]
    fn judge(&mut self, steps_max: u32, outcomes: &mut [Outcome]) {
        let n = self.steps.len();
        let (position, angle) = (&self.position[..n], &self.angle[..n]);
        let (steps, outcomes) = (&mut self.steps[..n], &mut outcomes[..n]);
        for i in 0..n {
            let out = (position[i].abs() > POSITION_MAX) | (angle[i].abs() > ANGLE_MAX);
            steps[i] += 1;
            let cut = if steps[i] >= steps_max { Outcome::Truncated } else { Outcome::Continues };
            outcomes[i] = if out { Outcome::Terminated } else { cut };
        }
    }

    #[inline(always)]
    fn observe(&self, view: View, observations: &mut [f32]) {
        let n = self.steps.len();
        let (position, velocity) = (&self.position[..n], &self.velocity[..n]);
        let (angle, angular_velocity) = (&self.angle[..n], &self.angular_velocity[..n]);
        match view {
            View::All => {
                for (i, row) in observations.chunks_exact_mut(OBSERVATION_LEN).take(n).enumerate() {
                    row.copy_from_slice(&[position[i], velocity[i], angle[i], angular_velocity[i]].map(|x| x as f32));
                }
            }
            View::Places => {
                for (i, row) in observations.chunks_exact_mut(PLACES_LEN).take(n).enumerate() {
                    row.copy_from_slice(&[position[i], angle[i]].map(|x| x as f32));
                }
            }
        }
    }

    fn observe_one(&self, view: View, i: usize, row: &mut [f32]) {
        let [position, velocity, angle, angular_velocity] =
            [self.position[i], self.velocity[i], self.angle[i], self.angular_velocity[i]].map(|x| x as f32);
        match view {
            View::All => row.copy_from_slice(&[position, velocity, angle, angular_velocity]),
            View::Places => row.copy_from_slice(&[position, angle]),
        }
    }
}

/// One step of all cart-poles without resets; tells whether any episode ended.
struct Integration<'a> {
    view: View,
    poles: &'a mut Poles,
    steps_max: u32,
    actions: &'a [u8],
    observations: &'a mut [f32],
    outcomes: &'a mut [Outcome],
}

impl WithSimd for Integration<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> bool {
        let Self { view, poles, steps_max, actions, observations, outcomes } = self;
        // A live pole leans at most ANGLE_MAX; only states set from outside lean more.
        if poles.angle.iter().fold(true, |small, x| small & (x.abs() <= SIN_COS_MAX)) {
            poles.advance(actions, sin_cos_small);
        } else {
            poles.advance(actions, f64::sin_cos);
        }
        poles.judge(steps_max, outcomes);
        poles.observe(view, observations);
        outcomes.iter().fold(0, |any, outcome| any | *outcome as u8) != 0
    }
}

/// The equations of motion of Florian, "Correct equations for the dynamics of the cart-pole system" (2007), without
/// friction, and one step of Euler's method; the order of operations is gymnasium's.
#[inline(always)]
fn euler(state: [f64; 4], (sin, cos): (f64, f64), force: f64) -> [f64; 4] {
    let [position, velocity, angle, angular_velocity] = state;
    let temp = (force + POLE_MASS_LENGTH * (angular_velocity * angular_velocity) * sin) / MASS_TOTAL;
    let angular_acceleration =
        (GRAVITY * sin - cos * temp) / (LENGTH * (4.0 / 3.0 - MASS_POLE * (cos * cos) / MASS_TOTAL));
    let acceleration = temp - POLE_MASS_LENGTH * angular_acceleration * cos / MASS_TOTAL;
    [
        position + STEP_DURATION * velocity,
        velocity + STEP_DURATION * acceleration,
        angle + STEP_DURATION * angular_velocity,
        angular_velocity + STEP_DURATION * angular_acceleration,
    ]
}

/// Largest angle for [`sin_cos_small`], rad; just above [`ANGLE_MAX`].
const SIN_COS_MAX: f64 = 0.2095;

/// Sine and cosine for `|x| <= SIN_COS_MAX` by their Taylor polynomials of degree 11 and 12: the remainders are below
/// 3e-19 and 4e-21, far under the rounding of the result.
#[inline(always)]
fn sin_cos_small(x: f64) -> (f64, f64) {
    let square = x * x;
    let sin = x * series(square, [110.0, 72.0, 42.0, 20.0, 6.0]);
    let cos_tail = series(square, [132.0, 90.0, 56.0, 30.0, 12.0]);
    (sin, 1.0 - square * 0.5 * cos_tail)
}

#[cfg(test)]
mod tests;

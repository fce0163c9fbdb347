use super::*;
use crate::Outcome;
use crate::motion::tests::{
    assert_every_recorded_step_is_reproduced, assert_refused, assert_starts_are_uniform, step_from,
};

#[test]
fn every_recorded_step_of_gymnasium_is_reproduced() {
    assert_every_recorded_step_is_reproduced::<Pendulum, 2, 3>("pendulum-v1");
}

#[test]
fn episodes_begin_at_any_angle() {
    assert_starts_are_uniform::<Pendulum, 2, 3>([(-PI, PI), (-RESET_VELOCITY_MAX, RESET_VELOCITY_MAX)]);
}

#[test]
fn only_the_limit_ends_an_episode() {
    for (steps, expected) in [(0, Outcome::Continues), (Pendulum::STEPS_MAX - 1, Outcome::Truncated)] {
        let (_, reward, outcome) = step_from::<Pendulum, 2, 3>("pendulum-v1", ([0.0, 0.0], steps), 0.0);
        assert_eq!((reward, outcome), (0.0, expected));
    }
}

#[test]
fn the_worst_step_costs_no_more_than_the_rewards_say() {
    let (_, reward, _) = step_from::<Pendulum, 2, 3>("pendulum-v1", ([PI, -VELOCITY_MAX], 0), -TORQUE_MAX);
    assert!((reward + 16.273_604).abs() < 1e-5, "{reward}");
    let kinds = kinds().unwrap();
    assert!(kinds[0].rewards().contains(&reward) && *kinds[0].rewards().start() > -16.2737);
}

#[test]
fn states_that_no_step_leads_to_are_refused() {
    assert_refused::<Pendulum, 2, 3>([0.0, 0.0], Pendulum::STEPS_MAX);
    for numbers in [[f64::NAN, 0.0], [84.0, 0.0], [0.0, 8.1], [0.0, f64::NEG_INFINITY]] {
        assert_refused::<Pendulum, 2, 3>(numbers, 0);
    }
}

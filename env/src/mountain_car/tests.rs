use super::*;
use crate::Outcome;
use crate::motion::tests::{
    assert_every_recorded_step_is_reproduced, assert_refused, assert_starts_are_uniform, step_from,
};

#[test]
fn every_recorded_step_of_gymnasium_is_reproduced() {
    assert_every_recorded_step_is_reproduced::<Discrete, 2, 2>("mountain-car-v0");
    assert_every_recorded_step_is_reproduced::<Continuous, 2, 2>("mountain-car-continuous-v0");
}

#[test]
fn episodes_begin_at_rest_in_the_valley() {
    let bounds = [(RESET_MIN, RESET_MAX), (0.0, 0.0)];
    assert_starts_are_uniform::<Discrete, 2, 2>(bounds);
    assert_starts_are_uniform::<Continuous, 2, 2>(bounds);
}

#[test]
fn the_flag_terminates_even_in_the_last_step_and_the_limit_truncates() {
    for steps in [0, Discrete::STEPS_MAX - 1] {
        let (after, reward, outcome) = step_from::<Discrete, 2, 2>("mountain-car-v0", ([0.49, 0.05], steps), 2.0);
        assert!(after[0] >= GOAL_DISCRETE);
        assert_eq!((reward, outcome), (-1.0, Outcome::Terminated));
    }
    let last = ([-0.5, 0.0], Discrete::STEPS_MAX - 1);
    assert_eq!(step_from::<Discrete, 2, 2>("mountain-car-v0", last, 1.0).2, Outcome::Truncated);

    let name = "mountain-car-continuous-v0";
    for steps in [0, Continuous::STEPS_MAX - 1] {
        let near = [0.44, 0.05].map(|x: f64| f64::from(x as f32));
        let (_, reward, outcome) = step_from::<Continuous, 2, 2>(name, (near, steps), 0.5);
        assert_eq!((reward, outcome), (99.975, Outcome::Terminated));
    }
    let last = ([-0.5, 0.0], Continuous::STEPS_MAX - 1);
    assert_eq!(step_from::<Continuous, 2, 2>(name, last, 0.0).1, 0.0);
    assert_eq!(step_from::<Continuous, 2, 2>(name, last, 0.0).2, Outcome::Truncated);
}

#[test]
fn the_left_wall_stops_the_car() {
    let (after, ..) = step_from::<Discrete, 2, 2>("mountain-car-v0", ([-1.19, -0.07], 0), 0.0);
    assert_eq!(after, [POSITION_MIN, 0.0]);
    let numbers = [-1.19, -0.07].map(|x: f64| f64::from(x as f32));
    let (after, ..) = step_from::<Continuous, 2, 2>("mountain-car-continuous-v0", (numbers, 0), -1.0);
    assert_eq!(after, [f64::from(POSITION_MIN as f32), 0.0]);
}

#[test]
fn states_that_no_step_leads_to_are_refused() {
    assert_refused::<Discrete, 2, 2>([-0.5, 0.0], Discrete::STEPS_MAX);
    for numbers in [[f64::NAN, 0.0], [-1.3, 0.0], [-0.5, 0.08], [0.55, 0.01]] {
        assert_refused::<Discrete, 2, 2>(numbers, 0);
    }
    // The second is in double precision only.
    for numbers in [[f64::NAN, 0.0], [-0.4, 0.0], [-0.5, 0.5], [0.5, 0.0]] {
        assert_refused::<Continuous, 2, 2>(numbers, 0);
    }
}

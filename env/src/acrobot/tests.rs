use super::*;
use crate::Outcome;
use crate::motion::tests::{
    assert_every_recorded_step_is_reproduced, assert_refused, assert_starts_are_uniform, step_from,
};

#[test]
fn every_recorded_step_of_gymnasium_is_reproduced() {
    assert_every_recorded_step_is_reproduced::<Acrobot, 4, 6>("acrobot-v1");
}

#[test]
fn episodes_begin_hanging_nearly_still() {
    assert_starts_are_uniform::<Acrobot, 4, 6>([(-RESET_MAX, RESET_MAX); 4]);
}

#[test]
fn the_free_end_above_the_line_terminates_even_in_the_last_step() {
    let nearly_there = [2.0, 0.0, 6.0, 0.0];
    assert!(Acrobot::is_possible(nearly_there));
    for steps in [0, Acrobot::STEPS_MAX - 1] {
        let (after, reward, outcome) = step_from::<Acrobot, 4, 6>("acrobot-v1", (nearly_there, steps), 1.0);
        assert!(height(after) > GOAL_HEIGHT);
        assert_eq!((reward, outcome), (0.0, Outcome::Terminated));
    }
    let (_, reward, outcome) = step_from::<Acrobot, 4, 6>("acrobot-v1", ([0.0; 4], Acrobot::STEPS_MAX - 1), 1.0);
    assert_eq!((reward, outcome), (-1.0, Outcome::Truncated));
}

#[test]
fn states_that_no_step_leads_to_are_refused() {
    let hanging = [0.0; 4];
    assert_refused::<Acrobot, 4, 6>(hanging, Acrobot::STEPS_MAX);
    for (k, number) in [(0, f64::NAN), (0, 3.2), (1, -3.2), (2, 13.0), (3, f64::INFINITY), (0, PI)] {
        let mut numbers = hanging;
        numbers[k] = number;
        assert_refused::<Acrobot, 4, 6>(numbers, 0);
    }
}

//! Parameters and actions at the ends of what they can be.

use super::*;

fn case(space: ActionSpace, squash: Squash, parameters: &[f32], actions: &[f32]) -> Case {
    let (parameters, actions) = (parameters.to_vec(), actions.to_vec());
    Case { name: "case".into(), space, masked: false, squash, parameters, masks: vec![], actions }
}

fn assert_finite(case: &Case) -> Evaluated {
    let evaluated = case.evaluate(0, &vec![-2.0; case.len()], 0.5);
    let Evaluated { log_probs, entropies, gradient } = &evaluated;
    assert!(log_probs.iter().chain(entropies).chain(gradient).all(|x| x.is_finite()), "{case:?}: {evaluated:?}");
    let (actions, log_probs) = case.draw(1);
    assert!(actions.iter().chain(&log_probs).all(|x| x.is_finite()), "{case:?}: {actions:?} {log_probs:?}");
    evaluated
}

#[test]
fn distant_logits_stay_finite() {
    let space = ActionSpace::MultiDiscrete(vec![3, 2]);
    let case = case(space, Squash::None, &[1e4, -1e4, 0.0, -1e4, 1e4], &[1.0, 1.0]);
    let evaluated = assert_finite(&case);
    assert_eq!(evaluated.log_probs, [-2e4]);
    assert!(evaluated.entropies[0].abs() < 1e-30);
    assert_eq!(case.draw(1), (vec![0.0, 1.0], vec![0.0]));
}

#[test]
fn deviations_beyond_their_bounds_stay_there_and_numbers_far_out_stay_finite() {
    for squash in Squash::ALL {
        for log_std in [-1e4, -11.0, -10.0, 2.0, 3.0, 1e4] {
            for (mean, u) in [(0.0, 50.0), (0.0, -50.0), (-100.0, 50.0), (50.0, 50.0)] {
                let at = |log_std| case(ActionSpace::bounded(&[-1.0], &[1.0]), squash, &[mean, log_std], &[u]);
                let (evaluated, held) = (assert_finite(&at(log_std)), assert_finite(&at(log_std.clamp(-10.0, 2.0))));
                assert_eq!(evaluated.log_probs, held.log_probs);
                assert_eq!(evaluated.entropies, held.entropies);
                assert_eq!(evaluated.gradient[0], held.gradient[0]);
                let expected = if (-10.0..=2.0).contains(&log_std) { held.gradient[1] } else { 0.0 };
                assert_eq!(evaluated.gradient[1], expected);
            }
        }
    }
}

#[test]
fn log_probabilities_are_within_their_bound_and_reach_it() {
    for squash in Squash::ALL {
        let (low, high) = ([-1.0, 0.0], [1.0, 0.1]);
        // The narrowest density, as far out as anything is drawn.
        let case = case(ActionSpace::bounded(&low, &high), squash, &[1e3, -1e3, -20.0, -20.0], &[100.0, -100.0]);
        let most = case.distribution().log_prob_max();
        let (actions, log_probs) = case.draw(1);
        assert!(log_probs[0] <= most);
        let held = Case { parameters: [&actions[..], &[-20.0, -20.0]].concat(), actions, ..case };
        let log_prob = held.evaluate(0, &[0.0], 0.0).log_probs[0];
        let slack = if squash == Squash::None { 1e-3 } else { 3.0 };
        assert!(log_prob <= most && log_prob > most - slack, "{squash}: {log_prob} of {most}");
    }
    let discrete = Distribution::new(&ActionSpace::Discrete(2), false, Squash::None).unwrap();
    assert_eq!(discrete.log_prob_max(), 1e-5);
}

#[test]
fn draws_of_a_squashed_number_end_where_its_log_probability_keeps_digits() {
    let case = case(ActionSpace::bounded(&[-1.0], &[1.0]), Squash::Tanh, &[1e6, 0.0], &[0.0]);
    assert_eq!((case.draw(1).0, case.mode()), (vec![100.0], vec![100.0]));
}

#[test]
fn one_choice_is_certain() {
    let mut case = case(ActionSpace::Discrete(1), Squash::None, &[-7.5], &[0.0]);
    for masked in [false, true] {
        (case.masked, case.masks) = (masked, if masked { vec![1] } else { vec![] });
        let evaluated = case.evaluate(0, &[3.0], 2.0);
        assert_eq!(evaluated, Evaluated { log_probs: vec![0.0], entropies: vec![0.0], gradient: vec![0.0] });
        assert_eq!(case.draw(1), (vec![0.0], vec![0.0]));
    }
}

#[test]
fn what_a_mask_forbids_has_no_gradient() {
    let mut case = case(ActionSpace::Discrete(3), Squash::None, &[0.5, 30.0, -0.2], &[2.0]);
    (case.masked, case.masks) = (true, vec![1, 0, 1]);
    let masked = case.evaluate(0, &[1.5], 0.3);
    assert_eq!(masked.gradient[1], 0.0);
    let two = Case {
        space: ActionSpace::Discrete(2),
        masked: false,
        masks: vec![],
        parameters: vec![0.5, -0.2],
        actions: vec![1.0],
        ..case.clone()
    };
    let two = two.evaluate(0, &[1.5], 0.3);
    assert_eq!((&masked.log_probs, &masked.entropies), (&two.log_probs, &two.entropies));
    assert_eq!([masked.gradient[0], masked.gradient[2]], two.gradient[..]);

    case.actions = vec![1.0];
    let forbidden = case.evaluate(0, &[1.5], 0.3);
    assert_eq!((forbidden.log_probs[0], forbidden.gradient[1]), (f32::NEG_INFINITY, 0.0));
    assert_eq!(forbidden.entropies, masked.entropies);
    assert!(forbidden.gradient.iter().all(|x| x.is_finite()));
}

#[test]
fn a_parameter_that_is_no_number_shows_in_the_log_probability_and_not_in_the_action() {
    for mut case in cases(1) {
        case.parameters.fill(f32::NAN);
        let (actions, log_probs) = case.draw(1);
        assert!(log_probs[0].is_nan() && actions.iter().all(|action| action.is_finite()), "{}", case.name);
        assert!(case.evaluate(0, &[1.0], 0.1).log_probs[0].is_nan(), "{}", case.name);
    }
}

#[test]
#[should_panic(expected = "action 3 of 3 choices")]
fn an_action_that_is_none_of_the_choices_is_a_mistake_of_the_program() {
    case(ActionSpace::MultiDiscrete(vec![3, 2]), Squash::None, &[0.0; 5], &[3.0, 0.0]).evaluate(0, &[0.0], 0.0);
}

#[test]
#[should_panic(expected = "masks of 1 rows")]
fn masks_that_are_missing_are_a_mistake_of_the_program() {
    let mut case = case(ActionSpace::Discrete(3), Squash::None, &[0.0; 3], &[0.0]);
    case.masked = true;
    case.draw(1);
}

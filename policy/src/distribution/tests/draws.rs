//! What is drawn, how often, and what environments are told of it.

use super::definition::log_prob_and_entropy;
use super::*;

/// `n` rows that are all as the first.
fn repeated(case: &Case, n: usize) -> Case {
    let row = case.row(0);
    Case { parameters: row.parameters.repeat(n), masks: row.masks.repeat(n), actions: vec![], ..row }
}

#[test]
fn choices_come_as_often_as_their_probabilities_say_and_independently() {
    let n = 200_000;
    for case in cases(1).into_iter().filter(|case| case.space.dtype() == Dtype::U8) {
        let (actions, _) = repeated(&case, n).draw(3);
        let d = case.space.components();
        let parameters: Vec<_> = case.parameters.iter().map(|x| f64::from(*x)).collect();
        let (mut odometer, mut total) = (vec![0.0; d], 0.0);
        // Every combination of choices.
        loop {
            let row = Case { actions: odometer.clone(), ..case.row(0) };
            let probability = log_prob_and_entropy(&row, &parameters).0.exp();
            let frequency = actions.chunks_exact(d).filter(|action| **action == odometer).count() as f64 / n as f64;
            let deviation = (probability * (1.0 - probability) / n as f64).sqrt();
            let name = &case.name;
            // What a mask forbids has the probability 0 and thus never comes.
            assert!(
                (frequency - probability).abs() <= 5.0 * deviation,
                "{name} {odometer:?}: {frequency}, {probability}"
            );
            total += probability;
            let choices = case.space.choices();
            let Some(place) = (0..d).find(|i| odometer[*i] + 1.0 < choices[*i] as f32) else {
                break;
            };
            odometer[place] += 1.0;
            odometer[..place].fill(0.0);
        }
        assert!((total - 1.0).abs() < 1e-9);
    }
}

#[test]
fn what_a_mask_forbids_is_never_drawn_nor_the_mode() {
    // The last choices are forbidden, to which rounding would lead first, and they have the largest logits.
    let space = ActionSpace::MultiDiscrete(vec![4, 2]);
    let mut case = Case::random("masked", space, true, Squash::None, 1);
    let n = 100_000;
    case.parameters = [0.1, -0.3, 0.2, 50.0, 1.0, 90.0].repeat(n);
    case.masks = [1, 0, 1, 0, 1, 0].repeat(n);
    let (actions, log_probs) = case.draw(4);
    for action in actions.chunks_exact(2).chain(case.mode().chunks_exact(2)) {
        assert!((action[0] == 0.0 || action[0] == 2.0) && action[1] == 0.0, "{action:?}");
    }
    assert!(log_probs.iter().all(|log_prob| *log_prob < 0.0 && *log_prob > -1.0));
    assert_eq!(case.mode()[..2], [2.0, 0.0]);
}

#[test]
fn numbers_have_the_moments_and_tails_of_a_gaussian() {
    let (n, low, high) = (200_000, [-9.0; 2], [9.0; 2]);
    for squash in Squash::ALL {
        let mut case = Case::random("numbers", ActionSpace::bounded(&low, &high), false, squash, 1);
        case.parameters = vec![0.7, -2.0, 0.5, -1.0];
        let (actions, _) = repeated(&case, n).draw(5);
        let standardised = |component: usize| {
            let (mean, std) = (case.parameters[component], case.parameters[2 + component].exp());
            actions.iter().skip(component).step_by(2).map(move |u| f64::from((u - mean) / std)).collect::<Vec<_>>()
        };
        let (first, second) = (standardised(0), standardised(1));
        let products: Vec<_> = first.iter().zip(&second).map(|(x, y)| x * y).collect();
        let mean = |numbers: &[f64], of: &dyn Fn(f64) -> f64| numbers.iter().map(|x| of(*x)).sum::<f64>() / n as f64;
        let share = |x: f64, beyond: f64| f64::from(u8::from(x > beyond));
        // Name, mean and variance of what is averaged.
        for z in [&first, &second] {
            for (what, actual, expected, variance) in [
                ("mean", mean(z, &|x| x), 0.0, 1.0),
                ("variance", mean(z, &|x| x * x), 1.0, 2.0),
                ("skewness", mean(z, &|x| x.powi(3)), 0.0, 15.0),
                ("kurtosis", mean(z, &|x| x.powi(4)), 3.0, 96.0),
                ("above 1", mean(z, &|x| share(x, 1.0)), 0.158_655_3, 0.133_48),
                ("above 3", mean(z, &|x| share(x, 3.0)), 0.001_349_9, 0.001_348),
                ("below -2", mean(z, &|x| share(-x, 2.0)), 0.022_750_1, 0.022_233),
            ] {
                let deviation = f64::sqrt(variance / n as f64);
                assert!((actual - expected).abs() < 5.0 * deviation, "{squash}: {what} {actual}, not {expected}");
            }
        }
        assert!(mean(&products, &|x| x).abs() < 5.0 / (n as f64).sqrt(), "{squash}: the components hang together");
    }
}

#[test]
fn the_mode_is_the_first_of_the_most_probable_choices_and_the_mean_of_numbers() {
    let mode = |space: ActionSpace, squash, parameters: &[f32]| {
        Case { parameters: parameters.to_vec(), ..Case::random("mode", space, false, squash, 1) }.mode()
    };
    assert_eq!(mode(ActionSpace::Discrete(4), Squash::None, &[0.0, 2.0, 2.0, -1.0]), [1.0]);
    assert_eq!(mode(ActionSpace::MultiDiscrete(vec![2, 3]), Squash::None, &[0.5, 0.4, -2.0, -3.0, -1.0]), [0.0, 2.0]);
    for squash in Squash::ALL {
        let space = ActionSpace::bounded(&[-1.0; 2], &[1.0; 2]);
        assert_eq!(mode(space, squash, &[0.5, -3.0, 1.0, 1.0]), [0.5, -3.0]);
    }
}

#[test]
fn a_policy_that_acted_and_the_same_that_learns_agree_to_the_last_bit() {
    for mut case in cases(200) {
        let (actions, log_probs) = case.draw(6);
        case.actions = actions;
        let evaluated = case.evaluate(5, &log_probs, 0.0);
        let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&evaluated.log_probs), bits(&log_probs), "{}", case.name);
        let most = case.distribution().log_prob_max();
        assert!(log_probs.iter().all(|log_prob| *log_prob <= most), "{}", case.name);
    }
}

#[test]
fn environments_are_told_choices_as_they_are_and_numbers_within_their_bounds() {
    let mut points = vec![];
    let choices = Distribution::new(&ActionSpace::MultiDiscrete(vec![2, 2]), false, Squash::Tanh).unwrap();
    assert_eq!(choices.to_environment(ArrayRef::U8(&[1, 0, 0, 1]), &mut points), ArrayRef::U8(&[1, 0, 0, 1]));
    let space = ActionSpace::bounded(&[-1.0, 0.0], &[1.0, 5.0]);
    let u = [0.25, 2.5, -1.5, 5.5, 50.0, -50.0, -1e9, 1e9];
    let clipped = Distribution::new(&space, false, Squash::None).unwrap();
    let expected = [0.25, 2.5, -1.0, 5.0, 1.0, 0.0, -1.0, 5.0];
    assert_eq!(clipped.to_environment(ArrayRef::F32(&u), &mut points), ArrayRef::F32(&expected));
    let squashed = Distribution::new(&space, false, Squash::Tanh).unwrap();
    let expected: Vec<_> =
        u.chunks_exact(2).flat_map(|row| [f64::from(row[0]).tanh(), (f64::from(row[1]).tanh() + 1.0) * 2.5]).collect();
    let actual = numbers(squashed.to_environment(ArrayRef::F32(&u), &mut points));
    assert_close("squashed", &actual, &expected, 2e-6);
    assert_eq!(actual[4..], [1.0, 0.0, -1.0, 5.0]);
    let boundless = ActionSpace::bounded(&[f32::NEG_INFINITY], &[1.0]);
    let boundless = Distribution::new(&boundless, false, Squash::None).unwrap();
    assert_eq!(boundless.to_environment(ArrayRef::F32(&[-1e9, 2.0]), &mut points), ArrayRef::F32(&[-1e9, 1.0]));
}

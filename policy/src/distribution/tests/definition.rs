//! Against the definitions, written out in double precision for one row, and their finite differences.

use super::*;
use std::f64::consts::{E, PI};

/// Probabilities of one component's choices.
fn probabilities(logits: &[f64], allowed: impl Fn(usize) -> bool) -> Vec<f64> {
    let weights: Vec<_> = logits.iter().enumerate().map(|(i, l)| if allowed(i) { l.exp() } else { 0.0 }).collect();
    let total: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / total).collect()
}

/// Log-probability and entropy of a row of choices.
fn of_choices(row: &Case, parameters: &[f64]) -> (f64, f64) {
    let (mut log_prob, mut entropy, mut start) = (0.0, 0.0, 0);
    for (choices, action) in row.space.choices().iter().zip(&row.actions) {
        let allowed = |choice: usize| !row.masked || row.masks[start + choice] == 1;
        let probabilities = probabilities(&parameters[start..start + choices], allowed);
        log_prob += probabilities[*action as usize].ln();
        entropy -= probabilities.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
        start += choices;
    }
    (log_prob, entropy)
}

/// Log-probability of a row of numbers, and its entropy where u moves with the parameters as it did from those that the row has.
fn of_numbers(row: &Case, bounds: &impala_env::space::Bounds, parameters: &[f64]) -> (f64, f64) {
    let (mut log_prob, mut entropy) = (0.0, 0.0);
    let d = bounds.low.len();
    let std = |log_std: f64| log_std.clamp(-10.0, 2.0).exp();
    for i in 0..d {
        let (mean, sigma, u) = (parameters[i], std(parameters[d + i]), f64::from(row.actions[i]));
        // The derivative of tanh is 1 / cosh^2.
        let slope = |u: f64| match row.squash {
            Squash::None => 1.0,
            Squash::Tanh => u.cosh().powi(-2) * (f64::from(bounds.high[i]) - f64::from(bounds.low[i])) / 2.0,
        };
        let density = (-0.5 * ((u - mean) / sigma).powi(2)).exp() / (sigma * (2.0 * PI).sqrt());
        log_prob += (density / slope(u)).ln();
        let z = (u - f64::from(row.parameters[i])) / std(f64::from(row.parameters[d + i]));
        entropy += 0.5 * (2.0 * PI * E * sigma * sigma).ln() + slope(mean + sigma * z).ln();
    }
    (log_prob, entropy)
}

pub(super) fn log_prob_and_entropy(row: &Case, parameters: &[f64]) -> (f64, f64) {
    match &row.space {
        ActionSpace::Box(bounds) => of_numbers(row, bounds, parameters),
        _ => of_choices(row, parameters),
    }
}

#[test]
fn results_and_gradients_are_those_of_the_definition() {
    let step = 1e-5;
    for case in cases(37) {
        let d_log_probs: Vec<_> = (0..case.len()).map(|i| (i % 7) as f32 - 3.0).collect();
        let d_entropy = 0.7;
        let evaluated = case.evaluate(1, &d_log_probs, d_entropy);
        let (mut log_probs, mut entropies, mut gradient) = (vec![], vec![], vec![]);
        for (i, d_log_prob) in d_log_probs.iter().enumerate() {
            let row = case.row(i);
            let parameters: Vec<_> = row.parameters.iter().map(|x| f64::from(*x)).collect();
            let (log_prob, entropy) = log_prob_and_entropy(&row, &parameters);
            log_probs.push(log_prob);
            entropies.push(entropy);
            for at in 0..parameters.len() {
                let moved = |by: f64| {
                    let mut parameters = parameters.clone();
                    parameters[at] += by;
                    let (log_prob, entropy) = log_prob_and_entropy(&row, &parameters);
                    f64::from(*d_log_prob) * log_prob + f64::from(d_entropy) * entropy
                };
                gradient.push((moved(step) - moved(-step)) / (2.0 * step));
            }
        }
        assert_close(&format!("{}: log-probability", case.name), &evaluated.log_probs, &log_probs, 1e-5);
        assert_close(&format!("{}: entropy", case.name), &evaluated.entropies, &entropies, 1e-5);
        assert_close(&format!("{}: gradient", case.name), &evaluated.gradient, &gradient, 1e-5);
    }
}

/// The entropy of a squashed number between -1 and 1, by the trapezoidal rule over z.
fn entropy_by_integration(mean: f64, log_std: f64) -> f64 {
    let step = 1e-3;
    let expected: f64 = (-12_000..=12_000)
        .map(|k| {
            let z = f64::from(k) * step;
            let density = (-0.5 * z * z).exp() / (2.0 * PI).sqrt();
            density * step * -2.0 * (mean + log_std.exp() * z).cosh().ln()
        })
        .sum();
    0.5 * (2.0 * PI * E).ln() + log_std + expected
}

#[test]
fn estimates_of_a_squashed_entropy_and_of_its_gradient_have_the_right_means() {
    let (mean, log_std, n) = (0.6, 0.2, 200_000);
    let space = ActionSpace::bounded(&[-1.0], &[1.0]);
    let mut case = Case::random("squashed", space, false, Squash::Tanh, 1);
    case.parameters = [mean as f32, log_std as f32].repeat(n);
    case.actions = case.draw(1).0;
    let evaluated = case.evaluate(0, &vec![0.0; n], 1.0);
    let moved = |m: f64, s: f64| entropy_by_integration(mean + m, log_std + s);
    let column = |at: usize| evaluated.gradient.iter().skip(at).step_by(2).copied().collect::<Vec<_>>();
    let slope = |m: f64, s: f64| (moved(m, s) - moved(-m, -s)) / 2e-4;
    let entropies = evaluated.entropies.clone();
    let surprises: Vec<_> = evaluated.log_probs.iter().map(|log_prob| -log_prob).collect();
    for (what, estimates, expected) in [
        ("entropy", entropies, moved(0.0, 0.0)),
        ("entropy by log-probabilities", surprises, moved(0.0, 0.0)),
        ("slope by the mean", column(0), slope(1e-4, 0.0)),
        ("slope by the deviation", column(1), slope(0.0, 1e-4)),
    ] {
        let estimates: Vec<_> = estimates.into_iter().map(f64::from).collect();
        let mean = estimates.iter().sum::<f64>() / n as f64;
        let variance = estimates.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n as f64;
        let error = (variance / n as f64).sqrt();
        assert!(error > 1e-4 && (mean - expected).abs() < 5.0 * error, "{what}: {mean} +- {error}, not {expected}");
    }
}

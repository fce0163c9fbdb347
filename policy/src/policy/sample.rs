//! Softmax and the draw of an action, for many rows at once.
//!
//! Logits are brought into columns, one for each action, so that every loop runs over the rows and vectorises.

use super::Decision;
use crate::activation::{exp, ln};
use impala_env::seed::Rng;
use pulp::{Arch, Simd, WithSimd};
use rand::RngExt;

/// Buffers of the draw; they grow to the largest number of rows once.
#[derive(Debug)]
pub(super) struct Sampler {
    action_count: usize,
    /// `[A, n]`: logits less the row's largest.
    logits: Vec<f32>,
    /// `[A, n]`: their exponentials.
    weights: Vec<f32>,
    /// `[n]`: the largest logit of each row, later the sum of its weights.
    totals: Vec<f32>,
    /// `[n]`: a uniform draw from 0 to 1, later the point that the draw picks on the row's weights laid end to end.
    points: Vec<f32>,
}

impl Sampler {
    pub(super) fn new(action_count: usize) -> Self {
        let (logits, weights, totals, points) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { action_count, logits, weights, totals, points }
    }

    /// Draws one action a row from the softmax of its logits.
    ///
    /// # Shapes
    /// `outputs`: `[n, stride]` whose first A columns are logits
    pub(super) fn sample(&mut self, arch: Arch, outputs: &[f32], rng: &mut Rng, decision: Decision<'_>) {
        let n = decision.behaviour_log_probs.len();
        if self.points.len() < n {
            self.logits.resize(self.action_count * n, 0.0);
            self.weights.resize(self.action_count * n, 0.0);
            self.totals.resize(n, 0.0);
            self.points.resize(n, 0.0);
        }
        self.points[..n].iter_mut().for_each(|point| *point = rng.random());
        arch.dispatch(Draw { sampler: self, outputs, decision });
    }
}

struct Draw<'a> {
    sampler: &'a mut Sampler,
    outputs: &'a [f32],
    decision: Decision<'a>,
}

impl WithSimd for Draw<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let n = self.decision.behaviour_log_probs.len();
        if n == 0 {
            return;
        }
        let a = self.sampler.action_count;
        let logits = &mut self.sampler.logits[..a * n];
        let weights = &mut self.sampler.weights[..a * n];
        let totals = &mut self.sampler.totals[..n];
        let points = &mut self.sampler.points[..n];
        let (actions, log_probs) = (&mut self.decision.actions.u8()[..n], &mut self.decision.behaviour_log_probs[..n]);

        for (i, row) in self.outputs.chunks_exact(self.outputs.len() / n).enumerate() {
            for (action, logit) in row[..a].iter().enumerate() {
                logits[action * n + i] = *logit;
            }
        }
        totals.copy_from_slice(&logits[..n]);
        for column in logits.chunks_exact(n).skip(1) {
            totals.iter_mut().zip(column).for_each(|(largest, logit)| *largest = largest.max(*logit));
        }
        for column in logits.chunks_exact_mut(n) {
            column.iter_mut().zip(&*totals).for_each(|(logit, largest)| *logit -= *largest);
        }
        totals.fill(0.0);
        for (column, logits) in weights.chunks_exact_mut(n).zip(logits.chunks_exact(n)) {
            for i in 0..n {
                column[i] = exp(logits[i]);
                totals[i] += column[i];
            }
        }
        // The action is the number of weights, summed from the first, that the point lies beyond. The last action needs
        // no comparison, so rounding of the sum cannot lead outside.
        points.iter_mut().zip(&*totals).for_each(|(point, total)| *point *= *total);
        actions.fill(0);
        log_probs.copy_from_slice(&logits[..n]);
        for action in 1..a {
            let (weights, logits) = (&weights[(action - 1) * n..][..n], &logits[action * n..][..n]);
            for i in 0..n {
                // The point moves down instead of the sum moving up: one buffer less.
                points[i] -= weights[i];
                let beyond = points[i] >= 0.0;
                actions[i] += u8::from(beyond);
                log_probs[i] = if beyond { logits[i] } else { log_probs[i] };
            }
        }
        for i in 0..n {
            let log_prob = log_probs[i] - ln(totals[i]);
            // Not `min`, which would turn NaN into 0.
            log_probs[i] = if log_prob > 0.0 { 0.0 } else { log_prob };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::array::ArrayMut;
    use impala_env::seed::{self, Purpose};

    /// Draws one row's actions many times: relative frequencies and the log-probability given for each action.
    fn frequencies(logits: &[f32], draws: usize) -> (Vec<f64>, Vec<f32>) {
        let mut rng = seed::rng(1, Purpose::Policy { actor: 0 });
        let mut sampler = Sampler::new(logits.len());
        let outputs = logits.repeat(draws);
        let (mut actions, mut behaviour_log_probs) = (vec![0; draws], vec![f32::NAN; draws]);
        let decision = Decision { actions: ArrayMut::U8(&mut actions), behaviour_log_probs: &mut behaviour_log_probs };
        sampler.sample(Arch::new(), &outputs, &mut rng, decision);
        let (mut counts, mut log_probs) = (vec![0.0; logits.len()], vec![f32::NAN; logits.len()]);
        for (action, log_prob) in actions.into_iter().zip(behaviour_log_probs) {
            counts[usize::from(action)] += 1.0 / draws as f64;
            log_probs[usize::from(action)] = log_prob;
        }
        (counts, log_probs)
    }

    #[test]
    fn actions_come_as_often_as_the_softmax_says_and_carry_its_logarithm() {
        let logits = [0.3_f32, -1.2, 2.0, 0.0, -0.4];
        let draws = 200_000;
        let (frequencies, log_probs) = frequencies(&logits, draws);
        let total: f64 = logits.iter().map(|x| f64::from(*x).exp()).sum();
        for (action, logit) in logits.iter().enumerate() {
            let probability = f64::from(*logit).exp() / total;
            let deviation = (probability * (1.0 - probability) / draws as f64).sqrt();
            assert!((frequencies[action] - probability).abs() < 5.0 * deviation, "action {action}");
            assert!((f64::from(log_probs[action]) - probability.ln()).abs() < 1e-6, "action {action}");
        }
    }

    #[test]
    fn a_certain_action_has_log_probability_zero_and_distant_logits_stay_finite() {
        let (frequencies, log_probs) = frequencies(&[-300.0, 500.0, -1e30], 1000);
        assert!((frequencies[1] - 1.0).abs() < 1e-9);
        assert_eq!(log_probs[1], 0.0);
    }

    #[test]
    fn a_logit_that_is_no_number_shows_in_the_log_probability() {
        let (_, log_probs) = frequencies(&[f32::NAN, f32::NAN], 10);
        assert!(log_probs.iter().any(|p| p.is_nan()));
    }
}

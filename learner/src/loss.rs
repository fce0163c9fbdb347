//! The loss of an actor-critic update and its exact gradient with respect to the network's outputs.
//!
//! Over M = T * B frames (Espeholt et al. 2018, section 4.2; mean instead of sum, so that the learning rate does not depend
//! on the batch size):
//!
//! ```text
//! L = 1/M sum_i [ -advantage_i log pi(a_i) + baseline_cost * 1/2 (vs_i - V_i)^2 - entropy_cost * H(pi_i) ]
//! dL/dlogit_ij = 1/M [ advantage_i (pi_ij - [j = a_i]) + entropy_cost * pi_ij (log pi_ij + H_i) ]
//! dL/dV_i      = 1/M baseline_cost (V_i - vs_i)
//! ```
//!
//! Targets and advantages are constants. The outputs are small (A + 1 numbers a frame), so the gradient is taken here in one
//! pass over host memory, and only its product with the network's Jacobian is left to the tensor library.

use crate::vtrace::VtraceReturns;

/// Weights of the terms of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossCosts {
    /// Of the value's squared error.
    pub baseline: f32,
    /// Of the entropy bonus.
    pub entropy: f32,
}

/// The terms of the loss, each a mean over the frames and before its cost.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// The whole loss.
    pub total: f32,
    /// `-advantage * log pi(a)`
    pub policy: f32,
    /// `1/2 (vs - V)^2`
    pub baseline: f32,
    /// Entropy of the policy, nats.
    pub entropy: f32,
}

/// Policy of every frame, from its logits.
#[derive(Clone, Debug, Default)]
pub struct TargetPolicy {
    /// `[M, A]`
    pub log_probs: Vec<f32>,
    /// `[M]`, log-probability of the action that was taken.
    pub action_log_probs: Vec<f32>,
}

impl TargetPolicy {
    /// Log-softmax of each row of `logits` `[M, A]`; M is the number of actions. The memory of `self` is used again.
    ///
    /// # Panics
    /// If there are fewer logits than rows of actions, or an action is outside its row.
    pub fn update(&mut self, logits: &[f32], action_count: usize, actions: &[u8]) {
        self.log_probs.resize(actions.len() * action_count, 0.0);
        self.action_log_probs.resize(actions.len(), 0.0);
        let rows = logits.chunks_exact(action_count).zip(self.log_probs.chunks_exact_mut(action_count));
        assert!(rows.len() >= actions.len(), "a row of logits for each of the {} actions", actions.len());
        for ((row, log_probs), (action, chosen)) in rows.zip(actions.iter().zip(&mut self.action_log_probs)) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|logit| (logit - max).exp()).sum();
            let log_sum = max + sum.ln();
            log_probs.iter_mut().zip(row).for_each(|(log_prob, logit)| *log_prob = logit - log_sum);
            *chosen = log_probs[usize::from(*action)];
        }
    }
}

/// Gradient of the loss with respect to the network's outputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OutputGradient {
    /// `[rows, A]`; rows behind the frames (bootstrap values) stay 0.
    pub logits: Vec<f32>,
    /// `[rows]`
    pub values: Vec<f32>,
}

/// Computes the losses and fills `gradient`, whose memory is used again and is sized to `rows` (at least the frames).
pub fn loss(
    policy: &TargetPolicy,
    actions: &[u8],
    values: &[f32],
    targets: &VtraceReturns,
    costs: LossCosts,
    rows: usize,
    gradient: &mut OutputGradient,
) -> Losses {
    let frames = actions.len();
    let action_count = policy.log_probs.len() / frames.max(1);
    let scale = 1.0 / frames.max(1) as f32;
    gradient.logits.clear();
    gradient.logits.resize(rows * action_count, 0.0);
    gradient.values.clear();
    gradient.values.resize(rows, 0.0);

    let mut losses = Losses::default();
    for i in 0..frames {
        let log_probs = &policy.log_probs[i * action_count..(i + 1) * action_count];
        let row = &mut gradient.logits[i * action_count..(i + 1) * action_count];
        // The row holds the probabilities until it becomes the gradient.
        row.iter_mut().zip(log_probs).for_each(|(p, log_prob)| *p = log_prob.exp());
        let entropy = -row.iter().zip(log_probs).map(|(p, log_prob)| p * log_prob).sum::<f32>();
        let advantage = targets.pg_advantages[i];
        for (p, log_prob) in row.iter_mut().zip(log_probs) {
            *p = scale * (advantage * *p + costs.entropy * *p * (log_prob + entropy));
        }
        row[usize::from(actions[i])] -= scale * advantage;
        let error = values[i] - targets.vs[i];
        gradient.values[i] = scale * costs.baseline * error;

        losses.policy -= advantage * policy.action_log_probs[i];
        losses.baseline += 0.5 * error * error;
        losses.entropy += entropy;
    }
    losses.policy *= scale;
    losses.baseline *= scale;
    losses.entropy *= scale;
    losses.total = losses.policy + costs.baseline * losses.baseline - costs.entropy * losses.entropy;
    losses
}

#[cfg(test)]
mod tests {
    use super::*;

    const COSTS: LossCosts = LossCosts { baseline: 0.5, entropy: 0.01 };
    const ACTIONS: [u8; 3] = [2, 0, 1];

    fn targets() -> VtraceReturns {
        VtraceReturns { vs: vec![1.0, -0.5, 2.0], pg_advantages: vec![0.7, -1.2, 0.1] }
    }

    fn outputs() -> (Vec<f64>, Vec<f64>) {
        (vec![0.3, -0.2, 1.1, 2.0, 0.1, -0.7, 0.0, 0.4, -1.5], vec![0.2, 0.4, 1.5])
    }

    /// The loss written out in double precision.
    fn total(logits: &[f64], values: &[f64]) -> f64 {
        let targets = targets();
        let terms = logits.chunks(3).zip(values).enumerate().map(|(i, (row, value))| {
            let log_sum = row.iter().map(|l| l.exp()).sum::<f64>().ln();
            let entropy: f64 = row.iter().map(|l| -(l - log_sum).exp() * (l - log_sum)).sum();
            let policy = -f64::from(targets.pg_advantages[i]) * (row[usize::from(ACTIONS[i])] - log_sum);
            let baseline = 0.5 * (f64::from(targets.vs[i]) - value).powi(2);
            policy + f64::from(COSTS.baseline) * baseline - f64::from(COSTS.entropy) * entropy
        });
        terms.sum::<f64>() / 3.0
    }

    fn analytic(rows: usize) -> (Losses, OutputGradient) {
        let (logits, values) = outputs();
        let logits: Vec<f32> = logits.iter().map(|x| *x as f32).collect();
        let values: Vec<f32> = values.iter().map(|x| *x as f32).collect();
        let mut policy = TargetPolicy::default();
        policy.update(&logits, 3, &ACTIONS);
        let mut gradient = OutputGradient::default();
        let losses = loss(&policy, &ACTIONS, &values, &targets(), COSTS, rows, &mut gradient);
        (losses, gradient)
    }

    #[test]
    fn gradient_equals_finite_differences() {
        let (losses, gradient) = analytic(3);
        let (logits, values) = outputs();
        assert!((f64::from(losses.total) - total(&logits, &values)).abs() < 1e-6);
        let step = 1e-6;
        for i in 0..logits.len() {
            let at = |delta: f64| {
                let mut logits = logits.clone();
                logits[i] += delta;
                total(&logits, &values)
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            assert!((f64::from(gradient.logits[i]) - expected).abs() < 1e-6, "logit {i}");
        }
        for i in 0..values.len() {
            let at = |delta: f64| {
                let mut values = values.clone();
                values[i] += delta;
                total(&logits, &values)
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            assert!((f64::from(gradient.values[i]) - expected).abs() < 1e-6, "value {i}");
        }
    }

    #[test]
    fn rows_behind_the_frames_have_no_gradient() {
        let (_, gradient) = analytic(5);
        assert_eq!(gradient.logits.len(), 15);
        assert_eq!(gradient.logits[9..], [0.0; 6]);
        assert_eq!(gradient.values[3..], [0.0; 2]);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let mut policy = TargetPolicy::default();
        policy.update(&[1e4, -1e4, 0.0], 3, &[1]);
        assert_eq!(policy.log_probs, [0.0, -2e4, -1e4]);
        let mut gradient = OutputGradient::default();
        let one = VtraceReturns { vs: vec![0.0], pg_advantages: vec![1.0] };
        let losses = loss(&policy, &[1], &[0.0], &one, COSTS, 1, &mut gradient);
        assert!(losses.total.is_finite() && gradient.logits.iter().all(|g| g.is_finite()));
        assert_eq!(losses.entropy, 0.0);
    }
}

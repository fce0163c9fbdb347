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

impl std::ops::AddAssign for Losses {
    /// Adds the parts of two blocks of one batch.
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.policy += other.policy;
        self.baseline += other.baseline;
        self.entropy += other.entropy;
    }
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
    /// Log-softmax of each frame's logits; M is the number of actions.
    ///
    /// # Shapes
    /// - outputs: `[rows, A + 1]`, logits and value, at least M rows
    ///
    /// # Panics
    /// If there are fewer rows than actions, or an action is none of the A.
    pub fn new(outputs: &[f32], action_count: usize, actions: &[u8]) -> Self {
        let mut log_probs = Vec::with_capacity(actions.len() * action_count);
        let mut action_log_probs = Vec::with_capacity(actions.len());
        let rows = outputs.chunks_exact(action_count + 1);
        assert!(rows.len() >= actions.len(), "a row of outputs for each of the {} actions", actions.len());
        for (row, action) in rows.zip(actions) {
            let logits = &row[..action_count];
            let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = logits.iter().map(|logit| (logit - max).exp()).sum();
            let log_sum = max + sum.ln();
            log_probs.extend(logits.iter().map(|logit| logit - log_sum));
            action_log_probs.push(logits[usize::from(*action)] - log_sum);
        }
        Self { log_probs, action_log_probs }
    }
}

/// What the loss of a block of M frames is made of.
#[derive(Clone, Copy, Debug)]
pub struct LossInputs<'a> {
    /// The policy of the frames.
    pub policy: &'a TargetPolicy,
    /// `[rows, A + 1]`, logits and value, at least M rows; those behind the frames are bootstrap values.
    pub outputs: &'a [f32],
    /// `[M]`
    pub actions: &'a [u8],
    /// `[M]`, V-trace's targets of the values.
    pub vs: &'a [f32],
    /// `[M]`, V-trace's weights of the policy gradient.
    pub pg_advantages: &'a [f32],
    /// Frames in the whole batch, over which the mean is taken.
    pub frames: usize,
}

/// The block's part of the losses, and their gradient with respect to its outputs, `[rows, A + 1]`: 0 in the rows behind
/// the frames.
pub fn loss(inputs: &LossInputs<'_>, costs: LossCosts) -> (Losses, Vec<f32>) {
    let LossInputs { policy, outputs, actions, vs, pg_advantages, frames } = *inputs;
    let action_count = policy.log_probs.len() / actions.len().max(1);
    let scale = 1.0 / frames as f32;
    let mut gradient = vec![0.0; outputs.len()];
    let mut losses = Losses::default();
    for (i, action) in actions.iter().enumerate() {
        let log_probs = &policy.log_probs[i * action_count..(i + 1) * action_count];
        let cells = i * (action_count + 1)..(i + 1) * (action_count + 1);
        let (row, value) = gradient[cells.clone()].split_at_mut(action_count);
        // The row holds the probabilities until it becomes the gradient.
        row.iter_mut().zip(log_probs).for_each(|(p, log_prob)| *p = log_prob.exp());
        let entropy = -row.iter().zip(log_probs).map(|(p, log_prob)| p * log_prob).sum::<f32>();
        let advantage = pg_advantages[i];
        for (p, log_prob) in row.iter_mut().zip(log_probs) {
            *p = scale * (advantage * *p + costs.entropy * *p * (log_prob + entropy));
        }
        row[usize::from(*action)] -= scale * advantage;
        let error = outputs[cells.end - 1] - vs[i];
        value[0] = scale * costs.baseline * error;

        losses.policy -= advantage * policy.action_log_probs[i];
        losses.baseline += 0.5 * error * error;
        losses.entropy += entropy;
    }
    losses.policy *= scale;
    losses.baseline *= scale;
    losses.entropy *= scale;
    losses.total = losses.policy + costs.baseline * losses.baseline - costs.entropy * losses.entropy;
    (losses, gradient)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learn::vtrace::VtraceReturns;

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

    /// Rows behind the three frames are zeros.
    fn analytic(rows: usize) -> (Losses, Vec<f32>) {
        let (logits, values) = outputs();
        let row = |(logits, value): (&[f64], &f64)| logits.iter().copied().chain([*value]).collect::<Vec<_>>();
        let mut outputs: Vec<f32> = logits.chunks(3).zip(&values).flat_map(row).map(|x| x as f32).collect();
        outputs.resize(rows * 4, 0.0);
        let policy = TargetPolicy::new(&outputs, 3, &ACTIONS);
        let VtraceReturns { vs, pg_advantages } = targets();
        let inputs = LossInputs {
            policy: &policy,
            outputs: &outputs,
            actions: &ACTIONS,
            vs: &vs,
            pg_advantages: &pg_advantages,
            frames: 3,
        };
        loss(&inputs, COSTS)
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
            assert!((f64::from(gradient[i / 3 * 4 + i % 3]) - expected).abs() < 1e-6, "logit {i}");
        }
        for i in 0..values.len() {
            let at = |delta: f64| {
                let mut values = values.clone();
                values[i] += delta;
                total(&logits, &values)
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            assert!((f64::from(gradient[4 * i + 3]) - expected).abs() < 1e-6, "value {i}");
        }
    }

    #[test]
    fn rows_behind_the_frames_have_no_gradient() {
        let (_, gradient) = analytic(5);
        assert_eq!(gradient.len(), 20);
        assert_eq!(gradient[12..], [0.0; 8]);
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let outputs = [1e4, -1e4, 0.0, 0.0];
        let policy = TargetPolicy::new(&outputs, 3, &[1]);
        assert_eq!(policy.log_probs, [0.0, -2e4, -1e4]);
        let inputs = LossInputs {
            policy: &policy,
            outputs: &outputs,
            actions: &[1],
            vs: &[0.0],
            pg_advantages: &[1.0],
            frames: 1,
        };
        let (losses, gradient) = loss(&inputs, COSTS);
        assert!(losses.total.is_finite() && gradient.iter().all(|g| g.is_finite()));
        assert_eq!(losses.entropy, 0.0);
    }
}

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
//! Targets and advantages are constants. The gradient of the outputs (A + 1 numbers a frame) is taken here; its product with
//! the network's Jacobian is left to the network.

use impala_policy::activation::{exp, ln};
use pulp::{Arch, Simd, WithSimd};

/// Weights of the terms of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossCosts {
    /// Of the value's squared error.
    pub baseline: f32,
    /// Weight of the entropy bonus.
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

impl Losses {
    /// Sums over frames as means, and the whole.
    fn averaged(mut self, scale: f32, costs: LossCosts) -> Self {
        self.policy *= scale;
        self.baseline *= scale;
        self.entropy *= scale;
        self.total = self.policy + costs.baseline * self.baseline - costs.entropy * self.entropy;
        self
    }
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

/// Policy of every frame, from its logits. Arrays with one number an action are columns of frames, so that all that is
/// done to them runs over the frames and vectorises.
#[derive(Clone, Debug, Default)]
pub struct TargetPolicy {
    /// `[A, M]`
    pub log_probs: Vec<f32>,
    /// `[M]`, log-probability of the action that was taken.
    pub action_log_probs: Vec<f32>,
    /// `[M]`: the largest logit, then the sum of exponentials, then the entropy.
    work: Vec<f32>,
}

/// Arguments of [`loss`].
#[derive(Clone, Copy, Debug)]
pub struct LossInputs<'a> {
    /// `[A + 1, rows]`: logits, then values; the first M of the rows are frames.
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

impl TargetPolicy {
    /// Log-softmax of each frame's logits; M is the number of actions.
    ///
    /// # Shapes
    /// - outputs: `[A + 1, rows]`, logits and values, at least M rows
    ///
    /// # Panics
    /// If there are fewer rows than actions, or an action is none of the A.
    pub fn set(&mut self, outputs: &[f32], action_count: usize, actions: &[u8]) {
        let (frames, rows) = (actions.len(), outputs.len() / (action_count + 1));
        assert!(rows >= frames, "{rows} rows of outputs for {frames} actions");
        self.log_probs.clear();
        let logits = outputs.chunks_exact(rows).take(action_count);
        logits.for_each(|column| self.log_probs.extend_from_slice(&column[..frames]));
        self.work.resize(frames, 0.0);
        Arch::new().dispatch(LogSoftmax { logits: &mut self.log_probs, work: &mut self.work });
        self.action_log_probs.clear();
        let taken = actions.iter().enumerate().map(|(i, action)| self.log_probs[usize::from(*action) * frames + i]);
        self.action_log_probs.extend(taken);
    }
}

/// Columns of logits become columns of log-probabilities.
struct LogSoftmax<'a> {
    logits: &'a mut [f32],
    work: &'a mut [f32],
}

impl WithSimd for LogSoftmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { logits, work } = self;
        let frames = work.len();
        work.fill(f32::NEG_INFINITY);
        for column in logits.chunks_exact(frames) {
            work.iter_mut().zip(column).for_each(|(largest, logit)| *largest = largest.max(*logit));
        }
        for column in logits.chunks_exact_mut(frames) {
            column.iter_mut().zip(&*work).for_each(|(logit, largest)| *logit -= largest);
        }
        work.fill(0.0);
        for column in logits.chunks_exact(frames) {
            work.iter_mut().zip(column).for_each(|(sum, logit)| *sum += exp(*logit));
        }
        work.iter_mut().for_each(|sum| *sum = ln(*sum));
        for column in logits.chunks_exact_mut(frames) {
            column.iter_mut().zip(&*work).for_each(|(logit, log_sum)| *logit -= log_sum);
        }
    }
}

/// The block's part of the losses, and their gradient with respect to its outputs.
///
/// # Shapes
/// - gradient: overwritten by `[A + 1, M]`; the rows after the frames have none
pub fn loss(inputs: &LossInputs<'_>, policy: &mut TargetPolicy, costs: LossCosts, gradient: &mut Vec<f32>) -> Losses {
    let frames = inputs.actions.len();
    gradient.resize(policy.log_probs.len() + frames, 0.0);
    let losses = Arch::new().dispatch(Gradient { inputs, policy, costs, gradient });
    let scale = 1.0 / inputs.frames as f32;
    for (i, (action, advantage)) in inputs.actions.iter().zip(inputs.pg_advantages).enumerate() {
        gradient[usize::from(*action) * frames + i] -= scale * advantage;
    }
    losses.averaged(scale, costs)
}

/// What is known of the frames of a block whose policy is any distribution.
#[derive(Clone, Copy, Debug)]
pub struct FrameTerms<'a> {
    /// `[M]`, log-probabilities of the actions that were taken.
    pub log_probs: &'a [f32],
    /// `[M]`, of the policy.
    pub entropies: &'a [f32],
    /// `[M]`
    pub values: &'a [f32],
    /// `[M]`, V-trace's targets of the values.
    pub vs: &'a [f32],
    /// `[M]`, V-trace's weights of the policy gradient.
    pub pg_advantages: &'a [f32],
    /// Frames in the whole batch.
    pub frames: usize,
}

/// The block's part of the losses, and their gradient with respect to its values; that of the policy's outputs is its distribution's.
///
/// # Shapes
/// - of_values: overwritten by `[M]`
pub fn loss_of_terms(terms: &FrameTerms<'_>, costs: LossCosts, of_values: &mut [f32]) -> Losses {
    let scale = 1.0 / terms.frames as f32;
    let mut losses = Losses::default();
    for (i, gradient) in of_values.iter_mut().enumerate() {
        let error = terms.values[i] - terms.vs[i];
        losses.policy -= terms.pg_advantages[i] * terms.log_probs[i];
        losses.baseline += 0.5 * error * error;
        losses.entropy += terms.entropies[i];
        *gradient = scale * costs.baseline * error;
    }
    losses.averaged(scale, costs)
}

/// All of the gradient but what the taken action adds, and the sums of the losses' terms.
struct Gradient<'a> {
    inputs: &'a LossInputs<'a>,
    policy: &'a mut TargetPolicy,
    costs: LossCosts,
    gradient: &'a mut [f32],
}

impl WithSimd for Gradient<'_> {
    type Output = Losses;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Losses {
        let LossInputs { outputs, vs, pg_advantages, frames: all_frames, .. } = *self.inputs;
        let TargetPolicy { log_probs, action_log_probs, work: entropies } = self.policy;
        let (frames, scale) = (vs.len(), 1.0 / all_frames as f32);
        let (logits, errors) = self.gradient.split_at_mut(log_probs.len());
        entropies.fill(0.0);
        // The columns hold the probabilities until they become the gradient.
        for (probs, log_probs) in logits.chunks_exact_mut(frames).zip(log_probs.chunks_exact(frames)) {
            for ((p, log_prob), entropy) in probs.iter_mut().zip(log_probs).zip(entropies.iter_mut()) {
                *p = exp(*log_prob);
                *entropy -= *p * log_prob;
            }
        }
        for (probs, log_probs) in logits.chunks_exact_mut(frames).zip(log_probs.chunks_exact(frames)) {
            let rest = log_probs.iter().zip(pg_advantages.iter().zip(entropies.iter()));
            for (p, (log_prob, (advantage, entropy))) in probs.iter_mut().zip(rest) {
                *p = scale * *p * (advantage + self.costs.entropy * (log_prob + entropy));
            }
        }
        let rows = outputs.len() / (log_probs.len() / frames + 1);
        let values = &outputs[outputs.len() - rows..][..frames];
        errors.iter_mut().zip(values.iter().zip(vs)).for_each(|(error, (value, vs))| *error = value - vs);
        let losses = Losses {
            total: 0.0,
            policy: -dot(simd, pg_advantages, action_log_probs),
            baseline: 0.5 * dot(simd, errors, errors),
            entropy: entropies.iter().sum(),
        };
        errors.iter_mut().for_each(|error| *error *= scale * self.costs.baseline);
        losses
    }
}

/// In sums of every 16th product: the same on every machine.
#[inline(always)]
fn dot<S: Simd>(_: S, a: &[f32], b: &[f32]) -> f32 {
    let (a, b) = (a.chunks_exact(16), b.chunks_exact(16));
    let rest: f32 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    let mut sums = [0.0; 16];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f32>() + rest
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

    /// Numbers by frame as columns of `rows` rows, of which those after the frames are zeros.
    fn columns(by_frame: &[f32], width: usize, rows: usize) -> Vec<f32> {
        let at = |i: usize| by_frame.get(i % rows * width + i / rows).filter(|_| i % rows < by_frame.len() / width);
        (0..width * rows).map(|i| at(i).copied().unwrap_or(0.0)).collect()
    }

    fn analytic(rows: usize) -> (Losses, Vec<f32>) {
        let (logits, values) = outputs();
        let row = |(logits, value): (&[f64], &f64)| logits.iter().copied().chain([*value]).collect::<Vec<_>>();
        let outputs: Vec<f32> = logits.chunks(3).zip(&values).flat_map(row).map(|x| x as f32).collect();
        let outputs = columns(&outputs, 4, rows);
        let mut policy = TargetPolicy::default();
        policy.set(&outputs, 3, &ACTIONS);
        let VtraceReturns { vs, pg_advantages } = targets();
        let inputs =
            LossInputs { outputs: &outputs, actions: &ACTIONS, vs: &vs, pg_advantages: &pg_advantages, frames: 3 };
        let mut gradient = vec![f32::NAN; 2];
        (loss(&inputs, &mut policy, COSTS, &mut gradient), gradient)
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
            assert!((f64::from(gradient[i % 3 * 3 + i / 3]) - expected).abs() < 1e-6, "logit {i}");
        }
        for i in 0..values.len() {
            let at = |delta: f64| {
                let mut values = values.clone();
                values[i] += delta;
                total(&logits, &values)
            };
            let expected = (at(step) - at(-step)) / (2.0 * step);
            assert!((f64::from(gradient[9 + i]) - expected).abs() < 1e-6, "value {i}");
        }
    }

    #[test]
    fn rows_after_the_frames_do_not_matter() {
        assert_eq!(analytic(5), analytic(3));
    }

    #[test]
    fn extreme_logits_stay_finite() {
        let outputs = [1e4, -1e4, 0.0, 0.0];
        let mut policy = TargetPolicy::default();
        policy.set(&outputs, 3, &[1]);
        assert_eq!(policy.log_probs, [0.0, -2e4, -1e4]);
        let inputs = LossInputs { outputs: &outputs, actions: &[1], vs: &[0.0], pg_advantages: &[1.0], frames: 1 };
        let mut gradient = vec![];
        let losses = loss(&inputs, &mut policy, COSTS, &mut gradient);
        assert!(losses.total.is_finite() && gradient.iter().all(|g| g.is_finite()));
        assert!(losses.entropy.abs() < 1e-30);
    }

    #[test]
    fn many_frames_give_the_mean_of_each() {
        let frames = 37;
        let by_frame: Vec<f32> = (0..frames * 4).map(|i| ((i * 29 % 101) as f32 - 50.0) / 25.0).collect();
        let actions: Vec<u8> = (0..frames).map(|i| (i % 3) as u8).collect();
        let targets: Vec<f32> = (0..frames).map(|i| (i % 5) as f32 - 2.0).collect();
        let of = |by_frame: &[f32], range: std::ops::Range<usize>| {
            let outputs = columns(&by_frame[4 * range.start..4 * range.end], 4, range.len());
            let mut policy = TargetPolicy::default();
            policy.set(&outputs, 3, &actions[range.clone()]);
            let (vs, pg_advantages) = (&targets[range.clone()], &targets[range.clone()]);
            let inputs = LossInputs { outputs: &outputs, actions: &actions[range], vs, pg_advantages, frames };
            loss(&inputs, &mut policy, COSTS, &mut vec![])
        };
        let all = of(&by_frame, 0..frames);
        let mut sum = Losses::default();
        (0..frames).for_each(|i| sum += of(&by_frame, i..i + 1));
        for (all, sum) in
            [(all.total, sum.total), (all.policy, sum.policy), (all.baseline, sum.baseline), (all.entropy, sum.entropy)]
        {
            assert!((all - sum).abs() < 1e-5, "{all} is not {sum}");
        }
    }
}

//! Outputs of the network to V-trace's arguments, to the losses and to the outputs' gradient; [`crate::learn::loss`] has the
//! formulas.

use super::super::Correction;
use super::network::Pass;
use super::upload::Upload;
use super::vtrace::{ReturnsTensors, VtraceTensors};
use crate::learn::loss::LossCosts;
use crate::learn::ratios::CLIPPED_FROM;
use burn::tensor::{Device, Tensor, TensorData, activation};

/// Logarithm of the largest ratio that the divergence is told of: the sum over a batch of larger ones leaves the range of f32.
const LOG_RATIO_MAX: f32 = 60.0;
/// The logarithm of a ratio that counts for nothing.
const NO_RATIO: f32 = -1e30;

/// Means over the frames that a step tells.
const MEANS: usize = 7;

/// Policy and values of a batch.
#[derive(Debug)]
pub(super) struct Outputs {
    /// Rows that went through the network.
    rows: usize,
    /// `[M, A]` for the M = T * B frames.
    log_probs: Tensor<2>,
    /// `[M, 1]`, log-probability of the action that was taken.
    action_log_probs: Tensor<2>,
    /// `[rows]`
    values: Tensor<1>,
}

/// Arrays that do not change during a run.
#[derive(Debug)]
pub(super) struct Constants {
    /// `[1, A]`: 0, 1, ..
    all_actions: Tensor<2>,
    /// `[3]`, of the policy's, the baseline's and the entropy's mean in the loss.
    loss_weights: Tensor<1>,
}

/// What the loss gives.
#[derive(Debug)]
pub(super) struct LossTensors {
    /// `[7]`: policy, baseline, entropy; approximate KL; the values' errors, their targets less that of the first frame, and the
    /// squares of those.
    pub(super) means: Tensor<1>,
    /// `[1]`
    pub(super) total: Tensor<1>,
    /// `[1]`: the target of the first frame.
    pub(super) origin: Tensor<1>,
    /// `[rows, A + 1]`, 0 in the rows after the frames.
    pub(super) gradient: Tensor<2>,
}

impl Constants {
    pub(super) fn new(action_count: usize, costs: LossCosts, device: &Device) -> Self {
        let actions: Vec<f32> = (0..action_count).map(|action| action as f32).collect();
        let weights = vec![1.0, costs.baseline, -costs.entropy];
        Self {
            all_actions: Tensor::from_data(TensorData::new(actions, [1, action_count]), device),
            loss_weights: Tensor::from_data(TensorData::new(weights, [3]), device),
        }
    }
}

impl Outputs {
    pub(super) fn new(pass: &Pass, upload: &Upload, action_count: usize) -> Self {
        let [rows, _] = pass.outputs.dims();
        let logits = pass.outputs.clone().slice([0..upload.frames(), 0..action_count]);
        let log_probs = activation::log_softmax(logits, 1);
        Self {
            rows,
            action_log_probs: log_probs.clone().gather(1, upload.actions.clone().int()),
            log_probs,
            values: pass.outputs.clone().slice([0..rows, action_count..action_count + 1]).reshape([rows]),
        }
    }

    /// Values of `len` rows from `start` on.
    fn values(&self, start: usize, len: usize) -> Tensor<1> {
        self.values.clone().narrow(0, start, len)
    }

    pub(super) fn vtrace_inputs(&self, upload: &Upload, correction: Correction) -> VtraceTensors {
        let (steps, columns, frames) = (upload.steps, upload.columns, upload.frames());
        let behaviour = match correction {
            Correction::Vtrace => upload.behaviour_log_probs.clone(),
            Correction::None => self.action_log_probs.clone(),
        };
        // The final observation of a truncated step is worth its discounted value; for all other steps the factor is 0.
        let finals = self.values(frames + columns, upload.finals);
        let final_values = finals.select(0, upload.final_indices.clone().reshape([frames]).int());
        let rewards = upload.rewards.clone() + upload.final_discounts.clone() * final_values.reshape([frames, 1]);
        let by_step = |array: Tensor<2>| array.reshape([steps, columns]);
        VtraceTensors {
            log_ratios: by_step(self.action_log_probs.clone() - behaviour),
            discounts: by_step(upload.discounts.clone()),
            rewards: by_step(rewards),
            values: self.values(0, frames).reshape([steps, columns]),
            next_values: self.values(columns, frames).reshape([steps, columns]),
        }
    }

    /// `[M, 1]`, of the policy that learns over that which acted, whatever the correction does with it.
    fn log_ratios(&self, upload: &Upload) -> Tensor<2> {
        self.action_log_probs.clone() - upload.behaviour_log_probs.clone()
    }

    /// Effective and clipped share, `[2]`: see [`crate::learn::ratios`]. The ratios are taken relative to the largest, so that
    /// no square leaves the range of f32; the effective share does not depend on it.
    pub(super) fn ratios(&self, upload: &Upload, rho_bar: f32) -> Tensor<1> {
        let frames = upload.frames();
        let is_filling = upload.weights.clone().equal_elem(0.0);
        let log_ratios = self.log_ratios(upload).mask_fill(is_filling, NO_RATIO).reshape([frames]);
        let bound = f64::from(CLIPPED_FROM * rho_bar).ln() as f32;
        let clipped = log_ratios.zeros_like().mask_fill(log_ratios.clone().greater_elem(bound), 1.0).sum();
        let largest = log_ratios.clone().max();
        let weights = (log_ratios - largest.expand([frames])).exp();
        let (sum, squares) = (weights.clone().sum(), (weights.clone() * weights).sum());
        let effective = sum.clone() * sum / squares;
        Tensor::cat(vec![effective, clipped], 0).mul_scalar(1.0 / upload.own_frames() as f32)
    }

    /// The losses and the gradient of the whole one with respect to the outputs.
    pub(super) fn loss(
        self,
        upload: &Upload,
        returns: &ReturnsTensors,
        costs: LossCosts,
        constants: &Constants,
    ) -> LossTensors {
        let (frames, [_, action_count]) = (upload.frames(), self.log_probs.dims());
        let device = self.log_probs.device();
        let advantages = returns.pg_advantages.clone().reshape([frames, 1]);
        let vs = returns.vs.clone().reshape([frames, 1]);
        let errors = self.values(0, frames).reshape([frames, 1]) - vs.clone();
        // Less a number near their mean, so that their variance is one of small numbers.
        let targets = vs.clone() - vs.clone().narrow(0, 0, 1).expand([frames, 1]);
        let log_ratios = self.log_ratios(upload);
        let divergences = log_ratios.clone().clamp_max(LOG_RATIO_MAX).exp().sub_scalar(1.0) - log_ratios;
        let probs = self.log_probs.clone().exp();
        let entropies = (probs.clone() * self.log_probs.clone()).sum_dim(1).neg();

        let policy = (advantages.clone() * self.action_log_probs).neg();
        let baseline = (errors.clone() * errors.clone()).mul_scalar(0.5);
        let squares = targets.clone() * targets.clone();
        let terms = vec![policy, baseline, entropies.clone(), divergences, errors.clone(), targets, squares];
        let means = (Tensor::cat(terms, 1) * upload.weights.clone()).sum_dim(0).reshape([MEANS]);
        // What is only told must not make an update run away.
        let total = (means.clone().narrow(0, 0, 3) * constants.loss_weights.clone()).sum();

        let is_taken = probs.zeros_like().mask_fill(upload.actions.clone().equal(constants.all_actions.clone()), 1.0);
        let bonus = probs.clone() * (self.log_probs + entropies);
        let logits = advantages * (probs - is_taken) + bonus.mul_scalar(costs.entropy);
        let gradient = Tensor::cat(vec![logits, errors.mul_scalar(costs.baseline)], 1) * upload.weights.clone();
        let rest = Tensor::zeros([self.rows - frames, action_count + 1], &device);
        let origin = vs.narrow(0, 0, 1).reshape([1]);
        LossTensors { means, total, origin, gradient: Tensor::cat(vec![gradient, rest], 0) }
    }
}

//! One learner step: forward pass, V-trace, loss, backward pass, clipping, update.
//!
//! The network's passes run on the device; V-trace, the loss and its gradient with respect to the network's few outputs run
//! over host memory (as tensor operations on the CPU they are several times slower). The backward pass is started from that
//! gradient: the sum of outputs times constants has exactly it as derivative.

use crate::batch::Batch;
use crate::device::ComputeDevice;
use crate::loss::{LossCosts, Losses, OutputGradient, TargetPolicy, loss};
use crate::model::{ActorCritic, Outputs, floats};
use crate::optim::{Optimiser, OptimiserKind, clip_by_global_norm};
use crate::vtrace::{VtraceClipping, VtraceInputs, VtraceReturns, vtrace};
use burn::tensor::{Tensor, TensorData};
use impala_common::network::NetworkSpec;
use impala_common::trajectory::Outcome;
use serde::{Deserialize, Serialize};

/// How the age of the behaviour policy is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Correction {
    /// V-trace (the paper's section 4).
    Vtrace,
    /// None: every importance ratio counts as 1. For the paper's ablation (table 2), not for use.
    None,
}

/// The numbers of a step that do not change during a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepConfig {
    /// V-trace or its absence.
    pub correction: Correction,
    /// Bounds of the importance ratios.
    pub clipping: VtraceClipping,
    /// Weights of the loss's terms.
    pub costs: LossCosts,
    /// Of a step that continues or is truncated.
    pub discount: f32,
    /// Factor on every reward, before clipping.
    pub reward_scale: f32,
    /// Rewards are clipped to plus or minus this.
    pub reward_clip: Option<f32>,
    /// Global norm to which gradients are clipped.
    pub gradient_norm_max: f32,
    /// Update rule.
    pub optimiser: OptimiserKind,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Means over the batch, before the update.
    pub losses: Losses,
    /// Global norm before clipping.
    pub gradient_norm: f32,
}

/// The numbers ran away.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("training diverged at gradient norm {gradient_norm}, loss {loss}: lower --learning-rate or --reward-scale")]
pub struct Diverged {
    gradient_norm: f32,
    loss: f32,
}

/// Owns the parameters and the optimiser; one step at a time.
#[derive(Debug)]
pub struct LearnerStep {
    spec: NetworkSpec,
    config: StepConfig,
    device: ComputeDevice,
    parameters: Vec<f32>,
    optimiser: Optimiser,
    scratch: Scratch,
}

/// Memory used again by every step.
#[derive(Debug, Default)]
struct Scratch {
    policy: TargetPolicy,
    discounts: Vec<f32>,
    rewards: Vec<f32>,
    returns: VtraceReturns,
    output_gradient: OutputGradient,
    gradient: Vec<f32>,
    /// The parameters before the update.
    before: Vec<f32>,
}

impl LearnerStep {
    /// A learner at version 0 with the given parameters.
    pub fn new(spec: NetworkSpec, parameters: Vec<f32>, config: StepConfig, device: ComputeDevice) -> Self {
        let optimiser = Optimiser::new(config.optimiser, parameters.len());
        Self { spec, config, device, parameters, optimiser, scratch: Scratch::default() }
    }

    /// The flat parameters.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The gradient of the last step, flat, after clipping.
    pub fn gradient(&self) -> &[f32] {
        &self.scratch.gradient
    }

    /// One update.
    ///
    /// # Errors
    /// The gradient or the updated parameters are not finite; the parameters are left as they were.
    pub fn run(&mut self, mut batch: Batch, learning_rate: f32) -> Result<StepReport, Diverged> {
        let model = ActorCritic::load(&self.spec, &self.parameters, &self.device);
        let observations = self.observation_tensor(&mut batch);
        let rows = observations.dims()[0];
        let outputs = model.forward(observations);

        let losses = self.output_gradient(&batch, &outputs, rows);
        self.backward(&model, outputs, rows);
        let gradient = &mut self.scratch.gradient;
        let gradient_norm = clip_by_global_norm(gradient, self.config.gradient_norm_max);
        if !gradient_norm.is_finite() || !losses.total.is_finite() {
            return Err(Diverged { gradient_norm, loss: losses.total });
        }
        let before = &mut self.scratch.before;
        before.clone_from(&self.parameters);
        self.optimiser.step(&mut self.parameters, gradient, learning_rate);
        if !self.parameters.iter().all(|p| p.is_finite()) {
            self.parameters.clone_from(before);
            return Err(Diverged { gradient_norm, loss: losses.total });
        }
        Ok(StepReport { losses, gradient_norm })
    }

    /// Moves the observations to the device. An accelerator compiles and tunes its kernels for each shape, so there the
    /// few rows of final observations are filled up to a power of two.
    fn observation_tensor(&self, batch: &mut Batch) -> Tensor<2> {
        let width = batch.observation_len;
        let mut rows = batch.rows();
        let mut observations = std::mem::take(&mut batch.observations);
        let finals = batch.truncated.len();
        if !self.device.is_cpu() && finals > 0 {
            rows += finals.next_power_of_two() - finals;
            observations.resize(rows * width, 0.0);
        }
        Tensor::from_data(TensorData::new(observations, [rows, width]), self.device.tensors())
    }

    /// Reads the outputs back and turns them into the losses and their gradient.
    fn output_gradient(&mut self, batch: &Batch, outputs: &Outputs, rows: usize) -> Losses {
        let logits = outputs.logits.clone().inner().into_data();
        let values = outputs.values.clone().inner().into_data();
        let (logits, values) = (floats(&logits), floats(&values));
        let frames = batch.frames();
        let bootstrap_end = frames + batch.columns;
        let scratch = &mut self.scratch;
        scratch.policy.update(logits, self.spec.action_count, &batch.actions);
        scale_rewards(batch, &self.config, &values[bootstrap_end..], &mut scratch.rewards, &mut scratch.discounts);
        let inputs = VtraceInputs {
            columns: batch.columns,
            behaviour_log_probs: match self.config.correction {
                Correction::Vtrace => &batch.behaviour_log_probs,
                Correction::None => &scratch.policy.action_log_probs,
            },
            target_log_probs: &scratch.policy.action_log_probs,
            discounts: &scratch.discounts,
            rewards: &scratch.rewards,
            values: &values[..frames],
            bootstrap_values: &values[frames..bootstrap_end],
        };
        vtrace(&inputs, &self.config.clipping, &mut scratch.returns);
        loss(
            &scratch.policy,
            &batch.actions,
            &values[..frames],
            &scratch.returns,
            self.config.costs,
            rows,
            &mut scratch.output_gradient,
        )
    }

    /// Carries the outputs' gradient back to the parameters.
    fn backward(&mut self, model: &ActorCritic, outputs: Outputs, rows: usize) {
        let OutputGradient { logits, values } = &mut self.scratch.output_gradient;
        let device = self.device.tensors();
        let constant = |values: &mut Vec<f32>| {
            let width = values.len() / rows;
            Tensor::<2>::from_data(TensorData::new(std::mem::take(values), [rows, width]), device)
        };
        let surrogate = (outputs.logits * constant(logits)).sum() + (outputs.values * constant(values)).sum();
        let mut gradients = surrogate.backward();
        model.flat_gradient(&mut gradients, &mut self.scratch.gradient);
    }
}

/// Rewards and discounts as V-trace wants them. A truncated step is worth its reward plus the discounted value of its true
/// final observation; nothing behind it belongs to it, so its discount is 0 like a terminated step's.
fn scale_rewards(
    batch: &Batch,
    config: &StepConfig,
    final_values: &[f32],
    rewards: &mut Vec<f32>,
    discounts: &mut Vec<f32>,
) {
    let scaled = |reward: &f32| {
        let reward = reward * config.reward_scale;
        config.reward_clip.map_or(reward, |bound| reward.clamp(-bound, bound))
    };
    rewards.clear();
    rewards.extend(batch.rewards.iter().map(scaled));
    for (position, value) in batch.truncated.iter().zip(final_values) {
        rewards[*position] += config.discount * value;
    }
    let discount = |outcome: &Outcome| if *outcome == Outcome::Continues { config.discount } else { 0.0 };
    discounts.clear();
    discounts.extend(batch.outcomes.iter().map(discount));
}

#[cfg(test)]
mod tests;

//! One learner step: forward pass, V-trace, loss, backward pass, clipping, update.

mod host;

use crate::batch::Batch;
use crate::device::ComputeDevice;
use crate::loss::{LossCosts, Losses};
use crate::optim::OptimiserKind;
use crate::vtrace::VtraceClipping;
use host::HostStep;
use impala_common::network::NetworkSpec;
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
    host: HostStep,
}

impl LearnerStep {
    /// A learner at version 0 with the given parameters.
    pub fn new(spec: NetworkSpec, parameters: Vec<f32>, config: StepConfig, device: ComputeDevice) -> Self {
        Self { host: HostStep::new(spec, parameters, config, device) }
    }

    /// The flat parameters.
    pub fn parameters(&mut self) -> &[f32] {
        self.host.parameters()
    }

    /// The gradient of the last step, flat, after clipping.
    pub fn gradient(&mut self) -> &[f32] {
        self.host.gradient()
    }

    /// One update.
    ///
    /// # Errors
    /// The gradient or the updated parameters are not finite; the parameters are left as they were.
    pub fn run(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, Diverged> {
        self.host.run(batch, learning_rate)
    }
}

#[cfg(test)]
mod tests;

//! One learner step: forward pass, V-trace, loss, backward pass, clipping, update. The same arithmetic twice: for the CPU in
//! `host`, and in `device` for accelerators, where nothing but the batch and a few numbers crosses the bus.

mod device;
mod host;

use crate::learn::batch::Batch;
use crate::learn::compute::ComputeDevice;
use crate::learn::loss::{LossCosts, Losses};
use crate::learn::optim::{OptimiserKind, OptimiserState};
use crate::learn::vtrace::VtraceClipping;
use device::DeviceStep;
use host::HostStep;
use impala_policy::network::NetworkSpec;
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
    engine: Engine,
}

/// Where a step's numbers live.
#[derive(Debug)]
enum Engine {
    Host(Box<HostStep>),
    Device(Box<DeviceStep>),
}

impl LearnerStep {
    /// A learner at version 0 with the given parameters.
    pub fn new(spec: NetworkSpec, parameters: Vec<f32>, config: StepConfig, device: ComputeDevice) -> Self {
        let engine = match device.is_cpu() {
            true => Engine::Host(Box::new(HostStep::new(spec, parameters, config, device))),
            false => Engine::Device(Box::new(DeviceStep::new(&spec, &parameters, config, &device))),
        };
        Self { engine }
    }

    /// The flat parameters. On an accelerator they are read back when they have changed since the last call, which waits
    /// for the update under way.
    pub fn parameters(&mut self) -> &[f32] {
        match &mut self.engine {
            Engine::Host(step) => step.parameters(),
            Engine::Device(step) => step.parameters(),
        }
    }

    /// What the optimiser has gathered, for a checkpoint; read back from an accelerator.
    pub fn optimiser_state(&mut self) -> OptimiserState {
        match &mut self.engine {
            Engine::Host(step) => step.optimiser_state(),
            Engine::Device(step) => step.optimiser_state(),
        }
    }

    /// Goes on with what the optimiser of a checkpoint had gathered.
    ///
    /// # Panics
    /// If it belongs to another number of parameters.
    pub fn restore_optimiser(&mut self, state: OptimiserState) {
        match &mut self.engine {
            Engine::Host(step) => step.restore_optimiser(state),
            Engine::Device(step) => step.restore_optimiser(&state),
        }
    }

    /// The gradient of the last step, flat, after clipping.
    pub fn gradient(&mut self) -> &[f32] {
        match &mut self.engine {
            Engine::Host(step) => step.gradient(),
            Engine::Device(step) => step.gradient(),
        }
    }

    /// One update, from its beginning to its end.
    ///
    /// # Errors
    /// As for [`LearnerStep::finish`]; also if an earlier update, begun by [`LearnerStep::advance`], ran away.
    pub fn run(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, Diverged> {
        match &mut self.engine {
            Engine::Host(step) => step.run(batch, learning_rate),
            Engine::Device(step) => step.run(batch, learning_rate),
        }
    }

    /// One update, of which an accelerator is only handed the work: while it computes, the caller can get the next batch,
    /// and the next call packs and uploads it before it waits. Gives the report of the newest update that is done, on an
    /// accelerator that of the call before (none at the first), on the CPU that of this call.
    ///
    /// # Errors
    /// As for [`LearnerStep::finish`], about the update that the report would be of. A failed update before this one keeps
    /// this one from beginning.
    pub fn advance(&mut self, batch: &Batch, learning_rate: f32) -> Result<Option<StepReport>, Diverged> {
        match &mut self.engine {
            Engine::Host(step) => step.run(batch, learning_rate).map(Some),
            Engine::Device(step) => step.advance(batch, learning_rate),
        }
    }

    /// Waits for the update under way; gives its report, or none if there is no such update.
    ///
    /// # Errors
    /// The gradient or the updated parameters are not finite; the parameters are left as they were before that update.
    pub fn finish(&mut self) -> Result<Option<StepReport>, Diverged> {
        match &mut self.engine {
            Engine::Host(_) => Ok(None),
            Engine::Device(step) => step.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
